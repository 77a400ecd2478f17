//! The thread that finds out who holds a socket, while the packet in question waits.

use super::mailbox::{Inbox, Order, Post};
use crate::engine::{Answer, Question};
use crate::kernel::owners::{Owner, Owners};
use crate::kernel::poll::Poller;
use crate::kernel::sched;
use crate::kernel::topology::{Plan, Site};
use crate::kernel::trouble::Trouble;
use crate::packet::{Endpoint, NodeId};
use crate::rules::Table;
use crate::time::Nanos;
use std::io;
use std::os::fd::AsFd;
use std::thread::JoinHandle;

/// How often it looks whether it is still needed.
const LOOK: Nanos = Nanos::from_millis(500);

/// One network stack that several nodes share.
pub struct Stack {
    /// Where its nodes listen; a packet from such an address comes from this stack,
    /// whichever queue saw it.
    addrs: Vec<u128>,
    /// Index of the queue of the packets that arrive here.
    queue: u16,
    owners: Owners,
}

/// Every shared stack.
pub type Stacks = Vec<Stack>;

/// `(dialling end, peer end, who dialled)`.
pub type KnownConnections = Vec<(Endpoint, Endpoint, Answer)>;

/// Starts the thread; it ends when the loop is gone. `urgent`: on a busy machine a search
/// that competes with everything else outlasts the patience of the packets that wait.
pub fn start(
    mut stacks: Stacks,
    questions: Inbox<Question>,
    orders: Post<Order>,
    urgent: bool,
) -> io::Result<JoinHandle<()>> {
    let mut poller = Poller::new()?;
    poller.add(questions.bell.as_fd())?;
    std::thread::Builder::new().name("raftq-asker".into()).spawn(move || {
        if urgent {
            log::debug!("senders are searched for at {}", sched::become_preferred().name());
        }
        while !questions.is_abandoned() {
            if let Err(e) = poller.wait(LOOK) {
                log::error!("cannot wait for questions: {e}");
                return;
            }
            questions.open();
            while let Some(question) = questions.take() {
                let answer = answer(&mut stacks, &question);
                if orders.send(Order::Answered(question, answer)).is_err() {
                    log::debug!("an answer came too late");
                }
            }
        }
    })
}

fn answer(stacks: &mut Stacks, question: &Question) -> Answer {
    let local = question.local.addr;
    let at = stacks.iter().position(|stack| stack.addrs.contains(&local));
    // A loopback address names no stack, but then the packet arrived where it was sent.
    let at = at.or_else(|| stacks.iter().position(|stack| stack.queue == question.queue));
    let Some(owners) = at.map(|at| &mut stacks[at].owners) else { return Answer::Unknown };
    match owners.owner(question.proto, question.local, question.remote) {
        Ok(owner) => {
            log::debug!(
                "{} -> {}: {owner}",
                question.local.socket_addr(),
                question.remote.socket_addr()
            );
            from_owner(owner, owners.all_listen())
        }
        Err(e) => {
            log::warn!("who holds {}? {e}", question.local.socket_addr());
            Answer::Unknown
        }
    }
}

/// While some node does not listen a stranger may be that node, dialling before it does.
fn from_owner(owner: Owner, all_listen: bool) -> Answer {
    match owner {
        Owner::Node(node) => Answer::Node(node),
        Owner::Stranger if all_listen => Answer::Stranger,
        Owner::Stranger | Owner::Ambiguous(_) | Owner::Orphan | Owner::Unseen | Owner::Gone => {
            Answer::Unknown
        }
    }
}

/// The connections that are older than the attach.
pub fn known_connections(owners: &mut Owners) -> io::Result<KnownConnections> {
    let connections = owners.connections()?;
    Ok(connections
        .into_iter()
        // The others are asked for when they speak.
        .filter_map(|c| Some((c.a, c.b, Answer::Node(c.a_node?))))
        .collect())
}

/// Nodes that share their network stack with others.
pub(super) fn shared_nodes(plan: &Plan) -> Vec<NodeId> {
    plan.sites.iter().filter(|site| site.shared).flat_map(|site| site.local.clone()).collect()
}

/// Opens the search in every shared stack.
pub(super) fn open_stacks(table: &Table, plan: &Plan) -> Result<Stacks, Trouble> {
    let mut stacks = Stacks::new();
    for (i, site) in plan.sites.iter().enumerate().filter(|(_, site)| site.shared) {
        let owners = open_owners(table, site).map_err(|e| unasked(site, &e))?;
        let nodes = site.local.iter().map(|id| &table.nodes[usize::from(id.0)]);
        let addrs = nodes.flat_map(|node| node.endpoints.iter().map(|end| end.addr)).collect();
        stacks.push(Stack { addrs, queue: i as u16, owners });
    }
    Ok(stacks)
}

/// Opens the search in one stack.
pub(super) fn open_owners(table: &Table, site: &Site) -> io::Result<Owners> {
    let nodes: Vec<(NodeId, Vec<Endpoint>)> = site
        .local
        .iter()
        .map(|&id| (id, table.nodes[usize::from(id.0)].endpoints.clone()))
        .collect();
    site.ns.enter(|| Owners::open(nodes))?
}

pub(super) fn unasked(site: &Site, e: &io::Error) -> Trouble {
    Trouble::new(
        format!("the senders in {} cannot be told apart ({e})", site.ns.reference().label),
        "`raftq doctor` says what this host lacks",
    )
}
