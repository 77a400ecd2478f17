//! What a rule can do to packets beyond passing, dropping and delaying them: the compiled form of
//! those actions, part of the table. Shares are of 2^32, as everywhere: 2^32 is always.

use super::about::Event;
use super::random::Loss;
use super::table::Delay;
use crate::time::Nanos;

/// A chance whose outcomes may depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    /// How often, of 2^32.
    pub share: u64,
    /// How often the last draw of this direction of the connection is taken again, of 2^32:
    /// outcomes that lie `k` apart correlate by its `k`-th power.
    pub correlation: u64,
}

impl Lot {
    /// Always.
    pub const ALWAYS: Self = Self { share: 1 << 32, correlation: 0 };
}

/// Which packets a `loss` loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losing {
    /// By chance, independent or correlated.
    Lot(Lot),
    /// By a model with a state for each direction of each connection.
    Model(Loss),
}

/// Packets that overtake the delays so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reorder {
    /// How often one that may overtake does.
    pub lot: Lot,
    /// Of so many packets in a row only the last may; at least 1.
    pub gap: u32,
}

/// Packets that arrive more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// How often.
    pub lot: Lot,
    /// Copies beside the packet itself, at least 1.
    pub count: u8,
    /// How long behind it they leave.
    pub delay: Nanos,
}

/// The most copies of one packet.
pub const COPIES_MAX: u8 = 16;

/// Packets whose payload is changed. Headers stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// How often.
    pub lot: Lot,
    /// What of the payload.
    pub part: Part,
    /// Whether the checksum is made to fit again, so that the receiver's program sees it.
    pub fixes_checksum: bool,
}

/// What of a payload is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One bit, anywhere.
    Bit,
    /// All bytes of a range, `from` included, `to` not, as far as the payload has them.
    Bytes {
        /// The first.
        from: u16,
        /// The one behind the last; larger than `from`.
        to: u16,
    },
}

/// A bottleneck. What comes faster waits its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bits a second, at least 1.
    pub bits: u64,
    /// Bytes that every packet has in addition on the wire; negative to leave headers out.
    pub overhead: i32,
    /// What is sent in cells takes whole ones of so many bytes; 0: no cells.
    pub cell: u32,
    /// Bytes that every cell has in addition.
    pub cell_overhead: i32,
    /// Bytes that pass at once after a silence.
    pub burst: u64,
    /// The longest that a packet waits; what would wait longer is dropped.
    pub limit: Nanos,
    /// What shares the bottleneck.
    pub per: Per,
}

impl Rate {
    /// How long so many bytes take that go as `segments` packets, each of them with its headers.
    #[must_use]
    pub fn takes(&self, bytes: u64, segments: u64) -> Nanos {
        let each = bytes / segments.max(1);
        let one = each.saturating_add_signed(i64::from(self.overhead)).max(1);
        let one = match u64::from(self.cell) {
            0 => one,
            cell => {
                let with = cell.saturating_add_signed(i64::from(self.cell_overhead)).max(1);
                one.div_ceil(cell) * with
            }
        };
        // What the division left over belongs to the last one.
        let total = one.saturating_mul(segments.max(1)) + (bytes - each * segments.max(1));
        let ns = u128::from(total) * 8 * 1_000_000_000 / u128::from(self.bits);
        Nanos(u64::try_from(ns).unwrap_or(u64::MAX / 4))
    }

    /// Whether the largest GSO packet is too much to pass, or to be dropped, in one piece: it would
    /// take more than a tenth of what there is room for before the bottleneck.
    #[must_use]
    pub fn needs_segments(&self) -> bool {
        self.takes(GSO_MAX, 1).0 > self.limit.0 / 10
    }
}

/// Bytes of the largest GSO packet there is by the kernel's defaults.
const GSO_MAX: u64 = 65_536;

/// What shares a bottleneck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// All that goes from one node to another.
    #[default]
    Link,
    /// Each direction of each connection has its own.
    Flow,
}

/// Packets that are delivered in bunches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    /// Time from one slot to the next: `by - jitter` to `by + jitter`, or by a distribution.
    pub every: Delay,
    /// Packets that one slot takes; `u32::MAX`: any number.
    pub packets: u32,
    /// Bytes that one slot takes; `u64::MAX`: any number.
    pub bytes: u64,
}

impl Slot {
    /// Whether it matters how much one packet is: a GSO packet would count as one, or overfill it.
    #[must_use]
    pub fn needs_segments(&self) -> bool {
        self.packets < u32::MAX || self.bytes < 10 * GSO_MAX
    }
}

/// What the sender of a rejected packet is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reject {
    /// Nobody listens on that port.
    #[default]
    PortUnreachable,
    /// That host is not there.
    HostUnreachable,
    /// No way leads to that network.
    NetUnreachable,
    /// A firewall forbids it.
    AdminProhibited,
    /// A RST; only for TCP.
    TcpReset,
}

impl Reject {
    /// Its word in rules and in output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::PortUnreachable => "port_unreachable",
            Self::HostUnreachable => "host_unreachable",
            Self::NetUnreachable => "net_unreachable",
            Self::AdminProhibited => "admin_prohibited",
            Self::TcpReset => "tcp_reset",
        }
    }
}

/// Packets that wait for something else than a time of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// For what.
    pub until: Until,
    /// Whether the last to come leaves first.
    pub reversed: bool,
}

/// What ends a hold, beside the end of its rule, which always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The end of its rule.
    End,
    /// A time of the rules' clock.
    Time(Nanos),
    /// Something that a message shows.
    Event(Event),
    /// The end of another rule, by its index.
    Rule(u16),
}

/// The mark that a packet bears on its way through the host from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its bits.
    pub value: u32,
    /// Which of them are set; the others stay as they were.
    pub mask: u32,
}

impl Mark {
    /// What becomes of a mark.
    #[must_use]
    pub const fn of(self, former: u32) -> u32 {
        (former & !self.mask) | (self.value & self.mask)
    }

    /// This one, and another one on top of it.
    #[must_use]
    pub const fn and(self, next: Self) -> Self {
        Self { value: next.of(self.value & self.mask), mask: self.mask | next.mask }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_takes_the_time_of_its_bits_and_its_overhead() {
        let rate = Rate {
            bits: 8_000_000,
            overhead: 0,
            cell: 0,
            cell_overhead: 0,
            burst: 0,
            limit: Nanos::from_secs(1),
            per: Per::Link,
        };
        assert_eq!(rate.takes(1_000, 1), Nanos::from_millis(1));
        assert_eq!(Rate { overhead: 24, ..rate }.takes(1_000, 1).0, 1_024_000);
        assert_eq!(Rate { overhead: -40, ..rate }.takes(1_000, 1).0, 960_000);
        // As ADSL does with ATM: 53 bytes on the wire for each 48, and the last one is filled up.
        let atm = Rate { cell: 48, cell_overhead: 5, ..rate };
        assert_eq!(atm.takes(49, 1).0, 2 * 53 * 1_000);
        assert_eq!(Rate { overhead: 10, ..rate }.takes(3_000, 3).0, 3_030_000);
        assert_eq!(Rate { bits: 1, ..rate }.takes(u64::MAX / 16, 1).0, u64::MAX / 4);
    }

    #[test]
    fn marks_lie_on_top_of_each_other() {
        let (low, high) = (Mark { value: 1, mask: 0xff }, Mark { value: 0x200, mask: 0xff00 });
        assert_eq!(low.and(high).of(0xdead_beef), 0xdead_0201);
        assert_eq!(low.and(Mark { value: 4, mask: 4 }).of(0), 5);
    }
}
