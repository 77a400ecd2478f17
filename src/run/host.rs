//! What rules may ask of the cluster itself: who leads, and things done to its nodes.
//!
//! All of it may be slow, so it happens on threads of their own; the main thread hands orders
//! over and hears of them later, and the verdict loop has no part in it.

use super::attached::Attached;
use crate::rules::table::ProcessAction;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A cluster whose processes can be told what to do. Nodes are counted as the table does.
pub trait Host: Send + Sync {
    /// Who leads, as last heard; must not wait.
    fn leader(&self) -> Option<usize>;
    /// Does this to a node, and comes back when it is done.
    fn act(&self, _action: ProcessAction, _node: usize) -> Done {
        Err("raftq did not start it".into())
    }
    /// Undoes it: starts a dead node, lets a stopped one go on, adds one that was removed.
    fn undo(&self, action: ProcessAction, node: usize) -> Done {
        self.act(action, node)
    }
    /// Nothing that is still under way is worth waiting for.
    fn give_up(&self) {}
    /// Whether it can be told at all who leads.
    fn knows_leader(&self) -> bool {
        true
    }
    /// raftq is attached to its network.
    fn attached(&self, _to: &Attached) {}
}

/// A cluster of which nothing is known but its packets.
#[derive(Clone, Copy, Debug)]
pub struct Unasked;

impl Host for Unasked {
    fn leader(&self) -> Option<usize> {
        None
    }

    fn knows_leader(&self) -> bool {
        false
    }
}

/// What came of it: done, maybe with a remark; or why not.
pub type Done = Result<Option<String>, String>;

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

impl Job {
    /// Whether it brings back a node that was down, by an order of its own.
    #[must_use]
    pub fn revives(&self) -> bool {
        use ProcessAction::{Add, Replace, Start};
        !self.undo && matches!(self.action, Start | Add | Replace)
    }

    /// Whether it waits for the cluster, or for a node that may take its time.
    fn is_slow(&self) -> bool {
        use ProcessAction::{Crash, Kill, Pause, Restart, Resume, Start, Wipe};
        !matches!(self.action, Kill | Crash | Pause | Resume | Restart | Start | Wipe)
    }
}

/// The threads that do it, one job after the other each. What is slow has one of its own: it
/// may wait for the very node that the other has to let go on. Dropping it gives up what is
/// under way, and comes back when nothing is: nobody acts on the cluster behind its owner's
/// back.
pub struct Worker {
    quick: Lane,
    slow: Lane,
    host: Arc<dyn Host>,
    over: Arc<AtomicBool>,
    done: Receiver<(Job, Done)>,
    open: usize,
}

impl Worker {
    /// Starts them.
    pub fn start(host: &Arc<dyn Host>) -> io::Result<Self> {
        let (tell, done) = unbounded();
        let over = Arc::new(AtomicBool::new(false));
        let lane = |name, tell| Lane::start(name, host, &over, tell);
        let quick = lane("raftq-faults", tell.clone())?;
        let slow = lane("raftq-slow", tell)?;
        Ok(Self { quick, slow, host: Arc::clone(host), over, done, open: 0 })
    }

    /// Hands a job over. Their number is bounded by that of the table's faults and nodes.
    pub fn order(&mut self, job: Job) {
        let lane = if job.is_slow() { &self.slow } else { &self.quick };
        let taken = lane.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        self.open += usize::from(taken);
    }

    /// The next job that is done, if one is.
    pub fn done(&mut self) -> Option<(Job, Done)> {
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

impl Drop for Worker {
    fn drop(&mut self) {
        // Jobs that wait are not begun, and the one that is under way ends soon.
        self.over.store(true, Ordering::Relaxed);
        self.host.give_up();
    }
}

/// One of the threads; joined on drop.
struct Lane {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Lane {
    fn start(
        name: &str,
        host: &Arc<dyn Host>,
        over: &Arc<AtomicBool>,
        tell: Sender<(Job, Done)>,
    ) -> io::Result<Self> {
        let (jobs, todo) = unbounded::<Job>();
        let (host, over) = (Arc::clone(host), Arc::clone(over));
        let work = move || {
            for job in todo {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let done = if job.undo {
                    host.undo(job.action, job.node)
                } else {
                    host.act(job.action, job.node)
                };
                if tell.send((job, done)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;
    use std::time::Duration;

    /// Whatever is slow waits here until it is given up.
    struct Stuck {
        begun: Sender<ProcessAction>,
        given_up: (Sender<()>, Receiver<()>),
    }

    impl Host for Stuck {
        fn leader(&self) -> Option<usize> {
            None
        }

        fn act(&self, action: ProcessAction, _node: usize) -> Done {
            self.begun.send(action).expect("the test listens");
            if action == ProcessAction::Replace {
                self.given_up.1.recv().expect("it is given up");
                return Err("given up".into());
            }
            Ok(None)
        }

        fn undo(&self, action: ProcessAction, node: usize) -> Done {
            self.act(action, node)
        }

        fn give_up(&self) {
            self.given_up.0.send(()).expect("the host lives");
        }
    }

    fn job(action: ProcessAction) -> Job {
        Job { fault: 0, action, node: 0, undo: false }
    }

    #[test]
    fn what_waits_for_the_cluster_holds_up_nobody_and_is_given_up_at_the_end() {
        const LIMIT: Duration = Duration::from_secs(10);
        let (begun, seen) = unbounded();
        let host: Arc<dyn Host> = Arc::new(Stuck { begun, given_up: bounded(1) });
        let mut worker = Worker::start(&host).expect("threads");
        worker.order(job(ProcessAction::Replace));
        assert_eq!(seen.recv_timeout(LIMIT), Ok(ProcessAction::Replace));
        // Never begun: it waits behind the first.
        worker.order(job(ProcessAction::Transfer));
        worker.order(job(ProcessAction::Resume));
        assert_eq!(seen.recv_timeout(LIMIT), Ok(ProcessAction::Resume));
        assert!(!worker.is_idle());
        // Comes back only when nothing acts on the cluster any more.
        drop(worker);
        assert_eq!(Arc::strong_count(&host), 1);
        assert!(seen.try_recv().is_err(), "the transfer was not begun");
    }

    #[test]
    fn every_action_is_slow_that_waits_for_the_cluster() {
        let slow = |action: &ProcessAction| job(*action).is_slow();
        let slow: Vec<&str> =
            ProcessAction::ALL.iter().filter(|one| slow(one)).map(|one| one.name()).collect();
        let expected =
            ["stop", "rolling restart", "replace", "add", "remove", "transfer", "compact"];
        assert_eq!(slow, expected);
    }
}
