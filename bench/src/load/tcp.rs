//! TCP: round trips of 200 bytes, and one stream that never ends.

use super::{Done, meter::Meter, udp::to_ns};
use crate::clock::now_ns;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

const MESSAGE: usize = 200;
const CHUNK: usize = 128 << 10;

/// Sends each message back, one connection after the other, until it is killed.
pub(crate) fn echo(at: SocketAddr) -> Done {
    let listener = TcpListener::bind(at)?;
    println!("ready");
    let mut message = [0; MESSAGE];
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        while stream.read_exact(&mut message).is_ok() {
            stream.write_all(&message)?;
        }
    }
}

/// Measures round trips to an echo for `seconds` after `warm` unmeasured ones, then prints
/// `P50 P99 COUNT`, times in nanoseconds.
pub(crate) fn ping(to: SocketAddr, warm: f64, seconds: f64) -> Done {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let mut message = [0x52; MESSAGE];
    let start = now_ns() + to_ns(warm);
    let end = start + to_ns(seconds);
    let mut times = Vec::with_capacity(1 << 20);
    loop {
        let sent = now_ns();
        if sent >= end {
            break;
        }
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        if sent >= start {
            times.push(now_ns() - sent);
        }
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    println!("{} {} {}", at(50), at(99), times.len());
    Ok(())
}

/// Writes one stream until it is killed or the other side is gone.
pub(crate) fn pour(to: SocketAddr) -> Done {
    let mut stream = TcpStream::connect(to)?;
    let chunk = vec![0x52; CHUNK];
    while stream.write_all(&chunk).is_ok() {}
    Ok(())
}

/// Reads one stream after the other and counts bytes, until it is killed.
pub(crate) fn drain(at: SocketAddr) -> Done {
    let listener = TcpListener::bind(at)?;
    let meter = Meter::start(|| 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let (mut stream, _) = listener.accept()?;
        while let Ok(length @ 1..) = stream.read(&mut chunk) {
            meter.add(length as u64);
        }
    }
}
