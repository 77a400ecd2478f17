//! The verdict loop over real queues: fair, in order, never waiting for anybody, and without
//! an allocation on a packet's way.

mod memory;
mod orders;
mod packets;
mod segments;

#[path = "../queue_lab/mod.rs"]
mod queue_lab;

use queue_lab::{LIMIT, Lab, QUEUE, until};
use raftq::engine::counters::Counters;
use raftq::engine::{Engine, Limits, Prepared, Question};
use raftq::kernel::clock;
use raftq::kernel::heart::Heart;
use raftq::kernel::inject::Injectors;
use raftq::kernel::nfq_twin::NfqTwin;
use raftq::kernel::nfqueue::NfQueue;
use raftq::kernel::poll::Poller;
use raftq::kernel::queue::{PacketQueue, QueueOptions};
use raftq::rules::{self, Table};
use raftq::run::mailbox::{self, Inbox, Order, Post, Report};
use raftq::run::trace::Tracer;
use raftq::run::verdict_loop::{Ended, Lane, VerdictLoop, Wiring};
use raftq::time::Nanos;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Peer addresses; n1's packets come by the second queue, n2's by the first.
const N1: &str = "127.0.0.1:7001";
const N2: &str = "127.0.0.2:7002";

/// A queue that the loop can run on.
trait Tested: PacketQueue + Send + Sized + 'static {
    fn bind(options: QueueOptions) -> io::Result<Self>;
}

impl Tested for NfQueue {
    fn bind(options: QueueOptions) -> io::Result<Self> {
        Self::open(options)
    }
}

impl Tested for NfqTwin {
    fn bind(options: QueueOptions) -> io::Result<Self> {
        Self::open(options)
    }
}

/// A table for two nodes.
fn table(rules: &str) -> Arc<Table> {
    let nodes = format!("cluster: {{ nodes: {{ n1: \"{N1}\", n2: \"{N2}\" }} }}\n");
    compiled(&format!("{nodes}rules:\n{rules}"))
}

fn compiled(text: &str) -> Arc<Table> {
    let compiled = rules::compile("test.yaml", text, &[]);
    Arc::new(compiled.unwrap_or_else(|report| panic!("{report:?}\n{text}")).table)
}

/// What a loop is set up with.
struct Setup {
    table: Arc<Table>,
    /// Whether both nodes share a network stack, so that diallers are asked for.
    shared: bool,
    /// Letters that fit the boxes of reports and questions.
    reports: usize,
    questions: usize,
    tracer: Option<Tracer>,
}

impl Setup {
    fn new(table: &Arc<Table>) -> Self {
        let table = Arc::clone(table);
        Self { table, shared: false, reports: 1_024, questions: 1_024, tracer: None }
    }
}

/// Two queues and a loop that has not been started yet.
struct Ready<Q> {
    lanes: Vec<Lane<Q>>,
}

/// A loop on its own thread.
struct Running {
    orders: Post<Order>,
    reports: Inbox<Report>,
    questions: Inbox<Question>,
    counters: Arc<Counters>,
    table: Arc<Table>,
    shared: bool,
    calls: memory::Calls,
    thread: JoinHandle<io::Result<Ended>>,
}

impl<Q: Tested> Ready<Q> {
    /// Queues what the two nodes of [`table`] are sent.
    fn new(lab: &Lab) -> Self {
        lab.queue("-p udp --dport 7002", QUEUE);
        lab.queue("-p udp --dport 7001", QUEUE + 1);
        let open = |number| {
            let queue = lab.inside(|| Q::bind(QueueOptions::new(number, true)));
            let queue = queue.expect("nobody else is bound here");
            Lane { queue, second: None, mtu: 1_500 }
        };
        Self { lanes: vec![open(QUEUE), open(QUEUE + 1)] }
    }

    /// The same for TCP, with a second queue each, as a raftq is attached.
    fn in_pairs(lab: &Lab) -> Self {
        lab.queue("-p tcp --dport 7002", QUEUE);
        lab.queue("-p tcp --dport 7001", QUEUE + 1);
        let bind = |options| lab.inside(|| Q::bind(options)).expect("nobody else is bound here");
        let open = |number: u16| {
            let behind = number + 2;
            let second = Some(bind(QueueOptions::of_segments(behind)));
            let queue = bind(QueueOptions::new(number, true).before(Some(behind)));
            Lane { queue, second, mtu: 1_500 }
        };
        Self { lanes: vec![open(QUEUE), open(QUEUE + 1)] }
    }

    fn run(self, setup: Setup) -> Running {
        let Setup { table, shared, .. } = setup;
        let prepared = Prepared::new(Arc::clone(&table), None, |_| shared);
        let counters = Arc::clone(prepared.counters());
        let engine = Engine::new(prepared, Limits::for_queues(self.lanes.len() * 2));
        let (orders, orders_in) = mailbox::post(1_024).expect("descriptors are left");
        let (reports_out, reports) = mailbox::post(setup.reports).expect("descriptors are left");
        let (ask, questions) = mailbox::post(setup.questions).expect("descriptors are left");
        let wiring = Wiring {
            orders: orders_in,
            reports: reports_out,
            questions: ask,
            tracer: setup.tracer,
            ear: None,
            injectors: Injectors::none(),
            heart: Arc::new(Heart::new().expect("memory is left")),
        };
        let lanes = self.lanes;
        let calls = memory::calls();
        let thread = std::thread::spawn(move || {
            memory::watch_this_thread(calls);
            VerdictLoop::new(lanes, engine, wiring, false)?.run(false, |_| ())
        });
        Running { orders, reports, questions, counters, table, shared, calls, thread }
    }

    /// The same with the clock of the rules started.
    fn start(self, setup: Setup) -> Running {
        let running = self.run(setup);
        running.tell(Order::Start(Vec::new(), None));
        running.hear(|report| matches!(report, Report::Started(_)));
        running
    }
}

impl Running {
    fn tell(&self, order: Order) {
        self.orders.send(order).unwrap_or_else(|order| panic!("nobody takes {order:?}"));
    }

    /// Puts a table in force; the former one's counts go on in the new one's.
    fn adopt(&mut self, table: &Arc<Table>) {
        let shared = self.shared;
        let prepared = Prepared::new(Arc::clone(table), Some(&self.table), |_| shared);
        self.counters = Arc::clone(prepared.counters());
        self.table = Arc::clone(table);
        self.tell(Order::Adopt(prepared));
    }

    fn hear_adopted(&self) {
        self.hear(|report| matches!(report, Report::Adopted(..)));
    }

    /// Waits for a report, passing over others.
    fn hear(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        let mut poller = Poller::new().expect("polling works");
        poller.add(self.reports.bell.as_fd()).expect("polling works");
        let limit = clock::now() + LIMIT;
        loop {
            self.reports.open();
            while let Some(report) = self.reports.take() {
                if wanted(&report) {
                    return report;
                }
            }
            assert!(clock::now() < limit && !self.thread.is_finished(), "the loop says nothing");
            poller.wait(Nanos::from_millis(50)).expect("polling works");
        }
    }

    /// Waits until what was let out or judged before is answered: a round ends with sending
    /// its answers, and mail is read when it begins. Puts the rules out of force.
    fn settle(&self) {
        self.tell(Order::Drain);
        self.hear(|report| matches!(report, Report::Drained(_)));
    }

    fn stop(self) -> Ended {
        self.tell(Order::Stop);
        let thread = self.thread;
        until("the loop ends", || thread.is_finished());
        thread.join().expect("the loop did not panic").expect("the loop did not fail")
    }
}

/// Sockets at both nodes' addresses.
fn peers(lab: &Lab) -> (UdpSocket, UdpSocket) {
    (lab.udp(N1), lab.udp(N2))
}

macro_rules! both {
    ($($suite:ident::$test:ident),* $(,)?) => {
        mod ours { $(#[test] fn $test() { super::$suite::$test::<super::NfQueue>(); })* }
        mod twin { $(#[test] fn $test() { super::$suite::$test::<super::NfqTwin>(); })* }
    };
}

both! {
    packets::a_flood_in_one_queue_leaves_the_other_its_turn,
    packets::the_sender_that_nobody_names_is_given_up_after_a_while,
    packets::the_sender_that_is_named_is_judged_at_once,
    packets::what_is_held_stays_until_it_is_due,
    packets::a_box_of_reports_that_is_full_stops_nothing,
    orders::tables_change_while_packets_flow,
    orders::a_table_acts_from_its_acknowledgement_on,
    orders::draining_lets_everything_out_in_order,
    orders::stopping_empties_the_queues,
    orders::stopping_does_not_wait_for_a_flood_to_end,
    orders::mail_wakes_a_loop_without_packets,
}
