//! Packets that a queue lost, read where the kernel counts them.
//!
//! With `NO_ENOBUFS` set the socket itself stays silent, so these two columns of
//! `/proc/net/netfilter/nfnetlink_queue` are the only witness. The file is opened inside
//! the queue's namespace and stays bound to it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Losses of one queue since it was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Packets that wait for a verdict now.
    pub waiting: u64,
    /// Dropped because the queue was at its length.
    pub queue_dropped: u64,
    /// Dropped because the receive buffer was full.
    pub user_dropped: u64,
}

/// Reads the losses of one queue.
#[derive(Debug)]
pub struct LossReader {
    file: File,
    number: u16,
}

impl LossReader {
    /// Must be called on a thread that is inside the queue's namespace.
    pub fn open(number: u16) -> io::Result<Self> {
        let file = File::open("/proc/thread-self/net/netfilter/nfnetlink_queue")?;
        Ok(Self { file, number })
    }

    /// The present counts; zeroes where the queue is not bound.
    pub fn read(&self) -> io::Result<Losses> {
        // One read gives a page at most: some seventy queues.
        let (mut text, mut page) = (Vec::new(), [0; 4096]);
        loop {
            let len = self.file.read_at(&mut page, text.len() as u64)?;
            text.extend_from_slice(&page[..len]);
            if len == 0 {
                break;
            }
        }
        Ok(parse(&String::from_utf8_lossy(&text), self.number).unwrap_or_default())
    }
}

/// Columns: number, port id, waiting, copy mode, copy range, queue dropped, user dropped,
/// id of the last packet, 1.
fn parse(text: &str, number: u16) -> Option<Losses> {
    let number = u64::from(number);
    text.lines().find_map(|line| {
        let columns: Vec<u64> = line.split_whitespace().map_while(|c| c.parse().ok()).collect();
        match columns[..] {
            [n, _, waiting, _, _, queue_dropped, user_dropped, ..] if n == number => {
                Some(Losses { waiting, queue_dropped, user_dropped })
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_six_and_seven_are_the_losses() {
        let text =
            "    7   1234     3 2   128     5     6      100  1\n   42  99  0 2 128 0 0 0  1\n";
        let losses = Losses { waiting: 3, queue_dropped: 5, user_dropped: 6 };
        assert_eq!(parse(text, 7), Some(losses));
        assert_eq!(parse(text, 42), Some(Losses::default()));
        assert_eq!(parse(text, 1), None);
        assert_eq!(parse("garbage\n7 x", 7), None);
    }
}
