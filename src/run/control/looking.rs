//! What a live view is shown: everything at once, in one document (`run/snapshot.rs`).

use super::Control;
use crate::kernel::http::Answer;
use crate::observe::Role;
use crate::packet::{LinkId, NodeId};
use crate::run::api::JSON;
use crate::run::disturb::Happened;
use crate::run::round_trips::{Looked, RoundTrips};
use crate::run::snapshot::{
    EVENTS_MAX, EventSeen, FaultSeen, KindSeen, LeaderSeen, LinkSeen, MessagesSeen, NodeSeen,
    RULES_MAX, RoleSeen, RoundTripSeen, RulesSeen, Snapshot, TotalsSeen, WARNINGS_MAX,
};
use crate::run::tally::Tally;
use crate::time::Nanos;
use serde_json::Value;
use std::collections::{HashSet, VecDeque};

/// What a view is shown beside counters.
#[derive(Debug, Default)]
pub(super) struct Recent {
    events: VecDeque<EventSeen>,
    told: u64,
    trips: RoundTrips,
}

impl Recent {
    /// Keeps an event until there are [`EVENTS_MAX`] behind it.
    pub(super) fn note(&mut self, happened: &Happened) {
        self.told += 1;
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(EventSeen {
            n: self.told,
            t_s: happened.t.as_secs_f64(),
            rule: happened.rule.clone(),
            what: happened.what.clone(),
            nodes: happened.nodes.clone(),
        });
    }
}

impl Control<'_> {
    /// One look, with rules from the `from`-th on.
    pub(super) fn look(&mut self, from: usize) -> Answer {
        let table = &self.attached.table;
        let looked = self.recent.trips.look(&table.nodes, &self.attached.plan);
        let now = crate::kernel::clock::now();
        let tally = self.attached.tally();
        let leader = self.disturb.leads();
        let warnings = &self.attached.warnings;
        let shown = warnings.len().saturating_sub(WARNINGS_MAX);
        let snapshot = Snapshot {
            run: self.attached.run_id().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            t_s: self.t().as_secs_f64(),
            ends_in_s: self.until.map(|until| until.saturating_sub(now).as_secs_f64()),
            protocol: table.protocol.map(|protocol| protocol.word().to_owned()),
            leader: leader.map(|(node, term)| LeaderSeen {
                node: table.nodes[usize::from(node.0)].name.clone(),
                term,
            }),
            term: tally.and_then(Tally::term),
            nodes: self.nodes(tally, leader.map(|(node, _)| node)),
            messages: messages(tally),
            links: self.links(&looked),
            no_round_trips: looked.trouble,
            totals: self.totals(),
            rules: self.some_rules(from),
            events: self.recent.events.iter().cloned().collect(),
            warnings: warnings[shown..].to_vec(),
            warnings_more: shown,
        };
        match serde_json::to_vec(&snapshot) {
            Ok(body) => Answer { status: 200, kind: JSON, body, allow: None },
            Err(e) => Answer::error(500, &format!("no document ({e})"), "this is a bug in raftq"),
        }
    }

    fn nodes(&self, tally: Option<&Tally>, leader: Option<NodeId>) -> Vec<NodeSeen> {
        let mut nodes: Vec<NodeSeen> = Vec::new();
        for (i, node) in self.attached.table.nodes.iter().enumerate() {
            let id = NodeId(i as u16);
            let asked = if leader == Some(id) { Role::Leader } else { Role::Unknown };
            let (role, term, messages) = match tally.map(|tally| tally.node(id)) {
                // Where nothing was heard the nodes may have been asked.
                None | Some((Role::Unknown, None, _)) => (asked, None, 0),
                Some(heard) => heard,
            };
            let role = match role {
                Role::Leader => RoleSeen::Leader,
                Role::Candidate => RoleSeen::Candidate,
                Role::Follower => RoleSeen::Follower,
                Role::Unknown => RoleSeen::Unknown,
            };
            let faults = Vec::new();
            nodes.push(NodeSeen { name: node.name.clone(), role, term, messages, faults });
        }
        for (fault, victims) in self.disturb.victims() {
            for &node in victims {
                nodes[node].faults.push(FaultSeen {
                    rule: fault.name.clone(),
                    action: fault.action.name().to_owned(),
                });
            }
        }
        nodes
    }

    fn links(&self, looked: &Looked) -> Vec<LinkSeen> {
        let nodes = self.attached.table.nodes.len();
        let mut links: Vec<LinkSeen> = Vec::new();
        for (i, counts) in self.attached.counters.links.iter().enumerate() {
            let (from, to) = LinkId(i as u16).ends(nodes);
            let trip = looked.trips.iter().find(|trip| (trip.from, trip.to) == (from, to));
            if counts.packets.get() == 0 && trip.is_none() {
                continue;
            }
            links.push(LinkSeen {
                from: usize::from(from.0),
                to: usize::from(to.0),
                packets: counts.packets.get(),
                bytes: counts.bytes.get(),
                dropped: counts.dropped.get(),
                trimmed: counts.trimmed.get(),
                delayed: counts.delayed.get(),
                round_trip: trip.map(|trip| RoundTripSeen {
                    rtt_us: trip.rtt_us,
                    varies_us: trip.varies_us,
                    least_us: trip.least_us,
                    connections: trip.connections,
                    resent: trip.resent,
                }),
            });
        }
        links
    }

    fn totals(&self) -> TotalsSeen {
        let totals = &self.attached.counters.totals;
        let losses = self.attached.losses();
        TotalsSeen {
            packets: totals.packets.get(),
            held: totals.held.get(),
            unattributed: totals.unattributed.get(),
            lost: losses.queue_dropped + losses.user_dropped,
            overflow: totals.overflow.get(),
        }
    }

    /// Faults stand behind the rules, as in the whole list.
    fn some_rules(&self, from: usize) -> RulesSeen<Value> {
        let t = self.t();
        let table = &self.attached.table;
        let active: HashSet<&str> = self.status.active(table).collect();
        let (rules, faults) = (table.rules.len(), self.disturb.faults().count());
        let from = from.min((rules + faults).saturating_sub(1));
        let listed = (from.min(rules)..rules).map(|i| self.rule(i, &active, t));
        let behind = self.disturb.faults().skip(from.saturating_sub(rules));
        let listed = listed.chain(behind.map(|(i, fault)| self.fault(i, fault)));
        RulesSeen {
            total: rules + faults,
            active: active.len() + self.disturb.active().count(),
            from,
            list: listed.take(RULES_MAX).collect(),
        }
    }
}

fn messages(tally: Option<&Tally>) -> MessagesSeen {
    let Some(tally) = tally else { return MessagesSeen::default() };
    let there = tally.kinds().filter(|(_, count)| *count > 0);
    let kinds = there.map(|(kind, count)| KindSeen { kind: kind.word().to_owned(), count });
    MessagesSeen { kinds: kinds.collect(), missed: tally.missed() }
}

/// Something that is told of no rule.
pub(super) fn of_raftq(t: Nanos, what: &str) -> Happened {
    Happened::rule(t, "raftq", what)
}
