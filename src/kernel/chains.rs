//! The rules of one site as text for `iptables-restore`: what is peer traffic, and nothing
//! else.
//!
//! Where addresses identify the nodes, a packet is peer traffic if a node sent it to a node
//! of this site and either port is a peer port; three short chains ask for the three in
//! turn, so that other traffic leaves after the first. Where nodes share a stack they dial
//! from any local address, so one end must be a node's endpoint. A client's traffic to a
//! client port matches neither. What raftq sends by itself (`inject.rs`) is peer traffic, too, and
//! returns by its mark. Pure text; `iptables.rs` puts it in.

use super::inject::MARK;
use super::topology::{Family, Hook, Site, ips};
use crate::packet::Endpoint;
use crate::rules::table::Node;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

/// What a site's rules are made from.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    /// Where they go.
    pub site: &'a Site,
    /// All nodes of the cluster.
    pub nodes: &'a [Node],
    /// Name of the chain, unique to this run.
    pub chain: &'a str,
    /// Number of the queue.
    pub queue: u16,
}

/// The text of a restore, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Input for one `iptables-restore --noflush`.
    pub text: String,
    /// The chains it makes; the first is the one that the hook jumps to.
    pub chains: Vec<String>,
}

/// The base chain of a hook.
#[must_use]
pub fn base_chain(hook: Hook) -> &'static str {
    match hook {
        Hook::Input => "INPUT",
        Hook::BridgeForward => "FORWARD",
    }
}

/// The rule of the base chain that leads to ours, without its verb.
#[must_use]
pub fn jump(hook: Hook, chain: &str) -> String {
    match hook {
        Hook::Input => format!("INPUT -j {chain}"),
        Hook::BridgeForward => format!("FORWARD -m physdev --physdev-is-bridged -j {chain}"),
    }
}

/// The rules of one family; `None` where the site's nodes have no endpoint in it.
#[must_use]
pub fn script(spec: &Spec<'_>, family: Family) -> Option<Script> {
    if !spec.site.families.contains(&family) {
        return None;
    }
    let chains = if spec.site.shared { shared(spec, family) } else { apart(spec, family) };
    let mut text = String::from("*mangle\n");
    // `-N` fails where the chain exists; `:CHAIN` would empty somebody's chain.
    for (name, _) in &chains {
        let _ = writeln!(text, "-N {name}");
    }
    for (name, rules) in &chains {
        for rule in rules {
            let _ = writeln!(text, "-A {name} {rule}");
        }
    }
    let _ = writeln!(text, "-A {}\nCOMMIT", jump(spec.site.hook, spec.chain));
    Some(Script { text, chains: chains.into_iter().map(|(n, _)| n).collect() })
}

type Chain = (String, Vec<String>);

/// Source is a node, destination is a node of this site, either port is a peer port.
fn apart(spec: &Spec<'_>, family: Family) -> Vec<Chain> {
    let (source, destination, port) =
        (spec.chain.to_owned(), format!("{}-D", spec.chain), format!("{}-P", spec.chain));
    let alone = match spec.site.local.as_slice() {
        [only] => Some(usize::from(only.0)),
        _ => None,
    };
    // A node's packets to itself are no peer traffic; on a bridge they do not pass anyway.
    let senders = spec.nodes.iter().enumerate().filter(|(i, _)| Some(*i) != alone);
    let senders = addresses(senders.map(|(_, node)| node), family);
    let receivers = addresses(local(spec), family);
    let ports: BTreeSet<u16> = endpoints(spec.nodes.iter(), family).map(|e| e.port).collect();
    let by_port = ports.iter().flat_map(|p| {
        let queue = queue(spec);
        ["tcp --dport", "tcp --sport", "udp --dport", "udp --sport"]
            .map(|m| format!("-p {m} {p} {queue}"))
    });
    let by_port = own(spec).into_iter().chain(by_port).collect();
    vec![
        (source, senders.iter().map(|a| format!("-s {a} -j {destination}")).collect()),
        (destination, receivers.iter().map(|a| format!("-d {a} -j {port}")).collect()),
        (port, by_port),
    ]
}

/// One end is the endpoint of a node: of this site's where it receives, of any where it
/// answers.
fn shared(spec: &Spec<'_>, family: Family) -> Vec<Chain> {
    let to = endpoints(local(spec), family).map(|e| (e, "-d", "--dport"));
    let from = endpoints(spec.nodes.iter(), family).map(|e| (e, "-s", "--sport"));
    let rules = to.chain(from).flat_map(|(e, address, port)| {
        let queue = queue(spec);
        let addr = e.socket_addr().ip();
        ["tcp", "udp"].map(|p| format!("{address} {addr} -p {p} {port} {} {queue}", e.port))
    });
    vec![(spec.chain.to_owned(), own(spec).into_iter().chain(rules).collect())]
}

/// Lets packets of raftq's own pass, where they come by: a bridge's never do.
fn own(spec: &Spec<'_>) -> Option<String> {
    let comes = spec.site.hook == Hook::Input;
    comes.then(|| format!("-m mark --mark {MARK:#x} -j RETURN"))
}

/// With bypass, packets pass while nobody reads the queue.
fn queue(spec: &Spec<'_>) -> String {
    format!("-j NFQUEUE --queue-num {} --queue-bypass", spec.queue)
}

fn local<'a>(spec: &Spec<'a>) -> impl Iterator<Item = &'a Node> {
    let nodes = spec.nodes;
    spec.site.local.iter().map(move |id| &nodes[usize::from(id.0)])
}

fn endpoints<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    family: Family,
) -> impl Iterator<Item = Endpoint> {
    let all = nodes.flat_map(|node| node.endpoints.iter().copied());
    all.filter(move |e| Family::of(e.socket_addr().ip()) == family)
}

fn addresses<'a>(nodes: impl Iterator<Item = &'a Node>, family: Family) -> BTreeSet<IpAddr> {
    nodes.flat_map(ips).filter(|ip| Family::of(*ip) == family).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::netns::NetNs;
    use crate::packet::NodeId;
    use crate::rules::table::Place;

    fn node(name: &str, endpoints: &[&str]) -> Node {
        let endpoint = |text: &&str| Endpoint::new(text.parse().expect("an endpoint"));
        let endpoints = endpoints.iter().map(endpoint).collect();
        Node { name: name.into(), endpoints, place: Place::Unsaid }
    }

    fn site(local: &[u16], hook: Hook) -> Site {
        Site {
            ns: NetNs::current().expect("/proc is mounted"),
            hook,
            local: local.iter().map(|i| NodeId(*i)).collect(),
            shared: local.len() > 1 && hook == Hook::Input,
            families: vec![Family::V4],
        }
    }

    fn text(site: &Site, nodes: &[Node]) -> String {
        let spec = Spec { site, nodes, chain: "C", queue: 9 };
        assert_eq!(script(&spec, Family::V6), None);
        script(&spec, Family::V4).expect("the site has IPv4").text
    }

    #[test]
    fn a_node_of_its_own_queues_what_the_others_send_it() {
        let nodes = [node("a", &["10.0.0.1:1"]), node("b", &["10.0.0.2:1", "10.0.0.9:1"])];
        let expected = "\
*mangle
-N C
-N C-D
-N C-P
-A C -s 10.0.0.2 -j C-D
-A C -s 10.0.0.9 -j C-D
-A C-D -d 10.0.0.1 -j C-P
-A C-P -m mark --mark 0x2071 -j RETURN
-A C-P -p tcp --dport 1 -j NFQUEUE --queue-num 9 --queue-bypass
-A C-P -p tcp --sport 1 -j NFQUEUE --queue-num 9 --queue-bypass
-A C-P -p udp --dport 1 -j NFQUEUE --queue-num 9 --queue-bypass
-A C-P -p udp --sport 1 -j NFQUEUE --queue-num 9 --queue-bypass
-A INPUT -j C
COMMIT
";
        assert_eq!(text(&site(&[0], Hook::Input), &nodes), expected);
    }

    #[test]
    fn a_bridge_takes_every_pair() {
        let nodes = [node("a", &["10.0.0.1:1"]), node("b", &["10.0.0.2:2"])];
        let text = text(&site(&[0, 1], Hook::BridgeForward), &nodes);
        assert!(text.contains("-A C -s 10.0.0.1 -j C-D\n-A C -s 10.0.0.2 -j C-D\n"), "{text}");
        assert!(text.contains("-A C-D -d 10.0.0.1 -j C-P\n"), "{text}");
        assert!(text.contains("-A FORWARD -m physdev --physdev-is-bridged -j C\n"), "{text}");
        assert!(!text.contains("mark"), "{text}");
    }

    #[test]
    fn a_shared_stack_asks_only_for_one_endpoint() {
        let nodes = [node("a", &["127.0.0.1:1"]), node("b", &["127.0.0.1:2"])];
        let text = text(&site(&[0, 1], Hook::Input), &nodes);
        assert!(text.contains("-N C\n-A C -m mark --mark 0x2071 -j RETURN\n"), "{text}");
        assert!(text.contains("-A C -d 127.0.0.1 -p tcp --dport 2 -j NFQUEUE"), "{text}");
        assert!(text.contains("-A C -s 127.0.0.1 -p udp --sport 1 -j NFQUEUE"), "{text}");
    }
}
