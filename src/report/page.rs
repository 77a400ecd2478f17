//! The report's page: one HTML file that needs no network, no other file, and for what matters
//! most no script.
//!
//! The head is plain HTML: what the run came to, check by check, and where its files are. All
//! else is drawn by `web/dist/report.js` (made of `web/src/`, see `make page`) from the story,
//! which is in the page as gzip in base64. The page's own policy lets exactly that script and
//! that style act, by their hashes, and nothing else: whatever a name or a value of the run
//! contains, it is text.

use super::html;
use super::story::{FileInfo, FindingInfo, RunInfo, Story, VerdictInfo};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};
use minijinja::context;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::io::Write as _;

const TEMPLATE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("../../web/dist/report.js");
const STYLE: &str = include_str!("../../web/dist/report.css");

/// What may stand in a link to a file beside the page.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/');

/// The whole page. The same story gives the same bytes.
#[must_use]
pub fn page(story: &Story) -> String {
    let Story { run, verdict, files, .. } = story;
    let (class, sign, said) = told(&verdict.word);
    let (word, why) = (&verdict.word, reason(verdict));
    html::render(
        TEMPLATE,
        context! {
            title => run.scenario,
            facts => facts(story),
            verdict => context! { word, class, sign, said, why },
            findings => verdict.findings.iter().map(FindingView::of).collect::<Vec<_>>(),
            warnings => verdict.warnings,
            folder => run.folder,
            files => files.iter().map(FileView::of).collect::<Vec<_>>(),
            repeat => run.repeat,
            style => STYLE,
            style_hash => hash(STYLE),
            script => SCRIPT,
            script_hash => hash(SCRIPT),
            // In a data block: browsers run no script of that type.
            story => packed(story),
        },
    )
}

/// What is said of the run beside its name; what is empty is left out.
fn facts(story: &Story) -> Vec<(&'static str, String)> {
    let RunInfo { adapter, seed, args, raftq, started, length, .. } = &story.run;
    let nodes = story.nodes.len();
    let of = adapter.as_ref().map_or(String::new(), |adapter| format!(" of {adapter}"));
    vec![
        ("", format!("{nodes} node{}{of}", if nodes == 1 { "" } else { "s" })),
        ("took", format!("{:.1} s", *length as f64 / 1e6)),
        ("started", started.clone().unwrap_or_default()),
        ("seed", seed.clone()),
        ("nodes' arguments", args.join(" ")),
        ("raftq", raftq.clone()),
    ]
}

/// A check, as the template shows it.
#[derive(Serialize)]
struct FindingView<'a> {
    check: &'a str,
    verdict: &'a str,
    class: &'static str,
    sign: &'static str,
    first: String,
    /// All of it, where that is more.
    in_full: Option<&'a str>,
    advice: &'static str,
}

impl<'a> FindingView<'a> {
    fn of(finding: &'a FindingInfo) -> Self {
        let FindingInfo { check, verdict, detail } = finding;
        let (class, sign) = match verdict.as_str() {
            "not made" => ("soft", "–"),
            word => {
                let (class, sign, _) = told(word);
                (class, sign)
            }
        };
        let in_full = Some(detail.as_str()).filter(|detail| detail.lines().nth(1).is_some());
        let advice = advice(check, verdict);
        Self { check, verdict, class, sign, first: opening(detail), in_full, advice }
    }
}

/// A file of the run, as the template shows it.
#[derive(Serialize)]
struct FileView<'a> {
    name: &'a str,
    what: &'a str,
    /// Relative whatever it is called: a colon in it is no scheme behind a dot and a slash.
    link: String,
}

impl<'a> FileView<'a> {
    fn of(FileInfo { name, what }: &'a FileInfo) -> Self {
        Self { name, what, link: utf8_percent_encode(name, PATH).to_string() }
    }
}

/// A verdict's class, its sign for those who see no colour, and its words.
fn told(word: &str) -> (&'static str, &'static str, &'static str) {
    match word {
        "holds" => ("holds", "✓", "It held"),
        "violated" => ("violated", "✗", "Violated"),
        "undecided" => ("undecided", "?", "Undecided"),
        "a rule never matched" => ("never", "!", "A rule never matched"),
        _ => ("failed", "!", "The run failed"),
    }
}

/// The verdict in one sentence: the first finding that it follows from.
fn reason(verdict: &VerdictInfo) -> String {
    let VerdictInfo { word, findings, why, .. } = verdict;
    let made = findings.iter().filter(|finding| finding.verdict != "not made").count();
    if word == "holds" {
        let checks = if made == 1 { "check" } else { "checks" };
        return format!(
            "{made} {checks} made, and nothing contradicts what is promised. \
             Another seed does other things."
        );
    }
    let cause = findings.iter().find(|finding| finding.verdict == *word);
    cause
        .map(|finding| format!("{}: {}", finding.check, sentence(&opening(&finding.detail))))
        .or_else(|| Some(why.clone()).filter(|why| !why.is_empty()))
        .unwrap_or_else(|| "Why stands in the warnings below.".into())
}

/// The first paragraph in one line: evidence is wrapped for terminals, and goes on with a table.
fn opening(detail: &str) -> String {
    let lines = detail.lines().take_while(|line| !line.is_empty() && !line.starts_with("  "));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Its first sentence.
fn sentence(paragraph: &str) -> &str {
    paragraph.find(". ").map_or(paragraph, |end| &paragraph[..=end])
}

/// Where to look, and what to try.
fn advice(check: &str, verdict: &str) -> &'static str {
    match (check, verdict) {
        (_, "holds") => "Nothing.",
        (_, "not made") => "Ask for a workload that this check can judge.",
        ("linearizable" | "durable", "violated") => {
            "See the contradiction below; zoom to its calls, and look at who led and what was cut \
             just before."
        }
        ("invariants", "violated") => {
            "See the messages that prove it below, and the nodes' logs around them."
        }
        ("recovers", "violated") => {
            "Look at elections after healing; a node may have been waiting out a back-off."
        }
        ("available", "violated") => {
            "See the times without a write on the timeline, and what was done just before."
        }
        ("processes", "violated") => "Read the node's log around its death, below.",
        ("invariants", _) => "More of the wire has to be readable: attach before nodes connect.",
        ("linearizable" | "durable", _) => {
            "Fewer clients, a shorter run or more time for the checker may decide it."
        }
        _ => "What stands in the way is said beside; mend it and run again.",
    }
}

/// The story as gzip in base64. No time and no name is in it, so that it is always the same.
fn packed(story: &Story) -> String {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::default());
    let json = serde_json::to_vec(story).expect("a story is numbers, texts and lists of them");
    gzip.write_all(&json).expect("memory takes whatever is written");
    STANDARD.encode(gzip.finish().expect("memory takes whatever is written"))
}

fn hash(of: &str) -> String {
    STANDARD.encode(Sha256::digest(of.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bundled_cannot_end_its_own_element() {
        for (what, bundle) in [("script", SCRIPT), ("style", STYLE)] {
            let lower = bundle.to_lowercase();
            assert!(lower.len() > 10_000, "the {what} is there");
            assert!(!lower.contains(&format!("</{what}")) && !lower.contains("<!--"), "{what}");
            assert!(!lower.contains("http://") || what == "script", "{what}: a foreign address");
            assert!(!lower.contains('\r'), "{what}: browsers would hash other bytes");
        }
    }

    #[test]
    fn the_same_story_gives_the_same_page_and_another_verdict_another_one() {
        let mut story = Story::default();
        story.verdict.word = "holds".into();
        let holds = page(&story);
        assert_eq!(holds, page(&story.clone()));
        story.verdict.word = "violated".into();
        assert_ne!(holds, page(&story));
    }

    #[test]
    fn a_rule_that_never_matched_is_named_and_not_whatever_was_warned_of_first() {
        let verdict = VerdictInfo {
            word: "a rule never matched".into(),
            why: "rule `cut` never matched".into(),
            warnings: vec![
                "somebody's firewall drops, too".into(),
                "rule `cut` never matched".into(),
            ],
            ..VerdictInfo::default()
        };
        assert_eq!(reason(&verdict), "rule `cut` never matched");
        let verdict = VerdictInfo { word: "failed".into(), why: String::new(), ..verdict };
        assert_eq!(reason(&verdict), "Why stands in the warnings below.");
    }

    #[test]
    fn a_violation_is_told_by_its_own_finding() {
        let finding = |verdict: &str, detail: &str| FindingInfo {
            check: "linearizable".into(),
            verdict: verdict.into(),
            detail: detail.into(),
        };
        let verdict = VerdictInfo {
            word: "violated".into(),
            findings: vec![
                finding("holds", "fine"),
                finding(
                    "violated",
                    "a read fits\nnowhere. Some order\nexplains it\n  call  answer",
                ),
            ],
            ..VerdictInfo::default()
        };
        assert_eq!(reason(&verdict), "linearizable: a read fits nowhere.");
        let found = opening(&verdict.findings[1].detail);
        assert_eq!(found, "a read fits nowhere. Some order explains it");
    }
}
