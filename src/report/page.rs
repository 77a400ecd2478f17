//! The report's page: one HTML file that needs no network, no other file, and for what matters
//! most no script.
//!
//! The head is plain HTML: what the run came to, check by check, and where its files are. All
//! else is drawn by `web/dist/report.js` (made of `web/src/`, see `make page`) from the story,
//! which is in the page as gzip in base64. The page's own policy lets exactly that script and
//! that style act, by their hashes, and nothing else: whatever a name or a value of the run
//! contains, it is text.

use super::story::{FindingInfo, RunInfo, Story, VerdictInfo};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write;
use std::io::Write as _;

const SCRIPT: &str = include_str!("../../web/dist/report.js");
const STYLE: &str = include_str!("../../web/dist/report.css");

/// What may stand in a link to a file beside the page.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/');

/// The whole page. The same story gives the same bytes.
#[must_use]
pub fn page(story: &Story) -> String {
    let mut page = String::new();
    head(&mut page, story);
    top(&mut page, story);
    findings(&mut page, &story.verdict);
    page.push_str("<div id=\"glance\"></div>\n");
    evidence(&mut page, story);
    page.push_str("</header>\n<noscript><p>Without scripts the page ends here: timeline, charts ");
    page.push_str("and lists are drawn by one. The run's files hold everything.</p></noscript>\n");
    page.push_str("<main id=\"report\" tabindex=\"-1\"></main>\n");
    // A data block: browsers run no script of this type.
    let _ = writeln!(page, "<script type=\"text/plain\" id=\"story\">{}</script>", packed(story));
    let _ = writeln!(page, "<script>{SCRIPT}</script>\n</body>\n</html>");
    page
}

fn head(page: &mut String, story: &Story) {
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; \
         base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    let word = &story.verdict.word;
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}: {} – raftq</title>\n<style>{STYLE}</style>\n</head>\n",
        text(&story.run.scenario),
        text(word),
    );
}

/// Name, verdict and the facts of the run.
fn top(page: &mut String, story: &Story) {
    let Story { run, verdict, .. } = story;
    let _ = write!(
        page,
        "<body>\n<a class=\"skip\" href=\"#report\">Skip to the timeline</a>\n<header>\n\
         <div class=\"top\"><div><h1><bdi>{}</bdi></h1>\n",
        text(&run.scenario)
    );
    facts(page, story);
    page.push_str("</div><div id=\"tools\"></div></div>\n");
    let (class, sign, said) = told(&verdict.word);
    let _ = write!(
        page,
        "<div class=\"verdict {class}\" id=\"verdict\" data-word=\"{}\"><span class=\"word\">\
         <span aria-hidden=\"true\">{sign}</span> {said}</span> \
         <span class=\"why\">{}</span></div>\n\
         <nav id=\"contents\" aria-label=\"Parts of the report\"></nav>\n",
        text(&verdict.word),
        text(&reason(verdict)),
    );
}

fn facts(page: &mut String, story: &Story) {
    let RunInfo { adapter, seed, args, raftq, started, length, .. } = &story.run;
    page.push_str("<ul class=\"facts\">");
    let nodes = story.nodes.len();
    let of = adapter.as_ref().map_or(String::new(), |adapter| format!(" of {adapter}"));
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = write!(page, "<li>{name} <b>{}</b></li>", text(value));
        }
    };
    fact("", &format!("{nodes} node{}{of}", if nodes == 1 { "" } else { "s" }));
    fact("took", &format!("{:.1} s", *length as f64 / 1e6));
    fact("started", started.as_deref().unwrap_or_default());
    fact("seed", seed);
    fact("nodes' arguments", &args.join(" "));
    fact("raftq", raftq);
    page.push_str("</ul>\n");
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
    let VerdictInfo { word, findings, warnings, .. } = verdict;
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
        .or_else(|| {
            let cause = warnings.iter().find(|warning| is_cause(word, warning));
            cause.map(|warning| sentence(&opening(warning)).to_owned())
        })
        .unwrap_or_else(|| "Why stands in the warnings below.".into())
}

/// Whether a verdict that is no finding's follows from a warning: others stand before it that only
/// have to be known.
fn is_cause(word: &str, warning: &str) -> bool {
    let any = |words: &[&str]| words.iter().any(|one| warning.contains(one));
    match word {
        "a rule never matched" => any(&["never matched"]),
        "undecided" => {
            any(&["lost", "leaky", "removed", "stopped", "no room", "no summary", "unseen"])
        }
        _ => false,
    }
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

fn findings(page: &mut String, verdict: &VerdictInfo) {
    page.push_str(
        "<table class=\"findings\"><thead><tr><th scope=\"col\">Check</th><th scope=\"col\">\
         Verdict</th><th scope=\"col\">What was found</th><th scope=\"col\">What to do next</th>\
         </tr></thead><tbody>\n",
    );
    for finding in &verdict.findings {
        let FindingInfo { check, verdict, detail } = finding;
        let (class, sign, _) = told(verdict);
        let (class, sign) = if verdict == "not made" { ("soft", "–") } else { (class, sign) };
        let first = opening(detail);
        let _ = write!(
            page,
            "<tr><th scope=\"row\">{}</th><td class=\"judged {class}\"><span aria-hidden=\"true\">\
             {sign}</span> {}</td><td>{}",
            text(check),
            text(verdict),
            text(&first)
        );
        if detail.lines().nth(1).is_some() {
            let _ = write!(
                page,
                "<details><summary>In full</summary><pre tabindex=\"0\">{}</pre></details>",
                text(detail)
            );
        }
        let _ = writeln!(page, "</td><td class=\"next\">{}</td></tr>", advice(check, verdict));
    }
    page.push_str("</tbody></table>\n");
    if !verdict.warnings.is_empty() {
        page.push_str("<ul class=\"warnings\" aria-label=\"Warnings\">");
        for warning in &verdict.warnings {
            let _ = write!(page, "<li>{}</li>", text(warning));
        }
        page.push_str("</ul>\n");
    }
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

/// The files, and the commands that look further.
fn evidence(page: &mut String, story: &Story) {
    let RunInfo { folder, repeat, .. } = &story.run;
    if story.files.is_empty() && repeat.is_empty() {
        return;
    }
    page.push_str("<section class=\"evidence-files\" aria-labelledby=\"files\"><h3 id=\"files\">");
    let _ = write!(page, "Where the evidence is</h3><p class=\"soft\">{}</p><ul>", text(folder));
    for file in &story.files {
        // Relative whatever it is called: a colon in it is no scheme behind a dot and a slash.
        let link = utf8_percent_encode(&file.name, PATH);
        let (name, what) = (text(&file.name), text(&file.what));
        let _ = write!(
            page,
            "<li><a href=\"./{link}\">{name}</a> <span class=\"soft\">{what}</span></li>"
        );
    }
    page.push_str("</ul>");
    for command in repeat {
        let _ = write!(page, "<p><code>{}</code></p>", text(command));
    }
    page.push_str("</section>\n");
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

/// Text as HTML that shows it: nothing in it is markup, and what would turn its surroundings
/// around (controls, marks of direction) is shown as its number.
fn text(raw: &str) -> Cow<'_, str> {
    if !raw.chars().any(|c| matches!(c, '&' | '<' | '>' | '"' | '\'') || hidden(c)) {
        return raw.into();
    }
    let mut safe = String::with_capacity(raw.len() + 16);
    for c in raw.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if hidden(c) => {
                let _ = write!(safe, "⟨U+{:04X}⟩", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe.into()
}

fn hidden(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(u32::from(c),
            0x061c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069 | 0xfeff)
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
    fn text_is_shown_and_never_acts() {
        assert_eq!(text("n1"), "n1");
        assert_eq!(text("<b>\"a\" & 'b'"), "&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;");
        assert_eq!(text("a\u{202e}b\u{0}"), "a⟨U+202E⟩b⟨U+0000⟩");
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
            warnings: vec![
                "somebody's firewall drops, too".into(),
                "rule `cut` never matched".into(),
            ],
            ..VerdictInfo::default()
        };
        assert_eq!(reason(&verdict), "rule `cut` never matched");
        let verdict = VerdictInfo { word: "failed".into(), ..verdict };
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
