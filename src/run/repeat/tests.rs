//! Repetitions by a runner that makes no clusters: what runs come to together.

use super::*;
use crate::run::verdict::SUMMARY;
use std::fs;

/// What the next run comes to.
#[derive(Clone, Copy)]
enum Next {
    Holds,
    Violated,
    Undecided,
    Fails,
    Interrupted,
    /// Ended by somebody, with a summary all the same.
    CutShort,
    /// The same, and violated.
    CutShortViolated,
}

struct Fake {
    next: Vec<Next>,
    made: Vec<(u64, PathBuf)>,
    lines: Vec<String>,
}

fn summary(name: &str, folder: &Path, change: impl FnOnce(&mut Summary)) -> Box<Summary> {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/summaries").join(name);
    fs::copy(stored, folder.join(SUMMARY)).expect("a summary");
    let mut summary = Summary::read(folder).expect("a summary");
    change(&mut summary);
    fs::write(folder.join(SUMMARY), summary.json()).expect("it");
    let made = junit::Made { began: String::new(), took: std::time::Duration::from_secs(1) };
    junit::write(folder, junit::suite(&summary, &made)).expect("a document");
    Box::new(summary)
}

impl Runner for Fake {
    fn run(&mut self, seed: u64, folder: &Path) -> Attempt {
        let next = self.next[self.made.len()];
        self.made.push((seed, folder.to_owned()));
        assert!(!folder.exists(), "each has a folder of its own");
        fs::create_dir(folder).expect("a folder");
        let undecided = |summary: &mut Summary| {
            (summary.verdict, summary.exit_code) = (RunVerdict::Undecided, UNDECIDED);
            let lost = "7 packets were lost".to_owned();
            let first = "somebody's firewall drops, too".to_owned();
            summary.network.why = Some(lost.clone());
            summary.network.warnings = vec![first, lost];
        };
        let result = match next {
            Next::Holds => Ok(summary("holds.json", folder, |_| ())),
            Next::Violated | Next::CutShortViolated => Ok(summary("violated.json", folder, |_| ())),
            Next::Undecided | Next::CutShort => Ok(summary("holds.json", folder, undecided)),
            Next::Fails => Err((ENVIRONMENT, "no cluster".to_owned())),
            Next::Interrupted => Err((UNDECIDED, "interrupted while starting".to_owned())),
        };
        let interrupted =
            matches!(next, Next::Interrupted | Next::CutShort | Next::CutShortViolated);
        Attempt { result, took: Nanos::from_secs(10), interrupted }
    }

    fn ended(&mut self, so_far: &Repeat) {
        self.lines.push(line(so_far, false));
    }
}

fn made(next: &[Next]) -> (Repeat, Fake, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = Plan {
        scenario: "demo".into(),
        adapter: "embedded".into(),
        nodes: 3,
        args: Vec::new(),
        seed: 7,
        times: next.len() as u32,
        folder: folder.path().to_owned(),
    };
    let mut fake = Fake { next: next.to_vec(), made: Vec::new(), lines: Vec::new() };
    let made = repeat(&plan, &mut fake).expect("the folder can be written to");
    assert_eq!(Repeat::read(folder.path()).expect("it stands there"), made);
    (made, fake, folder)
}

#[test]
fn seeds_are_drawn_from_the_first_and_are_all_different() {
    let of_7 = seeds(7, 1_000);
    assert_eq!(of_7.len(), 1_000);
    assert_eq!(of_7[0], 7, "the first run is the one without --repeat");
    assert_eq!(of_7.iter().collect::<HashSet<_>>().len(), 1_000);
    assert_eq!(seeds(7, 3), of_7[..3], "more runs begin as fewer do");
    let of_8: HashSet<u64> = seeds(8, 1_000).into_iter().collect();
    let common = of_7.iter().filter(|seed| of_8.contains(seed)).count();
    assert!(common <= 2, "{common} runs are the same as those of the next seed");
    assert_eq!(seeds(u64::MAX, 2)[0], u64::MAX);
}

#[test]
fn runs_are_counted_by_what_they_say_of_the_cluster() {
    use Next::{Fails, Holds, Undecided, Violated};
    let (repeat, fake, folder) = made(&[Holds, Violated, Undecided, Holds, Fails]);
    assert_eq!(repeat.exit_code, VIOLATED);
    let expected = Counts { holds: 2, violated: 1, undecided: 1, failed: 1, ..Counts::default() };
    assert_eq!(repeat.counts, expected);
    assert_eq!((repeat.violated.times, repeat.violated.of), (1, 3), "of those that are decided");
    assert_eq!((repeat.undecided.times, repeat.undecided.of), (1, 4), "of those that were judged");
    assert_eq!(repeat.runs[1].violated, ["linearizable"]);
    let seeds: Vec<u64> = fake.made.iter().map(|(seed, _)| *seed).collect();
    assert_eq!(seeds, super::seeds(7, 5));
    assert!(fake.made[4].1.ends_with("demo-5"));
    assert_eq!(fake.lines[0], "run 1 of 5, seed 7: holds (10.0 s; about 40 s left)");
    assert!(fake.lines[1].contains("violated: linearizable"), "{:?}", fake.lines);
    assert!(fake.lines[2].contains("undecided: 7 packets were lost"), "{:?}", fake.lines);
    assert!(fake.lines[4].ends_with("failed: no cluster (10.0 s)"), "{:?}", fake.lines);

    let text = text(&repeat, "runs/x", false);
    for part in [
        "demo with 3 nodes of embedded, 5 runs, seeds drawn from 7",
        "violated   1 of 3: 33.3 %",
        "undecided  1 of 4: 25.0 %",
        "1          the host did not do its part",
        "raftq replay runs/x/demo-2",
        "raftq report runs/x",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }

    let document = fs::read_to_string(folder.path().join(JUNIT)).expect("a document");
    let suites = junit::read(folder.path()).expect("suites");
    let names: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
    assert_eq!(names, ["demo-1", "demo-2", "demo-3", "demo-4", "demo-5"], "{document}");
    let well: Vec<bool> = suites.iter().map(|suite| suite.failures + suite.errors == 0).collect();
    assert_eq!(well, [true, false, false, true, false], "{document}");
}

#[test]
fn where_nothing_was_violated_the_bound_is_told() {
    let (repeat, _, _folder) = made(&[Next::Holds; 20]);
    assert_eq!(repeat.exit_code, HOLDS);
    let text = text(&repeat, "runs/x", false);
    assert!(text.contains("violated   0 of 20: below 13.9 % with 95 % confidence"), "{text}");
    assert!(text.contains("holds: nothing contradicts"), "{text}");
}

#[test]
fn whoever_ends_it_is_told_what_there_is() {
    use Next::{CutShort, CutShortViolated, Holds, Interrupted};
    for last in [Interrupted, CutShort] {
        let (repeat, fake, _folder) = made(&[Holds, Holds, last, Holds]);
        assert_eq!(fake.made.len(), 3, "none is begun after it");
        assert_eq!((repeat.exit_code, repeat.interrupted), (UNDECIDED, true));
        assert_eq!((repeat.counts.holds, repeat.counts.cut_short), (2, 1));
        assert_eq!((repeat.violated.of, repeat.undecided.of), (2, 2), "it is not counted");
        let text = text(&repeat, "runs/x", false);
        assert!(text.contains("3 of 4 runs") && text.contains("stopped    somebody"), "{text}");
    }
    let (repeat, ..) = made(&[Holds, CutShortViolated, Holds]);
    assert_eq!((repeat.exit_code, repeat.violated.times), (VIOLATED, 1), "evidence is evidence");
}

#[test]
fn a_host_that_fails_three_times_in_a_row_ends_it() {
    use Next::{Fails, Holds};
    let (repeat, fake, _folder) = made(&[Fails, Fails, Holds, Fails, Fails, Fails, Holds]);
    assert_eq!(fake.made.len(), 6);
    assert_eq!(repeat.exit_code, ENVIRONMENT);
    assert!(repeat.stopped.as_deref().is_some_and(|why| why.contains("3 times")), "{repeat:?}");
    assert_eq!(repeat.violated.of, 1);
}

#[test]
fn the_worst_of_all_runs_decides_how_it_ends() {
    let worst = |codes: &[u8]| codes.iter().fold(HOLDS, |worst, code| severer(worst, *code));
    assert_eq!(worst(&[HOLDS, UNDECIDED, VIOLATED, ENVIRONMENT]), VIOLATED);
    assert_eq!(worst(&[HOLDS, UNDECIDED, NEVER_MATCHED]), UNDECIDED);
    assert_eq!(worst(&[UNDECIDED, ENVIRONMENT]), ENVIRONMENT);
    assert_eq!(worst(&[NEVER_MATCHED, HOLDS]), NEVER_MATCHED);
}

#[test]
fn a_file_of_another_kind_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    for text in ["", "{}", "{ \"version\": 2 }", "{ \"version\": 1 }"] {
        fs::write(folder.path().join(REPEAT), text).expect("a file");
        let why = Repeat::read(folder.path()).expect_err("it is none");
        assert!(why.contains(REPEAT) && why.contains("help: "), "{why}");
    }
}

#[test]
fn the_checked_in_schema_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/repeat.schema.json");
    let stored = fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == schema(),
        "docs/repeat.schema.json is out of date: cargo run -- lint --repeat-schema > \
         docs/repeat.schema.json"
    );
}
