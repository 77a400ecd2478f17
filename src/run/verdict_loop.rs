//! The verdict loop: one thread, all queues of a cluster, its timers and its mail.
//!
//! A round reads mail if there is any, lets out what is due, takes in a batch of every
//! readable queue, judges each packet to completion and hands all answers to the kernel.
//! Nothing in a round waits, allocates or locks. Between rounds it sleeps until a packet, a
//! due time or a letter comes, and spins the last stretch before a due time within a budget.
//!
//! The clock is read when a batch is here, and before it is judged everything is done that
//! is due by then. So a packet meets the rules of its own time, and what is delayed is
//! never early; a time from before the batch was fetched may be one from before a packet
//! was sent, by as long as the thread was kept from running.
//!
//! What has to come again as single segments (`engine/divert.rs`) is in a lane's second queue
//! as soon as its answer is sent, and is taken in, all of it, before a first queue is read again:
//! so nothing overtakes it.

use super::judging::{Judging, Leaving, send_rst};
pub use super::lanes::Lane;
use super::lanes::Lanes;
use super::mailbox::{Inbox, Order, Post, Report};
use super::parcels::Parcels;
use super::spin::{STRETCH, SpinBudget};
use super::trace::Tracer;
use super::watch::Ear;
use crate::engine::flows::FlowKey;
use crate::engine::held::HELD_MAX;
use crate::engine::{Engine, Question, Token};
use crate::kernel::clock;
use crate::kernel::heart::Heart;
use crate::kernel::inject::{Injected, Injectors};
use crate::kernel::poll::{Poller, Pulse};
use crate::kernel::queue::{Answer, Faults, Packet, PacketQueue};
use crate::kernel::sched::{self, Urgency};
use crate::packet::{LinkId, Proto};
use crate::time::Nanos;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// The heartbeat is at most this old while the loop is well.
const PULSE: Nanos = Nanos::from_millis(100);

/// What the pollers wait for beside the queues, by its index.
const RUNG: usize = 0;
const PULSED: usize = 1;
const QUEUES: usize = 2;

/// The longest time to empty the queues at the end.
const EMPTYING: Nanos = Nanos::from_secs(1);

/// Everything the loop talks to.
#[derive(Debug)]
pub struct Wiring {
    /// What it is told.
    pub orders: Inbox<Order>,
    /// What it tells.
    pub reports: Post<Report>,
    /// Who holds this socket?
    pub questions: Post<Question>,
    /// A line for every packet.
    pub tracer: Option<Tracer>,
    /// Reads what nodes say to each other, where the cluster names a protocol.
    pub ear: Option<Ear>,
    /// Sends packets of raftq's own.
    pub injectors: Injectors,
    /// Watched by the guardian.
    pub heart: Arc<Heart>,
}

/// The loop and all it owns.
#[derive(Debug)]
pub struct VerdictLoop<Q> {
    lanes: Lanes<Q>,
    engine: Engine,
    wiring: Wiring,
    parcels: Parcels,
    /// The bell of the mail and the pulse, then the queues in the order of their tokens.
    poller: Poller,
    /// The bell and the pulse alone, while packets are not to be read yet.
    idle: Poller,
    pulse: Pulse,
    spin: SpinBudget,
    /// Held packets that left in this round: link and due time.
    left: Vec<(LinkId, Nanos)>,
    /// Whether packets are taken in; on a shared stack they wait in the kernel until the
    /// connections that exist are known.
    reading: bool,
    stopping: bool,
}

/// What is left of a loop.
#[derive(Debug)]
pub struct Ended {
    /// Its engine, with counters and lateness.
    pub engine: Engine,
    /// What its queues noticed, added up.
    pub faults: Faults,
    /// Packets of its own.
    pub injected: Injected,
}

impl<Q: PacketQueue> VerdictLoop<Q> {
    /// A loop over these queues; `read_early` lets packets pass before the clock starts,
    /// else they wait.
    pub fn new(
        lanes: Vec<Lane<Q>>,
        mut engine: Engine,
        wiring: Wiring,
        read_early: bool,
    ) -> io::Result<Self> {
        let mut lanes = Lanes::new(lanes);
        lanes.tell_neighbours(wiring.injectors.learns() && engine.needs().injects);
        engine.has_second_queues(lanes.have_seconds());
        let pulse = Pulse::every(PULSE)?;
        let (mut poller, mut idle) = (Poller::new()?, Poller::new()?);
        for poller in [&mut poller, &mut idle] {
            poller.add(wiring.orders.bell.as_fd())?;
            poller.add(pulse.as_fd())?;
        }
        for queue in lanes.queues() {
            poller.add(queue.fd())?;
        }
        // In one round no more can leave than are held.
        let left = Vec::with_capacity(lanes.queues().count() * HELD_MAX);
        Ok(Self {
            lanes,
            engine,
            wiring,
            parcels: Parcels::new(),
            poller,
            idle,
            pulse,
            spin: SpinBudget::default(),
            left,
            reading: read_early,
            stopping: false,
        })
    }

    /// Runs until [`Order::Stop`]. `urgent` asks for real-time scheduling; `granted` is
    /// told what came of it.
    pub fn run(mut self, urgent: bool, granted: impl FnOnce(Urgency)) -> io::Result<Ended> {
        granted(if urgent {
            sched::become_urgent()
        } else {
            sched::exact_timers();
            Urgency::Ordinary
        });
        let mut more = false;
        while !self.stopping {
            if more {
                // A flood in one queue must not starve the others, so all are asked again.
                self.poller.wait(Nanos::ZERO)?;
            } else {
                self.sleep()?;
            }
            more = self.round()?;
        }
        let faults = self.lanes.queues().map(Q::faults).fold(Faults::default(), |sum, f| Faults {
            refused: sum.refused + f.refused,
            garbled: sum.garbled + f.garbled,
        });
        Ok(Ended { engine: self.engine, faults, injected: self.wiring.injectors.counts() })
    }

    /// One round; returns whether some queue had a full batch, so that there may be more.
    fn round(&mut self) -> io::Result<bool> {
        let now = clock::now();
        self.wiring.heart.beat(now);
        let waited = if self.reading { &self.poller } else { &self.idle };
        if waited.is_ready(PULSED) {
            self.pulse.hush();
        }
        // The bell may ring after its letter was read, and has to be silenced then, too.
        if self.wiring.orders.may_have() || waited.is_ready(RUNG) {
            self.read_mail(now)?;
        }
        self.tell_silences()?;
        self.let_out(now)?;
        let more = self.reading && self.take_in()?;
        self.tell_silences()?;
        if self.engine.has_untold_turns() {
            let reports = &self.wiring.reports;
            self.engine.tell_turns(|turned| reports.send(Report::Turned(turned)).is_ok());
        }
        self.lanes.flush()?;
        if !self.left.is_empty() {
            let now = clock::now();
            for (link, due) in self.left.drain(..) {
                self.engine.left(link, due, now);
            }
        }
        Ok(more)
    }

    /// Takes in a batch of every readable queue, and all of the second queues.
    fn take_in(&mut self) -> io::Result<bool> {
        // Those that waited for their sender, and have to be in before what comes behind them.
        if self.segments_wait() && !self.take_in_segments()? {
            return Ok(false);
        }
        let mut more = false;
        for i in 0..self.lanes.len() {
            if self.poller.is_ready(QUEUES + i) {
                more |= self.judge(i)? == crate::kernel::nfqueue::BATCH;
            }
        }
        if self.engine.has_diverted() {
            self.take_in_segments()?;
        }
        Ok(more)
    }

    /// Takes in a batch of one queue; returns how many packets there were.
    fn judge(&mut self, queue: usize) -> io::Result<usize> {
        let got = self.lanes.queue(queue)?.fetch()?;
        if got == 0 {
            return Ok(0);
        }
        let now = clock::now();
        self.tell_silences()?;
        self.let_out(now)?;
        let Self { lanes, engine, wiring, parcels, .. } = self;
        let (lane, first) = (lanes.info(queue), queue < lanes.len());
        let mut judge = Judging { engine, parcels, wiring, now, lane, first };
        lanes.queue(queue)?.judge(&mut judge)?;
        Ok(got)
    }

    /// Whether second queues have to be looked into: something was sent there, or, where the
    /// kernel had no memory by then, comes late.
    fn segments_wait(&self) -> bool {
        let seconds = QUEUES + self.lanes.len()..QUEUES + self.lanes.queues().count();
        self.engine.has_diverted() || seconds.into_iter().any(|i| self.poller.is_ready(i))
    }

    /// Takes in everything that was sent to second queues, in turn with what is due meanwhile, for
    /// one round of bulk is some thousands of segments. Returns whether all of it is in; where
    /// the kernel had no memory to take the answers it is not.
    fn take_in_segments(&mut self) -> io::Result<bool> {
        loop {
            self.lanes.flush()?;
            let sent = !self.lanes.have_unsent();
            let mut got = 0;
            for i in self.lanes.len()..self.lanes.queues().count() {
                got += self.judge(i)?;
            }
            if got == 0 {
                if sent {
                    self.engine.segments_are_in();
                }
                return Ok(sent);
            }
        }
    }

    /// Tells of nodes that are silent by now, so that what is to be done to them is done; and
    /// drops what is held of a host that is to be lost, or of a connection that was reset.
    fn tell_silences(&mut self) -> io::Result<()> {
        if !self.engine.has_untold_silence() && !self.engine.has_orphans() {
            return Ok(());
        }
        self.let_go(clock::now(), |engine, reports, out| {
            engine.drop_orphans(&mut |r| out.answer(r));
            let tell = |silenced| reports.send(Report::Silenced(silenced)).is_ok();
            engine.tell_silences(tell, &mut |r| out.answer(r));
        })
    }

    /// Starts and ends rules, and answers what is due.
    fn let_out(&mut self, now: Nanos) -> io::Result<()> {
        self.let_go(now, |engine, reports, out| {
            let tell = |edge| drop(reports.send(Report::Edge(edge)));
            engine.advance(now, tell, &mut |r| out.answer(r));
            // What a cut that healed has left behind must not come before its resets.
            engine.drop_orphans(&mut |r| out.answer(r));
            engine.release(now, &mut |r| out.answer(r));
        })?;
        self.send_resets(now)
    }

    /// Tells the ends of connections that a cut starved, and drops what is held of them.
    fn send_resets(&mut self, now: Nanos) -> io::Result<()> {
        if self.engine.has_resets() {
            let Wiring { injectors, tracer, .. } = &mut self.wiring;
            self.engine.take_resets(|rst| send_rst(injectors, tracer, now, rst));
            self.tell_silences()?;
        }
        Ok(())
    }

    /// Has the engine let packets go that were kept.
    #[inline]
    fn let_go(
        &mut self,
        now: Nanos,
        work: impl FnOnce(&mut Engine, &Post<Report>, &mut Leaving<'_, Q>),
    ) -> io::Result<()> {
        let Self { lanes, engine, wiring, parcels, left, .. } = self;
        let Wiring { tracer, injectors, reports, .. } = wiring;
        let mut out = Leaving { lanes, parcels, tracer, injectors, left, now, result: Ok(()) };
        work(engine, reports, &mut out);
        out.result
    }

    fn read_mail(&mut self, now: Nanos) -> io::Result<()> {
        self.wiring.orders.open();
        while let Some(order) = self.wiring.orders.take() {
            match order {
                Order::Start(known, since) => {
                    // Whoever dialled while raftq stood aside may have taken known ports.
                    self.engine.forget_diallers();
                    for (dialler, peer, answer) in known {
                        let key = FlowKey::of(dialler, peer, Proto::Tcp).0;
                        self.engine.know_flow(now, key, answer);
                    }
                    let start = since.unwrap_or(now);
                    self.engine.start(start);
                    if let Some(tracer) = &self.wiring.tracer {
                        tracer.start(start);
                    }
                    if let Some(ear) = &mut self.wiring.ear {
                        ear.start(start);
                        if since.is_some() {
                            ear.stood_aside(now);
                        }
                    }
                    self.reading = true;
                    self.tell(Report::Started(now));
                }
                Order::Adopt(plan) => {
                    // What has ended by now has ended under the former table.
                    self.let_out(now)?;
                    self.adopt(plan, now);
                }
                Order::Answered(Question { flow, generation, .. }, answer) => {
                    self.let_go(now, |engine, _, out| {
                        engine.answered(now, flow, generation, answer, &mut |r| out.answer(r));
                    })?;
                }
                Order::Silence(fault, nodes, drops_held) => {
                    if !self.engine.silence(now, fault, nodes, drops_held) {
                        log::error!("a fault was left out: nobody hears of silences any more");
                    }
                    self.tell_silences()?;
                }
                Order::EndSilence(fault, node) => {
                    let at = self.engine.end_silence(now, node);
                    self.tell(Report::SilenceOver(fault, node, at));
                }
                Order::Drain => {
                    self.drain(now)?;
                    self.tell(Report::Drained(now));
                }
                Order::Stop => self.stop(now)?,
            }
        }
        Ok(())
    }

    fn adopt(&mut self, plan: Box<crate::engine::Prepared>, now: Nanos) {
        let former = self.engine.adopt(plan, now);
        let injects = self.engine.needs().injects;
        self.lanes.tell_neighbours(self.wiring.injectors.learns() && injects);
        if let Some(tracer) = &mut self.wiring.tracer {
            tracer.next_table();
        }
        let active = self.engine.active_rules();
        self.tell(Report::Adopted(now, active, former));
    }

    fn drain(&mut self, now: Nanos) -> io::Result<()> {
        self.engine.heal_cuts();
        self.send_resets(now)?;
        self.let_go(now, |engine, _, out| engine.drain(&mut |r| out.answer(r)))?;
        self.reading = true;
        Ok(())
    }

    /// Empties the queues; the rules are out by now, so nothing new comes. Where they could
    /// not be removed something does, and the queues' end lets it pass.
    fn stop(&mut self, now: Nanos) -> io::Result<()> {
        self.drain(now)?;
        let limit = now + EMPTYING;
        // What is in a second queue was ahead of what is in the first.
        let seconds = self.lanes.len()..self.lanes.queues().count();
        for i in seconds.chain(0..self.lanes.len()) {
            let tracer = &mut self.wiring.tracer;
            let mut pass = |packet: &Packet<'_>| {
                let token = Token { queue: i as u16, id: packet.id };
                if let Some(tracer) = tracer {
                    tracer.passed(now, token, packet);
                }
                Answer::Accept
            };
            self.lanes.flush()?;
            while self.lanes.queue(i)?.receive(&mut pass)? > 0 && clock::now() < limit {
                self.lanes.flush()?;
            }
        }
        self.engine.segments_are_in();
        if let Some(ear) = &mut self.wiring.ear {
            ear.finish(now);
        }
        self.wiring.heart.beat(now);
        self.stopping = true;
        Ok(())
    }

    /// Tells the main thread; where it does not listen, nothing is lost but words.
    fn tell(&self, report: Report) {
        if self.wiring.reports.send(report).is_err() {
            log::warn!("a report of the loop was not heard");
        }
    }

    /// Waits for a packet, a letter or the next due time.
    fn sleep(&mut self) -> io::Result<()> {
        if !self.reading {
            self.idle.wait(Nanos::MAX)?;
            return Ok(());
        }
        let Some(due) = self.engine.poll_at() else {
            self.poller.wait(Nanos::MAX)?;
            return Ok(());
        };
        let now = clock::now();
        let rest = due.saturating_sub(now);
        if rest > STRETCH {
            let early = rest.saturating_sub(STRETCH);
            self.poller.wait(early)?;
            return Ok(());
        }
        if !self.spin.allows(now) {
            self.poller.wait(rest)?;
            return Ok(());
        }
        // Packets that come meanwhile end the spinning.
        while self.poller.wait(Nanos::ZERO)? == 0 && clock::now() < due {}
        let end = clock::now();
        self.spin.spend(end, end.saturating_sub(now));
        Ok(())
    }
}
