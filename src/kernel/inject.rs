//! Packets of raftq's own, which reach a node as if they came by the network.
//!
//! Where a node's packets are queued in its own stack, a raw socket in that stack sends them: they
//! come back by loopback, and with the way that routed them out, so that no filter of foreign
//! sources looks at them. They bear [`MARK`], by which our chain lets them pass unqueued. Behind a
//! bridge they leave by the port that leads to the node, and pass no hook of the bridge's; port and
//! address of the node's device are learnt from packets that it has sent ([`Injectors::learn`]).
//!
//! It never waits and never allocates for a packet; what could not be sent is counted. It makes no
//! packets: whoever does gives whole ones, with right lengths and checksums, no longer than the
//! device on their way takes. A raw socket cannot reach a socket that is bound to a device.

use super::queue::Neighbour;
use super::topology::{Family, Hook, Plan, Site};
use super::trouble::Trouble;
use crate::packet::{NodeId, mapped};
use crate::rules::table::Node;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto,
    setsockopt, socket, sockopt,
};
use rustc_hash::FxBuildHasher;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};

/// The mark of packets that are not to be queued: all 32 bits, none of which is a flag of what
/// else marks packets on many hosts.
pub const MARK: u32 = 0x2071;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Packets that were sent.
    pub sent: u64,
    /// Packets that could not be.
    pub failed: u64,
}

/// Ways to all nodes of a cluster.
#[derive(Debug, Default)]
pub struct Injectors {
    ways: Vec<Way>,
    homes: HashMap<u128, Home, FxBuildHasher>,
    /// Where other addresses are, such as those that nodes of a shared stack dial from.
    elsewhere: Option<usize>,
    counts: Injected,
}

/// How packets get to the nodes of a site.
#[derive(Debug)]
enum Way {
    /// By raw sockets in their stack.
    Inside { v4: Option<OwnedFd>, v6: Option<OwnedFd> },
    /// Out of the port of a bridge.
    Port(OwnedFd),
}

/// An address of a node.
#[derive(Clone, Copy, Debug)]
struct Home {
    way: usize,
    /// Behind a bridge, once something was heard of it.
    behind: Option<Neighbour>,
}

impl Injectors {
    /// No ways at all: every packet fails.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Opens the ways to all nodes. Fails where the privilege for raw sockets is not held, or a
    /// namespace forbids them.
    pub fn open(nodes: &[Node], plan: &Plan) -> Result<Self, Trouble> {
        let mut all = Self::none();
        for (way, site) in plan.sites.iter().enumerate() {
            all.ways.push(open(site).map_err(|e| forbidden(site, &e))?);
            let local = |NodeId(id): &NodeId| super::topology::ips(&nodes[usize::from(*id)]);
            let addresses = site.local.iter().flat_map(local);
            all.homes.extend(addresses.map(|ip| (mapped(ip), Home { way, behind: None })));
        }
        let mut inside = plan.sites.iter().enumerate().filter(|(_, s)| s.hook == Hook::Input);
        let shared = plan.sites.iter().position(|site| site.shared);
        all.elsewhere = match (inside.next(), inside.next()) {
            (Some((only, _)), None) => Some(only),
            _ => shared,
        };
        Ok(all)
    }

    /// Sends a whole IP packet to the node whose address is its destination. An error is counted
    /// as well; [`io::ErrorKind::NotFound`]: nothing was heard yet of that node behind a bridge.
    pub fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        let result = self.try_send(packet);
        match result {
            Ok(()) => self.counts.sent += 1,
            Err(_) => self.counts.failed += 1,
        }
        result
    }

    /// A packet from this address came from there; addresses of no node are passed over.
    #[inline]
    pub fn learn(&mut self, addr: u128, from: Neighbour) {
        if let Some(home) = self.homes.get_mut(&addr) {
            home.behind = Some(from);
        }
    }

    /// Whether it has to be told where packets come from.
    #[must_use]
    pub fn learns(&self) -> bool {
        self.ways.iter().any(|way| matches!(way, Way::Port(_)))
    }

    /// How many packets were sent so far.
    #[must_use]
    pub fn counts(&self) -> Injected {
        self.counts
    }

    fn try_send(&self, packet: &[u8]) -> io::Result<()> {
        let to = destination(packet).ok_or(io::ErrorKind::InvalidInput)?;
        let home = self.homes.get(&mapped(to)).copied();
        let elsewhere = || self.elsewhere.map(|way| Home { way, behind: None });
        let home = home.or_else(elsewhere).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let flags = MsgFlags::MSG_DONTWAIT;
        let sent = match (&self.ways[home.way], to) {
            (Way::Port(fd), to) => {
                let behind = home.behind.ok_or(io::ErrorKind::NotFound)?;
                send_out_of(fd, behind, to, packet)?
            }
            (Way::Inside { v4: Some(fd), .. }, IpAddr::V4(to)) => {
                let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
                sendto(fd.as_raw_fd(), packet, &to, flags)?
            }
            (Way::Inside { v6: Some(fd), .. }, IpAddr::V6(to)) => {
                let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, 0));
                sendto(fd.as_raw_fd(), packet, &to, flags)?
            }
            (Way::Inside { .. }, _) => return Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        if sent == packet.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// The sockets of a site.
fn open(site: &Site) -> io::Result<Way> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let raw = |family: Family, domain| -> io::Result<Option<OwnedFd>> {
        if !site.families.contains(&family) {
            return Ok(None);
        }
        // Whoever sends by this protocol writes the IP header, too.
        let fd = socket(domain, SockType::Raw, flags, SockProtocol::Raw)?;
        setsockopt(&fd, sockopt::Mark, &MARK)?;
        Ok(Some(fd))
    };
    site.ns.enter(|| match site.hook {
        Hook::Input => Ok(Way::Inside {
            v4: raw(Family::V4, AddressFamily::Inet)?,
            v6: raw(Family::V6, AddressFamily::Inet6)?,
        }),
        // Without a protocol it receives nothing; the kernel writes the link's header.
        Hook::BridgeForward => {
            Ok(Way::Port(socket(AddressFamily::Packet, SockType::Datagram, flags, None)?))
        }
    })?
}

fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => {
            let bytes: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes).into())
        }
        6 => {
            let bytes: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// Sends a packet out of a device, to the node behind it.
#[expect(unsafe_code, reason = "nix makes no addresses of devices")]
fn send_out_of(fd: &OwnedFd, to: Neighbour, ip: IpAddr, packet: &[u8]) -> io::Result<usize> {
    // SAFETY: all zeroes is a valid sockaddr_ll.
    let mut addr: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    // The two numbers of the kernel's ETH_P_IP and ETH_P_IPV6.
    let protocol: u16 = if ip.is_ipv4() { 0x0800 } else { 0x86dd };
    addr.sll_family = libc::AF_PACKET as u16;
    addr.sll_protocol = protocol.to_be();
    addr.sll_ifindex = to.device.cast_signed();
    addr.sll_halen = to.mac.len() as u8;
    addr.sll_addr[..to.mac.len()].copy_from_slice(&to.mac);
    // SAFETY: the packet and the address are read for this call only, by their own lengths.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            libc::MSG_DONTWAIT,
            (&raw const addr).cast(),
            std::mem::size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn forbidden(site: &Site, e: &io::Error) -> Trouble {
    Trouble::new(
        format!("no packets of raftq's own can be sent in {} ({e})", site.ns),
        "run as root; in a container CAP_NET_RAW is needed beside CAP_NET_ADMIN",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_packet_or_has_no_way_fails_and_is_counted() {
        let mut injectors = Injectors::none();
        let kind = |result: io::Result<()>| result.map_err(|e| e.kind());
        for cut in [&[][..], &[0x45; 19], &[0x60; 39], &[0x10; 60]] {
            assert_eq!(kind(injectors.send(cut)), Err(io::ErrorKind::InvalidInput));
        }
        assert_eq!(kind(injectors.send(&[0x45; 40])), Err(io::ErrorKind::AddrNotAvailable));
        injectors.learn(7, Neighbour { device: 1, mac: [0; 6] });
        assert!(!injectors.learns());
        assert_eq!(injectors.counts(), Injected { sent: 0, failed: 5 });
    }
}
