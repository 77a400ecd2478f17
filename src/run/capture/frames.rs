//! Frames of links: where the IP packet begins in them, and how long it is.
//!
//! Numbers of link types are those of the tcpdump group's registry (`LINKTYPE_...`).

/// How a link frames packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkType {
    /// BSD's loopback, and `LINKTYPE_LOOP`: four bytes with the family.
    Loopback,
    /// Ethernet, with or without VLAN tags.
    Ethernet,
    /// IP and nothing else.
    Raw,
    /// Linux cooked, version 1: what `tcpdump -i any` had for long.
    Cooked,
    /// Linux cooked, version 2.
    Cooked2,
}

/// VLAN tags that are passed over; no real frame has more.
const TAGS_MAX: usize = 4;

impl LinkType {
    /// The one of this number.
    pub(super) fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 | 108 => Self::Loopback,
            1 => Self::Ethernet,
            // 12 and 14: what some systems wrote for raw IP; 228, 229: IPv4 or IPv6 only.
            12 | 14 | 101 | 228 | 229 => Self::Raw,
            113 => Self::Cooked,
            276 => Self::Cooked2,
            _ => return None,
        })
    }
}

/// The IP packet in a frame of which `frame` was recorded and which was `len` bytes long: its
/// bytes without padding, and its own length. `None` where it carries something else.
pub(super) fn ip_packet(link: LinkType, frame: &[u8], len: u32) -> Option<(&[u8], u32)> {
    let start = match link {
        LinkType::Raw => 0,
        LinkType::Loopback => 4,
        LinkType::Ethernet => behind_tags(frame, 12)?,
        LinkType::Cooked => behind_tags(frame, 14)?,
        LinkType::Cooked2 => is_ip(word(frame, 0)?).then_some(20)?,
    };
    let bytes = frame.get(start..)?;
    let rest = len.saturating_sub(start as u32);
    let said = match bytes.first()? >> 4 {
        4 => u32::from(word(bytes, 2).unwrap_or(0)),
        6 => match word(bytes, 4).unwrap_or(0) {
            0 => 0,
            payload => u32::from(payload) + 40,
        },
        _ => return None,
    };
    // A packet that its device was to cut may be longer than its header can say, and then that
    // says 0.
    let len = if said == 0 { rest } else { said };
    Some((&bytes[..bytes.len().min(len as usize)], len))
}

/// Where the packet begins behind the protocol at `at`, VLAN tags passed over.
fn behind_tags(frame: &[u8], at: usize) -> Option<usize> {
    for tag in 0..=TAGS_MAX {
        let at = at + tag * 4;
        match word(frame, at)? {
            0x8100 | 0x88a8 | 0x9100 => {}
            protocol => return is_ip(protocol).then_some(at + 2),
        }
    }
    None
}

fn is_ip(protocol: u16) -> bool {
    matches!(protocol, 0x0800 | 0x86dd)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}
