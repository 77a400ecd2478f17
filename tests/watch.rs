//! The two ends that listen to a cluster, and the ring between them: what is watched is what an
//! observer alone would have seen, and what cannot be told is counted.

mod engine_support;
mod wire_support;

use engine_support::packet::{Build, at, end, flags};
use raftq::kernel::queue::Packet;
use raftq::observe::file::{self, Header};
use raftq::observe::{Event, Invariant, Observer, Seen, Stand};
use raftq::packet::{Endpoint, LinkId, NodeId, PacketView, Proto, tcp_flags};
use raftq::rules::{Table, compile};
use raftq::run::watch::{self, Ear, Ended, Restarted, Watcher};
use raftq::time::Nanos;
use raftq::wire::{Protocol, Reader};
use raftq_harness::clock::wait_for;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use wire_support::{Captured, capture, names};

/// When the rules' clock starts.
const START: Nanos = Nanos::from_secs(5);

/// The longest wait for the watching thread.
const LIMIT: Duration = Duration::from_secs(60);

/// Notes that the ring has room for.
const RING: u64 = 65_536;

/// A cluster whose nodes listen there.
fn table(protocol: Protocol, peers: &[Endpoint]) -> Table {
    let mut text = format!("cluster:\n  protocol: {}\n  nodes:\n", protocol.word());
    for (i, peer) in peers.iter().enumerate() {
        let _ = writeln!(text, "    n{}: \"{}\"", i + 1, peer.socket_addr());
    }
    let compiled = compile("test", &(text + "rules: []\n"), &[]);
    compiled.unwrap_or_else(|report| panic!("{}", report.render(false))).table
}

/// The link between two nodes, which are known by their addresses.
fn link(peers: &[Endpoint], src: Endpoint, dst: Endpoint) -> Option<LinkId> {
    let ip = |end: Endpoint| end.socket_addr().ip();
    let node = |end| peers.iter().position(|peer| ip(*peer) == ip(end));
    let (from, to) = (NodeId(node(src)? as u16), NodeId(node(dst)? as u16));
    Some(LinkId::new(from, to, peers.len()))
}

/// What one end of the loop hears, and what an observer hears of a reader beside it.
struct Both {
    peers: Vec<Endpoint>,
    ear: Ear,
    watcher: Watcher,
    reader: Reader,
    events: Vec<Event>,
    now: Nanos,
}

impl Both {
    fn new(protocol: Protocol, peers: &[Endpoint], file: Option<&Path>) -> Self {
        let table = table(protocol, peers);
        let (ear, watcher) = watch::open(&table, file).expect("it opens").expect("a protocol");
        let reader = Reader::new(protocol, peers);
        Self { peers: peers.to_vec(), ear, watcher, reader, events: Vec::new(), now: START }
    }

    fn hear(&mut self, one: &Captured) {
        let Self { peers, ear, reader, events, now, .. } = self;
        *now = START + one.at;
        let (src, dst) = (one.src.socket_addr(), one.dst.socket_addr());
        let mut packet = Build::new(src, dst, Proto::Tcp, one.flags, 0);
        (packet.seq, packet.payload) = (one.seq, one.payload.clone());
        let bytes = packet.bytes();
        let len = bytes.len() as u32;
        let view = PacketView::parse(&bytes, len, 0).expect("a packet");
        let link = link(peers, one.src, one.dst);
        ear.listen(
            *now,
            &view,
            &Packet { id: 0, bytes: &bytes, len, gso: false, mark: 0, from: None },
        );
        ear.tell(*now, link);
        let ends = link.map(|link| link.ends(peers.len()));
        let (from, to) = (ends.map(|(from, _)| from), ends.map(|(_, to)| to));
        reader.take(&one.segment(), &mut |heard, message, entries| {
            events.push(Event::Seen(Seen {
                at: one.at,
                flow: heard.flow,
                way: heard.way,
                opened: heard.opened,
                from,
                to,
                message: *message,
                entries: entries.to_vec(),
            }));
        });
    }

    /// Ends both; what the watcher left, and what the observer alone was told.
    fn end(self) -> (Ended, Observer, Vec<Event>) {
        let Self { mut ear, watcher, reader, mut events, now, .. } = self;
        ear.finish(now);
        drop(ear);
        let ended = watcher.finish().expect("its thread is well").expect("it watched");
        events.push(Event::Coverage(reader.coverage(now.saturating_sub(START))));
        let nodes = (1..=self.peers.len()).map(|i| format!("n{i}")).collect();
        let mut observer = Observer::new().named(nodes);
        for event in &events {
            observer.see(event);
        }
        (ended, observer, events)
    }
}

/// What was watched is what the observer alone has seen.
fn is_the_same(ended: &Ended, observer: &Observer) {
    assert_eq!(ended.watched, observer.finish());
    let alone: Vec<_> =
        observer.alarms().iter().map(|a| (a.clone(), observer.evidence(a))).collect();
    assert_eq!(ended.alarms, alone);
}

/// The events of a record.
fn record(path: &Path) -> (Header, Vec<Event>) {
    file::read(&std::fs::read_to_string(path).expect("a record")).expect("it can be read")
}

/// What a record does not have: why a thread was lost.
fn as_recorded(mut events: Vec<Event>) -> Vec<Event> {
    for event in &mut events {
        if let Event::Coverage(coverage) = event {
            coverage.last_lost = None;
        }
    }
    events
}

#[test]
fn what_is_watched_is_what_an_observer_alone_sees() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut messages = 0;
    for name in names() {
        let capture = capture(&name);
        let path = folder.path().join(&name);
        let mut both = Both::new(capture.protocol, &capture.peers, Some(&path));
        both.ear.start(START);
        capture.segments.iter().filter(|one| one.whole).for_each(|one| both.hear(one));
        let (ended, observer, events) = both.end();
        is_the_same(&ended, &observer);
        assert_eq!(ended.unwritten, None);
        assert_eq!(ended.watched.missed, 0, "{name}");
        let (header, recorded) = record(&path);
        assert_eq!(header.protocol, capture.protocol.word());
        assert_eq!(recorded, as_recorded(events), "{name}");
        messages += ended.watched.told;
    }
    assert!(messages > 4_000, "{messages} messages");
}

/// The dialler's and the acceptor's ports of three nodes of the embedded cluster.
fn peers() -> Vec<Endpoint> {
    (1..=3).map(|i| end(&format!("10.77.0.{i}:7000"))).collect()
}

/// A connection of the embedded cluster, from the first byte on.
struct Talk {
    src: Endpoint,
    dst: Endpoint,
    seq: u32,
}

impl Talk {
    /// Node `from` dials node `to`; `port` tells its connections apart.
    fn open(both: &mut Both, ms: u64, (from, to): (u64, u64), port: u16) -> Self {
        let src = Endpoint::new(at(&format!("10.77.0.{from}:{port}")));
        let dst = end(&format!("10.77.0.{to}:7000"));
        let mut talk = Self { src, dst, seq: 1_000 };
        talk.send(both, ms, flags("syn").expect("a kind"), Vec::new());
        let hello = format!("raftq-node/1 c {from} 10.77.0.{from}:7000\n");
        talk.say(both, ms, hello.into_bytes());
        talk
    }

    fn say(&mut self, both: &mut Both, ms: u64, bytes: Vec<u8>) {
        self.send(both, ms, flags("data").expect("a kind"), bytes);
    }

    fn send(&mut self, both: &mut Both, ms: u64, flags: u8, payload: Vec<u8>) {
        let Self { src, dst, seq } = *self;
        let syn = u32::from(flags & tcp_flags::SYN != 0);
        self.seq += payload.len() as u32 + syn;
        let at = Nanos::from_millis(ms);
        both.hear(&Captured { at, src, dst, seq, flags, payload, whole: true });
    }
}

/// A message of the embedded cluster: fields by number, all of them varints below 128, and entries.
fn frame(fields: &[(u8, u8)], entries: &[&[u8]]) -> Vec<u8> {
    let mut body: Vec<u8> = fields.iter().flat_map(|(number, n)| [number << 3, *n]).collect();
    for entry in entries {
        body.extend([7 << 3 | 2, entry.len() as u8]);
        body.extend(*entry);
    }
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

const TYPE: u8 = 1;
const TO: u8 = 2;
const FROM: u8 = 3;
const TERM: u8 = 4;

fn heartbeat(from: u8, to: u8, term: u8) -> Vec<u8> {
    frame(&[(TYPE, 8), (TO, to), (FROM, from), (TERM, term)], &[])
}

fn ask(from: u8, to: u8, term: u8) -> Vec<u8> {
    frame(&[(TYPE, 5), (TO, to), (FROM, from), (TERM, term)], &[])
}

fn vote(from: u8, to: u8, term: u8) -> Vec<u8> {
    frame(&[(TYPE, 6), (TO, to), (FROM, from), (TERM, term)], &[])
}

#[test]
fn a_violation_is_told_while_it_is_watched_with_its_evidence() {
    let mut both = Both::new(Protocol::Embedded, &peers(), None);
    both.ear.start(START);
    let mut first = Talk::open(&mut both, 1, (1, 3), 40_000);
    let mut second = Talk::open(&mut both, 2, (2, 3), 40_000);
    first.say(&mut both, 10, heartbeat(1, 3, 7));
    second.say(&mut both, 20, heartbeat(2, 3, 7));
    let told = wait_for("an alarm", LIMIT, Duration::from_millis(1), || both.watcher.alarm());
    let (ended, observer, _) = both.end();
    is_the_same(&ended, &observer);
    let [(alarm, evidence)] = ended.alarms.as_slice() else { panic!("{:?}", ended.alarms) };
    assert_eq!(alarm.invariant, Invariant::ElectionSafety);
    assert_eq!((alarm.at, evidence.len()), (Nanos::from_millis(20), 2));
    assert_eq!(told, Ok((alarm.invariant, alarm.said.clone())));
}

/// n3 votes twice in a term, on connections from before and behind what is told in between.
fn votes_again(tell: impl Fn(&Watcher, Nanos)) -> Ended {
    let mut both = Both::new(Protocol::Embedded, &peers(), None);
    both.ear.start(START);
    for candidate in [1, 2] {
        let mut asks = Talk::open(&mut both, 1, (candidate, 3), 40_000);
        asks.say(&mut both, 2, ask(candidate as u8, 3, 7));
    }
    let mut old = Talk::open(&mut both, 3, (3, 1), 40_000);
    old.say(&mut both, 10, vote(3, 1, 7));
    tell(&both.watcher, START + Nanos::from_millis(50));
    let mut new = Talk::open(&mut both, 100, (3, 2), 40_001);
    new.say(&mut both, 110, vote(3, 2, 7));
    let ended = both.end().0;
    assert_eq!(ended.watched.told, 4);
    ended
}

#[test]
fn who_was_started_anew_is_bound_by_what_it_said_unless_its_data_is_gone() {
    for wiped in [false, true] {
        let ended = votes_again(|watcher, at| {
            watcher.births().tell(Restarted { at, node: NodeId(2), wiped });
        });
        let alarms: Vec<_> = ended.alarms.iter().map(|(alarm, _)| alarm.invariant).collect();
        let expected = if wiped { vec![] } else { vec![Invariant::OneVote] };
        assert_eq!(alarms, expected, "wiped: {wiped}");
    }
}

#[test]
fn who_is_gone_and_may_come_back_without_data_testifies_to_nothing() {
    let ended = votes_again(|watcher, at| watcher.births().gone(at, NodeId(2)));
    assert!(ended.alarms.is_empty(), "{:?}", ended.alarms);
}

/// Until the clock starts nothing is read, so that a ring runs over whenever it is to.
#[test]
fn what_the_ring_has_no_room_for_is_counted_and_nothing_is_invented() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wire");
    let mut both = Both::new(Protocol::Embedded, &peers(), Some(&path));
    let mut talk = Talk::open(&mut both, 0, (1, 2), 40_000);
    // Each is an entry of term 1: type, term, index, data.
    let append = |n: u64| {
        let entry = |i: u64| vec![1 << 3, 0, 2 << 3, 1, 3 << 3, (i % 100) as u8 + 1, 34, 1, 7];
        let (one, other) = (entry(n), entry(n + 1));
        let fields = [(TYPE, 3), (TO, 2), (FROM, 1), (TERM, 1), (5, 1), (6, (n % 100) as u8)];
        frame(&fields, &[&one, &other])
    };
    let all = 30_000;
    for n in 0..all {
        talk.say(&mut both, 1, append(n));
    }
    both.ear.start(START);
    let (ended, _, events) = both.end();
    let watched = &ended.watched;
    // Each takes three places, and one is kept for what was missed.
    assert_eq!(watched.told, RING / 3);
    assert_eq!(watched.told + watched.missed, all);
    assert_eq!(watched.coverage.expect("it was told").all_messages(), all);
    assert!(ended.alarms.is_empty(), "{:?}", ended.alarms);
    // Those that were told are the first ones, whole.
    let (_, recorded) = record(&path);
    let (last, seen) = recorded.split_at(recorded.len() - 2);
    assert_eq!(last, &events[..last.len()]);
    let at = Nanos::from_millis(1);
    let missed = Event::Missed { at, messages: all - RING / 3 };
    assert_eq!((last.len() as u64, &seen[0]), (RING / 3, &missed));
    assert!(matches!(seen[1], Event::Coverage(_)), "{seen:?}");
}

#[test]
fn as_many_messages_as_one_packet_can_hold_are_told() {
    let mut both = Both::new(Protocol::Embedded, &peers(), None);
    both.ear.start(START);
    let mut talk = Talk::open(&mut both, 0, (1, 2), 40_000);
    let one = heartbeat(1, 2, 3);
    let all = 65_000 / one.len();
    talk.say(&mut both, 1, one.repeat(all));
    talk.say(&mut both, 2, one);
    let (ended, ..) = both.end();
    let (told, missed) = (ended.watched.told, ended.watched.missed);
    assert_eq!((told, missed), (all as u64 + 1, 0));
    let stand = ended.watched.stand(Invariant::ElectionSafety);
    assert!(matches!(stand, Some(Stand::Holds(_))), "{stand:?}");
}

#[test]
fn a_record_on_a_full_disk_is_told_and_nothing_else_is_lost() {
    for name in ["raftrs-2-writes", "raftrs-1-idle-heartbeats"] {
        let capture = capture(name);
        let full = Path::new("/dev/full");
        let mut both = Both::new(capture.protocol, &capture.peers, Some(full));
        both.ear.start(START);
        capture.segments.iter().for_each(|one| both.hear(one));
        let (ended, observer, _) = both.end();
        is_the_same(&ended, &observer);
        assert!(ended.watched.told > 10, "{name}");
        let why = ended.unwritten.as_deref().expect("it is told");
        assert!(why.starts_with("/dev/full is not whole: No space left"), "{why}");
        let outcome = ended.outcome(&["n1", "n2", "n3"].map(str::to_owned));
        assert_eq!(outcome.unwritten.as_deref(), Some(why));
    }
}

#[test]
fn a_table_without_a_protocol_is_not_watched() {
    let text = "cluster: { nodes: { n1: 10.77.0.1:7000, n2: 10.77.0.2:7000 } }\nrules: []\n";
    let table = compile("test", text, &[]).expect("a table").table;
    assert!(watch::open(&table, None).expect("nothing is opened").is_none());
}

/// A loop that is stuck keeps its end of the ring; detaching has to come to its end all the same.
#[test]
fn a_watcher_does_not_wait_for_a_loop_that_never_ends() {
    let mut both = Both::new(Protocol::Embedded, &peers(), None);
    both.ear.start(START);
    let mut talk = Talk::open(&mut both, 1, (1, 3), 40_000);
    talk.say(&mut both, 10, heartbeat(1, 3, 7));
    let Both { ear, watcher, .. } = both;
    let ended = watcher.finish().expect("its thread is well").expect("it watched");
    assert_eq!(ended.watched.told, 1, "what is in the ring is watched");
    drop(ear);
}

#[test]
fn a_watcher_whose_clock_never_starts_comes_to_an_end() {
    let both = Both::new(Protocol::Embedded, &peers(), None);
    let (ended, ..) = both.end();
    assert_eq!(ended.watched.told, 0);
}
