//! The nodes of a cluster and their addresses, checked.

use super::diagnostic::{Diagnostic, Sink, Span, quote};
use super::file::{At, Cluster, NodeFields};
use super::table::{Node, Place};
use crate::packet::{Endpoint, NODES_MAX};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Reads the nodes of a cluster. A node with a mistake keeps its name, so that rules that
/// name it are not reported as well. `None` if there are no node ids to speak of.
pub(super) fn nodes(cluster: &Cluster, sink: &mut Sink) -> Option<Vec<Node>> {
    if cluster.nodes.is_empty() {
        // A `nodes` with the wrong shape was reported already; an empty map is an error itself.
        sink.push(
            Diagnostic::error("the cluster has no nodes")
                .at(cluster.span)
                .field("cluster.nodes")
                .help("write `nodes: { n1: 10.77.0.1:2380, n2: 10.77.0.2:2380 }`"),
        );
        return None;
    }
    if let Some((first_over, _)) = cluster.nodes.get(NODES_MAX) {
        let count = cluster.nodes.len();
        let message = format!("the cluster has {count} nodes; at most {NODES_MAX} are possible");
        sink.push(Diagnostic::error(message).at(first_over.span).field("cluster.nodes"));
        return None;
    }
    let mut seen: HashMap<Endpoint, (Span, &str)> = HashMap::new();
    let mut nodes = Vec::with_capacity(cluster.nodes.len());
    for (name, entry) in &cluster.nodes {
        let mut endpoints = Vec::new();
        for at in entry.fields.iter().flat_map(|fields| &fields.at) {
            let endpoint = match endpoint(&at.value) {
                Ok(endpoint) => endpoint,
                Err(wrong) => {
                    sink.push(wrong.at(at.span).field(format!("cluster.nodes.{}", name.value)));
                    continue;
                }
            };
            if let Some((first, other)) = seen.get(&endpoint) {
                let message = format!("{} is an address of {} already", at.value, quote(other));
                let help = "each address and port belongs to one node";
                let field = format!("cluster.nodes.{}", name.value);
                let clash = Diagnostic::error(message).at(at.span).first(*first);
                sink.push(clash.field(field).help(help));
                continue;
            }
            seen.insert(endpoint, (at.span, &name.value));
            endpoints.push(endpoint);
        }
        let place = entry.fields.as_ref().map_or(Place::Unsaid, place);
        nodes.push(Node { name: name.value.clone(), endpoints, place });
    }
    Some(nodes)
}

fn place(fields: &NodeFields) -> Place {
    let text = |at: &At<String>| at.value.clone();
    if let Some(netns) = &fields.netns {
        Place::Netns(text(netns))
    } else if let Some(pid) = fields.pid {
        Place::Pid(pid.value)
    } else if let Some(container) = &fields.container {
        Place::Container(text(container))
    } else {
        Place::Unsaid
    }
}

/// Reads `10.77.0.1:2380` or `[fd00::1]:2380`.
fn endpoint(text: &str) -> Result<Endpoint, Diagnostic> {
    const SHAPE: &str = "write an address and port, such as 10.77.0.1:2380 or \"[fd00::1]:2380\"";
    let wrong = |why: String| Err(Diagnostic::error(why).help(SHAPE));
    let Ok(addr) = text.parse::<SocketAddr>() else {
        return wrong(not_an_endpoint(text));
    };
    let shown = quote(text);
    if addr.port() == 0 {
        return wrong(format!("{shown} has port 0, on which nobody can listen"));
    }
    if addr.ip().to_canonical().is_unspecified() {
        return Err(Diagnostic::error(format!("{shown} means every address of a host"))
            .help("write the address that the other nodes dial"));
    }
    let broadcast = matches!(addr.ip(), IpAddr::V4(ip) if ip.is_broadcast());
    if addr.ip().to_canonical().is_multicast() || broadcast {
        return wrong(format!("{shown} is not the address of one node"));
    }
    if matches!(addr, SocketAddr::V6(v6) if v6.scope_id() != 0) {
        return Err(Diagnostic::error(format!("{shown} names an interface"))
            .help("leave out the part behind `%`; packets do not carry it"));
    }
    Ok(Endpoint::new(addr))
}

/// What is wrong with a text that is no socket address.
fn not_an_endpoint(text: &str) -> String {
    let shown = quote(text);
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if text.is_empty() {
        return "this address is empty".to_owned();
    }
    if text.contains("://") {
        return format!("{shown} is a URL; only its address and port belong here");
    }
    if bare.parse::<std::net::Ipv4Addr>().is_ok() {
        return format!("{shown} has no port");
    }
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("{shown} has no port, or no brackets before it");
    }
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_err() => {
            let known = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
            let what = if known { "is not a port" } else { "is neither an address nor a port" };
            format!("in {shown}, {} {what}", quote(if known { port } else { text }))
        }
        Some((host, _)) if is_host_name(host) => {
            format!("{} is a host name; packets carry addresses", quote(host))
        }
        None if is_host_name(text) => format!("{shown} is a name without address and port"),
        _ => format!("{shown} is not an address and port"),
    }
}

/// Whether a text reads as a name; a number with dots is a mistyped address instead.
fn is_host_name(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(fits) && text.chars().any(char::is_alphabetic)
}
