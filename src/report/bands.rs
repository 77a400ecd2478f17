//! What was done to the cluster: a band for each activation of a rule and for each fault, from the
//! events. Pure.

use super::events::Event;
use super::story::{Band, Micros};
use crate::run::disturb::HEARD;
use crate::run::facts::{Fact, NodeIs};
use std::collections::{BTreeMap, BTreeSet};

/// Bands that a page gets; a rule that comes every 10 ms makes thousands.
pub(super) const BANDS_MAX: usize = 5_000;

/// Puts bands together from events, in order of time.
#[derive(Debug)]
pub(super) struct Bands<'a> {
    nodes: &'a [String],
    length: Micros,
    all: Vec<Band>,
    /// Rules that are active, and faults that are not undone: their places in `all`.
    open: BTreeMap<String, usize>,
    /// Who said who leads, as rules were bound last, and their links.
    bound: BTreeMap<String, (String, Vec<(usize, usize)>)>,
    /// Who led last, as heard on the wire, and the words of that.
    leader: Option<(usize, String)>,
    left_out: u64,
    /// Whether the record has no facts of rules, as an older raftq left it.
    is_old: bool,
}

/// All bands of these events, and how many were left out.
pub(super) fn of(events: &[Event], nodes: &[String], length: Micros) -> (Vec<Band>, u64) {
    let mut bands = Bands {
        nodes,
        length,
        all: Vec::new(),
        open: BTreeMap::new(),
        bound: BTreeMap::new(),
        leader: None,
        left_out: 0,
        is_old: !events.iter().any(|event| matches!(event.fact, Some(Fact::Active { .. }))),
    };
    for event in events {
        bands.event(event);
    }
    bands.all.sort_by_key(|band| band.from);
    (bands.all, bands.left_out)
}

impl Bands<'_> {
    fn event(&mut self, event: &Event) {
        match &event.fact {
            Some(Fact::Bound { by }) => {
                let links = event.nodes.iter().filter_map(|link| self.link(link)).collect();
                self.bound.insert(event.rule.clone(), (by.clone(), links));
            }
            Some(Fact::Active { does, links, sides: None, .. }) => self.active(event, does, links),
            Some(Fact::Active { does, sides: Some(sides), .. }) => self.open(event, does, sides),
            Some(Fact::Ended { matched, acted, leaked, cut_short }) => {
                let counts = [*matched, *acted, *leaked].map(|n| i64::try_from(n).unwrap_or(-1));
                self.ended(event, counts, !*cut_short);
            }
            Some(Fact::Ordered { action, undo: false }) => self.ordered(event, action),
            Some(Fact::Done { action, undo, failed }) => self.done(event, action, *undo, *failed),
            Some(Fact::State { state: NodeIs::Up | NodeIs::Starting }) => self.runs_again(event),
            None if self.is_old && event.what == "active" => self.active(event, &[], &[]),
            None if self.is_old && event.what == "ended" => self.ended(event, [-1; 3], true),
            None if event.rule == HEARD => {
                if let Some((name, _)) = event.what.split_once(" leads in term ") {
                    self.leader = self.node(name).map(|node| (node, event.what.clone()));
                }
            }
            _ => {}
        }
    }

    /// A rule whose links follow roles: where its words mean the leader and all others, they are
    /// those of whoever led as it became active; a leader that was heard at that very moment is
    /// told before.
    fn open(&mut self, event: &Event, does: &[String], sides: &str) {
        self.active(event, does, &[]);
        let Some(band) = self.open.get(&event.rule).map(|place| &mut self.all[*place]) else {
            return;
        };
        sides.clone_into(&mut band.why);
        let Some((leader, said)) = &self.leader else { return };
        let others = (0..self.nodes.len()).filter(|node| node != leader);
        let (out, back) = others.map(|node| ((*leader, node), (node, *leader))).unzip();
        let (out, back): (Vec<_>, Vec<_>) = (out, back);
        band.links = match sides {
            "leader <-> rest" | "leader <-> followers" => [out, back].concat(),
            "leader -> rest" | "leader -> followers" | "leader -> any" => out,
            "rest -> leader" | "followers -> leader" | "any -> leader" => back,
            _ => return,
        };
        band.nodes = about(&band.links);
        band.why = format!("{sides}: {said}, as heard on the wire");
    }

    fn active(&mut self, event: &Event, does: &[String], links: &[(String, String)]) {
        let links: Vec<(usize, usize)> = links
            .iter()
            .filter_map(|(from, to)| Some((self.node(from)?, self.node(to)?)))
            .collect();
        let (why, bound) = self.bound.remove(&event.rule).unwrap_or_default();
        let links = if links.is_empty() { bound } else { links };
        self.begin(Band {
            rule: event.rule.clone(),
            kind: "packets",
            from: event.at,
            to: self.length.max(event.at),
            nodes: about(&links),
            links,
            does: does.to_vec(),
            why,
            matched: -1,
            acted: -1,
            leaked: -1,
            ..Band::default()
        });
    }

    fn ended(&mut self, event: &Event, [matched, acted, leaked]: [i64; 3], ended: bool) {
        let Some(place) = self.open.remove(&event.rule) else { return };
        let band = &mut self.all[place];
        (band.to, band.ended) = (event.at.max(band.from), ended);
        (band.matched, band.acted, band.leaked) = (matched, acted, leaked);
    }

    fn ordered(&mut self, event: &Event, action: &str) {
        let nodes = event.nodes.iter().filter_map(|name| self.node(name)).collect();
        self.begin(Band {
            rule: event.rule.clone(),
            kind: "process",
            from: event.at,
            to: self.length.max(event.at),
            nodes,
            does: vec![action.to_owned()],
            why: event.what.clone(),
            matched: -1,
            acted: -1,
            leaked: -1,
            ..Band::default()
        });
    }

    fn done(&mut self, event: &Event, action: &str, undo: bool, failed: bool) {
        let Some(&place) = self.open.get(&event.rule) else { return };
        // Whatever is over at once ends when it is done, all others when they are undone.
        let lasts = matches!(action, "kill" | "crash" | "stop" | "pause" | "remove");
        let failing: Vec<usize> = event.nodes.iter().filter_map(|name| self.node(name)).collect();
        let band = &mut self.all[place];
        if failed {
            let what = if undo { "not undone" } else { "not done" };
            band.why = format!("{}; {what}: {}", band.why, event.what);
        }
        // What was never done to a node is no fault of it; what could not be undone goes on.
        let remains = band.nodes.iter().any(|node| !failing.contains(node));
        let is_over = match (undo, failed) {
            (_, false) => undo || !lasts,
            (true, true) => false,
            (false, true) => !remains,
        };
        if failed && !undo && remains {
            band.nodes.retain(|node| !failing.contains(node));
        }
        if is_over {
            (band.to, band.ended) = (event.at.max(band.from), true);
        }
    }

    /// A node's process runs again, whoever saw to that: what was done to it is over. The healing
    /// behind the fault phase undoes what no rule has.
    fn runs_again(&mut self, event: &Event) {
        let again: Vec<usize> = event.nodes.iter().filter_map(|name| self.node(name)).collect();
        for place in self.open.values() {
            let band = &mut self.all[*place];
            let is_about = !band.nodes.is_empty() && band.nodes.iter().all(|n| again.contains(n));
            if band.kind == "process" && !band.ended && is_about {
                (band.to, band.ended) = (event.at.max(band.from), true);
            }
        }
    }

    fn begin(&mut self, band: Band) {
        if self.all.len() >= BANDS_MAX {
            self.open.remove(&band.rule);
            self.left_out += 1;
            return;
        }
        self.open.insert(band.rule.clone(), self.all.len());
        self.all.push(band);
    }

    fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|one| one == name)
    }

    /// A link as people write it: `n1>n2`.
    fn link(&self, text: &str) -> Option<(usize, usize)> {
        let (from, to) = text.split_once('>')?;
        Some((self.node(from)?, self.node(to)?))
    }
}

/// Whom links are about: those at an end of each of them, else all.
fn about(links: &[(usize, usize)]) -> Vec<usize> {
    let all: BTreeSet<usize> = links.iter().flat_map(|(from, to)| [*from, *to]).collect();
    let common: Vec<usize> = all
        .iter()
        .copied()
        .filter(|node| links.iter().all(|(from, to)| from == node || to == node))
        .collect();
    if common.is_empty() { all.into_iter().collect() } else { common }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: Micros, rule: &str, what: &str, nodes: &[&str], fact: Option<Fact>) -> Event {
        let nodes = nodes.iter().map(|name| (*name).to_owned()).collect();
        Event { at, rule: rule.into(), what: what.into(), nodes, fact }
    }

    fn names() -> Vec<String> {
        ["n1", "n2", "n3"].map(str::to_owned).to_vec()
    }

    #[expect(clippy::unnecessary_wraps, reason = "an event may have none")]
    fn active(links: &[(&str, &str)]) -> Option<Fact> {
        let links = links.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Some(Fact::Active { does: vec!["drop".into()], links, sides: None, links_more: 0 })
    }

    #[test]
    fn each_activation_is_a_band_of_its_own() {
        let by = "n2 leads in term 2, as heard on the wire".to_owned();
        let links = [("n1", "n2"), ("n2", "n1"), ("n2", "n3"), ("n3", "n2")];
        let ended =
            |matched, cut_short| Some(Fact::Ended { matched, acted: 1, leaked: 0, cut_short });
        let events = [
            event(10, "cut", "bound: n1>n2", &["n1>n2"], Some(Fact::Bound { by: by.clone() })),
            event(11, "cut", "active", &[], active(&links)),
            event(20, "cut", "ended", &[], ended(7, false)),
            event(30, "cut", "active", &[], active(&links[..2])),
            event(40, "cut", "still active at the end", &[], ended(3, true)),
        ];
        let (bands, left_out) = of(&events, &names(), 50);
        assert_eq!((bands.len(), left_out), (2, 0));
        let first = &bands[0];
        assert_eq!((first.from, first.to, first.ended, first.matched), (11, 20, true, 7));
        assert_eq!((first.nodes.as_slice(), first.links.len()), (&[1][..], 4));
        assert_eq!((first.why.as_str(), first.does.join(",").as_str()), (by.as_str(), "drop"));
        let second = &bands[1];
        assert_eq!((second.from, second.to, second.ended, second.acted), (30, 40, false, 1));
        assert_eq!(second.nodes, [0, 1], "both ends of the only pair");
        assert_eq!(second.why, "", "bound anew or not at all");
    }

    #[test]
    fn a_fault_lasts_until_it_is_undone_and_what_is_over_at_once_until_it_is_done() {
        let ordered = |action: &str| Some(Fact::Ordered { action: action.into(), undo: false });
        let done =
            |action: &str, undo, failed| Some(Fact::Done { action: action.into(), undo, failed });
        let events = [
            event(1, "gone", "kill n3", &["n3"], ordered("kill")),
            event(2, "gone", "n3 kill done", &["n3"], done("kill", false, false)),
            event(3, "fresh", "restart n1", &["n1"], ordered("restart")),
            event(4, "fresh", "n1 restart done", &["n1"], done("restart", false, false)),
            event(5, "gone", "n3 started again", &["n3"], done("kill", true, false)),
            event(6, "still", "pause n2", &["n2"], ordered("pause")),
            event(7, "still", "n2: no such process", &["n2"], done("pause", false, true)),
            event(8, "stuck", "pause n2", &["n2"], ordered("pause")),
            event(9, "stuck", "n2 stays paused", &["n2"], done("pause", true, true)),
            event(10, "mended", "kill n1", &["n1"], ordered("kill")),
            event(11, "mended", "n1 kill done", &["n1"], done("kill", false, false)),
            event(12, "processes", "n1", &["n1"], Some(Fact::State { state: NodeIs::Starting })),
        ];
        let (bands, _) = of(&events, &names(), 50);
        let told: Vec<_> = bands.iter().map(|b| (b.rule.as_str(), b.from, b.to, b.ended)).collect();
        let (over, open) = (true, false);
        assert_eq!(
            told,
            [
                ("gone", 1, 5, over),
                ("fresh", 3, 4, over),
                ("still", 6, 7, over),
                ("stuck", 8, 50, open),
                ("mended", 10, 12, over),
            ]
        );
        assert!(bands[2].why.contains("no such process"), "{:?}", bands[2]);
    }

    #[test]
    fn a_rule_that_an_event_binds_is_about_whoever_led_as_it_became_active() {
        let sides = |sides: &str| {
            let (does, sides) = (vec!["drop".into()], Some(sides.to_owned()));
            Some(Fact::Active { does, links: Vec::new(), sides, links_more: 0 })
        };
        let events = [
            event(1, HEARD, "n1 leads in term 2", &["n1"], None),
            event(5, HEARD, "n3 leads in term 3", &["n3"], None),
            event(5, "cut", "active", &[], sides("leader <-> rest")),
            event(6, "one way", "active", &[], sides("rest -> leader")),
            event(7, "whoever", "active", &[], sides("random 2 -> any")),
        ];
        let (bands, _) = of(&events, &names(), 50);
        assert_eq!(bands[0].links, [(2, 0), (2, 1), (0, 2), (1, 2)]);
        assert_eq!(bands[0].nodes, [2]);
        assert_eq!(bands[0].why, "leader <-> rest: n3 leads in term 3, as heard on the wire");
        assert_eq!(bands[1].links, [(0, 2), (1, 2)]);
        assert_eq!((bands[2].links.len(), bands[2].why.as_str()), (0, "random 2 -> any"));
    }

    #[test]
    fn an_old_record_without_facts_makes_bands_that_know_less() {
        let events = [event(1, "cut", "active", &[], None), event(9, "cut", "ended", &[], None)];
        let (bands, _) = of(&events, &names(), 50);
        assert_eq!((bands[0].from, bands[0].to, bands[0].matched), (1, 9, -1));
    }
}
