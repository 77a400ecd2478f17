//! Scripts that drive the engine: lines of a table, packets and times in, verdicts out.
//!
//! Under each line stands, indented, what came of it. Beside the lines of a table:
//!
//! ```text
//! limit held N | limit flows N     before `start`
//! start                            the clock of the rules starts
//! at TIME [EVENT]                  time goes on; the loop wakes whenever the engine asks
//! jump TIME [EVENT]                the same, but the loop sleeps until then
//! n1:40000 > n2 KIND               a packet; an end is a node's peer endpoint, some other
//!                                  port of a node, or an address with a port
//!   KIND  tcp syn|synack|ack|fin|rst [N], tcp data N, udp N, then seq=N, ack=N, tos=N, gso, and
//!         what it says:
//!         says append_entries term 3 +1 (`asked.rs`)
//! 20 x EVENT                       the same packet again and again, summed up
//! garbage                          bytes that are no packet
//! answer #N n1|stranger|nobody     who sent packet N
//! silence n1 | silence n1, held     nodes are silenced by order; so is what is held of them
//! speak n1                         a silence of a node is over
//! know n1:40000 > n2 by n1         a connection that is there before any packet of it
//! reload, RULES..., adopt          other rules come into force
//! drain                            everything is released, rules no longer act
//! counters                         what is not zero
//! ```

use super::packet::{Build, flags};
use super::words::{TableLines, number, show, time};
use raftq::engine::flows::FlowKey;
use raftq::engine::held::COPIES;
use raftq::engine::{
    Answer, Decision, Edge, Engine, Extras, Heard, Limits, Prepared, Question, Release, Token,
    Verdict, mangle,
};
use raftq::observe::Turn;
use raftq::packet::{PacketView, Proto};
use raftq::rules::Table;
use raftq::run::parcels::Parcels;
use raftq::time::Nanos;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

/// Runs a script and returns it with its output filled in.
pub(crate) fn run(script: &str) -> String {
    let mut player = Player::new();
    let mut out = String::new();
    for line in script.lines().filter(|line| !line.starts_with("    ")) {
        out.push_str(line);
        out.push('\n');
        let command = line.split(" # ").next().unwrap_or_default().trim();
        if !command.is_empty() && !command.starts_with('#') {
            player.line(command);
        }
        for said in player.said.drain(..) {
            writeln!(out, "    {said}").expect("a string takes everything");
        }
    }
    out
}

struct Player {
    lines: TableLines,
    /// The table in force; the lines may already be those of the next.
    table: Arc<Table>,
    limits: Limits,
    engine: Option<Engine>,
    now: Nanos,
    packets: u32,
    questions: BTreeMap<u32, Question>,
    parcels: Parcels,
    said: Vec<String>,
}

impl Player {
    fn new() -> Self {
        let lines = TableLines::new();
        Self {
            table: Arc::new(lines.table.clone()),
            lines,
            limits: Limits { queues: 1, held: 1_000, flows: 1_000 },
            engine: None,
            now: Nanos::ZERO,
            packets: 0,
            questions: BTreeMap::new(),
            parcels: Parcels::new(),
            said: Vec::new(),
        }
    }

    fn line(&mut self, line: &str) {
        if self.lines.take(line) {
            return;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["limit", "held", most] => self.limits.held = number(most),
            ["limit", "flows", most] => self.limits.flows = number(most),
            ["start"] => self.start(),
            ["at", to, event @ ..] => {
                self.wake_until(time(to));
                self.advance_to(time(to));
                self.event(event);
            }
            ["jump", to, event @ ..] => {
                self.advance_to(time(to));
                self.event(event);
            }
            event => self.event(event),
        }
    }

    fn event(&mut self, words: &[&str]) {
        match words {
            [] => {}
            [count, "x", event @ ..] => self.repeat(number(count), event),
            [src, ">", dst, kind @ ..] => {
                let (src, dst) = (self.end(src), self.end(dst));
                self.packet(src, dst, kind);
            }
            ["garbage"] => self.engine().unreadable(),
            ["answer", packet, who] => self.answer(packet, who),
            ["know", dialler, ">", peer, "by", who] => {
                let key = |a, b| FlowKey::of(endpoint(a), endpoint(b), Proto::Tcp).0;
                let key = key(self.end(dialler), self.end(peer));
                let (now, answer) = (self.now, self.who(who));
                self.engine().know_flow(now, key, answer);
            }
            ["silence", nodes] => self.silence(nodes, false),
            ["silence", nodes, "held"] => self.silence(nodes.trim_end_matches(','), true),
            ["speak", node] => {
                let (node, now) = (self.lines.node(node), self.now);
                self.engine().end_silence(now, node);
            }
            ["adopt"] => self.adopt(),
            ["drain"] => {
                let (engine, parcels) = (self.engine.as_mut(), &mut self.parcels);
                let engine = engine.expect("a script starts before it drains");
                let said = &mut self.said;
                engine.drain(&mut |r| say_release(said, parcels, &r));
            }
            ["counters"] => self.counters(),
            _ => panic!("{words:?} means nothing"),
        }
    }

    fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("a script says `start` first")
    }

    fn prepared(&mut self) -> Box<Prepared> {
        self.lines.compile();
        let table = Arc::new(self.lines.table.clone());
        let former = std::mem::replace(&mut self.table, Arc::clone(&table));
        let former = self.engine.is_some().then_some(&*former);
        let shared = self.lines.shared;
        Prepared::new(table, former, |_| shared)
    }

    fn start(&mut self) {
        let mut engine = Engine::new(self.prepared(), self.limits);
        engine.start(self.now);
        self.engine = Some(engine);
        self.advance_to(self.now);
    }

    fn adopt(&mut self) {
        let (plan, now) = (self.prepared(), self.now);
        self.engine().adopt(plan, now);
        self.advance_to(now);
    }

    /// Wakes the engine whenever it asks for it, as the loop does.
    fn wake_until(&mut self, end: Nanos) {
        while let Some(next) = self.engine().poll_at().filter(|&next| next < end) {
            self.advance_to(next.max(self.now));
        }
    }

    fn advance_to(&mut self, now: Nanos) {
        assert!(now >= self.now, "a script's time goes forward");
        self.now = now;
        let (said, parcels, names) = (&mut self.said, &mut self.parcels, &self.table.rules);
        let engine = self.engine.as_mut().expect("a script says `start` first");
        let mut edges = Vec::new();
        let first = said.len();
        let mut release = |r: Release| say_release(said, parcels, &r);
        engine.advance(now, |edge: Edge| edges.push(edge), &mut release);
        engine.release(now, &mut release);
        for edge in edges.into_iter().rev() {
            let what = match (edge.active, edge.leaderless) {
                (true, false) => "starts",
                (true, true) => "starts, and nobody leads",
                (false, _) => "ends",
            };
            let name = &names[usize::from(edge.rule)].name;
            said.insert(first, format!("{name} {what}"));
        }
        engine.take_resets(|rst| {
            let (src, dst) = (rst.src.socket_addr(), rst.dst.socket_addr());
            said.push(format!("a RST {src} > {dst} seq {} ack {}", rst.seq, rst.ack));
        });
        for line in &mut said[first..] {
            line.insert_str(0, &format!("{}: ", show(now)));
        }
    }

    /// `n1`, `n1:40000` or `10.9.9.9:5`.
    fn end(&self, text: &str) -> SocketAddr {
        let (name, port) = text.split_once(':').map_or((text, None), |(n, p)| (n, Some(p)));
        let Some(node) = self.lines.table.node(name) else { return super::packet::at(text) };
        let mut end = self.lines.table.nodes[usize::from(node.0)].endpoints[0].socket_addr();
        if let Some(port) = port {
            end.set_port(number(port) as u16);
        }
        end
    }

    fn packet(&mut self, src: SocketAddr, dst: SocketAddr, kind: &[&str]) -> String {
        self.packets += 1;
        let says = kind.iter().position(|word| *word == "says");
        let (kind, said) = kind.split_at(says.unwrap_or(kind.len()));
        let (messages, entries) = super::asked::says(said.get(1..).unwrap_or_default());
        let (bytes, mtu) = packet(src, dst, kind);
        let view = PacketView::parse(&bytes, bytes.len() as u32, mtu).expect("a whole packet");
        let token = Token { queue: 0, id: self.packets };
        let now = self.now;
        let payload = &bytes[usize::from(view.header_len)..];
        let heard = Heard { payload, messages: &messages, entries: &entries };
        let decision = self.engine().decide_heard(now, &view, &heard);
        let mut said = self.fulfil(token, &bytes, &view, &decision);
        said.push_str(&self.extras(&bytes, &view, &decision));
        let by = decision.rule.map(|r| &self.table.rules[usize::from(r)].name);
        let by = by.map_or(String::new(), |name| format!(" ({name})"));
        self.said.push(format!("#{} {said}{by}", self.packets));
        self.tell_turns();
        self.drop_orphans();
        self.tell_silences();
        said
    }

    /// Says what a packet's messages have turned, and which rules began or ended by it.
    fn tell_turns(&mut self) {
        let (said, table) = (&mut self.said, &self.table);
        let engine = self.engine.as_mut().expect("a script starts first");
        let name = |node: raftq::packet::NodeId| &table.nodes[usize::from(node.0)].name;
        engine.tell_turns(|one| {
            let what = match one.turn {
                Turn::LeaderElected { node, term } => format!("{} leads term {term}", name(node)),
                Turn::TermChange { term, .. } => format!("term {term}"),
                Turn::ElectionStarted { node, term } => {
                    format!("{} asks for votes in term {term}", name(node))
                }
                Turn::FirstEntry { node, term } => {
                    format!("{} has sent its first entry of term {term}", name(node))
                }
            };
            said.push(what + if one.watched { "" } else { ", as before" });
            true
        });
    }

    fn drop_orphans(&mut self) {
        let (said, parcels) = (&mut self.said, &mut self.parcels);
        let engine = self.engine.as_mut().expect("a script starts first");
        if engine.has_orphans() {
            engine.drop_orphans(&mut |r| say_release(said, parcels, &r));
        }
    }

    /// Does with a packet what the loop does.
    fn fulfil(
        &mut self,
        token: Token,
        bytes: &[u8],
        view: &PacketView,
        decision: &Decision,
    ) -> String {
        let now = self.now;
        match decision.verdict {
            Verdict::Accept => "accept".to_owned(),
            Verdict::Drop => "drop".to_owned(),
            Verdict::Trim => "trim".to_owned(),
            Verdict::Reset { seq } => format!("reset at {seq}"),
            Verdict::Reject(with) => format!("reject with {with:?}"),
            Verdict::Hold(keep) => {
                let facts = decision.facts.expect("what is held has facts");
                let slot = if keep.trim { self.parcels.put_trimmed(bytes, view) } else { None };
                let what = if keep.trim { "trim and hold" } else { "hold" };
                let mark = decision.extras.mark;
                match self.engine().hold(token, facts, keep, (slot, mark)) {
                    Ok(()) if keep.due == Nanos::MAX => what.to_owned(),
                    Ok(()) => format!("{what} until {}", show(keep.due)),
                    Err(_) => "drop, too many held".to_owned(),
                }
            }
            Verdict::Ask { .. } => match self.engine().wait(now, (token, 0), view, decision) {
                Ok(Some(question)) => {
                    let (local, remote) = (question.local, question.remote);
                    self.questions.insert(token.id, question);
                    format!("ask who holds {} > {}", local.socket_addr(), remote.socket_addr())
                }
                Ok(None) => "wait".to_owned(),
                Err(too_many) => format!("too many wait, drop: {}", too_many.drop),
            },
        }
    }

    /// What else happens to a packet, as the loop does it.
    fn extras(&mut self, bytes: &[u8], view: &PacketView, decision: &Decision) -> String {
        let Extras { mark, damage, copies } = decision.extras;
        let mut said = Vec::new();
        said.extend(mark.map(|mark| format!(", marked {:#x}", mark.of(0))));
        if let Some(damage) = damage {
            let mut out = vec![0; bytes.len()];
            mangle::corrupt(bytes, view, &damage, &mut out).expect("a whole packet");
            let changed = bytes.iter().zip(&out).skip(usize::from(view.header_len));
            let bytes = changed.filter(|(old, new)| old != new).count();
            said.push(format!(", {bytes} bytes changed"));
        }
        if let (Some(copies), Some(facts)) = (copies, decision.facts) {
            let (now, keep) = match decision.verdict {
                Verdict::Hold(keep) => (self.now, Some(keep)),
                _ => (self.now, None),
            };
            for _ in 0..copies.count {
                let slot = self.parcels.put(|_| Some(0)).expect("a free place");
                let copy = (slot, facts);
                self.engine().hold_copy(copy, now, keep, copies.after).expect("room");
            }
            said.push(format!(", {} more", copies.count));
        }
        said.concat()
    }

    fn repeat(&mut self, count: usize, event: &[&str]) {
        let [src, ">", dst, kind @ ..] = event else { panic!("only packets are repeated") };
        let (src, dst) = (self.end(src), self.end(dst));
        let before = self.said.len();
        let mut sums: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..count {
            *sums.entry(self.packet(src, dst, kind)).or_default() += 1;
        }
        self.said.truncate(before);
        self.said.extend(sums.into_iter().map(|(said, n)| format!("{n} x {said}")));
    }

    fn answer(&mut self, packet: &str, who: &str) {
        let Some(&question) = self.questions.get(&(number(&packet[1..]) as u32)) else {
            self.said.push(format!("nobody asked about {packet}"));
            return;
        };
        let answer = self.who(who);
        let (said, parcels) = (&mut self.said, &mut self.parcels);
        let engine = self.engine.as_mut().expect("a script says `start` first");
        let (flow, generation) = (question.flow, question.generation);
        engine
            .answered(self.now, flow, generation, answer, &mut |r| say_release(said, parcels, &r));
        self.tell_silences();
    }

    fn silence(&mut self, nodes: &str, drops_held: bool) {
        let nodes = nodes.split(',').fold(0, |bits, name| bits | 1 << self.lines.node(name).0);
        let now = self.now;
        assert!(self.engine().silence(now, u16::MAX, nodes, drops_held), "there is room");
        self.tell_silences();
    }

    /// Says what the loop tells, as soon as it does.
    fn tell_silences(&mut self) {
        let (said, parcels, table) = (&mut self.said, &mut self.parcels, &self.table);
        let engine = self.engine.as_mut().expect("a script says `start` first");
        let mut silenced = Vec::new();
        let tell = |one| {
            silenced.push(one);
            true
        };
        engine.tell_silences(tell, &mut |r| say_release(said, parcels, &r));
        for one in silenced {
            let nodes = table.nodes.iter().enumerate();
            let nodes = nodes.filter(|(i, _)| one.nodes & (1 << i) != 0);
            let names: Vec<&str> = nodes.map(|(_, node)| node.name.as_str()).collect();
            let by = one.by.map_or("order".to_owned(), |link| table.link_name(link));
            said.push(format!("{} silent since {}, by {by}", names.join(","), show(one.at)));
        }
    }

    fn who(&self, name: &str) -> Answer {
        match name {
            "stranger" => Answer::Stranger,
            "nobody" => Answer::Unknown,
            node => Answer::Node(self.lines.node(node)),
        }
    }

    fn counters(&mut self) {
        let counters = Arc::clone(self.engine().counters());
        let table = &self.table;
        for (rule, count) in table.rules.iter().zip(&counters.rules) {
            let counts = [("matched", count.matched.get()), ("acted", count.acted.get())];
            let span = count.span().map(|(a, b)| format!(" from {} to {}", show(a), show(b)));
            let times = [("activations", count.activations.get()), ("leaked", count.leaked.get())];
            let (span, name) = (span.unwrap_or_default(), &rule.name);
            let line = format!("{name}:{}{span}{}", nonzero(&counts), nonzero(&times));
            self.said.push(line);
        }
        for (i, count) in counters.links.iter().enumerate() {
            let shown = nonzero(&[
                ("packets", count.packets.get()),
                ("dropped", count.dropped.get()),
                ("trimmed", count.trimmed.get()),
                ("delayed", count.delayed.get()),
            ]);
            if !shown.is_empty() {
                let name = table.link_name(raftq::packet::LinkId(i as u16));
                self.said.push(format!("{name}:{shown}"));
            }
        }
        let totals = &counters.totals;
        let shown = nonzero(&[
            ("packets", totals.packets.get()),
            ("held", totals.held.get()),
            ("held at most", totals.held_most.get()),
            ("overflow", totals.overflow.get()),
            ("foreign", totals.foreign.get()),
            ("unreadable", totals.unreadable.get()),
            ("unattributed", totals.unattributed.get()),
            ("asked", totals.asked.get()),
            ("silenced", totals.silenced.get()),
            ("resets", totals.resets.get()),
            ("stalled", totals.stalled.get()),
            ("unhealed", totals.unhealed.get()),
            ("copies lost", totals.copies_lost.get()),
            ("silence leaked", totals.silence_leaked.get()),
            ("flows evicted", totals.flows_evicted.get()),
        ]);
        self.said.push(format!("in all:{shown}"));
    }
}

fn nonzero(counts: &[(&str, u64)]) -> String {
    let mut shown = String::new();
    for (name, n) in counts.iter().filter(|(_, n)| *n > 0) {
        write!(shown, " {name} {n}").expect("a string takes everything");
    }
    shown
}

fn say_release(said: &mut Vec<String>, parcels: &mut Parcels, release: &Release) {
    let copy = release.token.queue == COPIES;
    let what = match (release.drop, release.trimmed) {
        (true, _) => "dropped",
        (false, true) => "released, trimmed",
        (false, false) => "released",
    };
    parcels.free(if copy { Some(release.token.id as u16) } else { release.slot });
    if copy {
        said.push(format!("a copy {what}"));
    } else {
        said.push(format!("#{} {what}", release.token.id));
    }
}

fn endpoint(addr: SocketAddr) -> raftq::packet::Endpoint {
    raftq::packet::Endpoint::new(addr)
}

/// The bytes of a packet and the MTU of its device, 0 where it is no GSO packet.
fn packet(src: SocketAddr, dst: SocketAddr, kind: &[&str]) -> (Vec<u8>, u32) {
    let (mut mtu, mut seq, mut ack, mut tos, mut payload) = (0, 0, None, 0, 0);
    for word in &kind[1..] {
        match word.split_once('=') {
            Some(("seq", n)) => seq = number(n) as u32,
            Some(("ack", n)) => ack = Some(number(n) as u32),
            Some(("tos", n)) => tos = number(n) as u8,
            None if *word == "gso" => mtu = 1_500,
            None if flags(word).is_some() => {}
            _ => payload = number(word),
        }
    }
    let mut build = match kind[0] {
        "tcp" => {
            let flags = flags(kind[1]).unwrap_or_else(|| panic!("{kind:?} is no packet"));
            Build::new(src, dst, Proto::Tcp, flags, payload)
        }
        "udp" => Build::new(src, dst, Proto::Udp, 0, payload),
        _ => panic!("{kind:?} is no packet"),
    };
    build.seq = seq;
    build.ack = ack.unwrap_or(build.ack);
    build.tos = tos;
    (build.bytes(), mtu)
}
