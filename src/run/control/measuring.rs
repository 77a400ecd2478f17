//! What is measured for Prometheus, read from the counters when somebody asks.
//!
//! How many series there are is bounded: links of a large cluster and rules of a large file are
//! left out past a limit, and how many are is told.

use super::Control;
use crate::engine::counters::{Count, Counters, LinkCounts, RuleCounts, Totals};
use crate::observe::Invariant;
use crate::packet::{LinkId, NodeId};
use crate::rules::Table;
use crate::run::metrics::{Labels, Metrics};
use std::collections::HashSet;

/// The most links with series of their own: all of a cluster of 32 nodes.
const LINKS_MAX: usize = 1_024;

/// The most rules, and the most faults, with series of their own.
const RULES_MAX: usize = 1_000;

impl Control<'_> {
    /// Everything.
    pub(super) fn measure(&self) -> Metrics {
        let mut metrics = Metrics::default();
        self.about_the_run(&mut metrics);
        let (table, counters) = (&self.attached.table, &self.attached.counters);
        links(&mut metrics, table, counters);
        let active: HashSet<String> = self.disturb.active().collect();
        let faults = self.disturb.faults().map(|(_, fault)| fault.name.as_str());
        let faults: Vec<_> = faults.map(|name| (name, active.contains(name))).collect();
        let active = self.status.active(table).collect();
        rules(&mut metrics, table, counters, &active, &faults);
        totals(&mut metrics, &counters.totals);
        let losses = self.attached.losses();
        let by = [("queue", losses.queue_dropped), ("buffer", losses.user_dropped)];
        metrics
            .counter("raftq_lost_packets", "Packets that the kernel dropped before raftq saw them.")
            .all(by.map(|(by, n)| ([("full", by)], n)));
        metrics
    }

    fn about_the_run(&self, metrics: &mut Metrics) {
        let table = &self.attached.table;
        let version = env!("CARGO_PKG_VERSION");
        metrics.info("raftq_build", "The raftq that runs.", [("version", version)]);
        let labels = [
            ("run", self.attached.run_id()),
            ("protocol", table.protocol.map_or("", |protocol| protocol.word())),
            ("scheduling", self.attached.urgency.name()),
        ];
        metrics.info("raftq_run", "The run, as its control socket is named.", labels);
        let age = self.t().as_secs_f64();
        metrics.seconds("raftq_run_age", "Since the start of the rules' clock.", age);
        let nodes = metrics.gauge("raftq_nodes", "Nodes of the cluster.");
        nodes.is(table.nodes.len() as u64);
        let leads = self.disturb.leads();
        if let Some((leader, term)) = leads {
            let name = |i: usize| [("node", table.nodes[i].name.as_str())];
            let leads = |i: usize| u64::from(i == usize::from(leader.0));
            metrics
                .gauge("raftq_leader", "1 for the node that leads, as far as is known.")
                .all((0..table.nodes.len()).map(|i| (name(i), leads(i))));
            if let Some(term) = term {
                metrics.gauge("raftq_term", "The leader's term, where it was heard.").is(term);
            }
        }
        if table.protocol.is_some() {
            let all = Invariant::ALL.into_iter().zip(self.violations);
            metrics
                .counter(
                    "raftq_violations",
                    "Violations of Raft's invariants on the wire, each up to 100.",
                )
                .all(all.map(|(invariant, n)| ([("invariant", invariant.word())], n)));
        }
        let warnings = self.attached.warnings.len() as u64;
        metrics.counter("raftq_warnings", "Warnings that were told.").is(warnings);
    }
}

fn links(metrics: &mut Metrics, table: &Table, counters: &Counters) {
    let nodes = table.nodes.len();
    let name = |node: NodeId| table.nodes[usize::from(node.0)].name.as_str();
    let few = nodes * nodes.saturating_sub(1) <= LINKS_MAX;
    let all = counters.links.iter().enumerate().filter_map(|(i, counts)| {
        let (from, to) = LinkId(i as u16).ends(nodes);
        // In a small cluster silence is told as well: a rate needs its zero.
        let told = from != to && (few || counts.packets.get() > 0);
        let ends = || [("from", name(from)), ("to", name(to))];
        told.then(|| (ends(), counts))
    });
    let all: Vec<(Labels<'_, 2>, &LinkCounts)> = all.collect();
    let listed = &all[..all.len().min(LINKS_MAX)];
    metrics
        .counter("raftq_link_segments", "Wire segments that came, by link.")
        .all(listed.iter().map(|(ends, counts)| (*ends, counts.packets.get())));
    let verdicts = listed.iter().flat_map(|([from, to], counts)| {
        let kinds = [
            ("dropped", &counts.dropped),
            ("trimmed", &counts.trimmed),
            ("delayed", &counts.delayed),
        ];
        kinds.map(|(kind, count)| ([*from, *to, ("verdict", kind)], count.get()))
    });
    metrics
        .counter(
            "raftq_link_verdicts",
            "Wire segments dropped, trimmed to their acknowledgement, or held for a time; one \
             that is held may be dropped later.",
        )
        .all(verdicts);
    let left_out = (all.len() - listed.len()) as u64;
    metrics.gauge("raftq_links_left_out", "Links with traffic and no series.").is(left_out);
}

/// `active` are the rules that are, and each fault says for itself.
fn rules(
    metrics: &mut Metrics,
    table: &Table,
    counters: &Counters,
    active: &HashSet<&str>,
    faults: &[(&str, bool)],
) {
    let rules = &table.rules[..table.rules.len().min(RULES_MAX)];
    let counted = || rules.iter().zip(&counters.rules);
    let mut each = |name, help, get: fn(&RuleCounts) -> &Count| {
        let series = counted().map(|(rule, n)| ([("rule", rule.name.as_str())], get(n).get()));
        metrics.counter(name, help).all(series);
    };
    let matched = "Segments that a rule matched; messages, where it is about messages.";
    each("raftq_rule_matched", matched, |counts| &counts.matched);
    each("raftq_rule_acted", "Of those, what a rule acted on.", |counts| &counts.acted);
    let leaked = "Segments of unknown senders that passed while the rule was cutting.";
    each("raftq_rule_leaked", leaked, |counts| &counts.leaked);
    let activations = "Times that a rule became active.";
    each("raftq_rule_activations", activations, |counts| &counts.activations);

    let packets = rules.iter().map(|rule| {
        let name = rule.name.as_str();
        ([("rule", name), ("kind", "packets")], u64::from(active.contains(name)))
    });
    let processes = faults
        .iter()
        .take(RULES_MAX)
        .map(|(name, active)| ([("rule", *name), ("kind", "process")], u64::from(*active)));
    metrics
        .gauge("raftq_rule_active", "1 while a rule or fault is active.")
        .all(packets.chain(processes));
    let left_out = table.rules.len() - rules.len() + faults.len().saturating_sub(RULES_MAX);
    let left_out = left_out as u64;
    metrics.gauge("raftq_rules_left_out", "Rules and faults without series.").is(left_out);
}

fn totals(metrics: &mut Metrics, totals: &Totals) {
    let held = metrics.gauge("raftq_held_packets", "Packets held now.");
    held.is(totals.held.get());
    let most = metrics.gauge("raftq_held_packets_max", "The most packets held at once.");
    most.is(totals.held_most.get());
    metrics.lateness(
        "raftq_lateness",
        "How late held packets left, behind their due time.",
        totals.late.read(),
    );
    let mut count = |name, help, count: &Count| metrics.counter(name, help).is(count.get());
    count("raftq_packets", "Packets read from the queues.", &totals.packets);
    let overflow = "Packets dropped because as many were held as may be.";
    count("raftq_overflow_packets", overflow, &totals.overflow);
    let unattributed = "Packets whose sender stayed unknown.";
    count("raftq_unattributed_packets", unattributed, &totals.unattributed);
    count("raftq_foreign_packets", "Packets of or for somebody who is no node.", &totals.foreign);
    count("raftq_unreadable_packets", "Packets that could not be read.", &totals.unreadable);
    let silenced = "Segments dropped because something was being done to a node's process.";
    count("raftq_silenced_segments", silenced, &totals.silenced);
    let leaked = "Segments of unknown senders that passed while a node was silent.";
    count("raftq_silence_leaked_segments", leaked, &totals.silence_leaked);
    count("raftq_resets", "Connections that were reset.", &totals.resets);
    let stalled = "Segments dropped or trimmed behind the one that stalled their connection.";
    count("raftq_stalled_segments", stalled, &totals.stalled);
    count("raftq_owner_questions", "Questions about who holds a socket.", &totals.asked);
    let copies = "Copies of packets for which there was no room.";
    count("raftq_copies_lost", copies, &totals.copies_lost);
    let undamaged = "Packets that were to be damaged and could not be.";
    count("raftq_undamaged_packets", undamaged, &totals.undamaged);
    let unhealed = "Ends of starved connections that could not be told when their cut ended.";
    count("raftq_unhealed_connections", unhealed, &totals.unhealed);
    count("raftq_evicted_flows", "Flows that were forgotten early.", &totals.flows_evicted);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::compile;
    use crate::run::metrics::Format;
    use std::fmt::Write as _;

    fn table(nodes: usize, rules: usize) -> Table {
        let mut text = String::from("cluster:\n  nodes:\n");
        for i in 1..=nodes {
            let _ = writeln!(text, "    n{i}: 10.0.{}.{}:1", i / 200, i % 200 + 1);
        }
        text += "rules:\n";
        for i in 0..rules {
            let _ = writeln!(text, "  - {{ name: r{i}, from: n1, to: n2, do: {{ delay: 1us }} }}");
        }
        let compiled = compile("rules", &text, &[]);
        compiled.unwrap_or_else(|report| panic!("{}", report.render(false))).table
    }

    fn document(table: &Table, counters: &Counters, faults: &[(&str, bool)]) -> String {
        let mut metrics = Metrics::default();
        links(&mut metrics, table, counters);
        rules(&mut metrics, table, counters, &HashSet::from(["r0"]), faults);
        metrics.document(Format::Text)
    }

    fn series(text: &str, name: &str) -> usize {
        let begin = format!("{name}{{");
        text.lines().filter(|line| line.starts_with(&begin)).count()
    }

    #[test]
    fn thirty_two_nodes_have_all_their_links_and_larger_clusters_those_with_traffic() {
        let small = table(32, 1);
        let text = document(&small, &Counters::new(1, small.links()), &[]);
        assert_eq!(series(&text, "raftq_link_segments_total"), 32 * 31);
        assert_eq!(series(&text, "raftq_link_verdicts_total"), 3 * 32 * 31);
        assert!(text.contains("raftq_links_left_out 0\n"), "{text}");
        let large = table(60, 1);
        let counters = Counters::new(1, large.links());
        let text = document(&large, &counters, &[]);
        assert_eq!(series(&text, "raftq_link_segments_total"), 0);
        for link in counters.links.iter().take(1_100) {
            link.packets.add(2);
        }
        let text = document(&large, &counters, &[]);
        assert_eq!(series(&text, "raftq_link_segments_total"), LINKS_MAX);
        // No node has a link to itself; ids count them: 19 are among the first 1,100.
        let left_out = 1_100 - 19 - LINKS_MAX;
        assert!(text.contains(&format!("raftq_links_left_out {left_out}\n")), "{text}");
    }

    #[test]
    fn of_too_many_rules_the_first_are_told_and_how_many_are_not() {
        let table = table(3, RULES_MAX + 7);
        let counters = Counters::new(table.rules.len(), table.links());
        let names: Vec<String> = (0..RULES_MAX + 2).map(|i| format!("f{i}")).collect();
        let faults: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), true)).collect();
        let text = document(&table, &counters, &faults);
        assert_eq!(series(&text, "raftq_rule_matched_total"), RULES_MAX);
        assert_eq!(series(&text, "raftq_rule_active"), 2 * RULES_MAX);
        assert!(text.contains("raftq_rules_left_out 9\n"), "{text}");
        for line in [
            "raftq_rule_active{rule=\"r0\",kind=\"packets\"} 1\n",
            "raftq_rule_active{rule=\"r1\",kind=\"packets\"} 0\n",
            "raftq_rule_active{rule=\"f9\",kind=\"process\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
