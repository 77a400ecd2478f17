//! raftq, and beside it in the same process the clients of an experiment.
//!
//! So it is in `raftq run`: both share an address space, an allocator and the cores. The system
//! that clients call is a map; an answer takes a millisecond, so that every call puts its thread
//! to sleep and wakes it, as one over a socket does. Their history is written to a file.

use crate::Fault;
use clap::Args;
use raftq::kernel::signals::Signals;
use raftq::rules::Inputs;
use raftq::run::attach::{Options as Attach, QueueKind};
use raftq::run::control::{self, Run};
use raftq_harness::clients::{HistoryWriter, Load, Plan, Sessions};
use raftq_harness::clock::{now, pause, since};
use raftq_harness::history::{Header, VERSION, Workload};
use raftq_harness::system::{Answer, Failure, Request, Session};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the map takes to answer.
const ANSWER: Duration = Duration::from_millis(1);

#[derive(Args)]
pub(crate) struct Options {
    rules: PathBuf,
    /// Where the clients' history goes
    history: PathBuf,
    /// None at all with 0
    #[arg(long, default_value_t = 0)]
    clients: usize,
    /// Calls a second of all of them
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
}

/// Attaches and lets clients call until SIGINT; prints raftq's result, and the calls answered a
/// second, as one JSON document.
pub(crate) fn beside(options: &Options) -> Result<(), Fault> {
    // Before any thread is there: all of them are to leave signals to raftq.
    let _signals = Signals::block()?;
    let inputs = || Inputs::read(&options.rules, None, &[])?.compile();
    let table = inputs().map_err(|report| report.render(false))?.table;
    let clients = (options.clients > 0).then(|| clients(options)).transpose()?;
    let run = Run {
        options: Attach {
            queue: QueueKind::Raw,
            urgent: true,
            flavour: None,
            trace: None,
            pcap: None,
            wire: None,
        },
        lasts: Some(raftq::time::Nanos::from_secs(60)),
        quiet: false,
        reload: Box::new(inputs),
        load: Box::new(|_, _| inputs()),
        listen: None,
        host: None,
        record: None,
        told: None,
        beside: None,
        behind: None,
    };
    let outcome = control::run(table, &run).map_err(|trouble| trouble.to_string())?;
    let mut answered = 0.0;
    if let Some((load, writer, start)) = clients {
        answered = load.answered() as f64 / since(start).as_secs_f64();
        let stopped = load.stop();
        if stopped.counts.unrecorded > 0 {
            return Err("the history could not be written".into());
        }
        writer.finish()?;
    }
    println!("{}", json!({ "answered_per_s": answered, "network": outcome }));
    Ok(())
}

fn clients(options: &Options) -> Result<(Load, HistoryWriter, Duration), Fault> {
    let plan = Plan {
        workload: Workload::Register,
        clients: options.clients,
        rate: Some(options.rate),
        keys: 100,
        skew: 0.0,
        mix: Vec::new(),
        think: Duration::ZERO,
        timeout: Duration::from_secs(1),
        sticky: false,
        per_key: 200,
        seed: 1,
        epoch: now(),
        netns: None,
        nodes: vec!["map".into()],
    };
    let workload = plan.workload;
    let header = Header { raftq_history: VERSION, workload, promises: BTreeMap::new(), seed: 1 };
    let writer = HistoryWriter::create(&options.history, &header)?;
    let map = Arc::new(Mutex::new(HashMap::new()));
    let sessions: Sessions = Arc::new(move |_| Ok(Box::new(Map(Arc::clone(&map)))));
    let load = Load::start(plan, sessions, writer.recorder())?;
    Ok((load, writer, now()))
}

/// A connection to the map.
struct Map(Arc<Mutex<HashMap<String, String>>>);

impl Session for Map {
    fn call(&mut self, request: &Request, _: Duration) -> Result<Answer, Failure> {
        pause(ANSWER);
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match request {
            Request::Read { key } => Answer::Value(map.get(key).cloned()),
            Request::Write { key, value } => {
                map.insert(key.clone(), value.clone());
                Answer::Done
            }
            Request::Create { key, value } if !map.contains_key(key) => {
                map.insert(key.clone(), value.clone());
                Answer::Done
            }
            Request::Cas { key, from, to } if map.get(key) == Some(from) => {
                map.insert(key.clone(), to.clone());
                Answer::Done
            }
            Request::Create { .. } | Request::Cas { .. } => Answer::Refused,
            Request::Remove { .. } | Request::List { .. } => {
                return Err(Failure::NotDone("this map has no such call".into()));
            }
        })
    }
}
