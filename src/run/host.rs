//! What rules may ask of the cluster itself: who leads, and things done to processes.
//!
//! All of it may be slow, so it happens on a thread of its own; the main thread hands orders
//! over and hears of them later, and the verdict loop has no part in it.

use crate::rules::table::ProcessAction;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::io;
use std::sync::Arc;

/// A cluster whose processes can be told what to do. Nodes are counted as the table does.
pub trait Host: Send + Sync {
    /// Who leads, as last heard; must not wait.
    fn leader(&self) -> Option<usize>;
    /// Does this to a node, and comes back when it is done.
    fn act(&self, action: ProcessAction, node: usize) -> Result<(), String>;
    /// Undoes it: starts a dead node, lets a stopped one go on.
    fn undo(&self, action: ProcessAction, node: usize) -> Result<(), String>;
}

/// What is to be done to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The fault it belongs to, by its index in the table.
    pub fault: usize,
    /// What.
    pub action: ProcessAction,
    /// To whom.
    pub node: usize,
    /// Whether it is to be undone.
    pub undo: bool,
}

/// The thread that does it, one job after the other.
#[derive(Debug)]
pub struct Worker {
    jobs: Sender<Job>,
    done: Receiver<(Job, Result<(), String>)>,
    open: usize,
}

impl Worker {
    /// Starts it.
    pub fn start(host: Arc<dyn Host>) -> io::Result<Self> {
        let (jobs, todo) = unbounded::<Job>();
        let (tell, done) = unbounded();
        let work = move || {
            for job in todo {
                let result = if job.undo {
                    host.undo(job.action, job.node)
                } else {
                    host.act(job.action, job.node)
                };
                if tell.send((job, result)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("raftq-faults".into()).spawn(work)?;
        Ok(Self { jobs, done, open: 0 })
    }

    /// Hands a job over. Their number is bounded by that of the table's faults and nodes.
    pub fn order(&mut self, job: Job) {
        self.open += usize::from(self.jobs.send(job).is_ok());
    }

    /// The next job that is done, if one is.
    pub fn done(&mut self) -> Option<(Job, Result<(), String>)> {
        let done = self.done.try_recv().ok()?;
        self.open -= 1;
        Some(done)
    }

    /// Whether no job is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open == 0
    }
}
