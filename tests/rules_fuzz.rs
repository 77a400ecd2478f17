//! Whatever the text, the compiler answers with a whole table or with errors that stand in it.

use proptest::collection::vec;
use proptest::prelude::*;
use raftq::rules::table::{Action, What};
use raftq::rules::{self, Report, SetArg, Table};
use std::fs;
use std::path::Path;

/// Text that is more likely than single bytes to hit something.
const PIECES: &[&str] = &[
    "n1",
    "rest",
    "any",
    "[",
    "]",
    "{",
    "}",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "&a ",
    "*a",
    "~",
    "''",
    "\"",
    "#",
    "---\n",
    "0s",
    "-1s",
    "1e9",
    "101%",
    "drop",
    "delay",
    "every: 1s",
    "on: first_entry",
    "{ leader: current }",
    "candidate",
    "message: append_entries",
    "term: \">3\"",
    "reset",
    "stall",
    "protocol: etcd",
    "at: ",
    "\t",
    "\u{feff}",
    "é",
    "\0",
    "\r",
    "? ",
    "<<: ",
    "!!str ",
    "|\n",
    ">\n",
    "%YAML 1.2\n",
    "99999999999999999999h",
];

/// One change of a text.
#[derive(Clone, Debug)]
enum Change {
    Byte(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Insert(usize, usize),
    Repeat(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        at().prop_map(Change::Cut),
        (at(), 1..80_usize).prop_map(|(at, len)| Change::Remove(at, len)),
        (at(), 0..PIECES.len()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (at(), 1..200_usize).prop_map(|(at, len)| Change::Repeat(at, len)),
    ]
}

fn apply(text: &mut Vec<u8>, change: &Change) {
    let within = |at: usize, len: usize| at % (len + 1);
    match *change {
        Change::Byte(at, byte) if !text.is_empty() => {
            let at = at % text.len();
            text[at] = byte;
        }
        Change::Byte(..) => {}
        Change::Cut(at) => text.truncate(within(at, text.len())),
        Change::Remove(at, len) => {
            let start = within(at, text.len());
            let end = (start + len).min(text.len());
            text.drain(start..end);
        }
        Change::Insert(at, piece) => {
            let start = within(at, text.len());
            text.splice(start..start, PIECES[piece].bytes());
        }
        Change::Repeat(at, len) => {
            let start = within(at, text.len());
            let end = (start + len).min(text.len());
            let piece = text[start..end].to_vec();
            text.splice(start..start, piece);
        }
    }
}

/// Shipped files and the bad ones of the lint tests.
fn seeds() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Vec::new();
    for folder in ["rules", "tests/lint"] {
        let mut paths: Vec<_> = fs::read_dir(root.join(folder))
            .expect("the folder can be listed")
            .map(|entry| entry.expect("the folder can be listed").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .collect();
        paths.sort();
        seeds.extend(paths.iter().map(|path| fs::read_to_string(path).expect("readable")));
    }
    seeds
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let sets = [SetArg::parse("victim=n2").expect("well-formed")];
    match rules::compile("fuzzed.yaml", text, &sets) {
        Ok(compiled) => {
            prop_assert_eq!(compiled.warnings.errors().count(), 0);
            check_places(&compiled.warnings, text)?;
            check_table(&compiled.table)?;
            prop_assert!(!rules::matrix(&compiled.table).is_empty());
            prop_assert!(rules::table_json(&compiled.table).is_object());
            let again = rules::compile("fuzzed.yaml", text, &sets).expect("as before");
            prop_assert_eq!(again.table, compiled.table);
        }
        Err(report) => {
            prop_assert!(report.errors().count() > 0);
            check_places(&report, text)?;
        }
    }
    Ok(())
}

fn check_places(report: &Report, text: &str) -> Result<(), TestCaseError> {
    let lines: Vec<&str> = text.split('\n').collect();
    for diagnostic in report.diagnostics() {
        let Some(place) = report.place(diagnostic) else { continue };
        let line = lines.get(place.line - 1);
        let columns = line.map_or(0, |line| line.chars().count() + 1);
        prop_assert!((1..=columns).contains(&place.column), "{:?} of {:?}", place, diagnostic);
    }
    let shown = report.render(false);
    prop_assert!(!shown.contains('\x1b'), "plain means without escapes");
    Ok(())
}

/// What the engine takes for granted.
fn check_table(table: &Table) -> Result<(), TestCaseError> {
    let nodes = table.nodes.len();
    prop_assert!(table.nodes.iter().all(|node| !node.endpoints.is_empty()));
    for rule in &table.rules {
        prop_assert!(!rule.links.is_empty() && rule.links.is_sorted());
        prop_assert!(rule.links.windows(2).all(|pair| pair[0] != pair[1]));
        for link in &rule.links {
            let (from, to) = link.ends(nodes);
            prop_assert!(from != to && usize::from(from.0) < nodes && usize::from(to.0) < nodes);
        }
        let ends = |a: &Action| matches!(a, Action::Accept | Action::Drop(What::Packets));
        let behind = rule.actions.iter().skip_while(|a| !ends(a)).skip(1);
        prop_assert!(!rule.actions.is_empty() && behind.count() == 0);
        prop_assert!(rule.window.every.is_none_or(|every| Some(every) >= rule.window.lasts));
        prop_assert!(rule.window.activation(raftq::time::Nanos::ZERO).is_some());
        prop_assert!(rule.filter.chance.is_none_or(|share| share > 0));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn changed_files(seed in any::<usize>(), changes in vec(change(), 1..6)) {
        let seeds = seeds();
        let mut text = seeds[seed % seeds.len()].clone().into_bytes();
        for change in &changes {
            apply(&mut text, change);
        }
        check(&String::from_utf8_lossy(&text))?;
    }

    #[test]
    fn pieces_in_any_order(pieces in vec(0..PIECES.len(), 0..60)) {
        let text: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        check(&text)?;
        let cluster = "cluster: { nodes: { n1: 1.2.3.4:5, n2: 1.2.3.5:5 } }";
        check(&format!("{cluster}\nrules:\n  - {text}"))?;
    }
}
