//! From what was written to what is meant: [`RuleFile`] and `--set` to a [`Table`].
//!
//! Checks what values mean together: names, times, actions. Every mistake of every rule is
//! reported. A rule whose text was already refused is only searched for unknown names, since
//! what it lacks would look like further mistakes.

use super::actions::{self, Load, Open};
use super::diagnostic::{Diagnostic, Sink, quote};
use super::file::{Action as Step, NodeSet, RuleEntry, RuleFile};
use super::groups::SetArg;
use super::messages::{self, Spoken};
use super::phases::Phases;
use super::reach::Reach;
use super::roles::Roles;
use super::sets::{Sets, Side};
use super::table::{
    Fault, Filter, Masks, Meant, OpenSides, RANDOM_RULES_MAX, RULE_LINKS_MAX, RULES_MAX, Rule,
    TRIGGERS_MAX, Table,
};
use super::times::{self, Clock};
use super::{cluster, conditions, hold, preempt, processes};
use crate::packet::{LinkId, NodeId, Proto};
use std::collections::HashMap;

/// Packets a second that a cluster's links are assumed to carry if the file does not say.
const MAX_RATE: u32 = 20_000;

/// A rule beside what it was written as.
pub(super) struct Compiled<'f> {
    pub(super) entry: &'f RuleEntry,
    pub(super) reach: Reach,
    pub(super) rule: Rule,
}

/// What is given beside the files.
pub(super) struct Given<'a> {
    /// The `--set` arguments.
    pub(super) sets: &'a [SetArg],
    /// Who leads, where somebody can tell.
    pub(super) roles: Option<Roles>,
    /// A seed that replaces the file's.
    pub(super) seed: Option<u64>,
    /// Reads the tables of distributions.
    pub(super) load: Load<'a>,
}

/// Compiles. `None` if `sink` has an error.
pub(super) fn table(
    file: &RuleFile,
    cluster_file: Option<&RuleFile>,
    given: &Given<'_>,
    sink: &mut Sink,
) -> Option<Table> {
    let Given { sets: args, roles, seed, load } = *given;
    let seed = seed.unwrap_or(file.seed.as_ref().map_or(0, |seed| seed.value));
    let cluster = cluster_file.unwrap_or(file).cluster.as_ref();
    if cluster.is_none() && cluster_file.is_none() && file.lacks_cluster {
        sink.push(
            Diagnostic::error("the rule file has no `cluster`, and none was given")
                .help("add `cluster:` with its nodes, or pass --cluster FILE"),
        );
    }
    let nodes = cluster.and_then(|cluster| cluster::nodes(cluster, sink));
    let (spoken, group) = messages::spoken(cluster, sink);
    // Where messages are read, somebody can tell who leads by the time it is asked.
    let roles = roles.or(spoken.protocol.map(|_| Roles::imagined()));
    let groups = [Some(&file.groups), cluster_file.map(|file| &file.groups)];
    let groups: Vec<_> = groups.into_iter().flatten().collect();
    let mut sets =
        nodes.as_ref().map(|nodes| Sets::new(nodes, &groups, args, (roles, spoken), sink));
    let phases = Phases::new(&file.phases, seed, sink);
    let clock = Clock { seed, phases: &phases };
    let mut open = Open::new(load);
    let (mut compiled, faults) = rules(file, sets.as_mut(), (spoken, clock, &mut open), sink);
    actions::link_holds(&mut compiled, spoken, sink);
    let (cluster, sets) = (cluster?, sets?);
    sets.warn_unused(args, sink);
    let nodes = nodes.as_ref()?;
    let max_rate = cluster.max_rate.map_or(MAX_RATE, |rate| rate.value);
    limits(file, &compiled, nodes.len(), sink);
    let link_name = |link: LinkId| {
        let (from, to) = link.ends(nodes.len());
        let name = |id: NodeId| &nodes[usize::from(id.0)].name;
        format!("{} -> {}", name(from), name(to))
    };
    hold::check(&compiled, max_rate, nodes.len(), &link_name, sink);
    if sink.errors() > 0 {
        return None;
    }
    preempt::warn(&compiled, sink);
    let mut table: Vec<Rule> = Vec::with_capacity(compiled.len());
    for Compiled { reach, rule, .. } in compiled {
        table.push(Rule { links: reach.links(nodes.len()), ..rule });
    }
    Some(Table {
        nodes: nodes.clone(),
        seed,
        max_rate,
        unattributed: cluster.unattributed.as_ref().map_or_else(Default::default, |u| u.value),
        protocol: spoken.protocol,
        group,
        patterns: open.patterns,
        rules: table,
        faults,
        distributions: open.tables,
        phases: phases.into_vec(),
    })
}

/// Compiles every rule as far as it goes. Without sets, because there is no cluster to take
/// them from, everything else is still looked at.
fn rules<'f>(
    file: &'f RuleFile,
    mut sets: Option<&mut Sets<'_>>,
    (spoken, clock, open): (Spoken, Clock<'_>, &mut Open<'_>),
    sink: &mut Sink,
) -> (Vec<Compiled<'f>>, Vec<Fault>) {
    let mut names = HashMap::new();
    let mut compiled = Vec::new();
    let mut faults = Vec::new();
    for (index, entry) in file.rules.iter().enumerate() {
        let name = entry.name.as_ref().map_or(format!("rule {}", index + 1), |n| n.value.clone());
        unique(&mut names, &name, entry, sink);
        if !processes::is_meant(entry) {
            compiled.extend(rule(entry, name, sets.as_deref_mut(), (spoken, clock, open), sink));
            continue;
        }
        let fault = processes::fault(entry, name.clone(), sets.as_deref_mut(), clock, sink);
        if processes::is_triggered(entry) {
            let rule = rule(entry, name, sets.as_deref_mut(), (spoken, clock, open), sink);
            compiled.extend(rule.zip(fault.as_ref()).map(|(c, fault)| {
                let rule = processes::trigger(entry, c.rule, fault, faults.len());
                Compiled { rule, ..c }
            }));
        }
        faults.extend(fault);
    }
    (compiled, faults)
}

fn unique<'f>(
    names: &mut HashMap<String, &'f RuleEntry>,
    name: &str,
    entry: &'f RuleEntry,
    sink: &mut Sink,
) {
    let span = |entry: &RuleEntry| entry.name.as_ref().map_or(entry.span, |name| name.span);
    if let Some(first) = names.insert(name.to_owned(), entry) {
        let message = format!("a second rule is called {}", quote(name));
        let clash = Diagnostic::error(message).at(span(entry)).first(span(first));
        let help = "give each rule its own name; counters are kept by it";
        sink.push(clash.rule(name).field("name").help(help));
    }
}

fn limits(file: &RuleFile, compiled: &[Compiled<'_>], nodes: usize, sink: &mut Sink) {
    let over = |entry: &RuleEntry, message: String, help: &str| {
        Diagnostic::error(message).at(entry.span).help(help)
    };
    if let Some(entry) = file.rules.get(RULES_MAX) {
        let message = format!("{} rules are more than {RULES_MAX}", file.rules.len());
        sink.push(over(entry, message, "node sets and groups let one rule cover many links"));
    }
    let mut random = compiled.iter().filter(|c| c.rule.is_random());
    if let Some(c) = random.nth(RANDOM_RULES_MAX) {
        let message = format!("more than {RANDOM_RULES_MAX} rules have a chance or a jitter");
        sink.push(over(c.entry, message, "let one rule cover several links"));
    }
    if let Some(c) = compiled.iter().filter(|c| c.rule.trigger().is_some()).nth(TRIGGERS_MAX) {
        let message = format!("more than {TRIGGERS_MAX} rules trigger a fault");
        sink.push(over(c.entry, message, "let one rule cover several links"));
    }
    let mut links = 0;
    let last = compiled.iter().find(|c| {
        links += c.reach.count(nodes);
        links > RULE_LINKS_MAX
    });
    if let Some(c) = last {
        let message = format!("all rules together name more than {RULE_LINKS_MAX} links");
        sink.push(over(c.entry, message, "use fewer rules, or smaller sets"));
    }
}

/// Compiles one rule, its links aside. `None` if something is wrong with it.
fn rule<'f>(
    entry: &'f RuleEntry,
    name: String,
    sets: Option<&mut Sets<'_>>,
    (spoken, clock, open): (Spoken, Clock<'_>, &mut Open<'_>),
    sink: &mut Sink,
) -> Option<Compiled<'f>> {
    let before = sink.errors();
    let (reached, dynamic) = match sets {
        Some(sets) => {
            sets.asked_roles = false;
            (reach(entry, &name, sets, sink), sets.asked_roles)
        }
        None => (None, false),
    };
    if entry.broken {
        return None;
    }
    let mut push = |wrong: Diagnostic| sink.push(wrong.rule(name.as_str()));
    if reached.as_ref().is_some_and(|reached| reached.example.is_empty()) {
        push(no_links(entry));
    }
    // `processes::fault` has complained of times that cannot be.
    let window = if processes::is_meant(entry) {
        times::armed(entry, &name, clock)
    } else {
        times::window(entry, &name, clock, &mut push)
    };
    let on = messages::on(entry, spoken, &mut push);
    let filter = conditions::filter(entry, (spoken, open), &mut push);
    let actions = actions::actions(entry, open, &mut push);
    if filter.message.is_some() {
        messages::warn_of_drop(entry, &mut push);
    } else if let Some(reached) = &reached {
        one_way(entry, reached.example, filter, &mut push);
    }
    let rule = Rule {
        name,
        links: Vec::new(),
        filter,
        actions,
        window,
        on,
        sides: reached.as_ref().and_then(|reached| reached.sides.clone()),
        keeps_held: entry.r#do.iter().any(|step| actions::keeps_held(&step.value)),
        heals_by_reset: entry.r#do.iter().any(|step| actions::heals_by_reset(&step.value)),
        optional: entry.optional.is_some_and(|optional| optional.value),
        dynamic,
    };
    let reach = reached.filter(|_| sink.errors() == before)?.reach;
    Some(Compiled { entry, reach, rule })
}

/// The links of a rule.
struct Reached {
    /// All that it may come to.
    reach: Reach,
    /// Some that it may come to together.
    example: Reach,
    /// What they are, where only the engine will know.
    sides: Option<OpenSides>,
}

fn reach(entry: &RuleEntry, name: &str, sets: &mut Sets<'_>, sink: &mut Sink) -> Option<Reached> {
    let sides = match &entry.between {
        Some(between) => {
            between.sides.each_ref().map(|set| Side { set: Some(set), field: "between" })
        }
        None => [
            Side { set: entry.from.as_ref(), field: "from" },
            Side { set: entry.to.as_ref(), field: "to" },
        ],
    };
    if entry.broken {
        // A side that was refused is not there, and `rest` would be taken for the rest of it.
        for side in sides {
            let _ = sets.side(side, name, sink);
        }
        return None;
    }
    let both = entry.between.is_some();
    let of = |[one, other]: [_; 2]| {
        if both { Reach::between(one, other) } else { Reach::one_way(one, other) }
    };
    sets.check_current(&sides, name, sink);
    if entry.on.is_none() && !sets.follow(&sides) {
        let reach = of(sets.sides(sides, name, sink)?);
        return Some(Reached { reach, example: reach, sides: None });
    }
    let event = entry.on.map(|on| on.value);
    let [from, to] = sets.open_sides(sides, event, name, sink)?;
    let node = processes::open_node(entry, sets);
    let all = sets.all();
    let reach = of([from.possible(all), to.possible(all)]);
    let sides = OpenSides { from, to, both, node };
    let somebody = Some(NodeId(0));
    let meant = Meant { leader: somebody, candidate: somebody, current: somebody, choice: 0 };
    let Masks { from, to, .. } = sides.masks(&meant, all);
    Some(Reached { reach, example: of([from, to]), sides: Some(sides) })
}

/// A rule whose sets leave no pair of different nodes.
fn no_links(entry: &RuleEntry) -> Diagnostic {
    let set = |set: &Option<NodeSet>| set.as_ref().map(|set| set.span);
    let between = entry.between.as_ref().map(|between| between.span);
    let (span, field) = match between {
        Some(span) => (span, "between"),
        None => (set(&entry.to).or(set(&entry.from)).unwrap_or(entry.span), "to"),
    };
    Diagnostic::error("this rule has no links: both sides are the same node")
        .at(span)
        .field(field)
        .help("a node's packets to itself belong to no rule: name two nodes that differ")
}

/// A one-way drop that may not be what it seems: without acknowledgements the other direction
/// of each TCP connection stops as well.
fn one_way(entry: &RuleEntry, reach: Reach, filter: Filter, push: &mut impl FnMut(Diagnostic)) {
    let unsaid = entry.r#do.iter().find(|step| matches!(step.value, Step::Drop { what: None, .. }));
    let Some(drop) = unsaid else { return };
    if reach.is_symmetric() || filter.proto == Some(Proto::Udp) {
        return;
    }
    push(
        Diagnostic::warning("a one-way drop cuts TCP both ways: acknowledgements vanish too")
            .at(drop.span)
            .field("do")
            .help(
                "write { drop: { what: data } } to keep the other direction alive, or \
                 { drop: { what: packets } } if this is meant",
            ),
    );
}
