/* The usual peer: accept every packet, one recv and one send each.
 *
 * This is what a program on libnetfilter_queue looks like when it decides nothing at all, with
 * every setting in its favour that its users know: a forced receive buffer, whole GSO packets, a
 * long queue, and no ENOBUFS. One thread a namespace, blocked in recv, so that a packet costs no
 * poll. It is what `raftq-bench` measures raftq against; it installs no firewall rules itself.
 *
 *     accept_all NETNS:QUEUE...     prints "ready" once every queue is bound and configured
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>

enum {
	COPY_RANGE = 0xffff,
	MESSAGE_MAX = COPY_RANGE + 4096,
	RECEIVE_BUFFER = 64 << 20,
	QUEUE_LENGTH = 65536,
};

static void die(const char *what)
{
	fprintf(stderr, "accept_all: %s: %s\n", what, strerror(errno));
	exit(5);
}

static int accept_one(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *packet,
		      void *unused)
{
	struct nfqnl_msg_packet_hdr *header = nfq_get_msg_packet_hdr(packet);

	(void)message;
	(void)unused;
	return header ? nfq_set_verdict(queue, ntohl(header->packet_id), NF_ACCEPT, 0, NULL) : 0;
}

/* A socket belongs to the namespace its thread was in when it was opened. */
static void enter(const char *netns)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		die(path);
	close(fd);
}

static struct nfq_handle *listen_on(uint16_t number)
{
	struct nfq_handle *handle = nfq_open();
	struct nfq_q_handle *queue;
	int bytes = RECEIVE_BUFFER;
	int on = 1;
	int fd;

	if (!handle)
		die("nfq_open (root is needed)");
	queue = nfq_create_queue(handle, number, accept_one, NULL);
	if (!queue)
		die("nfq_create_queue (does somebody else read this queue?)");
	if (nfq_set_mode(queue, NFQNL_COPY_PACKET, COPY_RANGE) < 0)
		die("nfq_set_mode");
	if (nfq_set_queue_flags(queue, NFQA_CFG_F_GSO, NFQA_CFG_F_GSO) < 0)
		die("nfq_set_queue_flags");
	if (nfq_set_queue_maxlen(queue, QUEUE_LENGTH) < 0)
		die("nfq_set_queue_maxlen");
	fd = nfq_fd(handle);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		die("SO_RCVBUFFORCE");
	if (setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof(on)) < 0)
		die("NETLINK_NO_ENOBUFS");
	return handle;
}

static void *accept_all(void *argument)
{
	struct nfq_handle *handle = argument;
	char *buffer = malloc(MESSAGE_MAX);
	int fd = nfq_fd(handle);

	if (!buffer)
		die("malloc");
	for (;;) {
		ssize_t length = recv(fd, buffer, MESSAGE_MAX, 0);

		if (length < 0 && errno != EINTR)
			die("recv");
		if (length > 0)
			nfq_handle_packet(handle, buffer, (int)length);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct nfq_handle *last = NULL;
	pthread_t thread;

	if (argc < 2) {
		fprintf(stderr, "usage: accept_all NETNS:QUEUE...\n");
		return 4;
	}
	for (int i = 1; i < argc; i++) {
		char *colon = strchr(argv[i], ':');

		if (!colon) {
			fprintf(stderr, "accept_all: %s is not NETNS:QUEUE\n", argv[i]);
			return 4;
		}
		*colon = '\0';
		enter(argv[i]);
		last = listen_on((uint16_t)atoi(colon + 1));
		if (i + 1 < argc && pthread_create(&thread, NULL, accept_all, last))
			die("pthread_create");
	}
	puts("ready");
	fflush(stdout);
	accept_all(last);
	return 0;
}
