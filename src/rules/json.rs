//! The compiled table for machines. Times are in nanoseconds, names are resolved.

use super::file::SWITCH;
use super::json_actions;
use super::table::{
    Action, Bounds, FlowAge, MessageFilter, OpenSet, Place, Role, Rule, Table, Unattributed, What,
};
use crate::packet::Proto;
use crate::time::Nanos;
use crate::wire::{Kind, Protocol};
use serde_json::{Value, json};

/// The table as one JSON object.
#[must_use]
pub fn table_json(table: &Table) -> Value {
    let nodes = table.nodes.iter().map(|node| {
        let (kind, place) = match &node.place {
            Place::Unsaid => (None, None),
            Place::Netns(name) => (Some("netns"), Some(json!(name))),
            Place::Pid(pid) => (Some("pid"), Some(json!(pid))),
            Place::Container(name) => (Some("container"), Some(json!(name))),
        };
        let mut object = json!({
            "name": node.name,
            "addresses": node.endpoints.iter().map(|e| e.socket_addr().to_string())
                .collect::<Vec<_>>(),
        });
        if let (Some(kind), Some(place)) = (kind, place) {
            object[kind] = place;
        }
        object
    });
    json!({
        "nodes": nodes.collect::<Value>(),
        "seed": table.seed,
        "max_rate": table.max_rate,
        "unattributed": match table.unattributed {
            Unattributed::Accept => "accept",
            Unattributed::Drop => "drop",
        },
        "protocol": table.protocol.map(Protocol::word),
        "group": table.group,
        "phases": table.phases.iter().map(|phase| json!({
            "name": phase.name, "start_ns": phase.start.0, "end_ns": phase.end.0,
        })).collect::<Value>(),
        "rules": table.rules.iter().map(|rule| rule_json(table, rule)).collect::<Value>(),
    })
}

fn rule_json(table: &Table, rule: &Rule) -> Value {
    let name = |node: crate::packet::NodeId| &table.nodes[usize::from(node.0)].name;
    let links = rule.links.iter().map(|link| {
        let (from, to) = link.ends(table.nodes.len());
        json!([name(from), name(to)])
    });
    json!({
        "name": rule.name,
        "links": links.collect::<Value>(),
        "where": {
            "proto": rule.filter.proto.map(|proto| match proto {
                Proto::Tcp => "tcp",
                Proto::Udp => "udp",
            }),
            "port": rule.filter.port,
            "flow": rule.filter.flow.map(|flow| match flow {
                FlowAge::New => "new",
                FlowAge::Established => "established",
            }),
            "packet": json_actions::narrow(table, &rule.filter.narrow),
            "message": rule.filter.message.as_ref().map(message_json),
            "every_nth": rule.filter.every_nth,
            "first": rule.filter.first,
            "chance": rule.filter.chance.map(|share| share as f64 / 4_294_967_296.0),
        },
        "do": rule.actions.iter().map(|a| action_json(table, a)).collect::<Value>(),
        "on": rule.on.map(|on| json!({
            "event": on.event.word(),
            "after_ns": on.after.0,
            "for_ns": on.lasts.map(|span| span.0),
            "times": on.times,
            "fires": on.fires,
        })),
        "sides": rule.sides.as_ref().map(|sides| json!({
            "from": set_json(table, &sides.from),
            "to": set_json(table, &sides.to),
            "both": sides.both,
            "node": set_json(table, &sides.node),
        })),
        "at_ns": if rule.window.by_switch() { json!(SWITCH) } else { json!(rule.window.at.0) },
        "for_ns": rule.window.lasts.map(|span| span.0),
        "every_ns": rule.window.every.map(|span| span.0),
        // How much more is drawn for each activation, evenly.
        "for_more_ns": rule.window.draws.map_or(0, |draws| draws.lasts.0),
        "every_more_ns": rule.window.draws.map_or(0, |draws| draws.every.0),
        "until_ns": (rule.window.until < Nanos::MAX).then_some(rule.window.until.0),
        "times": rule.window.times,
        "keep_held": rule.keeps_held,
        "heal": rule.heals_by_reset.then_some("reset"),
        "optional": rule.optional,
    })
}

fn message_json(message: &MessageFilter) -> Value {
    let bounds = |bounds: Bounds| json!([bounds.least, bounds.most]);
    json!({
        "kinds": message.kinds().map(Kind::word).collect::<Vec<_>>(),
        "term": message.term.map(bounds),
        "entries": message.entries.map(bounds),
        "from_role": message.from_role.map(|role| match role {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
        }),
        "granted": message.granted,
        "group": message.group.map(|group| group.text()),
    })
}

fn set_json(table: &Table, set: &OpenSet) -> Value {
    let nodes = table.nodes.iter().enumerate();
    let mut words: Vec<String> = nodes
        .filter(|(i, _)| set.named & (1 << i) != 0)
        .map(|(_, node)| node.name.clone())
        .collect();
    words.extend(set.words.iter().map(|word| word.shown()));
    words.extend(set.rest.then(|| "rest".to_owned()));
    json!(words)
}

fn action_json(table: &Table, action: &Action) -> Value {
    match action {
        Action::Trigger(trigger) => json!({ "trigger": {
            "fault": table.faults[usize::from(trigger.fault)].action.name(),
            "nodes": table.nodes.iter().enumerate()
                .filter(|(i, _)| trigger.nodes & (1 << i) != 0)
                .map(|(_, node)| node.name.as_str())
                .collect::<Vec<_>>(),
        } }),
        Action::Accept => json!({ "accept": {} }),
        Action::Reset => json!({ "reset": {} }),
        Action::Stall { reset_after } => {
            json!({ "stall": { "reset_after_ns": reset_after.map(|span| span.0) } })
        }
        Action::Drop(What::Packets) => json!({ "drop": { "what": "packets" } }),
        Action::Drop(What::Data) => json!({ "drop": { "what": "data" } }),
        other => json_actions::action(table, other),
    }
}
