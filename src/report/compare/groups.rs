//! Which runs are repetitions of each other, and what makes comparing groups doubtful.
//!
//! With a baseline there are two groups, as somebody meant them. Without one, what `--repeat` made
//! is a group as it is, and single runs of one scenario, adapter, size and arguments are one. Where
//! that leaves one group of a few runs, they are shown one beside the other.

use super::{Group, Measured, Part, RunKind};
use std::collections::BTreeSet;

/// Runs of one kind that are shown one beside the other.
const BESIDE_MAX: usize = 6;

/// A group before it has its letter.
struct Gathered {
    name: String,
    runs: Vec<Measured>,
}

/// The groups; none of them is empty.
pub(super) fn of(baseline: Vec<Part>, runs: Vec<Part>) -> Vec<Group> {
    let mut gathered =
        if baseline.is_empty() { by_kind(runs) } else { [baseline, runs].map(as_one).into() };
    gathered.retain(|group| !group.runs.is_empty());
    let letter = |(i, group): (usize, Gathered)| Group {
        letter: letter(i),
        name: group.name,
        runs: group.runs,
    };
    gathered.into_iter().enumerate().map(letter).collect()
}

fn as_one(parts: Vec<Part>) -> Gathered {
    let name = match parts.as_slice() {
        [part] => part.path.clone(),
        _ => common_name(parts.iter().flat_map(|part| &part.runs)),
    };
    Gathered { name, runs: parts.into_iter().flat_map(|part| part.runs).collect() }
}

fn by_kind(parts: Vec<Part>) -> Vec<Gathered> {
    let repeated = parts.iter().any(|part| part.repeated);
    let mut groups: Vec<(Option<RunKind>, Gathered)> = Vec::new();
    for part in parts {
        if part.repeated {
            groups.push((None, Gathered { name: part.path, runs: part.runs }));
            continue;
        }
        for run in part.runs {
            let known = groups.iter_mut().find(|(kind, _)| kind.as_ref() == Some(&run.kind));
            if let Some((_, group)) = known {
                group.runs.push(run);
            } else {
                let (kind, name) = (run.kind.clone(), run.kind.text());
                groups.push((Some(kind), Gathered { name, runs: vec![run] }));
            }
        }
    }
    let mut groups: Vec<Gathered> = groups.into_iter().map(|(_, group)| group).collect();
    if let [only] = groups.as_mut_slice()
        && !repeated
        && (2..=BESIDE_MAX).contains(&only.runs.len())
    {
        let beside = std::mem::take(&mut only.runs).into_iter();
        return beside.map(|run| Gathered { name: run.folder.clone(), runs: vec![run] }).collect();
    }
    for group in &mut groups {
        // One run is found by its folder, and not by what many have in common.
        if let [run] = group.runs.as_slice() {
            group.name.clone_from(&run.folder);
        }
    }
    groups
}

fn common_name<'a>(mut runs: impl Iterator<Item = &'a Measured>) -> String {
    let Some(first) = runs.next() else { return String::new() };
    if runs.all(|run| run.kind == first.kind) { first.kind.text() } else { "several kinds".into() }
}

/// `A` to `Z`, `AA` and on.
fn letter(i: usize) -> String {
    let last = char::from(b'A' + u8::try_from(i % 26).expect("a letter"));
    match i / 26 {
        0 => last.to_string(),
        n => letter(n - 1) + &last.to_string(),
    }
}

impl RunKind {
    /// In words.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { scenario, adapter, nodes, args } = self;
        let system = std::iter::once(adapter).chain(args).map(String::as_str);
        let system = system.collect::<Vec<_>>().join(" ");
        format!("{scenario}, {nodes} nodes of {system}")
    }
}

/// What a reader must know before taking a difference for what was changed.
pub(super) fn beware(groups: &[Group]) -> Vec<String> {
    let mut notes = Vec::new();
    let Some((first, others)) = groups.split_first() else { return notes };
    let kinds = |group: &Group| {
        let mut kinds: Vec<String> = group.runs.iter().map(|run| run.kind.text()).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    for group in groups {
        let kinds = kinds(group);
        if kinds.len() > 1 {
            let letter = &group.letter;
            notes.push(format!("{letter} has runs of several kinds: {}", kinds.join("; ")));
        }
    }
    for other in others {
        notes.extend(differ(first, other));
    }
    for run in groups.iter().flat_map(|group| &group.runs) {
        notes.extend(run.lacks.iter().map(|lacks| format!("{}: {lacks}", run.folder)));
    }
    notes
}

/// In what two groups differ beside what somebody may have changed on purpose.
fn differ(a: &Group, b: &Group) -> Vec<String> {
    let mut notes = Vec::new();
    let both = format!("{} and {}", a.letter, b.letter);
    let of = |group: &Group, of: &dyn Fn(&Measured) -> Option<String>| {
        group.runs.iter().filter_map(of).collect::<BTreeSet<String>>()
    };
    let told = |what: &str, get: &dyn Fn(&Measured) -> Option<String>| {
        let (a, b) = (of(a, get), of(b, get));
        let list = |all: BTreeSet<String>| all.into_iter().collect::<Vec<_>>().join(", ");
        let differ = a != b && !a.is_empty() && !b.is_empty();
        differ.then(|| format!("{both} are of different {what}: {} and {}", list(a), list(b)))
    };
    let scenarios = told("scenarios", &|run| Some(run.kind.scenario.clone()));
    let other_scenario = scenarios.is_some();
    notes.extend(scenarios.map(|note| {
        format!("{note}; a difference may be the scenario's, and rules and checks have other names")
    }));
    notes.extend(told("systems", &|run| Some(run.kind.adapter.clone())));
    notes.extend(told("sizes", &|run| Some(format!("{} nodes", run.kind.nodes))));
    notes.extend(told("arguments", &|run| {
        Some(match run.kind.args.as_slice() {
            [] => "none".to_owned(),
            args => args.join(" "),
        })
    }));
    notes.extend(told("versions of raftq", &|run| run.raftq.clone()));
    if !other_scenario {
        for (i, name) in ["scenario.yaml", "rules.yaml"].into_iter().enumerate() {
            let (a, b) = (of(a, &|run| run.texts[i].clone()), of(b, &|run| run.texts[i].clone()));
            if a != b && !a.is_empty() && !b.is_empty() {
                notes.push(format!("{both}: {name} is not the same text"));
            }
        }
    }
    notes
}
