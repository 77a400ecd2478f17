//! The bytes of the packet queue's messages: written without allocating, read without
//! trusting. For requests that may allocate see `netlink.rs`.
//!
//! Layouts: `include/uapi/linux/netlink.h` and `.../netfilter/nfnetlink.h`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const HEADER: usize = 16;
const NLA_HEADER: usize = 4;

const fn aligned(len: usize) -> usize {
    (len + 3) & !3
}

/// Writes messages one behind the other into memory that is reserved once.
#[derive(Debug)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    start: usize,
}

impl Builder {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), start: 0 }
    }

    /// Begins a netfilter message about `resource` (a queue number); `flags` 0 is a plain
    /// request.
    pub(crate) fn begin(&mut self, kind: u16, flags: u16, resource: u16) {
        self.begin_for(kind, flags, libc::AF_UNSPEC as u8, resource);
    }

    /// The same with an address family.
    pub(crate) fn begin_for(&mut self, kind: u16, flags: u16, family: u8, resource: u16) {
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
    }

    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = (NLA_HEADER + value.len()) as u16;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }

    /// Writes the length of the message that was begun last.
    pub(crate) fn end(&mut self) {
        let len = (self.bytes.len() - self.start) as u32;
        self.bytes[self.start..self.start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// A received message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    /// What follows the netlink header.
    pub(crate) body: &'a [u8],
}

impl Message<'_> {
    /// The error number of an error message, negative; 0 is an acknowledgement.
    pub(crate) fn error(&self) -> i32 {
        self.body.get(..4).map_or(-libc::EBADMSG, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
    }
}

/// The messages of a datagram; ends at the first that is cut.
pub(crate) fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = rest.get(..HEADER)?;
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let body = rest.get(HEADER..len)?;
        rest = rest.get(aligned(len)..).unwrap_or_default();
        Some(Message { kind, body })
    })
}

/// Sets an integer option of a netlink socket.
#[expect(unsafe_code, reason = "nix knows no netlink socket options")]
pub(crate) fn set_option(fd: &OwnedFd, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the option value is an int that lives on this stack frame, and its size is
    // given as such.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const value).cast(),
            std::mem::size_of::<i32>() as u32,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::super::netlink::attrs;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_loop_or_read_beyond_them(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            // A plausible length gets the reader past the first header.
            len in 0u8..220,
            attribute in 0u8..200,
        ) {
            let mut bytes = bytes;
            for (at, byte) in [(0, len), (1, 0), (2, 0), (3, 0), (20, attribute), (21, 0)] {
                bytes.get_mut(at).into_iter().for_each(|b| *b = byte);
            }
            let read: Vec<_> = messages(&bytes).collect();
            prop_assert!(read.iter().map(|m| m.body.len() + HEADER).sum::<usize>() <= bytes.len());
            for message in read {
                let _ = message.error();
                let inside = attrs(message.body.get(4..).unwrap_or_default());
                prop_assert!(inside.map(|(_, value)| value.len() + 4).sum::<usize>() <= 200);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut builder = Builder::with_capacity(256);
        for id in [7u32, 8] {
            builder.begin(0x301, 0, 5);
            builder.attribute(2, &id.to_be_bytes());
            builder.attribute(10, b"abcde");
            builder.end();
        }
        let read: Vec<_> = messages(builder.bytes()).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].kind, 0x301);
        let attributes: Vec<_> = attrs(&read[1].body[4..]).collect();
        assert_eq!(attributes, [(2, &8u32.to_be_bytes()[..]), (10, &b"abcde"[..])]);
    }

    #[test]
    fn cut_and_lying_lengths_end_the_reading() {
        let mut builder = Builder::with_capacity(64);
        builder.begin(1, 0, 0);
        builder.attribute(1, b"1234");
        builder.end();
        let whole = builder.bytes().to_vec();
        for cut in 0..whole.len() {
            assert_eq!(messages(&whole[..cut]).count(), 0, "cut at {cut}");
        }
        let mut zero = whole.clone();
        zero[..4].fill(0);
        assert_eq!(messages(&zero).count(), 0, "a length of zero must not loop");
    }
}
