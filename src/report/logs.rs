//! Excerpts of nodes' logs around events, by the index of their sizes (`logs.jsonl`): nobody has to
//! understand a system's timestamps.

use super::story::{Excerpt, Micros};
use crate::run::sampler::{Grown, LOGS};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path};

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
    /// How much it matters: the least first.
    pub(super) rank: u8,
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
    /// limit, those that matter least first.
    pub(super) fn excerpts(
        &self,
        folder: &Path,
        nodes: &[String],
        wanted: &[Wanted],
    ) -> (Vec<Excerpt>, usize) {
        let mut excerpts: Vec<Excerpt> = Vec::new();
        let mut left_out = 0;
        let mut wanted: Vec<&Wanted> = wanted.iter().collect();
        if wanted.len() > EXCERPTS_MAX {
            wanted.sort_by_key(|one| one.rank);
        }
        for one in wanted {
            let Some(name) = nodes.get(one.node) else { continue };
            // A name that is a path of its own would show other files than this run's.
            if !is_plain(name) {
                continue;
            }
            // The same lines, for another event close by.
            let is_shown =
                |shown: &Excerpt| shown.node == one.node && (one.at - shown.at).abs() < BEHIND;
            if excerpts.iter().any(is_shown) {
                continue;
            }
            let bytes = self.bytes(name, one.at - BEFORE, one.at + BEHIND);
            let Some((from, to)) = bytes else { continue };
            let middle = self.bytes(name, 0, one.at).map_or(0, |(_, size)| size).clamp(from, to);
            if excerpts.len() == EXCERPTS_MAX {
                left_out += 1;
                continue;
            }
            let file = format!("nodes/{name}.log");
            if let Some((lines, cut)) = lines(&folder.join(&file), from, middle, to) {
                let Wanted { node, at, why, .. } = one.clone();
                excerpts.push(Excerpt { node, at, why, file, lines, cut });
            }
        }
        excerpts.sort_by_key(|excerpt| excerpt.at);
        (excerpts, left_out)
    }
}

/// Whether a name is one of a file, and nothing else.
pub(super) fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(one)), None) if one == name)
}

/// Whole lines around a byte of a file, from one other to another, and whether some are left out;
/// none where it cannot be read or says nothing there. What is too much is left out at both ends.
fn lines(path: &Path, from: u64, middle: u64, to: u64) -> Option<(Vec<String>, bool)> {
    let half = BYTES_MAX / 2;
    let (first, last) = (from.max(middle.saturating_sub(half)), to.min(middle + half));
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(first)).ok()?;
    let mut bytes = Vec::new();
    file.take(last - first).read_to_end(&mut bytes).ok()?;
    let ends = (first > from, last < to);
    if ends.0 {
        // The first line is not whole.
        let begin = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.drain(..begin);
    }
    if ends.1 {
        // Nor is the last one.
        let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(bytes.len());
        bytes.truncate(end);
    }
    let before = usize::try_from(middle - first).unwrap_or(usize::MAX);
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    // Which line was the last at that moment, as near as whole lines tell.
    let head = bytes.len().min(before);
    let at = bytes[..head].split(|byte| *byte == b'\n').count() - 1;
    let begin = at.saturating_sub(LINES_MAX / 2).min(all.len().saturating_sub(LINES_MAX));
    let shown = all.iter().skip(begin).take(LINES_MAX);
    let lines: Vec<String> = shown
        .map(|line| {
            let short = line.chars().filter(|c| !c.is_control() || *c == '\t');
            short.take(LINE_MAX).collect()
        })
        .collect();
    let cut = ends.0 || ends.1 || all.len() > LINES_MAX;
    (!lines.is_empty()).then_some((lines, cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(ms: u64, node: &str, bytes: u64) -> String {
        let grown = Grown { run_ns: ms * 1_000_000, node: node.into(), bytes, is_last: false };
        serde_json::to_string(&grown).expect("a line") + "\n"
    }

    fn text(lines: usize, line: impl Fn(usize) -> String) -> String {
        (0..lines).map(line).collect::<Vec<_>>().join("\n") + "\n"
    }

    fn wanted(node: usize, ms: i64, why: &str) -> Wanted {
        Wanted { node, at: ms * 1_000, rank: 1, why: why.into() }
    }

    #[test]
    fn an_excerpt_of_a_node_that_says_much_has_the_event_in_its_middle() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let log = text(400, |i| format!("line {i:03}"));
        std::fs::write(&path, &log).expect("a log");
        let (from, middle, to) = (0, 200 * 9, 400 * 9);
        let (shown, cut) = lines(&path, from, middle, to).expect("lines");
        assert!(cut && shown.len() == LINES_MAX, "{}", shown.len());
        for line in ["line 199", "line 200", "line 201"] {
            assert!(shown.iter().any(|one| one == line), "{line}: {shown:?}");
        }
        // Long lines, so that bytes are the limit.
        let log = text(400, |i| format!("{i:03} {}", "x".repeat(395)));
        std::fs::write(&path, &log).expect("a log");
        let (shown, cut) = lines(&path, 0, 200 * 400, 400 * 400).expect("lines");
        assert!(cut && shown.iter().any(|line| line.starts_with("200 ")), "{shown:?}");
        assert!(shown.iter().all(|line| line.len() == 399), "whole lines only");
    }

    #[test]
    fn past_the_limit_what_matters_least_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("nodes")).expect("a folder");
        let times = 0..i64::try_from(EXCERPTS_MAX).expect("few") + 20;
        let log = text(times.clone().count(), |i| format!("line {i:03}"));
        std::fs::write(folder.path().join("nodes/n1.log"), &log).expect("a log");
        let at = |i: i64| 10_000 + i * 2_000;
        let log_size = |i: i64| (i.cast_unsigned() + 1) * 9;
        let grow = |i: i64| grown(at(i).cast_unsigned(), "n1", log_size(i));
        std::fs::write(folder.path().join(LOGS), times.clone().map(grow).collect::<String>())
            .expect("an index");
        // Only the last one is a death.
        let mut events: Vec<Wanted> = times.map(|i| wanted(0, at(i), "an election")).collect();
        let last = events.last_mut().expect("some");
        (last.rank, last.why) = (0, "died".into());
        let logs = Logs::read(folder.path());
        let (excerpts, left_out) = logs.excerpts(folder.path(), &["n1".to_owned()], &events);
        assert_eq!((excerpts.len(), left_out), (EXCERPTS_MAX, 20));
        assert_eq!(excerpts.last().map(|one| one.why.as_str()), Some("died"));
        assert!(excerpts.is_sorted_by_key(|one| one.at));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_no_file_of_the_run() {
        assert!(is_plain("n1"));
        for name in ["../n1", "/etc/passwd", "a/b", "..", "", "n1/"] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn an_excerpt_has_the_lines_of_that_node_around_the_event() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("nodes")).expect("a folder");
        let log = text(10, |i| format!("line {i}"));
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
        // Half of what may be shown stands before the event, and nothing was logged behind it.
        assert!(*cut && lines.len() == 6, "{}", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() == LINE_MAX));
    }
}
