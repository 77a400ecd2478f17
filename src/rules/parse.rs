//! From the tree of a text to the [`RuleFile`] it says.
//!
//! Checks each value by itself: keys, types, words, durations. What values mean together is
//! `compile.rs`. Whatever is wrong is reported and left out, and reading goes on.

use super::diagnostic::{Diagnostic, nearest, quote};
use super::document::{Node, Value};
use super::fields::{Object, Reader, kind};
use super::file::{
    Action, At, Between, Cluster, DelayFields, DropFields, Group, Named, NodeEntry, NodeFields,
    NodeSet, PhaseEntry, Range, RuleEntry, RuleFile, SWITCH, StallFields,
};
use super::table::{ProcessAction, Window};
use super::{parse_actions, parse_where};

pub(super) const FILE_KEYS: &[&str] = &["cluster", "groups", "seed", "phases", "rules"];
pub(super) const CLUSTER_FILE_KEYS: &[&str] = &["cluster", "groups"];
pub(super) const CLUSTER_KEYS: &[&str] =
    &["nodes", "max_rate", "unattributed", "protocol", "group"];
pub(super) const NODE_KEYS: &[&str] = &["at", "netns", "pid", "container"];
pub(super) const RULE_KEYS: &[&str] = &[
    "name", "from", "to", "between", "node", "where", "do", "in", "at", "on", "after", "for",
    "every", "times", "optional",
];
pub(super) const PHASE_KEYS: &[&str] = &["name", "for", "at", "overlap"];
pub(super) const DROP_KEYS: &[&str] = &["what", "keep", "heal"];
pub(super) const DELAY_KEYS: &[&str] =
    &["by", "jitter", "distribution", "table", "correlation", "order"];
pub(super) const STALL_KEYS: &[&str] = &["reset_after"];
pub(super) const ACTION_WORDS: &[&str] = &[
    "accept",
    "reset",
    "drop",
    "delay",
    "stall",
    "loss",
    "reorder",
    "duplicate",
    "corrupt",
    "rate",
    "slot",
    "mark",
    "reject",
    "hold",
];

/// The most steps one `do` may have.
const STEPS_MAX: usize = 16;

/// The longest name of a rule, node or group.
const NAME_MAX: usize = 64;

/// Reads a whole rule file. `None`: the text is not even a map.
pub(super) fn rule_file(reader: &mut Reader<'_>, root: &Node) -> Option<RuleFile> {
    let object = reader.object(root, "a rule file", FILE_KEYS)?;
    let help = "write `rules: []` for a table that only observes";
    reader.require(&object, "rules", "a rule file", help);
    Some(RuleFile {
        cluster: reader.field(&object, "cluster", cluster),
        lacks_cluster: object.get("cluster").is_none(),
        groups: reader.field(&object, "groups", groups).unwrap_or_default(),
        seed: reader.field(&object, "seed", |r, node| r.whole(node, 0, u64::MAX)),
        phases: reader.field(&object, "phases", phases).unwrap_or_default(),
        rules: reader.field(&object, "rules", rules).unwrap_or_default(),
    })
}

/// Reads a cluster file: `cluster`, and `groups` if it likes.
pub(super) fn cluster_file(reader: &mut Reader<'_>, root: &Node) -> Option<RuleFile> {
    let object = reader.object(root, "a cluster file", CLUSTER_FILE_KEYS)?;
    reader.require(&object, "cluster", "a cluster file", "write `cluster:` and its `nodes:`");
    Some(RuleFile {
        cluster: reader.field(&object, "cluster", cluster),
        groups: reader.field(&object, "groups", groups).unwrap_or_default(),
        ..RuleFile::default()
    })
}

fn cluster(reader: &mut Reader<'_>, node: &Node) -> Option<Cluster> {
    let object = reader.object(node, "`cluster`", CLUSTER_KEYS)?;
    reader.require(&object, "nodes", "`cluster`", "write `nodes: { n1: 10.77.0.1:2380 }`");
    Some(Cluster {
        span: node.span,
        nodes: reader.field(&object, "nodes", nodes).unwrap_or_default(),
        max_rate: reader.field(&object, "max_rate", Reader::whole_u32),
        unattributed: reader.field(&object, "unattributed", Reader::word),
        protocol: reader.field(&object, "protocol", Reader::word),
        lacks_protocol: object.get("protocol").is_none(),
        group: reader.field(&object, "group", Reader::text),
    })
}

fn nodes(reader: &mut Reader<'_>, node: &Node) -> Option<Named<NodeEntry>> {
    let entries = reader.entries(node, "`nodes`", &[])?;
    let read = |(key, node): &(_, Node)| {
        let name: At<String> = name_of(reader, key, "a node");
        let before = reader.sink.errors();
        reader.path.push(name.value.clone().into());
        let fields = node_fields(reader, node, &name.value);
        reader.path.pop();
        let fields = fields.filter(|_| reader.sink.errors() == before);
        (name, NodeEntry { fields })
    };
    Some(entries.iter().map(read).collect())
}

fn node_fields(reader: &mut Reader<'_>, node: &Node, name: &str) -> Option<NodeFields> {
    const HELP: &str = "write its peer address and port, such as 10.77.0.1:2380";
    let without = || Diagnostic::error(format!("node {} has no address", quote(name))).help(HELP);
    let empty = matches!(&node.value, Value::List(items) if items.is_empty());
    if node.is_null() || empty {
        reader.report(without().at(node.span));
        return None;
    }
    if !matches!(node.value, Value::Map(_)) {
        let at = reader.one_or_list(node, address)?;
        return Some(NodeFields { at, netns: None, pid: None, container: None });
    }
    let object = reader.object(node, "a node", NODE_KEYS)?;
    let at = object.get("at");
    if at.is_none_or(|at| {
        at.is_null() || matches!(&at.value, Value::List(items) if items.is_empty())
    }) {
        reader.report(without().at(object.key("at").unwrap_or(node.span)));
        return None;
    }
    let at = reader.field(&object, "at", |r, node| r.one_or_list(node, address));
    let fields = NodeFields {
        at: at?,
        netns: reader.field(&object, "netns", Reader::text),
        pid: reader.field(&object, "pid", Reader::whole_u32),
        container: reader.field(&object, "container", Reader::text),
    };
    let places = ["netns", "pid", "container"].map(|key| object.key(key));
    let said: Vec<_> = places.into_iter().flatten().collect();
    if let [first, second, ..] = said.as_slice() {
        let message = format!("node {} has two places", quote(name));
        let help = "keep one of netns, pid and container";
        reader.report(Diagnostic::error(message).at(*second).first(*first).help(help));
    }
    Some(fields)
}

fn address(reader: &mut Reader<'_>, node: &Node) -> Option<At<String>> {
    if let Value::List(_) | Value::Map(_) = node.value {
        let message = format!("an address belongs here, not {}", kind(node));
        let help = "an IPv6 address in brackets needs quotes: \"[fd00::1]:2380\"";
        reader.report(Diagnostic::error(message).at(node.span).help(help));
        return None;
    }
    reader.text(node)
}

pub(super) fn groups(reader: &mut Reader<'_>, node: &Node) -> Option<Named<Group>> {
    let entries = reader.entries(node, "`groups`", &[])?;
    let read = |(key, node): &(_, Node)| {
        let name = name_of(reader, key, "a group");
        reader.path.push(name.value.clone().into());
        let group = match &node.value {
            _ if node.is_null() => Group::Asked,
            _ => reader.node_set(node).map_or(Group::Broken, Group::Nodes),
        };
        reader.path.pop();
        (name, group)
    };
    Some(entries.iter().map(read).collect())
}

/// The name of a node or group: it must be possible to write it in a set and in `--set`.
fn name_of(reader: &mut Reader<'_>, key: &super::document::Key, what: &str) -> At<String> {
    if let Some(why) = unfit_name(&key.text) {
        let message = format!("{} cannot be the name of {what}: {why}", quote(&key.text));
        let help = "use up to 64 letters, digits, `-`, `_` and `.`";
        reader.report(Diagnostic::error(message).at(key.span).help(help));
    }
    At { value: key.text.clone(), span: key.span }
}

/// Why a text cannot name a node or group.
pub(super) fn unfit_name(name: &str) -> Option<&'static str> {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > NAME_MAX {
        Some("it is too long")
    } else if !name.chars().all(fits) {
        Some("it has other characters than letters and digits")
    } else if super::groups::RESERVED.contains(&name) {
        Some("the word has a meaning of its own")
    } else {
        None
    }
}

pub(super) fn rules(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<RuleEntry>> {
    let Value::List(items) = &node.value else {
        let message = format!("`rules` is a list, not {}", kind(node));
        let help = "begin each rule with `- name: ...`";
        reader.report(Diagnostic::error(message).at(node.span).help(help));
        return None;
    };
    let path = std::mem::take(&mut reader.path);
    let rules = items.iter().enumerate().filter_map(|(i, item)| rule(reader, item, i)).collect();
    reader.path = path;
    reader.rule = None;
    Some(rules)
}

pub(super) fn phases(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<PhaseEntry>> {
    let Value::List(items) = &node.value else {
        let message = format!("`phases` is a list, not {}", kind(node));
        let help = "begin each phase with `- name: ...`, and say how long it takes: `for: 10s`";
        reader.report(Diagnostic::error(message).at(node.span).help(help));
        return None;
    };
    Some(items.iter().filter_map(|item| phase(reader, item)).collect())
}

fn phase(reader: &mut Reader<'_>, node: &Node) -> Option<PhaseEntry> {
    let object = reader.object(node, "a phase", PHASE_KEYS)?;
    reader.require(&object, "name", "a phase", "write `name: before`");
    reader.require(&object, "for", "a phase", "say how long it takes, such as for: 10s");
    Some(PhaseEntry {
        span: node.span,
        name: reader.field(&object, "name", |r, node| checked_name(r, node, "a phase")),
        r#for: reader.field(&object, "for", Reader::range),
        at: reader.field(&object, "at", Reader::range),
        overlap: reader.field(&object, "overlap", Reader::duration),
    })
}

fn rule(reader: &mut Reader<'_>, node: &Node, index: usize) -> Option<RuleEntry> {
    reader.rule = Some(rule_name(node, index));
    let before = reader.sink.errors();
    let object = reader.object(node, "a rule", RULE_KEYS)?;
    reader.require(&object, "do", "a rule", "write `do: drop`, or `do: { delay: 20ms }`");
    let entry = RuleEntry {
        span: node.span,
        broken: false,
        name: reader.field(&object, "name", |r, node| checked_name(r, node, "a rule")),
        from: reader.field(&object, "from", Reader::node_set),
        to: reader.field(&object, "to", Reader::node_set),
        between: reader.field(&object, "between", between),
        node: reader.field(&object, "node", Reader::node_set),
        r#where: reader.field(&object, "where", parse_where::filter),
        r#do: reader.field(&object, "do", steps).unwrap_or_default(),
        r#in: reader.field(&object, "in", Reader::text),
        at: reader.field(&object, "at", start),
        on: reader.field(&object, "on", Reader::word),
        after: reader.field(&object, "after", Reader::duration),
        r#for: reader.field(&object, "for", Reader::range),
        every: reader.field(&object, "every", Reader::range),
        times: reader.field(&object, "times", Reader::times),
        optional: reader.field(&object, "optional", Reader::boolean),
    };
    directions(reader, &object);
    Some(RuleEntry { broken: reader.sink.errors() > before, ..entry })
}

/// A time, or the word for a rule that waits to be switched on.
fn start(reader: &mut Reader<'_>, node: &Node) -> Option<At<Range>> {
    match &node.value {
        Value::Scalar { text, .. } if text == SWITCH => {
            let switch = Range { low: Window::SWITCH, high: Window::SWITCH };
            Some(At { value: switch, span: node.span })
        }
        _ => reader.range(node),
    }
}

/// What messages call a rule before it is known to be well-formed.
fn rule_name(node: &Node, index: usize) -> String {
    let Value::Map(entries) = &node.value else { return format!("rule {}", index + 1) };
    match entries.iter().find(|(key, _)| key.text == "name").map(|(_, node)| &node.value) {
        Some(Value::Scalar { text, .. }) if !text.is_empty() => text.clone(),
        _ => format!("rule {}", index + 1),
    }
}

fn checked_name(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<At<String>> {
    let name = reader.text(node)?;
    let bad = name.value.trim().is_empty() || name.value.chars().any(char::is_control);
    if bad || name.value.chars().count() > NAME_MAX {
        let help = "use up to 64 characters on one line";
        let message = format!("this cannot name {what}");
        reader.report(Diagnostic::error(message).at(node.span).help(help));
        return None;
    }
    Some(name)
}

/// `between` stands alone.
fn directions(reader: &mut Reader<'_>, object: &Object<'_>) {
    let Some(between) = object.key("between") else { return };
    if let Some(other) = object.key("from").or(object.key("to")) {
        let (first, second) = (between.min(other), between.max(other));
        let help = "`between` means both directions; `from` and `to` mean one: keep either";
        reader.report(
            Diagnostic::error("`between` stands beside `from` or `to`")
                .at(second)
                .first(first)
                .help(help),
        );
    }
}

fn between(reader: &mut Reader<'_>, node: &Node) -> Option<Between> {
    let two = match &node.value {
        Value::List(items) => <&[Node; 2]>::try_from(items.as_slice()).ok(),
        _ => None,
    };
    let Some(two) = two else {
        let help = "write between: [a, b]; a side may be a list: between: [a, [b, c]]";
        reader.report(
            Diagnostic::error("`between` takes exactly two node sets").at(node.span).help(help),
        );
        return None;
    };
    let [one, other]: [Option<NodeSet>; 2] = two.each_ref().map(|side| reader.node_set(side));
    Some(Between { sides: [one?, other?], span: node.span })
}

fn steps(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<At<Action>>> {
    let steps = reader.one_or_list(node, action)?;
    if steps.len() > STEPS_MAX {
        let message = format!("`do` has {} actions, more than {STEPS_MAX}", steps.len());
        reader.report(Diagnostic::error(message).at(node.span).help("delays can be added up"));
        return None;
    }
    Some(steps)
}

fn action(reader: &mut Reader<'_>, node: &Node) -> Option<At<Action>> {
    let value = match &node.value {
        Value::Scalar { text, .. } => action_word(reader, node, text)?,
        Value::Map(_) => action_map(reader, node)?,
        Value::List(_) => {
            let message = "an action belongs here, not a list";
            reader.report(Diagnostic::error(message).at(node.span));
            return None;
        }
    };
    Some(At { value, span: node.span })
}

fn action_word(reader: &mut Reader<'_>, node: &Node, text: &str) -> Option<Action> {
    let wrong = match text {
        "accept" => return Some(Action::Accept),
        "drop" => return Some(Action::Drop { what: None, keep: None, heal: None }),
        "reset" => return Some(Action::Reset),
        "stall" => return Some(Action::Stall { reset_after: None }),
        "delay" => Diagnostic::error("this delay does not say how long")
            .help("write { delay: 20ms }, or { delay: { by: 20ms, jitter: 5ms } }"),
        _ => {
            if let Some(action) = parse_actions::word(text) {
                return Some(action);
            }
            if let Some(wrong) = parse_actions::without_value(text) {
                reader.report(wrong.at(node.span));
                return None;
            }
            let process = ProcessAction::ALL.into_iter();
            if let Some(action) = process.clone().find(|action| action.name() == text) {
                return Some(Action::Process(action));
            }
            let words = ACTION_WORDS.iter().copied().chain(process.map(ProcessAction::name));
            let words: Vec<&str> = words.collect();
            let unknown = Diagnostic::error(format!("there is no action {}", quote(text)))
                .help(format!("the actions are {}", words.join(", ")));
            unknown.nearest(nearest(text, words))
        }
    };
    reader.report(wrong.at(node.span));
    None
}

fn action_map(reader: &mut Reader<'_>, node: &Node) -> Option<Action> {
    let before = reader.sink.errors();
    let object = reader.object(node, "an action", &ACTION_WORDS[2..])?;
    let mut keys: Vec<_> = ACTION_WORDS[2..].iter().filter_map(|key| object.key(key)).collect();
    keys.sort_unstable();
    if let [first, second, ..] = keys.as_slice() {
        let help = "write a list: do: [{ delay: 20ms }, drop]";
        reader.report(
            Diagnostic::error("two actions in one map").at(*second).first(*first).help(help),
        );
    }
    if keys.is_empty() && reader.sink.errors() == before {
        let help = "write accept, drop, or { delay: 20ms }";
        reader.report(Diagnostic::error("this action is empty").at(node.span).help(help));
    }
    let drop = reader.field(&object, "drop", drop_fields);
    let delay = reader.field(&object, "delay", delay_fields);
    let stall = reader.field(&object, "stall", stall_fields);
    let impair = parse_actions::field(reader, &object);
    drop.or(delay).or(stall).or(impair)
}

fn stall_fields(reader: &mut Reader<'_>, node: &Node) -> Option<Action> {
    let before = reader.sink.errors();
    let object = reader.object(node, "`stall`", STALL_KEYS)?;
    let fields =
        StallFields { reset_after: reader.field(&object, "reset_after", Reader::duration) };
    if fields.reset_after.is_none() && reader.sink.errors() == before {
        let help = "write { stall: { reset_after: 2s } }, or just stall";
        reader.report(Diagnostic::error("this `stall` says nothing").at(node.span).help(help));
    }
    Some(Action::Stall { reset_after: fields.reset_after })
}

fn drop_fields(reader: &mut Reader<'_>, node: &Node) -> Option<Action> {
    let before = reader.sink.errors();
    let object = reader.object(node, "`drop`", DROP_KEYS)?;
    let fields = DropFields {
        what: reader.field(&object, "what", Reader::word),
        keep: reader.field(&object, "keep", Reader::word),
        heal: reader.field(&object, "heal", Reader::word),
    };
    let nothing = fields.what.is_none() && fields.keep.is_none() && fields.heal.is_none();
    if nothing && reader.sink.errors() == before {
        let help = "write { drop: { what: data } }, or just drop";
        reader.report(Diagnostic::error("this `drop` says nothing").at(node.span).help(help));
    }
    Some(Action::Drop {
        what: fields.what.map(|what| what.value),
        keep: fields.keep.map(|keep| keep.value),
        heal: fields.heal.map(|heal| heal.value),
    })
}

fn delay_fields(reader: &mut Reader<'_>, node: &Node) -> Option<Action> {
    if let Value::Scalar { .. } = node.value {
        let by = reader.duration(node)?;
        return Some(Action::Delay(DelayFields {
            by,
            jitter: None,
            distribution: None,
            table: None,
            correlation: None,
            order: None,
        }));
    }
    let object = reader.object(node, "`delay`", DELAY_KEYS)?;
    reader.require(&object, "by", "`delay`", "write { delay: { by: 20ms, jitter: 5ms } }");
    let by = reader.field(&object, "by", Reader::duration);
    let fields = DelayFields {
        jitter: reader.field(&object, "jitter", Reader::duration),
        distribution: reader.field(&object, "distribution", Reader::word),
        table: reader.field(&object, "table", Reader::text),
        correlation: reader.field(&object, "correlation", parse_actions::correlation),
        order: reader.field(&object, "order", Reader::word),
        by: by?,
    };
    if let (Some(table), Some(first)) = (object.key("table"), object.key("distribution")) {
        let wrong = Diagnostic::error("`table` stands beside `distribution`");
        reader.report(wrong.at(table).first(first).help("keep one of the two"));
    }
    Some(Action::Delay(fields))
}
