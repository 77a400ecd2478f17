//! Attaching: queues first, then a guardian, then the loop, and the rules last; and all of
//! it undone, in the reverse order, on every way out (`attached.rs`).

use super::asker;
use super::attached::Attached;
use super::mailbox;
use super::trace::{self, Names, Pcap, TraceWriter, Tracer};
use super::verdict_loop::{Lane, VerdictLoop, Wiring};
use super::watch::{self, Ear, Watcher};
use crate::engine::{Engine, Limits, Prepared};
use crate::kernel::chains::Spec;
use crate::kernel::heart::Heart;
use crate::kernel::inject::Injectors;
use crate::kernel::iptables::{self};
use crate::kernel::losses::LossReader;
use crate::kernel::nfq_twin::NfqTwin;
use crate::kernel::nfqueue::NfQueue;
use crate::kernel::pidfd::Paused;
use crate::kernel::queue::{PacketQueue, QueueOptions};
use crate::kernel::record::{self, Record};
use crate::kernel::restore::Flavour;
use crate::kernel::sched::Urgency;
use crate::kernel::topology::{self, Plan, Site, ips};
use crate::kernel::trouble::Trouble;
use crate::kernel::{clean, doctor, foreign, links, netns};
use crate::rules::Table;
use crate::time::Nanos;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Which implementation of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Our own netlink socket.
    Raw,
    /// The `nfq` crate.
    Nfq,
}

/// How to attach.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Which queue.
    pub queue: QueueKind,
    /// Whether to ask for real-time scheduling.
    pub urgent: bool,
    /// The flavour of iptables; the host's own where it is not said.
    pub flavour: Option<Flavour>,
    /// Where every packet is written.
    pub trace: Option<&'a Path>,
    /// Where disturbed packets, or all of them, are written with their bytes.
    pub pcap: Option<Pcap<'a>>,
    /// Where every message is written, where the cluster names a protocol.
    pub wire: Option<&'a Path>,
}

/// Everything that is opened before the first rule goes in.
struct Opened<Q> {
    lanes: Vec<Lane<Q>>,
    /// The numbers that rules point at, one a site.
    numbers: Vec<u16>,
    /// Those of the second queues.
    seconds: Vec<u16>,
    losses: Vec<LossReader>,
}

/// How queues are opened.
struct Opening<Q, F> {
    open: fn(QueueOptions) -> io::Result<Q>,
    /// The first one of a site, by its number.
    how: F,
    /// The second one; none where there is to be none.
    second: Option<fn(u16) -> QueueOptions>,
}

/// Attaches to the cluster of this table.
pub fn attach(table: Arc<Table>, options: &Options<'_>) -> Result<Attached, Trouble> {
    let whole = table.protocol.is_some();
    match options.queue {
        QueueKind::Raw => {
            let how = move |number| QueueOptions::new(number, true).whole(whole);
            let second = Some(QueueOptions::of_segments as fn(u16) -> QueueOptions);
            attach_with(table, options, &Opening { how, second, open: NfQueue::open })
        }
        QueueKind::Nfq => {
            // It can neither have a second queue nor change its settings later.
            let gso = !table.needs_segments();
            let whole = whole || table.needs().bytes;
            let how = move |number| QueueOptions::new(number, gso).whole(whole);
            attach_with(table, options, &Opening { how, second: None, open: NfqTwin::open })
        }
    }
}

fn attach_with<Q, F>(
    table: Arc<Table>,
    options: &Options<'_>,
    opening: &Opening<Q, F>,
) -> Result<Attached, Trouble>
where
    Q: PacketQueue + Send + 'static,
    F: Fn(u16) -> QueueOptions + Sync,
{
    doctor::privileged()?;
    // What a killed raftq left would be in the way.
    let cleaned = clean::clean()?;
    for run in &cleaned.cleaned {
        log::info!("cleaned up after raftq pid {}, which is gone", run.pid);
    }
    let mut warnings = cleaned.failed;
    let plan = topology::plan(&table.nodes)?;
    let flavour = options.flavour.map_or_else(Flavour::found, Ok)?;
    let lock = record::lock()?;
    if let Some(other) = record::conflict(&table.nodes, &plan) {
        return Err(other.refusal());
    }
    let opened = open_queues(&table, &plan, opening)?;
    let mut record = Record::new(&table.nodes, &plan)?;
    // Those that rules point at come first.
    record.queues = [opened.numbers.as_slice(), &opened.seconds].concat();
    let chain = record.chain();
    let others = record::installed();
    let mut prepared = Vec::new();
    for (site, &queue) in plan.sites.iter().zip(&opened.numbers) {
        let spec = Spec { site, nodes: &table.nodes, chain: &chain, queue };
        warnings.extend(foreign::warnings(&spec, flavour).unwrap_or_else(|e| vec![e.to_string()]));
        prepared.extend(iptables::prepare(&spec, flavour)?);
    }
    record.intend(&mut prepared, &others);
    let heart = Arc::new(Heart::new().map_err(|e| no_memory(&e))?);
    let mut attached = start_loop(table, options, plan, flavour, opened, record, heart)?;
    attached.warnings.append(&mut warnings);
    attached.keep_guarded()?;
    attached.install(&prepared, &lock)?;
    drop(lock);
    attached.start_clock()?;
    Ok(attached)
}

fn open_queues<Q: Send, F: Fn(u16) -> QueueOptions + Sync>(
    table: &Table,
    plan: &Plan,
    opening: &Opening<Q, F>,
) -> Result<Opened<Q>, Trouble> {
    let mut opened =
        Opened { lanes: Vec::new(), numbers: Vec::new(), seconds: Vec::new(), losses: Vec::new() };
    for site in &plan.sites {
        let mut taken = Vec::new();
        let mut open = |how: &(dyn Fn(u16) -> QueueOptions + Sync)| {
            open_queue(site, &mut taken, &|number| (opening.open)(how(number)))
                .map_err(|e| unopened(site, &e))
        };
        let second = opening.second.map(|second| open(&second)).transpose()?;
        let behind = second.as_ref().map(|(_, _, number)| *number);
        let first = open(&|number| (opening.how)(number).before(behind))?;
        let addrs: Vec<_> =
            site.local.iter().flat_map(|n| ips(&table.nodes[usize::from(n.0)])).collect();
        let mtu = links::mtu_towards(&site.ns, &addrs).unwrap_or(1500);
        let (queue, losses, number) = first;
        opened.numbers.push(number);
        opened.losses.push(losses);
        opened.seconds.extend(behind);
        let second = second.map(|(queue, losses, _)| {
            opened.losses.push(losses);
            queue
        });
        opened.lanes.push(Lane { queue, second, mtu });
    }
    Ok(opened)
}

/// Binds a free queue in the site's namespace. Between looking and binding another process
/// may take the number; then the next one is tried.
fn open_queue<Q: Send>(
    site: &Site,
    taken: &mut Vec<u16>,
    open: &(dyn Fn(u16) -> io::Result<Q> + Sync),
) -> io::Result<(Q, LossReader, u16)> {
    loop {
        let number = netns::free_queue(&site.ns, taken)?;
        let bind = || -> io::Result<_> { Ok((open(number)?, LossReader::open(number)?)) };
        match site.ns.enter(bind)? {
            Ok((queue, losses)) => return Ok((queue, losses, number)),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && taken.len() < 16 => {
                taken.push(number);
            }
            Err(e) => return Err(e),
        }
    }
}

fn start_loop<Q: PacketQueue + Send + 'static>(
    table: Arc<Table>,
    options: &Options<'_>,
    plan: Plan,
    flavour: Flavour,
    opened: Opened<Q>,
    record: Record,
    heart: Arc<Heart>,
) -> Result<Attached, Trouble> {
    let failed = |e: io::Error| Trouble::new(format!("the loop cannot be started ({e})"), "");
    let shared = asker::shared_nodes(&plan);
    let prepared = Prepared::new(Arc::clone(&table), None, |node| shared.contains(&node));
    let counters = Arc::clone(prepared.counters());
    let engine = Engine::new(prepared, Limits::for_queues(opened.losses.len()));
    let (orders, orders_in) = mailbox::post(8_192).map_err(failed)?;
    let (reports_out, reports) = mailbox::post(65_536).map_err(failed)?;
    let (questions, questions_in) = mailbox::post(8_192).map_err(failed)?;
    let (tracer, names, writer) = open_trace(options, &table)?;
    let (ear, watcher) = open_watch(options.wire, &table)?.unzip();
    let (injectors, no_injection) = match Injectors::open(&table.nodes, &plan) {
        Ok(injectors) => (injectors, None),
        Err(trouble) if table.needs().injects => return Err(trouble),
        Err(trouble) => (Injectors::none(), Some(trouble)),
    };
    let wiring = Wiring {
        orders: orders_in,
        reports: reports_out,
        questions,
        tracer,
        ear,
        injectors,
        heart: Arc::clone(&heart),
    };
    let asker = if shared.is_empty() {
        None
    } else {
        let stacks = asker::open_stacks(&table, &plan)?;
        Some(asker::start(stacks, questions_in, orders.clone(), options.urgent).map_err(failed)?)
    };
    let urgent = options.urgent;
    let (tell, told) = crossbeam_channel::bounded(1);
    let thread = std::thread::Builder::new()
        .name("raftq-loop".into())
        .spawn(move || {
            let looped = VerdictLoop::new(opened.lanes, engine, wiring, shared.is_empty())?;
            looped.run(urgent, |urgency| {
                let _ = tell.send(urgency);
            })
        })
        .map_err(failed)?;
    let urgency = told.recv().unwrap_or(Urgency::Ordinary);
    let paused = Arc::new(Paused::new(&record.run_id));
    Ok(Attached {
        table,
        counters,
        plan,
        urgency,
        flavour,
        reports,
        warnings: Vec::new(),
        start: Nanos::ZERO,
        early: Vec::new(),
        queue: options.queue,
        no_injection,
        orders,
        heart,
        record,
        guardian: None,
        in_place: false,
        complete: false,
        paused,
        losses: opened.losses,
        names,
        writer,
        watcher,
        thread: Some(thread),
        _asker: asker,
    })
}

type Trace = (Option<Tracer>, Option<Names>, Option<TraceWriter>);

fn open_trace(options: &Options<'_>, table: &Arc<Table>) -> Result<Trace, Trouble> {
    let asked = trace::Asked { lines: options.trace, pcap: options.pcap };
    if asked.lines.is_none() && asked.pcap.is_none() {
        return Ok((None, None, None));
    }
    let names = Names::new(Arc::clone(table));
    let (tracer, writer) = trace::open(&asked, names.clone()).map_err(|(path, e)| {
        let option = if Some(path.as_path()) == options.trace { "--trace" } else { "--pcap" };
        Trouble::new(
            format!("{} cannot be written ({e})", path.display()),
            format!("name another file with {option}"),
        )
    })?;
    Ok((Some(tracer), Some(names), Some(writer)))
}

fn open_watch(path: Option<&Path>, table: &Table) -> Result<Option<(Ear, Watcher)>, Trouble> {
    watch::open(table, path).map_err(|e| {
        let shown = path.unwrap_or_else(|| Path::new("what is said on the wire")).display();
        Trouble::new(format!("{shown} cannot be watched ({e})"), "name another file with --wire")
    })
}

fn unopened(site: &Site, e: &io::Error) -> Trouble {
    Trouble::new(
        format!("no packet queue can be opened in {} ({e})", site.ns.reference().label),
        "`raftq doctor` says what this host lacks",
    )
}

fn no_memory(e: &io::Error) -> Trouble {
    Trouble::new(format!("no page of shared memory can be made ({e})"), "")
}
