//! Changing a payload, with a checksum that fits what is there now or what was there before.

use super::{checksum, ip_len};
use crate::engine::Damage;
use crate::packet::{PacketView, Proto};

/// Writes into `out` the packet `bytes` with its payload damaged, and returns its length.
///
/// The checksum is always written in full: what came may have none yet, since the kernel completes
/// those of its own packets late, but never those of changed ones. Where it is to be wrong it is
/// right for what was there before. `None` where `bytes` is not the whole packet, or the damage
/// lies outside of its payload.
pub fn corrupt(bytes: &[u8], view: &PacketView, damage: &Damage, out: &mut [u8]) -> Option<usize> {
    let len = view.len as usize;
    let head = usize::from(view.header_len);
    let (from, to) = (head + damage.from as usize, head + damage.to as usize);
    if bytes.len() != len || view.intricate || from >= to || to > len {
        return None;
    }
    let packet = out.get_mut(..len)?;
    packet.copy_from_slice(bytes);
    if !damage.fixes_checksum {
        checksum(packet, view)?;
    }
    let part = &mut packet[from..to];
    if damage.one_bit {
        let bit = damage.bits % (part.len() as u64 * 8);
        part[(bit / 8) as usize] ^= 1 << (bit % 8);
    } else {
        for (byte, noise) in part.iter_mut().zip(noise(damage.bits)) {
            *byte ^= noise;
        }
    }
    if damage.fixes_checksum {
        checksum(packet, view)?;
        return Some(len);
    }
    // By chance the damage may have left the sum as it was.
    let at = checksum_at(packet, view, head);
    let former = [packet[at], packet[at + 1]];
    checksum(packet, view)?;
    let fits = former == [packet[at], packet[at + 1]];
    packet[at..at + 2].copy_from_slice(&former);
    packet[at] ^= u8::from(fits);
    if view.proto == Proto::Udp && packet[at..at + 2] == [0, 0] {
        // A UDP checksum of 0 means that there is none, and the receiver would not look.
        packet[at + 1] = 1;
    }
    Some(len)
}

/// Where the checksum of a packet stands, whose headers are `head` bytes long.
fn checksum_at(packet: &[u8], view: &PacketView, head: usize) -> usize {
    match view.proto {
        Proto::Udp => head - 2,
        Proto::Tcp => ip_len(packet) + 16,
    }
}

/// Bytes that change whatever they are laid upon; the same for the same bits.
fn noise(bits: u64) -> impl Iterator<Item = u8> {
    // A xorshift generator (Marsaglia 2003) needs a state that is not 0.
    let mut state = bits | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 32) as u8).max(1)
    })
}
