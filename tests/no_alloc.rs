//! Nothing on the way of a packet allocates or frees, shown by an allocator that counts.
//!
//! Counted are the calls of the measuring thread alone; the threads of the test harness may
//! do as they like. Each test also shows that the ways it claims were walked.

mod engine_support;
mod wire_support;

use engine_support::packet::{Build, at, flags};
use engine_support::words::TableLines;
use raftq::engine::held::COPIES;
use raftq::engine::{
    Answer, Engine, Extras, Heard, Keep, Limits, Prepared, Question, Release, Token, Verdict,
    mangle,
};
use raftq::packet::{LinkId, NodeId, PacketView, Proto};
use raftq::run::mailbox::{Order, post};
use raftq::run::parcels::Parcels;
use raftq::time::Nanos;
use raftq::wire::{Entry, Kind, Message, Position, Reader};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends may free after its locals are gone.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator is an unsafe trait")]
// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Calls of the allocator, allocations and deallocations alike, while `work` runs.
fn calls(work: impl FnOnce()) -> u64 {
    let before = CALLS.with(Cell::get);
    work();
    CALLS.with(Cell::get) - before
}

/// How often each way was taken.
#[derive(Debug, Default)]
struct Ways {
    accepted: u64,
    dropped: u64,
    trimmed: u64,
    reset: u64,
    held: u64,
    held_trimmed: u64,
    overflowed: u64,
    asked: u64,
    waited: u64,
    too_many: u64,
    released: u64,
    dropped_late: u64,
    silences: u64,
    edges: u64,
    marked: u64,
    damaged: u64,
    copies: u64,
    rejected: u64,
    healed: u64,
}

/// An engine with what the loop has around it.
struct Bench {
    engine: Engine,
    parcels: Parcels,
    questions: Vec<Question>,
    next: u32,
    ways: Ways,
}

impl Bench {
    fn new(lines: &TableLines, limits: Limits) -> Self {
        let mut engine = Engine::new(prepared(lines, None), limits);
        engine.start(Nanos::ZERO);
        Self {
            engine,
            parcels: Parcels::new(),
            questions: Vec::with_capacity(100_000),
            next: 0,
            ways: Ways::default(),
        }
    }

    fn round(&mut self, now: Nanos) {
        let Self { engine, parcels, ways, .. } = self;
        let edges = &mut 0;
        let mut release = |r: Release| {
            ways.released += u64::from(!r.drop);
            ways.dropped_late += u64::from(r.drop);
            if let Some(slot) = r.slot {
                assert!(parcels.get(slot).len() >= 40);
            }
            if r.token.queue == COPIES {
                ways.copies += u64::from(!r.drop);
                parcels.free(Some(r.token.id as u16));
            }
            parcels.free(r.slot);
        };
        engine.tell_silences(
            |_| {
                ways.silences += 1;
                true
            },
            &mut release,
        );
        engine.advance(now, |_| *edges += 1, &mut release);
        engine.release(now, &mut release);
        engine.take_resets(|rst| {
            let mut out = [0; mangle::COMPOSED_MAX];
            ways.healed += u64::from(mangle::rst(rst, &mut out).is_some());
        });
        ways.edges += *edges;
    }

    fn packet(&mut self, now: Nanos, bytes: &[u8], mtu: u32) {
        self.packet_heard(now, bytes, mtu, &[], &[]);
    }

    fn packet_heard(
        &mut self,
        now: Nanos,
        bytes: &[u8],
        mtu: u32,
        messages: &[Message],
        entries: &[Entry],
    ) {
        let Self { engine, parcels, questions, next, ways } = self;
        let len = bytes.len() as u32 + if mtu > 0 { 4_000 } else { 0 };
        let Ok(view) = PacketView::parse(bytes, len, mtu) else {
            engine.unreadable();
            return;
        };
        *next += 1;
        let token = Token { queue: (*next % 2) as u16, id: *next };
        let payload = bytes.get(usize::from(view.header_len)..).unwrap_or_default();
        let decision = engine.decide_heard(now, &view, &Heard { payload, messages, entries });
        let Extras { mark, damage, copies } = decision.extras;
        ways.marked += u64::from(mark.is_some());
        let damaged = damage
            .and_then(|damage| parcels.put(|out| mangle::corrupt(bytes, &view, &damage, out)));
        ways.damaged += u64::from(damaged.is_some());
        parcels.free(damaged);
        for _ in 0..copies.map_or(0, |copies| copies.count) {
            let slot = parcels.put(|out| {
                out[..bytes.len()].copy_from_slice(bytes);
                Some(bytes.len())
            });
            let (Some(slot), Some(facts)) = (slot, decision.facts) else { continue };
            if engine.hold_copy(slot, facts, now).is_err() {
                parcels.free(Some(slot));
            }
        }
        match decision.verdict {
            Verdict::Accept => ways.accepted += 1,
            Verdict::Drop => ways.dropped += 1,
            Verdict::Reset { .. } => ways.reset += 1,
            Verdict::Trim => {
                let slot = parcels.put_trimmed(bytes, &view);
                parcels.free(slot);
                ways.trimmed += 1;
            }
            Verdict::Reject(with) => {
                let mut out = [0; mangle::COMPOSED_MAX];
                ways.rejected +=
                    u64::from(mangle::rejection(bytes, &view, with, &mut out).is_some());
            }
            Verdict::Hold(keep) => {
                let Keep { due, trim, .. } = keep;
                let slot = if trim { parcels.put_trimmed(bytes, &view) } else { None };
                let facts = decision.facts.expect("what is held has facts");
                if engine.hold(token, facts, keep, (slot, mark)).is_ok() {
                    ways.held += 1;
                    ways.held_trimmed += u64::from(trim);
                    engine.left(facts.link, due, due + Nanos(u64::from(*next)));
                } else {
                    parcels.free(slot);
                    ways.overflowed += 1;
                }
            }
            Verdict::Ask { .. } => match engine.wait(now, token, &view, &decision) {
                Ok(Some(question)) => {
                    questions.push(question);
                    ways.asked += 1;
                }
                Ok(None) => ways.waited += 1,
                Err(_) => ways.too_many += 1,
            },
        }
    }

    fn answer(&mut self, now: Nanos, i: usize) {
        let Self { engine, questions, ways, .. } = self;
        let Some(&Question { flow, generation, .. }) = questions.get(i) else { return };
        let answer = match i % 5 {
            0 => Answer::Stranger,
            1 => Answer::Unknown,
            n => Answer::Node(NodeId(n as u16 - 2)),
        };
        engine.answered(now, flow, generation, answer, &mut |r| {
            ways.released += u64::from(!r.drop);
            ways.dropped_late += u64::from(r.drop);
        });
    }
}

fn prepared(lines: &TableLines, former: Option<&TableLines>) -> Box<Prepared> {
    let table = Arc::new(lines.table.clone());
    Prepared::new(table, former.map(|former| &former.table), |_| lines.shared)
}

fn table(lines: &str) -> TableLines {
    let mut table = TableLines::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(table.take(line), "{line} belongs to no table");
    }
    table.compile();
    table
}

const RULES: &str = "
    nodes 5
    rule lose: n1 -> any_other chance 3% drop
    rule flap: n2 -> n3 drop at 7ms for 3ms every 11ms
    rule cut held: n1 -> n4 tcp drop at 20ms for 1ms every 50ms
    rule lose held: n1 -> n4 udp chance 50% drop at 20ms for 1ms every 50ms
    rule slow: n1 -> n4 delay 40ms ~30ms normal
    rule free: n4 -> n1 delay 10ms ~9ms free
    rule dialled: any new delay 2ms at 30ms for 20ms every 60ms
    rule old: n3 -> n2 established chance 50% delay 1ms ~1ms
    rule trim: n5 <> n3 drop data
    rule both: n5 -> n2 delay 5ms drop data
    rule spare: n3 -> n1 udp accept
    rule rest: n3 -> n1 port 2380 drop
    rule kill: n4 -> n5 kill n5 for 30ms every 30ms
    rule crash: n4 -> n5 port 30003 crash n4 for 30ms every 30ms
    rule stuck: n2 -> n5 delay 10s
";

/// Packets of many flows between `nodes` nodes, some foreign, some unreadable, some IPv6.
fn packets(count: usize, address: impl Fn(usize, usize) -> String, nodes: usize) -> Vec<Vec<u8>> {
    let mut dice = 1_u64;
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) as usize % sides
    };
    let kinds = ["syn", "synack", "ack", "data", "data", "data", "fin", "rst"];
    (0..count)
        .map(|i| {
            let (from, to) = (roll(nodes), roll(nodes));
            let (mut src, mut dst) = (at(&address(from, 30_000 + roll(60))), at(&address(to, 0)));
            if roll(2) == 0 {
                (src, dst) = (dst, src);
            }
            let proto = if roll(3) == 0 { Proto::Udp } else { Proto::Tcp };
            let kind = flags(kinds[roll(kinds.len())]).expect("a kind of segment");
            let mut build = Build::new(src, dst, proto, kind, roll(60));
            build.seq = i as u32;
            build.fragment = if roll(50) == 0 { 3 } else { 0 };
            build.bytes()
        })
        .collect()
}

/// Every action that remembers, draws or composes something.
const IMPAIRMENTS: &str = include_str!("engine_support/impairments.txt");

#[test]
fn impairing_allocates_nothing() {
    let lines = table(IMPAIRMENTS);
    let address = |node, port| match port {
        0 => format!("10.77.0.{}:2380", node + 1),
        _ => format!("10.77.0.{}:{port}", node + 1),
    };
    let packets = packets(4_000, address, 5);
    let mut bench = Bench::new(&lines, Limits { queues: 2, held: 3_000, flows: 150 });
    let mut reload = Some(prepared(&lines, Some(&lines)));
    let mut former = None;
    let mut work = |rounds: std::ops::Range<u64>| {
        for round in rounds {
            let now = Nanos::from_micros(round * 700);
            bench.round(now);
            bench.engine.drop_orphans(&mut |_| {});
            for i in 0..32 {
                bench.packet(now, &packets[(round as usize * 32 + i) % packets.len()], 0);
            }
            if round == 700 {
                former = reload.take().map(|plan| bench.engine.adopt(plan, now));
            }
        }
    };
    work(0..100);
    assert_eq!(calls(|| work(100..1_400)), 0, "calls of the allocator in 41,600 packets");
    assert!(former.is_some());
    let ways = &bench.ways;
    for (way, count) in [
        ("dropped", ways.dropped),
        ("held", ways.held),
        ("released", ways.released),
        ("marked", ways.marked),
        ("damaged", ways.damaged),
        ("copies", ways.copies),
        ("rejected", ways.rejected),
        ("healed", ways.healed),
    ] {
        assert!(count > 10, "only {count} were {way}");
    }
    let counters = bench.engine.counters();
    for (rule, counts) in lines.table.rules.iter().zip(&counters.rules) {
        assert!(counts.acted.get() > 0, "{} never acted", rule.name);
    }
}

#[test]
fn judging_holding_and_releasing_allocate_nothing() {
    let rules = RULES.replace("any_other", "n2,n3,n4,n5");
    let lines = table(&rules);
    let address = |node, port| match port {
        0 => format!("10.77.0.{}:2380", node + 1),
        _ if port % 20 == 0 => format!("10.9.9.{}:{port}", node + 1),
        _ => format!("10.77.0.{}:{port}", node + 1),
    };
    let packets = packets(4_000, address, 5);
    let mut bench = Bench::new(&lines, Limits { queues: 2, held: 300, flows: 150 });
    let mut reloads: Vec<_> = (0..8).map(|_| prepared(&lines, Some(&lines))).collect();
    let mut former = Vec::with_capacity(8);
    let mut work = |rounds: std::ops::Range<u64>| {
        for round in rounds {
            let now = Nanos::from_micros(round * 700);
            bench.round(now);
            for node in [3, 4].into_iter().filter(|_| round % 8 == 0) {
                bench.engine.end_silence(now, NodeId(node));
            }
            if round % 20 == 0 {
                assert!(bench.engine.silence(now, 0, 1 << 3, true), "it is told in time");
            }
            for i in 0..32 {
                let packet = &packets[(round as usize * 32 + i) % packets.len()];
                bench.packet(now, packet, if i == 7 { 1_500 } else { 0 });
            }
            if round % 500 == 499 {
                former.extend(reloads.pop().map(|plan| bench.engine.adopt(plan, now)));
            }
            assert!(bench.engine.poll_at().is_some());
        }
    };
    work(0..100);
    assert_eq!(calls(|| work(100..2_600)), 0, "calls of the allocator in 80,000 packets");
    let ways = &mut bench.ways;
    for (way, count) in [
        ("accepted", ways.accepted),
        ("dropped", ways.dropped),
        ("trimmed", ways.trimmed),
        ("held", ways.held),
        ("held trimmed", ways.held_trimmed),
        ("overflowed", ways.overflowed),
        ("released", ways.released),
        ("dropped while held", ways.dropped_late),
        ("edges", ways.edges),
        ("silences", ways.silences),
        ("silenced", bench.engine.counters().totals.silenced.get()),
        ("flows evicted", bench.engine.counters().totals.flows_evicted.get()),
        ("foreign", bench.engine.counters().totals.foreign.get()),
        ("unreadable", bench.engine.counters().totals.unreadable.get()),
    ] {
        assert!(count > 100, "{way}: {count} times");
    }
    assert_eq!(former.len(), 5, "tables were adopted");
    assert_eq!(calls(|| bench.engine.drain(&mut |_| ())), 0, "detaching");
}

#[test]
fn asking_waiting_and_answers_allocate_nothing() {
    let lines = table(
        "nodes 3 shared
         rule cut: n1 -> n2 drop
         rule cut data: n2 -> n1 drop data
         rule slow: n2 <> n3 delay 5ms ~1ms",
    );
    let address = |node: usize, port| match port {
        0 => format!("127.0.0.1:238{}", node + 1),
        _ => format!("127.0.0.1:{port}"),
    };
    let packets = packets(4_000, address, 3);
    let mut bench = Bench::new(&lines, Limits { queues: 2, held: 5_000, flows: 100 });
    let mut answered = 0;
    let mut work = |rounds: std::ops::Range<u64>| {
        for round in rounds {
            // At times so many come at once that they cannot all wait.
            let flood = round / 1_000 * 1_000 + 200;
            let now = Nanos::from_millis(round.max(flood));
            bench.round(now);
            for i in 0..32 {
                let packet = &packets[(round as usize * 32 + i) % packets.len()];
                bench.packet(now, packet, 0);
            }
            // Every third question is never answered.
            while round >= flood && answered < bench.questions.len() {
                answered += 1;
                if answered % 3 > 0 {
                    bench.answer(now, answered - 1);
                }
            }
        }
    };
    work(0..1_000);
    assert_eq!(calls(|| work(1_000..3_000)), 0, "calls of the allocator in 64,000 packets");
    let ways = &bench.ways;
    for (way, count) in [
        ("accepted", ways.accepted),
        ("dropped", ways.dropped),
        ("held", ways.held),
        ("asked", ways.asked),
        ("waited", ways.waited),
        ("too many waiting", ways.too_many),
        ("released", ways.released),
        ("dropped late", ways.dropped_late),
        ("unattributed", bench.engine.counters().totals.unattributed.get()),
        ("foreign", bench.engine.counters().totals.foreign.get()),
    ] {
        assert!(count > 50, "{way}: {count} times");
    }
}

/// Rules that ask for messages and events, and end connections.
const ASKING: &str = "
    nodes 5
    rule slow: any delay 9ms ~1ms
    rule votes: any about vote_request nth 3 stall 40ms
    rule appends: any about append_entries entries 1 from-leader first 5 reset for 9ms every 40ms
    rule some: n1 -> n2,n3,n4,n5 nth 2 reset
    rule follow: current -> rest about heartbeat drop
    rule elected: leader <> rest on leader_elected drop data for 5ms again 99999
    rule later: minority <> rest on term_change after 3ms delay 1ms for 4ms again 99999
    rule entry: leader <> rest on first_entry reset for 2ms again 99999
    rule crash: any on election_started crash candidate at-once again 99999
";

#[test]
fn messages_events_stalls_and_resets_allocate_nothing() {
    let lines = table(ASKING);
    let address = |node, port| match port {
        0 => format!("10.77.0.{}:2380", node + 1),
        _ => format!("10.77.0.{}:{port}", node + 1),
    };
    let packets = packets(4_000, address, 5);
    let mut bench = Bench::new(&lines, Limits { queues: 2, held: 300, flows: 150 });
    let mut reloads: Vec<_> = (0..8).map(|_| prepared(&lines, Some(&lines))).collect();
    let mut former = Vec::with_capacity(8);
    let (mut turns, mut orphans) = (0, 0);
    let mut work = |rounds: std::ops::Range<u64>| {
        for round in rounds {
            let now = Nanos::from_micros(round * 700);
            bench.round(now);
            bench.engine.tell_turns(|turned| {
                turns += u64::from(turned.watched);
                true
            });
            (0..5).for_each(|node| {
                bench.engine.end_silence(now, NodeId(node));
            });
            for i in 0..32 {
                let n = round * 32 + i;
                let kinds = [Kind::VoteRequest, Kind::Heartbeat, Kind::Append, Kind::AppendAnswer];
                let term = 1 + round / 10;
                let mut message = Message::new(kinds[n as usize % 4]);
                (message.term, message.entries) = (Some(term), u32::from(n % 3 == 0));
                let entry = Entry { at: Position { index: n, term }, hash: n };
                let packet = &packets[n as usize % packets.len()];
                let messages = [message, message];
                let told = &messages[..usize::from(n % 5 == 0) + usize::from(n % 35 == 0)];
                bench.packet_heard(now, packet, 0, told, &[entry]);
                if bench.engine.has_orphans() {
                    bench.engine.drop_orphans(&mut |_| orphans += 1);
                }
            }
            if round % 500 == 499 {
                former.extend(reloads.pop().map(|plan| bench.engine.adopt(plan, now)));
            }
        }
    };
    work(0..100);
    assert_eq!(calls(|| work(100..2_600)), 0, "calls of the allocator in 80,000 packets");
    let totals = &bench.engine.counters().totals;
    for (way, count) in [
        ("reset", bench.ways.reset),
        ("stalled", totals.stalled.get()),
        ("held trimmed", bench.ways.held_trimmed),
        ("silences", bench.ways.silences),
        ("edges", bench.ways.edges),
        ("turns", turns),
        ("left behind by resets", orphans),
    ] {
        assert!(count > 50, "{way}: {count} times");
    }
    for (rule, counts) in lines.table.rules.iter().zip(&bench.engine.counters().rules) {
        assert!(counts.matched.get() > 20, "{}: {counts:?}", rule.name);
    }
    assert_eq!(former.len(), 5, "tables were adopted");
}

/// So many rules that ports are looked up; some start and end together, some one by one, some are
/// used up.
#[test]
fn long_lists_allocate_nothing() {
    let rules = |i| {
        let (port, at) = (2_300 + i, 1 + i / 100 * i);
        format!(
            "rule p{i}: any port {port} drop at {at}ms for 3ms every 400ms
             rule u{i}: any udp port {port} nth 2 first 3 drop data for 50ms every 60ms
             rule c{i}: n1 -> n2 port {port} chance 1% drop\n"
        )
    };
    let text: String = (0..200).map(rules).collect();
    let text =
        format!("nodes 3\n{text}rule all: any chance 10% delay 3ms at 5ms for 9ms every 15ms");
    let lines = table(&text);
    let address = |node, port| match port {
        0 => format!("10.77.0.{}:2380", node + 1),
        _ => format!("10.77.0.{}:{}", node + 1, port - 27_700),
    };
    let packets = packets(4_000, address, 3);
    let mut bench = Bench::new(&lines, Limits { queues: 2, held: 300, flows: 150 });
    let mut reloads: Vec<_> = (0..4).map(|_| prepared(&lines, Some(&lines))).collect();
    let mut former = Vec::with_capacity(4);
    let mut work = |rounds: std::ops::Range<u64>| {
        for round in rounds {
            let now = Nanos::from_micros(round * 700);
            bench.round(now);
            for i in 0..32 {
                let packet = &packets[(round as usize * 32 + i) % packets.len()];
                bench.packet(now, packet, 0);
            }
            if round % 500 == 499 {
                former.extend(reloads.pop().map(|plan| bench.engine.adopt(plan, now)));
            }
        }
    };
    work(0..100);
    assert_eq!(calls(|| work(100..1_600)), 0, "calls of the allocator in 48,000 packets");
    assert!(bench.ways.edges > 2_000 && bench.ways.dropped > 50, "{:?}", bench.ways);
    let used = bench.engine.counters().rules.iter().filter(|rule| rule.matched.get() > 2).count();
    assert!(used > 5, "{used} rules met packets");
    assert_eq!(former.len(), 3, "tables were adopted");
}

#[test]
fn letters_to_and_from_the_loop_allocate_nothing() {
    let end = engine_support::packet::end("127.0.0.1:2381");
    let flow = raftq::engine::flows::FlowId(0);
    let question =
        Question { flow, generation: 0, proto: Proto::Tcp, local: end, remote: end, queue: 0 };
    let (questions, asked) = post::<Question>(256).expect("a bell");
    let (orders, inbox) = post::<Order>(256).expect("a bell");
    let work = |rounds: usize| {
        for _ in 0..rounds {
            // More than fit, so that some come back.
            let refused = (0..300).filter(|_| questions.send(question).is_err()).count();
            assert_eq!(refused, 44);
            asked.open();
            while let Some(question) = asked.take() {
                let answer = Answer::Node(NodeId(1));
                assert!(orders.send(Order::Answered(question, answer)).is_ok());
            }
            assert!(inbox.may_have());
            inbox.open();
            let taken = std::iter::from_fn(|| inbox.take()).count();
            assert_eq!(taken, 256);
        }
    };
    work(1);
    assert_eq!(calls(|| work(200)), 0, "calls of the allocator in 51,200 letters each way");
}

#[test]
fn reading_messages_allocates_nothing() {
    for name in ["etcd34-2-writes", "hraft-2-writes", "nats29-2-writes", "raftrs-2-writes"] {
        let capture = wire_support::capture(name);
        let mut reader = Reader::new(capture.protocol, &capture.peers);
        let (mut messages, mut entries, mut kept) = (0, 0, 0);
        let mut read = |segments: &[wire_support::Captured]| {
            for (i, segment) in segments.iter().enumerate() {
                let mut take = |from: usize, to: usize| {
                    let seq = segment.seq.wrapping_add(from as u32);
                    let part = &segment.payload[from..to];
                    let new = raftq::wire::Segment { seq, payload: part, ..segment.segment() };
                    reader.take(&new, &mut |_, _, hashes| {
                        messages += 1;
                        entries += hashes.len();
                    });
                };
                // Some come whole, some in two parts, some the second part first, and again.
                let (len, half) = (segment.payload.len(), segment.payload.len() / 2);
                let parts: &[(usize, usize)] = match i % 4 {
                    0 => &[(0, len)],
                    1 => &[(0, half), (half, len)],
                    _ => &[(half, len), (0, half), (0, len)],
                };
                for &(from, to) in parts {
                    take(from, to);
                }
                kept += usize::from(i % 4 > 0 && len > 1);
            }
        };
        // In the first two rounds directions are taken up, and buffers grow.
        let rounds: Vec<_> = (0..18).map(|i| wire_support::continued(&capture, i)).collect();
        rounds[..2].iter().for_each(|round| read(round));
        assert_eq!(calls(|| rounds[2..].iter().for_each(|round| read(round))), 0, "{name}");
        assert!(messages > 2_500 && entries > 500 && kept > 2_000, "{messages} {entries} {kept}");
        assert_eq!(reader.coverage(Nanos::MAX).lost, 0);
    }
}

#[test]
fn listening_and_telling_allocate_nothing() {
    let text = "cluster: { protocol: embedded, nodes: { n1: 10.77.0.1:7000, n2: 10.77.0.2:7000, \
                n3: 10.77.0.3:7000 } }\nrules: []\n";
    let table = raftq::rules::compile("test", text, &[]).expect("a table").table;
    let capture = wire_support::capture("raftrs-2-writes");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wire");
    let opened = raftq::run::watch::open(&table, Some(&file)).expect("it opens");
    let (mut ear, watcher) = opened.expect("a protocol");
    ear.start(Nanos(1));
    let packets = |round| {
        let build = |one: &wire_support::Captured| {
            let (src, dst) = (one.src.socket_addr(), one.dst.socket_addr());
            let mut packet = Build::new(src, dst, Proto::Tcp, one.flags, 0);
            (packet.seq, packet.payload) = (one.seq, one.payload.clone());
            (one.at, packet.bytes())
        };
        wire_support::continued(&capture, round).iter().map(build).collect::<Vec<_>>()
    };
    let (mut messages, mut entries) = (0, 0);
    let mut hear = |packets: &[(Nanos, Vec<u8>)]| {
        for (now, bytes) in packets {
            let len = bytes.len() as u32;
            let view = PacketView::parse(bytes, len, 0).expect("a packet");
            let packet =
                raftq::kernel::queue::Packet { id: 0, bytes, len, gso: false, mark: 0, from: None };
            let heard = ear.listen(*now, &view, &packet);
            messages += heard.0.len() as u64;
            entries += heard.1.len();
            ear.tell(*now, Some(LinkId::new(NodeId(0), NodeId(1), 3)));
        }
    };
    let rounds: Vec<_> = (0..18).map(packets).collect();
    rounds[..2].iter().for_each(|round| hear(round));
    assert_eq!(calls(|| rounds[2..].iter().for_each(|round| hear(round))), 0);
    assert!(messages > 2_500 && entries > 500, "{messages} {entries}");
    drop(ear);
    let ended = watcher.finish().expect("its thread is well").expect("it watched");
    assert_eq!(ended.watched.told, messages, "all of it was told");
}

#[test]
fn the_allocator_counts() {
    assert_eq!(calls(|| drop(std::hint::black_box(Box::new(7)))), 2);
}
