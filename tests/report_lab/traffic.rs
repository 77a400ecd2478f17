//! Who led, what nodes said to each other and what clients asked, while links were cut.

use super::{Dice, MS};
use raftq::report::story::{Calls, ClientLane, Messages, NodeLane, RoleSpan, StateSpan, Story};

/// Somebody led.
#[derive(Clone, Copy)]
pub(super) struct Reign {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) node: usize,
    pub(super) term: u64,
}

/// A node's process did not run, or stood still.
#[derive(Clone, Copy)]
pub(super) struct Down {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) node: usize,
    pub(super) state: &'static str,
}

pub(super) fn nodes(
    names: &[&str],
    reigns: &[Reign],
    downs: &[Down],
    length: i64,
) -> Vec<NodeLane> {
    let lane = |(node, name): (usize, &&str)| NodeLane {
        name: (*name).to_owned(),
        roles: roles(node, reigns, length),
        states: states(node, downs, length),
    };
    names.iter().enumerate().map(lane).collect()
}

fn roles(node: usize, reigns: &[Reign], length: i64) -> Vec<RoleSpan> {
    let mut spans: Vec<RoleSpan> = Vec::new();
    let mut at = 0;
    let mut put = |to: i64, role: &'static str, term: Option<u64>| {
        if to > at {
            spans.push(RoleSpan { from: at, to, role, term });
            at = to;
        }
    };
    let mut before = None;
    for reign in reigns {
        if before.is_none() {
            put(reign.from - 150 * MS, "unknown", None);
        }
        let own = reign.node == node;
        let stood = if own { reign.from - 90 * MS } else { reign.from };
        put(stood, if before.is_none() { "unknown" } else { "follower" }, before);
        put(reign.from, "candidate", Some(reign.term));
        put(reign.to, if own { "leader" } else { "follower" }, Some(reign.term));
        before = Some(reign.term);
    }
    put(length, "follower", before);
    spans
}

fn states(node: usize, downs: &[Down], length: i64) -> Vec<StateSpan> {
    let span = |from, to, state: &'static str, why: &str| StateSpan {
        from,
        to,
        state,
        why: why.to_owned(),
    };
    let mut spans = vec![span(0, 180 * MS, "starting", "")];
    let mut at = 180 * MS;
    for down in downs.iter().filter(|down| down.node == node) {
        spans.push(span(at, down.from, "up", ""));
        let why = if down.state == "down" { "killed by \"kill another\"" } else { "" };
        spans.push(span(down.from, down.to, down.state, why));
        at = down.to;
        if down.state == "down" {
            spans.push(span(at, at + 220 * MS, "starting", ""));
            at += 220 * MS;
        }
    }
    spans.push(span(at, length, "up", ""));
    spans
}

/// What the leader says to the others, `every` so often, and what they answer.
pub(super) fn messages(
    story: &mut Story,
    reigns: &[Reign],
    downs: &[Down],
    every: i64,
    dice: &mut Dice,
) {
    story.kinds = ["append_entries", "append_answer", "heartbeat", "vote_request", "vote_answer"]
        .map(str::to_owned)
        .to_vec();
    let n = story.nodes.len();
    let mut rows: Vec<(i64, i64, i64, usize, i64)> = Vec::new();
    for reign in reigns {
        let (leader, term) = (reign.node as i64, reign.term as i64);
        for other in (0..n).filter(|other| *other != reign.node) {
            let other = other as i64;
            rows.push((reign.from - 80 * MS, leader, other, 3, term));
            rows.push((reign.from - 40 * MS, other, leader, 4, term));
            let mut at = reign.from + dice.below(every.unsigned_abs()) as i64;
            while at < reign.to {
                let kind = if dice.below(3) == 0 { 2 } else { 0 };
                rows.push((at, leader, other, kind, term));
                rows.push((at + 150 + dice.below(900) as i64, other, leader, 1, term));
                at += every / 2 + dice.below(every.unsigned_abs()) as i64;
            }
        }
    }
    let dead = |at: i64, node: i64| {
        downs.iter().any(|d| d.node as i64 == node && d.from <= at && at < d.to)
    };
    rows.retain(|row| row.0 > 0 && !dead(row.0, row.1));
    rows.sort_unstable();
    let mut columns = Messages::default();
    let mut acting = Acting::default();
    for (at, from, to, kind, term) in rows {
        acting.move_to(story, at);
        let (fate, delay) = acting.fate(from, to, dice);
        columns.at.push(at);
        columns.from.push(from);
        columns.to.push(to);
        columns.kind.push(kind);
        columns.term.push(term);
        columns.fate.push(fate);
        columns.delay.push(delay);
    }
    story.messages = columns;
}

/// The bands that act at a time that only goes on.
#[derive(Default)]
struct Acting {
    until: i64,
    links: Vec<(usize, usize, bool)>,
}

impl Acting {
    fn move_to(&mut self, story: &Story, at: i64) {
        if at < self.until {
            return;
        }
        let edges = story.bands.iter().flat_map(|band| [band.from, band.to]);
        self.until = edges.filter(|edge| *edge > at).min().unwrap_or(i64::MAX);
        self.links.clear();
        for band in story.bands.iter().filter(|band| band.from <= at && at < band.to) {
            let delays = band.does[0].starts_with("delay");
            self.links.extend(band.links.iter().map(|link| (link.0, link.1, delays)));
        }
    }

    fn fate(&self, from: i64, to: i64, dice: &mut Dice) -> (u8, i64) {
        let link = (from as usize, to as usize);
        match self.links.iter().find(|acting| (acting.0, acting.1) == link) {
            Some((_, _, true)) => (1, 15 * MS + dice.below(10_000) as i64),
            Some(_) => (2, 0),
            None => (0, 0),
        }
    }
}

/// Calls of clients, one after the other each; while nobody leads they fail or hang.
pub(super) fn calls(
    story: &mut Story,
    clients: usize,
    count: usize,
    reigns: &[Reign],
    dice: &mut Dice,
) {
    let length = story.run.length;
    story.functions = vec!["read".into(), "write".into(), "cas".into()];
    story.keys = (0..8).map(|key| format!("k{key}")).collect();
    story.lanes =
        (0..clients).map(|i| ClientLane { name: format!("client {i}"), load: 0 }).collect();
    let pause = (length - 600 * MS) * clients as i64 / count.max(1) as i64;
    let middle = (pause / 2).clamp(200, 4 * MS);
    let mut rows: Vec<(i64, i64, usize, usize, i64, u8, usize)> = Vec::new();
    for lane in 0..clients {
        let mut at = 500 * MS + dice.below(pause.unsigned_abs()) as i64;
        while at < length - 100 * MS {
            let (f, key) = (dice.below(3) as usize, dice.below(8) as i64);
            let calm = reigns.iter().any(|r| r.from < at && at < r.to - 60 * MS);
            let (took, outcome) = match (calm, dice.below(4)) {
                (false, 0) => (dice.latency(60 * MS), 1),
                (false, 1) => (-1, 2),
                (false, _) => (dice.latency(300 * MS), 0),
                _ => (dice.latency(middle), 0),
            };
            let end = if took < 0 { -1 } else { (at + took).min(length) };
            rows.push((at, end, lane, f, key, outcome, dice.below(3) as usize));
            at += if took < 0 { 800 * MS } else { took } + dice.latency((pause - middle).max(50));
        }
    }
    rows.sort_unstable();
    let mut columns = Calls::default();
    for (i, (begin, end, lane, f, key, outcome, node)) in rows.into_iter().enumerate() {
        columns.begin.push(begin);
        columns.end.push(end);
        columns.lane.push(lane);
        columns.f.push(f);
        columns.key.push(key);
        columns.outcome.push(outcome);
        columns.node.push(node as i64);
        columns.text.push(story.texts.len());
        let answer = ["ok", "failed: no leader", "timed out"][outcome as usize];
        story.texts.push(format!("{} k{key} {} -> {answer}", story.functions[f], i % 97));
    }
    story.calls = columns;
}
