//! When the phases of a table begin and end, for people: pure, and of no effect on packets.

use super::disturb::Happened;
use crate::rules::Table;
use crate::time::Nanos;

/// What phases did behind `from`, or from the start on, until `to`, in the order of time; at one
/// moment ends come first.
pub(super) fn between(table: &Table, from: Option<Nanos>, to: Nanos) -> Vec<Happened> {
    let mut all = Vec::new();
    for phase in &table.phases {
        let edges = [(phase.end, false), (phase.start, true)];
        let within = |(at, _): &(Nanos, bool)| *at <= to && from.is_none_or(|from| *at > from);
        all.extend(edges.into_iter().filter(within).map(|(at, begins)| (at, begins, &phase.name)));
    }
    all.sort_by_key(|(at, begins, _)| (*at, *begins));
    let tell = |(at, begins, name): (Nanos, bool, &String)| {
        Happened::rule(at, name, if begins { "phase begins" } else { "phase ends" })
    };
    all.into_iter().map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_edge_is_told_once_and_ends_come_first() {
        let text = "cluster: { nodes: { a: 10.0.0.1:1, b: 10.0.0.2:1 } }\nrules: []\n\
                    phases: [{ name: one, for: 1s }, { name: two, for: 2s }]\n";
        let table = crate::rules::compile("rules", text, &[]).expect("it is right").table;
        let mut told = Vec::new();
        let mut from = None;
        for ms in [0, 500, 1_000, 1_100, 9_000] {
            let to = Nanos::from_millis(ms);
            told.extend(between(&table, from, to).iter().map(|it| format!("{} {it}", it.t.0)));
            from = Some(to);
        }
        let wanted = [
            "0 \"one\" phase begins",
            "1000000000 \"one\" phase ends",
            "1000000000 \"two\" phase begins",
            "3000000000 \"two\" phase ends",
        ];
        assert_eq!(told, wanted);
    }
}
