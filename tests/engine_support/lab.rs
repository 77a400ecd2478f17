//! A network in simulation: rules as files have them and packets in, what became of each packet
//! out. Time goes on as the loop has it, which wakes whenever the engine asks.
//!
//! The cluster is n1, n2 and n3 at `10.77.0.N:2380`. Nothing is compared here: tests do that.

use super::packet::{Build, flags, transport_sum};
use raftq::engine::held::COPIES;
use raftq::engine::{Engine, Heard, Limits, Prepared, Release, Rst, Token, Verdict, mangle};
use raftq::packet::{NodeId, PacketView, Proto};
use raftq::rules::table::Reject;
use raftq::rules::{Diagnostic, Inputs, Roles, Source, Table};
use raftq::time::Nanos;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is still held.
    Waits,
    Arrived,
    /// Its bare acknowledgement did.
    Trimmed,
    Dropped,
    /// A RST with this sequence number arrived instead.
    Reset(u32),
    Rejected(Reject),
}

/// All that is known of a packet.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) sent: Nanos,
    pub(crate) end: End,
    /// When that was; `Nanos::MAX` while it waits.
    pub(crate) at: Nanos,
    /// When copies of it arrived.
    pub(crate) copies: Vec<Nanos>,
    /// The mark that it bears, of a packet that bore none.
    pub(crate) mark: Option<u32>,
    /// Its bytes, where they were changed.
    pub(crate) changed: Option<Vec<u8>>,
    /// Whether only its acknowledgement is held.
    trims: bool,
}

impl Fate {
    pub(crate) fn arrived(&self) -> bool {
        self.end == End::Arrived
    }

    /// How long it was under way.
    pub(crate) fn late(&self) -> Nanos {
        self.at.saturating_sub(self.sent)
    }
}

/// A packet, and what is read of it.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) view: PacketView,
}

impl Packet {
    pub(crate) fn of(build: &Build) -> Self {
        let bytes = build.bytes();
        let view = PacketView::parse(&bytes, bytes.len() as u32, 0).expect("a whole packet");
        Self { bytes, view }
    }

    /// One that stands for several wire segments, since its device's MTU is smaller.
    pub(crate) fn gso(build: &Build, mtu: u32) -> Self {
        let bytes = build.bytes();
        let view = PacketView::parse(&bytes, bytes.len() as u32, mtu).expect("a whole packet");
        Self { bytes, view }
    }
}

/// A node's address, with its peer port or another one.
pub(crate) fn node(node: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 77, 0, node], port))
}

/// From a port of one node to the peer port of another.
pub(crate) fn udp((from, port): (u8, u16), to: u8, payload: usize) -> Packet {
    Packet::of(&Build::new(node(from, port), node(to, 2380), Proto::Udp, 0, payload))
}

/// The same as a segment; `kind` is a word such as `data`.
pub(crate) fn tcp(
    (from, port): (u8, u16),
    to: u8,
    kind: &str,
    (seq, payload): (u32, usize),
) -> Packet {
    let bits = flags(kind).expect("a kind of segment");
    let build = Build::new(node(from, port), node(to, 2380), Proto::Tcp, bits, payload);
    Packet::of(&Build { seq, ..build })
}

/// From the peer port of one node to a port of another: of a connection that the other dialled.
pub(crate) fn answer(
    from: u8,
    (to, port): (u8, u16),
    kind: &str,
    (seq, payload): (u32, usize),
) -> Packet {
    let bits = flags(kind).expect("a kind of segment");
    let build = Build::new(node(from, 2380), node(to, port), Proto::Tcp, bits, payload);
    Packet::of(&Build { seq, ..build })
}

/// Whether the checksum of a packet over IPv4 is right.
pub(crate) fn checksum_is_right(bytes: &[u8]) -> bool {
    let head = usize::from(bytes[0] & 15) * 4;
    transport_sum(&bytes[12..16], &bytes[16..20], bytes[9], &bytes[head..]) == 0xffff
}

/// Compiles rules for the cluster; whatever looks suspicious is an error. `top` stands beside
/// `rules:`. Paths in rules count from the folder of the tests that ask.
pub(crate) fn compile(list: &[String], top: &str, roles: Option<Roles>) -> Result<Table, String> {
    let nodes = [1, 2, 3].map(|n| format!("n{n}: \"{}\"", node(n, 2380))).join(", ");
    let entries = list.join(",\n  ");
    let text = format!(
        "cluster: {{ protocol: etcd, nodes: {{ {nodes} }} }}\n{top}\nrules: [\n  {entries}\n]\n"
    );
    let name = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/equivalents/rules.yaml");
    let source = Source::new(name.to_string_lossy(), text);
    let inputs = Inputs { rules: source, cluster: None, sets: Vec::new(), roles, seed: None };
    let compiled = inputs.compile().map_err(|report| report.render(false))?;
    // The twin of a bottleneck is also one through which nothing passes.
    let harmless = |d: &Diagnostic| d.message.ends_with("none ever passes");
    let quiet = compiled.warnings.diagnostics().iter().all(harmless);
    if quiet { Ok(compiled.table) } else { Err(compiled.warnings.render(false)) }
}

/// The engine, and all packets that it was given.
pub(crate) struct Lab {
    pub(crate) engine: Engine,
    pub(crate) now: Nanos,
    pub(crate) fates: Vec<Fate>,
    /// Packets in the order of their arrival, copies aside.
    pub(crate) arrivals: Vec<usize>,
    /// RSTs that belong to no packet.
    pub(crate) rsts: Vec<(Nanos, Rst)>,
    /// Whose copy is in which place.
    copies: Vec<usize>,
    free: Vec<u16>,
}

impl Lab {
    /// One rule, as a file has it.
    pub(crate) fn of(rule: &str) -> Self {
        Self::with(&[rule], "")
    }

    /// Several, and a line beside them, such as `seed: 7`.
    pub(crate) fn with(rules: &[&str], top: &str) -> Self {
        let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        Self::new(compile(&rules, top, None).unwrap_or_else(|wrong| panic!("{rules:?}: {wrong}")))
    }

    /// The rules are in force from the time 0 on.
    pub(crate) fn new(table: Table) -> Self {
        let limits = Limits { queues: 1, held: 61_440, flows: 4_096 };
        let mut engine = Engine::new(Prepared::new(Arc::new(table), None, |_| false), limits);
        engine.start(Nanos::ZERO);
        let mut lab = Self {
            engine,
            now: Nanos::ZERO,
            fates: Vec::new(),
            arrivals: Vec::new(),
            rsts: Vec::new(),
            copies: vec![0; 4_096],
            free: (0..4_096).collect(),
        };
        lab.advance(Nanos::ZERO);
        lab
    }

    /// Sends a packet, and says which it is.
    pub(crate) fn send(&mut self, at: Nanos, packet: &Packet) -> usize {
        self.run_until(at);
        let (number, view) = (self.fates.len(), &packet.view);
        let payload = &packet.bytes[usize::from(view.header_len)..];
        let heard = Heard { payload, ..Heard::default() };
        let decision = self.engine.decide_heard(at, view, &heard);
        let extras = decision.extras;
        let changed = extras.damage.map(|damage| {
            let mut out = vec![0; packet.bytes.len()];
            mangle::corrupt(&packet.bytes, view, &damage, &mut out).expect("a whole packet");
            out
        });
        let trims = matches!(decision.verdict, Verdict::Hold(keep) if keep.trim);
        let mut keep = None;
        let end = match decision.verdict {
            Verdict::Accept => End::Arrived,
            Verdict::Drop => End::Dropped,
            Verdict::Trim => End::Trimmed,
            Verdict::Reset { seq } => End::Reset(seq),
            Verdict::Reject(with) => End::Rejected(with),
            Verdict::Ask { .. } => panic!("every node has a stack of its own"),
            Verdict::Hold(until) => {
                let facts = decision.facts.expect("what is held has facts");
                let token = Token { queue: 0, id: number as u32 };
                match self.engine.hold(token, facts, until, (None, extras.mark)) {
                    Ok(()) => {
                        keep = Some(until);
                        End::Waits
                    }
                    Err(_) => End::Dropped,
                }
            }
        };
        let passes = matches!(end, End::Arrived | End::Trimmed);
        self.arrivals.extend(passes.then_some(number));
        let mark = extras.mark.map(|mark| mark.of(0));
        let when = if end == End::Waits { Nanos::MAX } else { at };
        self.fates.push(Fate { sent: at, end, at: when, copies: Vec::new(), mark, changed, trims });
        if let (Some(copies), Some(facts)) = (extras.copies, decision.facts) {
            for _ in 0..copies.count {
                let slot = self.free.pop().expect("a free place");
                self.copies[usize::from(slot)] = number;
                let copy = (slot, facts);
                self.engine.hold_copy(copy, at, keep, copies.after).expect("room for it");
            }
        }
        number
    }

    /// The same packet again and again, from now on, so long apart.
    pub(crate) fn stream(&mut self, count: usize, apart: Nanos, packet: &Packet) {
        let start = self.now;
        for i in 0..count {
            self.send(start + Nanos(apart.0 * i as u64), packet);
        }
    }

    /// Time goes on; what is due by then leaves.
    pub(crate) fn run_until(&mut self, end: Nanos) {
        while let Some(next) = self.engine.poll_at().filter(|next| *next <= end) {
            let next = next.max(self.now);
            self.advance(next);
            let again = self.engine.poll_at().is_some_and(|asked| asked <= next);
            assert!(!again, "the engine asks to be woken at {next:?}, and had been");
        }
        self.advance(end);
    }

    fn advance(&mut self, now: Nanos) {
        assert!(now >= self.now, "time goes forward");
        self.now = now;
        let Self { engine, fates, arrivals, copies, free, rsts, .. } = self;
        let mut release = |release: Release| {
            let id = release.token.id as usize;
            if release.token.queue == COPIES {
                free.push(id as u16);
                if !release.drop {
                    fates[copies[id]].copies.push(now);
                }
                return;
            }
            fates[id].end = match (release.drop, fates[id].trims) {
                (true, _) => End::Dropped,
                (false, true) => End::Trimmed,
                (false, false) => End::Arrived,
            };
            fates[id].at = now;
            arrivals.extend((!release.drop).then_some(id));
        };
        engine.advance(now, |_| {}, &mut release);
        engine.release(now, &mut release);
        engine.take_resets(|rst| rsts.push((now, *rst)));
    }

    /// How many matches each rule has acted on.
    pub(crate) fn acted(&self) -> Vec<u64> {
        self.engine.counters().rules.iter().map(|rule| rule.acted.get()).collect()
    }
}

/// Roles in which this node leads.
pub(crate) fn led_by(node: u8, choice: u64) -> Roles {
    Roles { leader: NodeId(u16::from(node) - 1), choice }
}
