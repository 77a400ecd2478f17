//! Where nodes run: which namespace, address and ports each has.

use crate::adapter::NodePlace;
use crate::netns::{BridgeOptions, Bridged, Namespace, Stack};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;

/// Distance between the ports of two nodes on one address.
const PORT_STEP: u16 = 100;

/// Where nodes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// A namespace each behind a bridge: 10.77.0.1 and on.
    Namespaces,
    /// One namespace: 127.0.0.1, with ports 100 apart.
    Loopback,
    /// One namespace: 127.0.0.1, 127.0.0.2 and on.
    Addresses127,
}

/// The network of a cluster; removed when dropped.
#[derive(Debug)]
pub(super) struct Net {
    topology: Topology,
    made: Made,
}

#[derive(Debug)]
enum Made {
    Bridged(Bridged),
    Stack(Stack),
}

impl Net {
    pub(super) fn new(topology: Topology, nodes: usize) -> Result<Self> {
        let made = match topology {
            Topology::Namespaces => {
                Made::Bridged(Bridged::new("rqrun", nodes, BridgeOptions::default())?)
            }
            Topology::Loopback | Topology::Addresses127 => Made::Stack(Stack::new("rqrun")?),
        };
        Ok(Self { topology, made })
    }

    pub(super) fn places(
        &self,
        ports: &BTreeMap<String, u16>,
        nodes: usize,
        data: &Path,
    ) -> Vec<NodePlace> {
        let place = |i: usize| {
            let number = u8::try_from(i + 1).expect("a cluster has a few nodes");
            let (address, step) = match self.topology {
                Topology::Namespaces => (Bridged::v4(i), 0),
                Topology::Loopback => {
                    (IpAddr::V4(Ipv4Addr::LOCALHOST), PORT_STEP * u16::from(number))
                }
                Topology::Addresses127 => (IpAddr::V4(Ipv4Addr::new(127, 0, 0, number)), 0),
            };
            let ports = ports.iter().map(|(name, port)| (name.clone(), port + step)).collect();
            let name = format!("n{number}");
            let data = data.join(&name);
            NodePlace { name, address, ports, data, netns: Some(self.node(i).path()) }
        };
        (0..nodes).map(place).collect()
    }

    /// Whether each port belongs to one node only.
    pub(super) fn check_distinct(places: &[NodePlace]) -> Result<()> {
        let mut taken: BTreeMap<_, (&str, &str)> = BTreeMap::new();
        for place in places {
            for (name, port) in &place.ports {
                let own = (place.name.as_str(), name.as_str());
                if let Some((node, other)) = taken.insert((place.address, *port), own) {
                    return Err(Error::new(format!(
                        "{}: its {name} port {}:{port} is in use already: it is {node}'s {other} \
                         port; give the adapter's node.ports other numbers",
                        place.name, place.address
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether a node finds its ports free: what else would it say than that they are not, in
    /// words of its own, some seconds later?
    pub(super) fn check_ports(&self, place: &NodePlace) -> Result<()> {
        let spaces = self.node_space(&place.name);
        let taken = spaces.inside(|| {
            place.ports.iter().find_map(|(name, port)| {
                match TcpListener::bind((place.address, *port)) {
                    Err(e) if e.kind() == ErrorKind::AddrInUse => Some((name.clone(), *port)),
                    _ => None,
                }
            })
        })?;
        taken.map_or(Ok(()), |(name, port)| {
            Err(Error::new(format!(
                "{}: its {name} port {}:{port} is in use already; give the adapter's node.ports \
                 other numbers",
                place.name, place.address
            )))
        })
    }

    /// The namespace of clients.
    pub(super) fn clients(&self) -> &Namespace {
        match &self.made {
            Made::Bridged(net) => net.hub(),
            Made::Stack(stack) => stack.namespace(),
        }
    }

    /// The one namespace of all nodes, if it is one.
    pub(super) fn shared(&self) -> Option<&Namespace> {
        match &self.made {
            Made::Bridged(_) => None,
            Made::Stack(stack) => Some(stack.namespace()),
        }
    }

    fn node(&self, i: usize) -> &Namespace {
        match &self.made {
            Made::Bridged(net) => &net.nodes()[i],
            Made::Stack(stack) => stack.namespace(),
        }
    }

    fn node_space(&self, name: &str) -> &Namespace {
        let number: usize = name.trim_start_matches('n').parse().unwrap_or(1);
        self.node(number - 1)
    }
}
