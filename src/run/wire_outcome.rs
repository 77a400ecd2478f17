//! What was seen on the wire, as it stands in results: for machines, and for people.

use super::words::CheckVerdict;
use crate::observe::{Alarm, Coverage, Invariant, Stand, Watched, member_text};
use crate::wire::Member;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::Write;

/// Elections that are told one by one; the JSON document has all of them.
const ELECTIONS_TOLD: usize = 12;

/// How long lines that list things are.
const COLUMNS: usize = 90;

/// What was seen on the wire.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WireOutcome {
    /// By which protocol.
    pub protocol: Cow<'static, str>,
    /// Each Raft group that was heard.
    pub groups: Vec<GroupOutcome>,
    /// Elections, in the order in which they were first seen.
    pub elections: Vec<ElectionOutcome>,
    /// Each invariant.
    pub invariants: Vec<InvariantOutcome>,
    /// Violations, with their evidence.
    pub alarms: Vec<AlarmOutcome>,
    /// How much could be read.
    pub coverage: CoverageOutcome,
    /// Why the record is not whole, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<String>,
}

/// One group.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct GroupOutcome {
    /// Its name; empty where there is only one.
    pub group: String,
    /// Its highest term.
    pub term: u64,
    /// Who led last.
    pub leader: Option<String>,
}

/// One election.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ElectionOutcome {
    /// Of which group.
    pub group: String,
    /// In which term.
    pub term: u64,
    /// When it was first seen, s on the rules' clock.
    pub at_s: f64,
    /// Who stood first; none where no vote request was seen.
    pub candidate: Option<String>,
    /// How many stood besides.
    pub rivals: u32,
    /// Who leads in the term; none where nobody was heard to.
    pub leader: Option<String>,
    /// From the first vote request to the first word of the leader, s.
    pub took_s: Option<f64>,
}

/// One invariant.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct InvariantOutcome {
    /// Its word.
    pub invariant: Invariant,
    /// What it says.
    pub meaning: Cow<'static, str>,
    /// Never undecided; `not made` where nothing of the kind was seen.
    pub verdict: CheckVerdict,
    /// How often it was put to the test, or violated.
    pub times: u64,
    /// Why it was not put to the test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Cow<'static, str>>,
}

/// One violation.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AlarmOutcome {
    /// What does not hold.
    pub invariant: Invariant,
    /// When its last message was seen, s on the rules' clock.
    pub at_s: f64,
    /// In one sentence.
    pub said: String,
    /// The messages that prove it, in their order.
    pub evidence: Vec<String>,
}

/// How much of what nodes said could be read.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct CoverageOutcome {
    /// Connections.
    pub connections: u64,
    /// Those that were seen from their first byte.
    pub whole_connections: u64,
    /// Messages that were read.
    pub messages: u64,
    /// Messages that were read and not watched, because there was no time.
    pub missed: u64,
    /// Times at which a direction lost its thread.
    pub lost: u64,
    /// Percent of the time, over all directions, in which they could be read.
    pub percent_of_time: f64,
    /// Bytes that nobody could read.
    pub unread_bytes: u64,
    /// Why a thread was lost last; not in records, nor in documents for machines.
    #[serde(skip)]
    pub why: Option<&'static str>,
}

impl WireOutcome {
    /// Puts names to what was seen.
    #[must_use]
    pub fn new(
        protocol: &'static str,
        nodes: &[String],
        watched: &Watched,
        alarms: &[(Alarm, Vec<String>)],
        unwritten: Option<String>,
    ) -> Self {
        let who = Names { nodes, watched };
        let groups = watched.groups.iter().map(|seen| GroupOutcome {
            group: seen.group.name(),
            term: seen.term,
            leader: seen.leader.map(|(leader, _)| who.name(leader)),
        });
        let elections = watched.elections.iter().map(|one| ElectionOutcome {
            group: one.group.name(),
            term: one.term,
            at_s: one.at.as_secs_f64(),
            candidate: one.candidate.map(|member| who.name(member)),
            rivals: one.rivals,
            leader: one.leader.map(|member| who.name(member)),
            took_s: one
                .candidate
                .and(one.led_at)
                .map(|led| led.saturating_sub(one.at).as_secs_f64()),
        });
        let alarms = alarms.iter().map(|(alarm, evidence)| AlarmOutcome {
            invariant: alarm.invariant,
            at_s: alarm.at.as_secs_f64(),
            said: alarm.said.clone(),
            evidence: evidence.clone(),
        });
        Self {
            protocol: protocol.into(),
            groups: groups.collect(),
            elections: elections.collect(),
            invariants: watched.stands.iter().map(invariant).collect(),
            alarms: alarms.collect(),
            coverage: coverage(watched),
            unwritten,
        }
    }

    /// Whether an invariant was violated.
    #[must_use]
    pub fn is_violated(&self) -> bool {
        self.invariants.iter().any(|one| one.verdict == CheckVerdict::Violated)
    }

    /// Whether anything was put to the test at all.
    #[must_use]
    pub fn says_something(&self) -> bool {
        self.invariants.iter().any(|one| one.verdict != CheckVerdict::NotMade)
    }

    /// Several lines for people, each indented by two.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let CoverageOutcome { connections, messages, percent_of_time, .. } = self.coverage;
        let _ = writeln!(
            text,
            "  {messages} messages of {} on {connections} connections, {percent_of_time:.1} % of \
             the time readable",
            self.protocol
        );
        text += &self.coverage.gaps();
        if let Some(unwritten) = &self.unwritten {
            let _ = writeln!(text, "  {unwritten}");
        }
        for election in self.elections.iter().take(ELECTIONS_TOLD) {
            let _ = writeln!(text, "  {}", election.text());
        }
        let more = self.elections.len().saturating_sub(ELECTIONS_TOLD);
        if more > 0 {
            let _ = writeln!(text, "  and {more} elections more");
        }
        for group in &self.groups {
            let led = group.leader.as_deref().map_or("nobody led".into(), |l| format!("{l} led"));
            let name = of_group(&group.group);
            let _ = writeln!(text, "  at the end{name}: term {}, {led}", group.term);
        }
        for alarm in &self.alarms {
            let _ = writeln!(text, "  VIOLATED: {}", alarm.said);
            for message in &alarm.evidence {
                let _ = writeln!(text, "    {message}");
            }
        }
        let all = |verdict| self.invariants.iter().filter(move |one| one.verdict == verdict);
        text += &list("held:", all(CheckVerdict::Holds).map(|one| one.meaning.to_string()));
        let untested = |one: &InvariantOutcome| {
            format!(
                "{} ({})",
                one.meaning,
                one.why.as_deref().unwrap_or("nothing of the kind was seen")
            )
        };
        text += &list("not tested:", all(CheckVerdict::NotMade).map(untested));
        text
    }
}

impl CoverageOutcome {
    /// What could not be read or watched, a line each; nothing where there is nothing to tell.
    fn gaps(&self) -> String {
        let mut text = String::new();
        let why = self.why.map_or(String::new(), |why| format!(" (last: {why})"));
        if self.messages == 0 && self.unread_bytes > 0 {
            let bytes = self.unread_bytes;
            let _ = writeln!(text, "  nothing could be read of {bytes} bytes{why}");
        } else if self.lost > 0 {
            let times = self.lost;
            let _ = writeln!(text, "  connections lost their thread {times} times{why}");
        }
        if self.missed > 0 {
            let _ = writeln!(text, "  {} messages were read and not watched", self.missed);
        }
        text
    }
}

/// A list, several to a line; nothing where it is empty.
fn list(head: &str, all: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    let indent = " ".repeat(head.len() + 2);
    let mut line = format!("  {head}");
    for one in all {
        if line.len() + one.len() > COLUMNS && line != indent {
            text += line.trim_end();
            text += "\n";
            line.clone_from(&indent);
        }
        let _ = write!(line, " {one};");
    }
    match line.strip_suffix(';') {
        Some(line) => text + line + "\n",
        None => text,
    }
}

impl ElectionOutcome {
    fn text(&self) -> String {
        let name = of_group(&self.group);
        let text = format!("{:8.3}s  term {}{name}: ", self.at_s, self.term);
        let stood = self.candidate.as_ref().map(|candidate| match self.rivals {
            0 => format!("{candidate} stood"),
            1 => format!("{candidate} stood, and another one"),
            n => format!("{candidate} stood, and {n} others"),
        });
        let led = match (&self.leader, self.took_s) {
            (Some(leader), Some(took)) => format!("{leader} led after {:.0} ms", took * 1e3),
            (Some(leader), None) => format!("{leader} led"),
            (None, _) => "nobody led".into(),
        };
        text + &stood.into_iter().chain([led]).collect::<Vec<_>>().join("; ")
    }
}

fn of_group(group: &str) -> String {
    if group.is_empty() { String::new() } else { format!(" of {group}") }
}

fn invariant((invariant, stand): &(Invariant, Stand)) -> InvariantOutcome {
    let (verdict, times, why) = match *stand {
        Stand::Holds(times) => (CheckVerdict::Holds, times, None),
        Stand::Violated(times) => (CheckVerdict::Violated, times, None),
        Stand::NotMade(why) => (CheckVerdict::NotMade, 0, Some(why.into())),
    };
    let meaning = invariant.meaning().into();
    InvariantOutcome { invariant: *invariant, meaning, verdict, times, why }
}

fn coverage(watched: &Watched) -> CoverageOutcome {
    let Coverage { flows, whole_flows, lost, unread, last_lost, .. } =
        watched.coverage.unwrap_or_default();
    let share = watched.coverage.map_or(0.0, |coverage| coverage.share());
    CoverageOutcome {
        connections: flows,
        whole_connections: whole_flows,
        messages: watched.told + watched.missed,
        missed: watched.missed,
        lost,
        percent_of_time: (share * 1000.0).round() / 10.0,
        unread_bytes: unread,
        why: last_lost,
    }
}

/// Names of members, by the nodes on which they were heard.
struct Names<'a> {
    nodes: &'a [String],
    watched: &'a Watched,
}

impl Names<'_> {
    fn name(&self, member: Member) -> String {
        let heard = self.watched.members.iter().find(|(one, _)| *one == member);
        let node = heard.and_then(|(_, node)| self.nodes.get(usize::from(node.0)));
        node.cloned().unwrap_or_else(|| format!("member {}", member_text(member)))
    }
}
