#!/bin/sh
# sandbox.sh COMMAND...: runs it as root in a network, with processes and with a /run of its own, so
# that two tests which each put rules into "the host's" firewall, look for what a killed raftq left
# behind, or take an address of the loopback, may run at a time. /tmp stays: the project may be there.
set -eu
if [ "${RAFTQ_SANDBOX:-}" != inside ]; then
    RAFTQ_SANDBOX=inside exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
mount -t tmpfs -o mode=755 tmpfs /run
# Folders here bear process ids, which are another's in another sandbox.
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
# What /sys says of network devices is of the namespace in which it was mounted.
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --move /run/cgroup /sys/fs/cgroup
ip link set lo up
# Not by exec: process 1 has to reap orphans, and ignores signals that others die of.
"$@"
exit $?
