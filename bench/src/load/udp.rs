//! UDP: a flood of 64-byte datagrams and the sink that counts them.
//!
//! The flood sends batches with `sendmmsg`, or single datagrams at a pace kept by spinning on the
//! clock: a pace kept by sleeping arrives in bursts, and a burst shares its wake-ups.

use super::{Done, meter::Meter};
use crate::clock::{nap_ms, now_ns};
use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt::RcvBufForce,
};
use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

const PAYLOAD: [u8; 64] = [0x52; 64];
const SEND_BATCH: usize = 32;
const RECEIVE_BATCH: usize = 256;
const SINK_BUFFER: usize = 64 << 20;

/// Sends from `from` to `to` for `seconds`; `rate` datagrams a second, flat out without one.
pub(crate) fn flood(from: SocketAddr, to: SocketAddr, seconds: f64, rate: Option<u32>) -> Done {
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    let end = now_ns() + to_ns(seconds);
    match rate {
        Some(rate) => paced(&socket, 1_000_000_000 / u64::from(rate.max(1)), end),
        None => flat_out(&socket, end),
    }
}

/// Counts what arrives at `at`, until it is killed. It wakes every millisecond by itself and
/// never blocks on the socket, so that delivering a packet to it wakes nobody: the cost of a
/// wake-up would be charged to the queue's reader, which delivers.
pub(crate) fn sink(at: SocketAddr) -> Done {
    let socket = UdpSocket::bind(at)?;
    setsockopt(&socket, RcvBufForce, &SINK_BUFFER)?;
    let meter = Meter::start(move || drops_of(at.port()));
    loop {
        match receive_batch(&socket) {
            Ok(0) | Err(Errno::EAGAIN | Errno::EINTR) => nap_ms(1),
            Ok(received) => meter.add(received),
            Err(error) => return Err(error.into()),
        }
    }
}

fn flat_out(socket: &UdpSocket, end: u64) -> Done {
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(SEND_BATCH, None);
    let slices = [[IoSlice::new(&PAYLOAD)]; SEND_BATCH];
    let addresses = [None; SEND_BATCH];
    let fd = socket.as_raw_fd();
    while now_ns() < end {
        match sendmmsg(fd, &mut headers, &slices, addresses, [], MsgFlags::empty()) {
            // A full device or a connection refused before the sink was up: the flood goes on.
            Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn paced(socket: &UdpSocket, gap: u64, end: u64) -> Done {
    let mut due = now_ns();
    while due < end {
        while now_ns() < due {
            std::hint::spin_loop();
        }
        socket.send(&PAYLOAD)?;
        due += gap;
    }
    Ok(())
}

fn receive_batch(socket: &UdpSocket) -> nix::Result<u64> {
    let mut bytes = [[0; 64]; RECEIVE_BATCH];
    let mut slices: Vec<_> = bytes.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(RECEIVE_BATCH, None);
    let flags = MsgFlags::MSG_DONTWAIT;
    recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, flags, None).map(|r| r.count() as u64)
}

/// Datagrams that this namespace's sockets on `port` dropped: the last column of `/proc/net/udp`,
/// whose second one is `ADDRESS:PORT` in hex.
fn drops_of(port: u16) -> u64 {
    let table = fs::read_to_string("/proc/thread-self/net/udp").unwrap_or_default();
    let local = format!(":{port:04X}");
    let ours = |line: &&str| line.split_whitespace().nth(1).is_some_and(|a| a.ends_with(&local));
    let drops = |line: &str| line.split_whitespace().last().and_then(|n| n.parse::<u64>().ok());
    table.lines().filter(ours).filter_map(drops).sum()
}

pub(super) fn to_ns(seconds: f64) -> u64 {
    std::time::Duration::from_secs_f64(seconds).as_nanos() as u64
}
