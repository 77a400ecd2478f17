//! The engine against its naive twin: random tables, packets, times and reloads must give
//! the same verdicts, the same packets leaving in the same order, and the same counts.

mod engine_support;

use engine_support::naive::{Event, Fate, Naive};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use raftq::engine::{Engine, Heard, Keep, Limits, Prepared, Token, Verdict};
use raftq::packet::{Endpoint, LinkId, NodeId, PacketView, Proto, tcp_flags};
use raftq::rules::table::{
    Action, Bounds, Delay, Distribution, Filter, FlowAge, MessageFilter, Narrow, Node, OpenSet,
    OpenSides, Order, Place, RoleWord, Rule, Table, Trigger, Unattributed, What, Window,
};
use raftq::time::Nanos;
use raftq::wire::{Kind, Message};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names of rules; tables share them, so that rules survive reloads.
const NAMES: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];
const HELD_MAX: usize = 12;

/// One step of a run: time goes on, then something happens.
#[derive(Clone, Debug)]
struct Step {
    after: Nanos,
    /// Whether the loop wakes whenever the engine asks for it, or sleeps through.
    wakes: bool,
    what: Deed,
}

#[derive(Clone, Debug)]
enum Deed {
    Packet(PacketShape),
    Adopt(Vec<Index>),
    /// Nodes are silenced by order; what is held of them may be dropped.
    Silence(Vec<Index>, bool),
    Speak(Index),
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
struct PacketShape {
    from: Index,
    to: Index,
    /// Port of the end that is no peer endpoint; 0: both ends are.
    port: u16,
    /// Whether the dialled end sends.
    back: bool,
    udp: bool,
    flags: u8,
    seq: u32,
    payload: u32,
    segments: u16,
    foreign: bool,
    /// Whether it belongs to the one link that sees most of the traffic.
    busy: bool,
    /// The messages that it completes.
    says: Vec<Message>,
}

fn ms(range: std::ops::Range<u64>) -> impl Strategy<Value = Nanos> {
    range.prop_map(Nanos::from_millis)
}

fn windows() -> impl Strategy<Value = Window> {
    let every = prop::option::weighted(0.3, (ms(0..12), prop::option::of(0_u32..4)));
    (ms(0..40), prop::option::of(ms(1..30)), every, any::<bool>()).prop_map(
        |(at, lasts, every, always)| match (always, every) {
            (true, _) => Window::ALWAYS,
            (_, None) => Window { at, lasts, ..Window::ALWAYS },
            (_, Some((rest, times))) => {
                let lasts = lasts.unwrap_or(Nanos::from_millis(1));
                let every = Some(lasts + rest);
                Window { at, lasts: Some(lasts), every, times, ..Window::ALWAYS }
            }
        },
    )
}

fn delays() -> impl Strategy<Value = Delay> {
    let distribution = select(vec![Distribution::Uniform, Distribution::Normal]);
    let order = prop_oneof![4 => Just(Order::Flow), 1 => Just(Order::Free)];
    (1_u64..30, 0_u64..30, distribution, order).prop_map(|(by, jitter, distribution, order)| {
        Delay {
            by: Nanos::from_millis(by),
            jitter: Nanos::from_millis(jitter.min(by) * (jitter % 2)),
            distribution,
            order,
            correlation: 0,
        }
    })
}

fn stall(reset_after: Option<Nanos>) -> Action {
    Action::Stall { reset_after }
}

/// Nothing stands behind an `Accept` or a drop of packets.
fn actions() -> impl Strategy<Value = Vec<Action>> {
    let last = prop_oneof![
        2 => Just(vec![]),
        1 => Just(vec![Action::Accept]),
        2 => Just(vec![Action::Drop(What::Packets)]),
        1 => Just(vec![Action::Reset]),
        1 => prop::option::of(ms(0..30)).prop_map(|after| vec![stall(after)]),
    ];
    let first = prop_oneof![
        3 => delays().prop_map(|delay| vec![Action::Delay(delay)]),
        1 => (delays(), delays()).prop_map(|(a, b)| vec![Action::Delay(a), Action::Delay(b)]),
        2 => Just(vec![Action::Drop(What::Data)]),
        1 => delays().prop_map(|delay| vec![Action::Delay(delay), Action::Drop(What::Data)]),
        1 => delays().prop_map(|delay| vec![Action::Drop(What::Data), Action::Delay(delay)]),
        2 => Just(vec![]),
    ];
    let packets = (first, last).prop_map(|(first, last)| {
        let all = [first, last].concat();
        if all.is_empty() { vec![Action::Drop(What::Packets)] } else { all }
    });
    // The nodes are cut to those that there are.
    let trigger = (0_u16..9, any::<u8>(), any::<bool>()).prop_map(|(fault, nodes, drops_held)| {
        vec![Action::Trigger(Trigger { fault, nodes: u128::from(nodes), drops_held })]
    });
    prop_oneof![8 => packets, 1 => trigger]
}

fn filters() -> impl Strategy<Value = Filter> {
    (
        prop::option::weighted(0.3, select(vec![Proto::Tcp, Proto::Udp])),
        prop::option::weighted(0.2, select(vec![2380_u16, 30_000, 30_001])),
        prop::option::weighted(0.3, select(vec![FlowAge::New, FlowAge::Established])),
        prop::option::weighted(0.3, select(vec![0, 1 << 30, 1 << 31, 3 << 30, 1 << 32])),
        prop::option::weighted(0.15, 2_u32..5),
        prop::option::weighted(0.15, 1_u32..6),
        prop::option::weighted(0.2, about()),
    )
        .prop_map(|(proto, port, flow, chance, every_nth, first, message)| Filter {
            proto,
            port,
            flow,
            chance,
            every_nth,
            first,
            message,
            narrow: Narrow::default(),
        })
}

const KINDS: [Kind; 4] = [Kind::VoteRequest, Kind::Append, Kind::Heartbeat, Kind::AppendAnswer];

fn messages() -> impl Strategy<Value = Message> {
    (select(KINDS.to_vec()), 1_u64..5, 0_u32..2).prop_map(|(kind, term, entries)| {
        let entries = if kind == Kind::Append { entries } else { 0 };
        Message { term: Some(term), entries, ..Message::new(kind) }
    })
}

fn about() -> impl Strategy<Value = MessageFilter> {
    let kinds = prop::collection::vec(select(KINDS.to_vec()), 1..4);
    let term = prop::option::weighted(0.3, (1_u64..5, 0_u64..3));
    (kinds, term, prop::bool::weighted(0.2)).prop_map(|(kinds, term, entries)| MessageFilter {
        kinds: kinds.iter().fold(0, |bits, kind| bits | 1 << *kind as u8),
        term: term.map(|(least, more)| Bounds { least, most: least + more }),
        entries: entries.then_some(Bounds { least: 1, most: u64::MAX }),
        ..MessageFilter::ANY
    })
}

/// Whoever leads, against the others.
fn of_the_leader() -> OpenSides {
    let from = OpenSet { words: vec![RoleWord::CurrentLeader], ..OpenSet::default() };
    let to = OpenSet { rest: true, ..OpenSet::default() };
    OpenSides { from, to, both: true, node: OpenSet::default() }
}

fn rules(nodes: u16) -> impl Strategy<Value = Vec<Rule>> {
    let links: Vec<LinkId> = (0..nodes)
        .flat_map(|a| (0..nodes).filter(move |&b| a != b).map(move |b| (a, b)))
        .map(|(a, b)| LinkId::new(NodeId(a), NodeId(b), usize::from(nodes)))
        .collect();
    let some = subsequence(links.clone(), 1..=links.len());
    let every = links.clone();
    let links = prop_oneof![1 => some, 1 => Just(links)];
    let links = prop_oneof![
        6 => links.prop_map(|links| (links, None)),
        1 => Just((every, Some(of_the_leader()))),
    ];
    let rule = (links, filters(), actions(), windows());
    let rules = prop::collection::vec(rule, 1..=12);
    (rules, Just(NAMES.to_vec()).prop_shuffle()).prop_map(move |(rules, names)| {
        let named = rules.into_iter().zip(names);
        named
            .map(|((links, mut filter, mut actions, window), name)| {
                if actions.iter().any(|a| matches!(a, Action::Reset | Action::Stall { .. })) {
                    filter.proto = Some(Proto::Tcp);
                }
                if let Action::Trigger(trigger) = &mut actions[0] {
                    trigger.nodes &= (1 << nodes) - 1;
                }
                (links, filter, actions, window, name)
            })
            .map(|((links, sides), filter, actions, window, name)| Rule {
                dynamic: false,
                on: None,
                sides,
                keeps_held: false,
                heals_by_reset: false,
                name: name.to_owned(),
                links,
                filter,
                actions,
                window,
                optional: false,
            })
            .collect()
    })
}

fn table(nodes: u16, seed: u64, six: bool, mut rules: Vec<Rule>) -> Table {
    // The engine looks at flows only where a table asks for it; this one always does.
    let mut watcher = rules[0].clone();
    "watches flows".clone_into(&mut watcher.name);
    watcher.filter = Filter { port: Some(1), flow: Some(FlowAge::New), ..Filter::default() };
    rules.push(watcher);
    let node = |i| {
        let base = if six { 0xfd77 << 112 } else { 0xffff_0a4d_0000 };
        let endpoints = vec![Endpoint { addr: base + u128::from(i) + 1, port: 2380 }];
        Node { name: format!("n{i}"), endpoints, place: Place::Unsaid }
    };
    Table {
        faults: Vec::new(),
        distributions: Vec::new(),
        phases: Vec::new(),
        nodes: (0..nodes).map(node).collect(),
        seed,
        max_rate: 20_000,
        unattributed: Unattributed::Accept,
        protocol: None,
        group: None,
        patterns: Vec::new(),
        rules,
    }
}

/// The same rules again with something changed, or others.
fn tables() -> impl Strategy<Value = Vec<Table>> {
    (2_u16..=5, any::<u64>(), any::<bool>()).prop_flat_map(|(nodes, seed, six)| {
        let changed = (rules(nodes), rules(nodes), any::<Index>()).prop_map(|(a, b, i)| {
            let mut second = a.clone();
            let at = i.index(second.len());
            let name = second[at].name.clone();
            second[at] = Rule { name, ..b[0].clone() };
            vec![a, second, b]
        });
        changed.prop_map(move |all| {
            all.into_iter().map(|rules| table(nodes, seed, six, rules)).collect()
        })
    })
}

fn packets() -> impl Strategy<Value = PacketShape> {
    use tcp_flags::{ACK, FIN, PSH, RST, SYN};
    let flags = select(vec![SYN, SYN, SYN | ACK, ACK, ACK, ACK | PSH, ACK | PSH, FIN | ACK, RST]);
    let ends = (any::<Index>(), any::<Index>(), select(vec![0_u16, 30_000, 30_000, 30_001]));
    let segments = prop_oneof![5 => Just(1_u16), 1 => 2_u16..5];
    let back = prop::bool::weighted(0.3);
    let bools = (back, prop::bool::weighted(0.25), prop::bool::weighted(0.03), any::<bool>());
    let seq = select(vec![0_u32, 1, 2, 100, 102, 200]);
    let says = prop_oneof![4 => Just(vec![]), 1 => prop::collection::vec(messages(), 1..3)];
    (ends, flags, seq, segments, bools, says).prop_map(
        |((from, to, port), flags, seq, segments, (back, udp, foreign, busy), says)| PacketShape {
            says,
            from,
            to,
            port,
            back,
            udp,
            flags: if udp { 0 } else { flags },
            seq: if udp { 0 } else { seq },
            payload: if flags & tcp_flags::PSH != 0 || udp { 100 } else { 0 },
            segments,
            foreign,
            busy,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Whole milliseconds meet the edges of rules exactly.
    let after = prop_oneof![
        6 => Just(Nanos::ZERO),
        6 => ms(1..4),
        2 => (1_u64..5_000_000).prop_map(Nanos),
        1 => ms(5..40),
    ];
    let after = prop_oneof![200 => after, 1 => Just(Nanos::from_secs(61))];
    let what = prop_oneof![
        20 => packets().prop_map(Deed::Packet),
        1 => prop::collection::vec(any::<Index>(), 1..3).prop_map(Deed::Adopt),
        1 => (prop::collection::vec(any::<Index>(), 1..3), any::<bool>())
            .prop_map(|(nodes, held)| Deed::Silence(nodes, held)),
        6 => any::<Index>().prop_map(Deed::Speak),
    ];
    let step = (after, any::<bool>(), what);
    prop::collection::vec(step.prop_map(|(after, wakes, what)| Step { after, wakes, what }), 1..120)
}

fn view(shape: &PacketShape, table: &Table) -> PacketView {
    let nodes = table.nodes.len();
    let from = if shape.busy { 0 } else { shape.from.index(nodes) };
    let to = (from + 1 + if shape.busy { 0 } else { shape.to.index(nodes - 1) }) % nodes;
    let end = |node: usize| table.nodes[node].endpoints[0];
    let mut src = end(from);
    if shape.port != 0 {
        src.port = shape.port;
    }
    if shape.foreign {
        src.addr += 100;
    }
    let (src, dst) = if shape.back { (end(to), src) } else { (src, end(to)) };
    let header_len = 40;
    PacketView {
        intricate: false,
        src,
        dst,
        proto: if shape.udp { Proto::Udp } else { Proto::Tcp },
        flags: shape.flags,
        seq: shape.seq,
        ack: 0,
        tos: 0,
        header_len,
        len: u32::from(header_len) + shape.payload,
        segments: shape.segments,
    }
}

/// Both engines, driven alike.
struct Pair {
    engine: Engine,
    naive: Naive,
    table: Arc<Table>,
    now: Nanos,
    packets: u32,
}

impl Pair {
    /// The rules' clock starts at some time of the shell's clock.
    const START: Nanos = Nanos(123_456_789);

    fn new(table: Table) -> Self {
        let table = Arc::new(table);
        let limits = Limits { queues: 1, held: HELD_MAX, flows: 200 };
        let mut engine = Engine::new(Prepared::new(Arc::clone(&table), None, |_| false), limits);
        engine.start(Self::START);
        let naive = Naive::new(Table::clone(&table), HELD_MAX);
        let mut pair = Self { engine, naive, table, now: Nanos::ZERO, packets: 0 };
        pair.advance(Nanos::ZERO);
        pair
    }

    fn advance(&mut self, now: Nanos) {
        self.now = now;
        let at = Self::START + now;
        let (mut edges, mut left) = (Vec::new(), Vec::new());
        let mut out = |r: raftq::engine::Release| {
            left.push(Event::Left { packet: r.token.id, dropped: r.drop });
        };
        self.engine.advance(
            at,
            |e| {
                assert_eq!(e.at, now, "an edge is recorded when it is noticed");
                edges.push(Event::Edge { rule: usize::from(e.rule), active: e.active });
            },
            &mut out,
        );
        self.engine.release(at, &mut out);
        edges.extend(left);
        assert_eq!(edges, self.naive.advance(now), "what happened by itself at {now:?}");
        let next = self.naive.next_event(now).map(|next| Self::START + next);
        assert_eq!(self.engine.poll_at(), next, "when to wake next, at {now:?}");
    }

    fn step(&mut self, step: &Step, tables: &[Table]) {
        let now = self.now + step.after;
        while let Some(next) =
            self.engine.poll_at().filter(|&t| step.wakes && t < Self::START + now)
        {
            self.advance(next.saturating_sub(Self::START).max(self.now));
        }
        match &step.what {
            Deed::Packet(shape) => {
                self.advance(now);
                self.packet(&view(shape, &self.table), &shape.says);
            }
            // The loop reads its mail first: rules may be due to start and end.
            Deed::Adopt(which) => {
                for index in which {
                    let table = Arc::new(index.get(tables).clone());
                    let plan = Prepared::new(Arc::clone(&table), Some(&self.table), |_| false);
                    self.engine.adopt(plan, Self::START + now);
                    self.naive.adopt(Table::clone(&table), now);
                    self.table = table;
                }
                self.advance(now);
            }
            Deed::Silence(which, held) => {
                let some = which.iter().map(|index| index.index(self.table.nodes.len()) as u16);
                let nodes: BTreeSet<u16> = some.collect();
                let nodes: Vec<u16> = nodes.into_iter().collect();
                let bits = nodes.iter().fold(0, |bits, node| bits | 1 << node);
                self.now = now;
                assert!(self.engine.silence(Self::START + now, 99, bits, *held), "there is room");
                let wanted = self.naive.silence(99, &nodes, *held);
                self.compare_silences(&wanted);
                self.advance(now);
            }
            Deed::Speak(index) => {
                self.advance(now);
                let node = index.index(self.table.nodes.len()) as u16;
                let at = self.engine.end_silence(Self::START + now, NodeId(node));
                assert_eq!(at, now, "the end is recorded");
                self.naive.speak(node);
            }
        }
    }

    /// What the engine tells of silences, and which held packets leave by them.
    fn compare_silences(&mut self, wanted: &[Event]) {
        let (mut told, mut left) = (Vec::new(), Vec::new());
        let tell = |one: raftq::engine::Silenced| {
            assert_eq!(one.at, self.now, "a silence is recorded when it begins");
            let nodes = (0..128).filter(|n| one.nodes & (1 << n) != 0).collect();
            told.push(Event::Silent { fault: one.fault, nodes, by: one.by });
            true
        };
        self.engine.tell_silences(tell, &mut |r| {
            left.push(Event::Left { packet: r.token.id, dropped: r.drop });
        });
        left.append(&mut told);
        assert_eq!(left, wanted, "who is silent, at {:?}", self.now);
    }

    fn packet(&mut self, view: &PacketView, says: &[Message]) {
        self.packets += 1;
        let heard = Heard { messages: says, ..Heard::default() };
        let decision = self.engine.decide_heard(Self::START + self.now, view, &heard);
        let mut kept = true;
        let fate = match decision.verdict {
            Verdict::Accept => Fate::Accept,
            Verdict::Drop => Fate::Drop,
            Verdict::Trim => Fate::Trim,
            Verdict::Hold(keep) => {
                let facts = decision.facts.expect("what is held has facts");
                let token = Token { queue: 0, id: self.packets };
                let Keep { due, trim, ordered, .. } = keep;
                let slot = trim.then_some(0);
                kept = self.engine.hold(token, facts, keep, (slot, None)).is_ok();
                Fate::Hold { due: due - Self::START, trim, ordered }
            }
            Verdict::Reset { seq } => Fate::Reset { seq },
            Verdict::Ask { .. } | Verdict::Reject(_) => panic!("no stack is shared here"),
        };
        let wanted = self.naive.packet(self.now, view, says);
        assert_eq!((fate, decision.rule.map(usize::from), kept), wanted, "{view:?}");
        self.drop_orphans();
        let triggered = std::mem::take(&mut self.naive.triggered);
        self.compare_silences(&triggered);
    }

    /// What a reset has left behind leaves at once.
    fn drop_orphans(&mut self) {
        let mut left = Vec::new();
        self.engine.drop_orphans(&mut |r| {
            left.push(Event::Left { packet: r.token.id, dropped: r.drop });
        });
        assert_eq!(left, std::mem::take(&mut self.naive.orphans), "what a reset left behind");
    }

    /// Compares all counts.
    fn compare(&self) {
        let counters = self.engine.counters();
        for (rule, count) in self.table.rules.iter().zip(&counters.rules) {
            let sum = &self.naive.rules[&rule.name];
            let counted = (count.matched.get(), count.acted.get(), count.span());
            assert_eq!(counted, (sum.matched, sum.acted, sum.span), "{}", rule.name);
            assert_eq!(count.activations.get(), sum.activations, "{}", rule.name);
        }
        for (i, count) in counters.links.iter().enumerate() {
            let sum = self.naive.links.get(&LinkId(i as u16)).cloned().unwrap_or_default();
            let counted = (count.packets.get(), count.dropped.get());
            assert_eq!(counted, (sum.packets, sum.dropped), "link {i}");
            let counted = (count.trimmed.get(), count.delayed.get());
            assert_eq!(counted, (sum.trimmed, sum.delayed), "link {i}");
        }
        let totals = &counters.totals;
        assert_eq!(totals.packets.get(), u64::from(self.packets));
        assert_eq!(totals.held.get(), self.naive.held() as u64);
        assert_eq!(totals.overflow.get(), self.naive.overflow);
        assert_eq!(totals.silenced.get(), self.naive.silenced);
        assert_eq!(totals.foreign.get(), self.naive.foreign);
    }
}

/// Nothing is written beside the tests; a failure prints its smallest case.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn the_engine_does_what_the_contract_says(tables in tables(), steps in steps()) {
        let mut pair = Pair::new(tables[0].clone());
        for step in &steps {
            pair.step(step, &tables);
        }
        pair.compare();
    }
}
