//! Rules of others beside ours, and what the two do to each other.
//!
//! Our jump stands last: a rule before it that ends the chain hides packets from raftq. A
//! packet that raftq accepts leaves the chain: rules behind the jump and the chain's policy
//! do not see it. Both are told, never changed. Reads `iptables-save`; a rule is taken to
//! match a peer packet unless its words say plainly that it cannot.

use super::chains::{Spec, base_chain};
use super::iptables::Flavour;
use super::restore;
use super::topology::{Family, ips};
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

/// Targets after which a packet leaves the table's hook.
const ENDS: [&str; 6] = ["ACCEPT", "DROP", "REJECT", "QUEUE", "NFQUEUE", "TPROXY"];
/// Ports from here up may be a dialler's.
const EPHEMERAL: u16 = 32_768;

/// One sentence for each rule that hides packets from raftq or that raftq hides them from.
/// The same before and after our rules are in.
pub fn warnings(spec: &Spec<'_>, flavour: Flavour) -> io::Result<Vec<String>> {
    let mut all = Vec::new();
    for family in &spec.site.families {
        let save = restore::save(&spec.site.ns, flavour, *family)?;
        let peers = Peers::of(spec, *family);
        let found = beside(&save, base_chain(spec.site.hook), spec.chain, &peers);
        let place = match family {
            Family::V4 => format!("iptables of {}", spec.site.ns),
            Family::V6 => format!("ip6tables of {}", spec.site.ns),
        };
        all.extend(found.into_iter().map(|sentence| format!("{place}: {sentence}")));
    }
    Ok(all)
}

/// What peer packets look like in one family.
struct Peers {
    addrs: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
    shared: bool,
}

impl Peers {
    fn of(spec: &Spec<'_>, family: Family) -> Self {
        let addrs = spec.nodes.iter().flat_map(ips).filter(|ip| Family::of(*ip) == family);
        let ports = spec.nodes.iter().flat_map(|node| &node.endpoints).map(|e| e.port);
        Self { addrs: addrs.collect(), ports: ports.collect(), shared: spec.site.shared }
    }
}

/// The findings in one save.
fn beside(save: &str, base: &str, ours: &str, peers: &Peers) -> Vec<String> {
    let table: Vec<&str> = restore::table(save, "mangle").collect();
    let mut found = Vec::new();
    let mut behind = false;
    for rule in rules(&table, base) {
        if target(&rule).is_some_and(|(_, name)| name == ours) {
            behind = true;
            continue;
        }
        let matches = could_match(&rule, peers);
        let text = rule.join(" ");
        if behind && matches {
            found.push(format!(
                "rule `{text}` stands behind raftq's and does not see peer packets while raftq runs"
            ));
        } else if matches && ends(&table, &rule, peers, 0) {
            found.push(format!(
                "rule `{text}` stands before raftq's and can end the chain: peer packets it takes \
                 are out of raftq's control; make it more specific or remove it"
            ));
        }
    }
    let policy = format!(":{base} DROP");
    if table.iter().any(|line| line.starts_with(&policy)) {
        found.push(format!(
            "the policy of {base} is DROP: peer packets pass it while raftq accepts them"
        ));
    }
    found
}

/// The rules of a chain, as words without `-A CHAIN`.
fn rules<'a>(table: &[&'a str], chain: &str) -> Vec<Vec<&'a str>> {
    let words = table.iter().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let own = words.filter(|w| w.first() == Some(&"-A") && w.get(1) == Some(&chain));
    own.map(|mut w| w.split_off(2)).collect()
}

/// The flag and name of a rule's target.
fn target<'a>(rule: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let mut pairs = rule.windows(2);
    pairs.find(|pair| matches!(pair[0], "-j" | "-g")).map(|pair| (pair[0], pair[1]))
}

/// Whether a packet that matches the rule may not come to the next one of the base chain.
fn ends(table: &[&str], rule: &[&str], peers: &Peers, depth: usize) -> bool {
    match target(rule) {
        None => false,
        // After a goto nothing comes back to the base chain.
        Some(("-g", _)) if depth == 0 => true,
        Some((_, "RETURN")) => depth == 0,
        Some((_, name)) if ENDS.contains(&name) => true,
        // The kernel refuses loops; the limit is against a save that shows one.
        Some((_, name)) if depth < 16 => rules(table, name)
            .iter()
            .any(|inner| could_match(inner, peers) && ends(table, inner, peers, depth + 1)),
        Some(_) => true,
    }
}

/// Whether a peer packet may match: no word of the rule excludes it.
fn could_match(rule: &[&str], peers: &Peers) -> bool {
    let negated = |i: usize| i > 0 && rule[i - 1] == "!";
    rule.windows(2).enumerate().filter(|(i, _)| !negated(*i)).all(|(_, pair)| {
        match (pair[0], pair[1]) {
            ("-p", proto) => matches!(proto, "tcp" | "udp" | "all" | "0" | "6" | "17"),
            // A shared stack dials from any local address, so addresses exclude nothing.
            ("-s" | "-d", net) => peers.shared || peers.addrs.iter().any(|a| within(*a, net)),
            ("-i", "lo") => peers.shared,
            ("--dport" | "--sport" | "--dports" | "--sports" | "--ports", ports) => {
                ports.split(',').any(|range| touches(range, &peers.ports))
            }
            _ => true,
        }
    })
}

/// Whether an address is in a network such as `10.0.0.0/8`; unreadable ones contain all.
fn within(addr: IpAddr, net: &str) -> bool {
    let (base, len) = net.split_once('/').unwrap_or((net, ""));
    let masked = |bits: u128, width: u32| {
        let len: u32 = len.parse().unwrap_or(width);
        bits.checked_shr(width.saturating_sub(len)).unwrap_or(0)
    };
    match (addr, base.parse()) {
        (IpAddr::V4(a), Ok(IpAddr::V4(b))) => {
            masked(u32::from(a).into(), 32) == masked(u32::from(b).into(), 32)
        }
        (IpAddr::V6(a), Ok(IpAddr::V6(b))) => masked(a.to_bits(), 128) == masked(b.to_bits(), 128),
        (_, Ok(_)) => false,
        (_, Err(_)) => true,
    }
}

/// Whether a port or range `a:b` has a peer port in it, or one that a dialler may use.
fn touches(range: &str, ports: &BTreeSet<u16>) -> bool {
    let (from, to) = range.split_once(':').unwrap_or((range, range));
    let (Ok(from), Ok(to)) = (from.parse::<u16>(), to.parse::<u16>()) else { return true };
    to >= EPHEMERAL || from <= to && ports.range(from..=to).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(shared: bool) -> Peers {
        let addrs = ["10.0.0.1", "10.0.0.2"].map(|a| a.parse().expect("an address"));
        Peers { addrs: addrs.into(), ports: [2380].into(), shared }
    }

    fn found(rules: &str, shared: bool) -> Vec<String> {
        let save = format!("*mangle\n:INPUT ACCEPT [0:0]\n{rules}\nCOMMIT\n");
        beside(&save, "INPUT", "OURS", &peers(shared))
    }

    #[test]
    fn a_rule_that_cannot_match_or_goes_on_is_no_matter() {
        for harmless in [
            "-A INPUT -p icmp -j ACCEPT",
            "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
            "-A INPUT -p tcp -m multiport --dports 22,80:90 -j DROP",
            "-A INPUT -s 192.168.0.0/16 -j DROP",
            "-A INPUT -i lo -j ACCEPT",
            "-A INPUT -p tcp -j MARK --set-xmark 0x1/0xffffffff",
            "-A INPUT -j USER\n-A USER -p tcp -m tcp --dport 22 -j ACCEPT\n-A USER -j RETURN",
            "-A OUTPUT -j DROP",
        ] {
            assert_eq!(found(harmless, false), [""; 0], "{harmless}");
        }
    }

    #[test]
    fn a_rule_that_takes_peer_packets_before_ours_is_told() {
        for harmful in [
            "-A INPUT -j ACCEPT",
            "-A INPUT -p tcp -m tcp --dport 2379:2380 -j ACCEPT",
            "-A INPUT -p tcp -m tcp --sport 1024:65535 -j DROP",
            "-A INPUT -s 10.0.0.0/8 -j DROP",
            "-A INPUT ! -s 192.168.0.0/16 -j DROP",
            "-A INPUT ! -p icmp -j NFQUEUE --queue-num 0",
            "-A INPUT -j USER\n-A USER -j MORE\n-A MORE -d 10.0.0.2/32 -j ACCEPT",
            "-A INPUT -g USER",
            "-A INPUT -p tcp -j RETURN",
        ] {
            let found = found(harmful, false);
            assert!(found.len() == 1 && found[0].contains("stands before"), "{harmful} {found:?}");
        }
        assert_eq!(found("-A INPUT -i lo -j ACCEPT", true).len(), 1, "loopback peers come by lo");
    }

    #[test]
    fn rules_behind_ours_and_the_policy_are_hidden_from() {
        let found = found("-A INPUT -j OURS\n-A INPUT -p tcp -j LOG", false);
        assert!(found.len() == 1 && found[0].contains("stands behind"), "{found:?}");
        let save = "*mangle\n:INPUT DROP [0:0]\nCOMMIT\n";
        let found = beside(save, "INPUT", "OURS", &peers(false));
        assert!(found.len() == 1 && found[0].contains("policy"), "{found:?}");
    }
}
