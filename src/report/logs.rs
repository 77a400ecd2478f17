//! Excerpts of nodes' logs around events, by the index of their sizes (`logs.jsonl`): nobody has to
//! understand a system's timestamps.

use super::story::{Excerpt, Micros};
use crate::run::sampler::{Grown, LOGS};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Excerpts of a page.
const EXCERPTS_MAX: usize = 80;

/// What was logged this long before an event is shown, and this long behind it.
const BEFORE: Micros = 500_000;
const BEHIND: Micros = 500_000;

/// How long after it was written a line is noticed at the latest, on a machine that is busy.
const LOOK: Micros = 100_000;

/// Bytes and lines of an excerpt.
const BYTES_MAX: u64 = 12_288;
const LINES_MAX: usize = 60;

/// The longest line, in characters.
const LINE_MAX: usize = 400;

/// The index: of each node its sizes, in order of time.
#[derive(Debug, Default)]
pub(super) struct Logs {
    sizes: BTreeMap<String, Vec<(Micros, u64)>>,
    /// Until when logs are indexed, where not to the end.
    pub(super) until: Option<Micros>,
}

/// An event that a reader wants to know a node's words of.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Which node.
    pub(super) node: usize,
    /// When.
    pub(super) at: Micros,
    /// What it is.
    pub(super) why: String,
}

impl Logs {
    /// Reads the index; nothing where there is none.
    pub(super) fn read(folder: &Path) -> Self {
        let mut logs = Self::default();
        let Ok(file) = File::open(folder.join(LOGS)) else { return logs };
        for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
            // The last line of a run that was killed may be cut.
            let Ok(grown) = serde_json::from_slice::<Grown>(&line) else { continue };
            let at = super::clocks::of_run(grown.run_ns);
            if grown.is_last {
                logs.until = Some(at);
            }
            logs.sizes.entry(grown.node).or_default().push((at, grown.bytes));
        }
        logs
    }

    /// Which bytes a node logged from `from` to `to`.
    fn bytes(&self, node: &str, from: Micros, to: Micros) -> Option<(u64, u64)> {
        let sizes = self.sizes.get(node)?;
        let size = |at: Micros| {
            sizes.partition_point(|(t, _)| *t <= at).checked_sub(1).map_or(0, |i| sizes[i].1)
        };
        // What was logged until then was noticed by the next look.
        let (from, to) = (size(from), size(to + LOOK));
        (from < to).then_some((from, to))
    }

    /// What nodes logged around these events, in their order; how many are left out beyond the
    /// limit.
    pub(super) fn excerpts(
        &self,
        folder: &Path,
        nodes: &[String],
        wanted: &[Wanted],
    ) -> (Vec<Excerpt>, usize) {
        let mut excerpts: Vec<Excerpt> = Vec::new();
        let mut left_out = 0;
        let mut shown: BTreeMap<usize, Micros> = BTreeMap::new();
        for one in wanted {
            let Some(name) = nodes.get(one.node) else { continue };
            // The same lines, for another event close by.
            if shown.get(&one.node).is_some_and(|at| one.at - at < BEHIND) {
                continue;
            }
            let bytes = self.bytes(name, one.at - BEFORE, one.at + BEHIND);
            let Some((from, to)) = bytes else { continue };
            if excerpts.len() == EXCERPTS_MAX {
                left_out += 1;
                continue;
            }
            let file = format!("nodes/{name}.log");
            if let Some((lines, cut)) = lines(&folder.join(&file), from, to) {
                shown.insert(one.node, one.at);
                let Wanted { node, at, why } = one.clone();
                excerpts.push(Excerpt { node, at, why, file, lines, cut });
            }
        }
        (excerpts, left_out)
    }
}

/// Whole lines between two bytes of a file, and whether some are left out; none where it cannot be
/// read or says nothing there.
fn lines(path: &Path, from: u64, to: u64) -> Option<(Vec<String>, bool)> {
    let mut file = File::open(path).ok()?;
    let size = (to - from).min(BYTES_MAX);
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes).ok()?;
    let mut cut = to - from > size;
    if cut {
        // The last line is not whole.
        let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(bytes.len());
        bytes.truncate(end);
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let short: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
            short.chars().take(LINE_MAX).collect()
        })
        .collect();
    cut |= lines.len() > LINES_MAX;
    lines.truncate(LINES_MAX);
    (!lines.is_empty()).then_some((lines, cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(ms: u64, node: &str, bytes: u64) -> String {
        let grown = Grown { run_ns: ms * 1_000_000, node: node.into(), bytes, is_last: false };
        serde_json::to_string(&grown).expect("a line") + "\n"
    }

    fn wanted(node: usize, ms: i64, why: &str) -> Wanted {
        Wanted { node, at: ms * 1_000, why: why.into() }
    }

    #[test]
    fn an_excerpt_has_the_lines_of_that_node_around_the_event() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("nodes")).expect("a folder");
        let log: String = (0..10).map(|i| format!("line {i}\n")).collect();
        std::fs::write(folder.path().join("nodes/n2.log"), log).expect("a log");
        let index = grown(1_000, "n2", 7) + &grown(3_000, "n2", 28) + &grown(5_000, "n2", 70);
        std::fs::write(folder.path().join(LOGS), index + "{\"run_ns\":9").expect("an index");
        let nodes = ["n1".to_owned(), "n2".to_owned()];
        let logs = Logs::read(folder.path());
        let events = [
            wanted(0, 3_000, "of a node without a log"),
            wanted(1, 3_100, "killed"),
            wanted(1, 3_200, "the same lines"),
            wanted(1, 9_000, "nothing was logged"),
        ];
        let (excerpts, left_out) = logs.excerpts(folder.path(), &nodes, &events);
        assert_eq!((excerpts.len(), left_out), (1, 0), "{excerpts:?}");
        let Excerpt { node, why, file, lines, cut, .. } = &excerpts[0];
        assert_eq!((*node, why.as_str(), file.as_str()), (1, "killed", "nodes/n2.log"));
        assert_eq!(lines.first().map(String::as_str), Some("line 1"));
        assert!(!*cut && lines.len() == 3, "and none of much later: {lines:?}");
    }

    #[test]
    fn long_excerpts_and_lines_are_cut_and_say_so() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("nodes")).expect("a folder");
        let log = format!("{}\u{1b}[31mred\n", "x".repeat(1_000)).repeat(20);
        std::fs::write(folder.path().join("nodes/n1.log"), &log).expect("a log");
        std::fs::write(folder.path().join(LOGS), grown(10, "n1", log.len() as u64)).expect("it");
        let logs = Logs::read(folder.path());
        let nodes = ["n1".to_owned()];
        let (excerpts, _) = logs.excerpts(folder.path(), &nodes, &[wanted(0, 10, "all")]);
        let Excerpt { lines, cut, .. } = &excerpts[0];
        assert!(*cut && lines.len() == 12, "{}", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() == LINE_MAX));
    }
}
