//! The interfaces of a network namespace: their addresses, and which are bridges.
//!
//! Asked of the kernel through netlink, because `/sys/class/net` shows the namespace that
//! mounted it and not the one a thread has entered.

use super::netlink::{self, Answer, DUMP, Message};
use super::netns::NetNs;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};

const NETLINK_ROUTE: i32 = 0;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const RTM_GETNSID: u16 = 90;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
const IFLA_INFO_KIND: u16 = 1;
/// `struct ifinfomsg`.
const IFINFO: usize = 16;

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkAddr {
    /// The interface.
    pub link: String,
    /// Whether it is a bridge.
    pub bridge: bool,
    /// The address.
    pub addr: IpAddr,
    /// Length of its network's prefix.
    pub prefix: u32,
}

impl LinkAddr {
    /// Whether `other` is in this address' network.
    #[must_use]
    pub fn reaches(&self, other: IpAddr) -> bool {
        match (self.addr, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differ = u32::from(a) ^ u32::from(b);
                differ.leading_zeros() >= self.prefix
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differ = u128::from(a) ^ u128::from(b);
                differ.leading_zeros() >= self.prefix
            }
            _ => false,
        }
    }

    /// Whether packets to `other` arrive here: it is this address, or both are IPv4
    /// loopback, where the whole network is local.
    #[must_use]
    pub fn is_local(&self, other: IpAddr) -> bool {
        let v4_loopback = matches!(self.addr, IpAddr::V4(a) if a.is_loopback());
        self.addr == other || (v4_loopback && self.reaches(other))
    }
}

/// All addresses of a namespace.
pub fn addresses(ns: &NetNs) -> io::Result<Vec<LinkAddr>> {
    ns.enter(|| {
        let bridges = bridges()?;
        let all = getifaddrs()?.filter_map(|i| {
            let addr = ip(i.address?)?;
            let prefix = prefix_len(ip(i.netmask?)?);
            let bridge = bridges.contains(&i.interface_name);
            Some(LinkAddr { link: i.interface_name, bridge, addr, prefix })
        });
        Ok(all.collect())
    })?
}

/// Whether an interface of `ns` is the other end of a port of a bridge in `hub`.
pub fn behind_bridge(hub: &NetNs, ns: &NetNs) -> io::Result<bool> {
    let fd = ns.as_fd().as_raw_fd();
    hub.enter(|| {
        let ask = Message::new(RTM_GETNSID, 0, &[0; 4]).attr(NETNSA_FD, &fd.to_ne_bytes());
        let answers = netlink::exchange(NETLINK_ROUTE, vec![ask])?;
        let id = answers.first().and_then(|a| netlink::attr(a.body.get(4..)?, NETNSA_NSID));
        // Without a number no interface of the hub leads there.
        let Some(id) = id.filter(|id| *id != (-1i32).to_ne_bytes()) else { return Ok(false) };
        Ok(all_links()?.iter().any(|link| {
            let Some(attrs) = link.body.get(IFINFO..) else { return false };
            netlink::attr(attrs, IFLA_MASTER).is_some()
                && netlink::attr(attrs, IFLA_LINK_NETNSID) == Some(id)
        }))
    })?
}

/// What the interface on the way to one of these addresses carries at a time, in bytes; the
/// largest where there are several, and Ethernet's 1500 where none is found.
pub fn mtu_towards(ns: &NetNs, addrs: &[IpAddr]) -> io::Result<u32> {
    let near = addresses(ns)?;
    let on_way =
        |name: &str| near.iter().any(|at| at.link == name && addrs.iter().any(|a| at.reaches(*a)));
    let links = ns.enter(all_links)??;
    let mtu = links.iter().filter_map(|link| {
        let attrs = link.body.get(IFINFO..)?;
        let name = netlink::attr(attrs, IFLA_IFNAME).map(netlink::text)?;
        let mtu = netlink::word(netlink::attr(attrs, IFLA_MTU)?).map(u32::from_ne_bytes)?;
        on_way(&name).then_some(mtu)
    });
    Ok(mtu.max().unwrap_or(1500))
}

fn all_links() -> io::Result<Vec<Answer>> {
    let ask = Message::new(RTM_GETLINK, DUMP, &[0; IFINFO]);
    netlink::exchange(NETLINK_ROUTE, vec![ask])
}

fn bridges() -> io::Result<BTreeSet<String>> {
    let links = all_links()?;
    let names = links.iter().filter_map(|link| {
        let attrs = link.body.get(IFINFO..)?;
        let kind = netlink::attr(netlink::attr(attrs, IFLA_LINKINFO)?, IFLA_INFO_KIND)?;
        (netlink::text(kind) == "bridge").then_some(())?;
        netlink::attr(attrs, IFLA_IFNAME).map(netlink::text)
    });
    Ok(names.collect())
}

fn ip(addr: SockaddrStorage) -> Option<IpAddr> {
    let v4 = addr.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| addr.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

fn prefix_len(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(m) => u32::from(m).leading_ones(),
        IpAddr::V6(m) => u128::from(m).leading_ones(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(addr: &str, prefix: u32) -> LinkAddr {
        let addr = addr.parse().expect("an address");
        LinkAddr { link: "l".into(), bridge: false, addr, prefix }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn networks_are_compared_by_prefix() {
        assert!(on("10.77.0.254", 24).reaches(ip("10.77.0.1")));
        assert!(!on("10.77.0.254", 24).reaches(ip("10.77.1.1")));
        assert!(on("fd00::fe", 64).reaches(ip("fd00::1")));
        assert!(!on("fd00::fe", 128).reaches(ip("fd00::1")));
        assert!(on("1.1.1.1", 0).reaches(ip("9.9.9.9")));
        assert!(!on("::", 0).reaches(ip("9.9.9.9")));
    }

    #[test]
    fn all_of_127_is_local_but_a_neighbour_is_not() {
        assert!(on("127.0.0.1", 8).is_local(ip("127.0.0.3")));
        assert!(on("10.0.0.1", 8).is_local(ip("10.0.0.1")));
        assert!(!on("10.0.0.1", 8).is_local(ip("10.0.0.2")));
    }
}
