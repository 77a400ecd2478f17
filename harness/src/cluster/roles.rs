//! Who leads: every node is asked again and again, on threads of their own, so that whoever
//! wants to know need not wait for a node that does not answer.

use crate::adapter::{Adapter, NodePlace, Watch};
use crate::clock::{now, pause, since};
use crate::error::Context;
use crate::netns::enter;
use crate::system::NodeStatus;
use crate::{Error, Result};
use crossbeam_channel::bounded;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two questions to a node.
const EVERY: Duration = Duration::from_millis(50);

/// How long a node has to answer; a status takes no quorum.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// A word older than this is not believed: the node may be gone, cut off or stopped.
const FRESH: Duration = Duration::from_secs(1);

/// What one node said last.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Its status, if its last answer was one.
    pub status: Option<NodeStatus>,
    /// When it was asked.
    pub at: Duration,
    /// Why there is none.
    pub why: String,
    /// Its id as a member, as it was told last, however long ago.
    pub member: Option<String>,
}

/// The latest words of all nodes.
#[derive(Debug)]
pub struct Roles {
    views: Arc<Vec<Mutex<View>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Roles {
    /// Asks these nodes from now on, from within a network namespace.
    pub fn start(adapter: &Adapter, places: &[NodePlace], netns: &Path) -> Result<Self> {
        let views: Vec<Mutex<View>> = places.iter().map(|_| Mutex::default()).collect();
        let mut roles = Self { views: Arc::new(views), stop: Arc::default(), threads: Vec::new() };
        for i in 0..places.len() {
            let watch = adapter.watch(places, i)?;
            let (views, stop) = (Arc::clone(&roles.views), Arc::clone(&roles.stop));
            let netns = netns.to_owned();
            let (ready, started) = bounded(1);
            let work = move || {
                let entered = enter(&netns);
                let usable = entered.is_ok();
                let _ = ready.send(entered);
                if usable {
                    ask(watch, &views[i], &stop);
                }
            };
            let thread = std::thread::Builder::new().name(format!("roles {i}"));
            let thread = thread.spawn(work).context(|| "a thread for a node's status".into())?;
            roles.threads.push(thread);
            started.recv().unwrap_or_else(|_| Err(Error::new("a status thread ended at once")))?;
        }
        Ok(roles)
    }

    /// What node `i` said last.
    #[must_use]
    pub fn view(&self, i: usize) -> View {
        self.views[i].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The node that takes itself for the leader with the highest term, and this term; during a
    /// cut an old leader may still believe in itself.
    #[must_use]
    pub fn leader(&self) -> Option<(usize, u64)> {
        let leads = |i: usize| {
            let status = self.fresh(i)?;
            status.leads.then_some((status.term.unwrap_or(0), i))
        };
        (0..self.views.len()).filter_map(leads).max().map(|(term, i)| (i, term))
    }

    /// Node `i`'s id as a member, as it was told last.
    #[must_use]
    pub fn member(&self, i: usize) -> Option<String> {
        self.view(i).member
    }

    /// The leader that all of these follow.
    #[must_use]
    pub fn agreed(&self, among: &[usize]) -> Option<usize> {
        let (leader, _) = self.leader()?;
        let followed = self.fresh(leader)?.leader?;
        let follows = |&i: &usize| self.fresh(i).and_then(|s| s.leader).as_ref() == Some(&followed);
        (!among.is_empty() && among.contains(&leader) && among.iter().all(follows))
            .then_some(leader)
    }

    /// What node `i` said last, for people.
    #[must_use]
    pub fn last_word(&self, i: usize) -> String {
        let view = self.view(i);
        match view.status {
            Some(status) => format!(
                "leads: {}, follows {}, term {}",
                status.leads,
                status.leader.as_deref().unwrap_or("nobody"),
                status.term.map_or_else(|| "unknown".to_owned(), |term| term.to_string())
            ),
            None if view.why.is_empty() => "nothing yet".to_owned(),
            None => view.why,
        }
    }

    fn fresh(&self, i: usize) -> Option<NodeStatus> {
        let view = self.view(i);
        view.status.filter(|_| since(view.at) < FRESH)
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn ask(mut watch: Box<dyn Watch>, view: &Mutex<View>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let at = now();
        let answer = watch.status(ANSWER_MAX);
        let (status, why) = match answer {
            Ok(status) => (Some(status), String::new()),
            Err(e) => (None, format!("{e:?}")),
        };
        let mut view = view.lock().unwrap_or_else(PoisonError::into_inner);
        let told = status.as_ref().and_then(|status| status.member.clone());
        let member = told.or_else(|| view.member.take());
        *view = View { status, at, why, member };
        drop(view);
        pause(EVERY);
    }
}
