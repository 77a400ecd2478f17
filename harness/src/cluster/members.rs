//! Who belongs to the cluster: nodes added, removed and replaced, leadership handed over, and
//! snapshots forced, by the calls that an adapter offers for it.
//!
//! Such calls change nothing twice and are not judged, so that one whose answer was lost is made
//! again, also at another leader, until its time is over.

use super::{Cluster, STEP};
use crate::adapter::{Admin, Joining, Subject};
use crate::clock::{Deadline, pause, wait_for};
use crate::error::Context as _;
use crate::system::{Answer, Failure};
use crate::{Error, Result};
use std::time::Duration;

/// How long a cluster may take for what it was asked, with all attempts.
const DONE_MAX: Duration = Duration::from_secs(20);

/// How long one attempt may take.
const CALL_MAX: Duration = Duration::from_secs(5);

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(200);

/// How long a leader may take to be one, once the call that made it so was answered.
const LEADS_WITHIN: Duration = Duration::from_secs(2);

impl Cluster {
    /// Whether node `i` belongs to the cluster.
    #[must_use]
    pub fn is_member(&self, i: usize) -> bool {
        self.node(i).member
    }

    /// The nodes that belong to it, in order.
    pub(super) fn members(&self) -> Vec<usize> {
        (0..self.size()).filter(|&i| self.is_member(i)).collect()
    }

    /// Takes a node out of the cluster, and stops its process if it runs.
    pub fn remove(&self, i: usize) -> Result<Option<String>> {
        if !self.is_member(i) {
            return Err(Error::new(format!("{} does not belong to the cluster", self.name(i))));
        }
        // From now on it may end by itself.
        self.node(i).leaving = true;
        let removed = self.administer(Admin::Remove, i);
        let mut node = self.node(i);
        match removed {
            Ok(()) => node.leave(),
            Err(error) => {
                node.leaving = false;
                Err(error)
            }
        }
    }

    /// Takes a node into the cluster that does not belong to it: empty, started, and waited for
    /// until it follows the leader.
    pub fn add(&self, i: usize) -> Result<()> {
        if self.is_member(i) {
            return Err(Error::new(format!("{} belongs to the cluster already", self.name(i))));
        }
        self.wipe(i)?;
        self.administer(Admin::Add, i)?;
        {
            let mut node = self.node(i);
            (node.member, node.joined) = (true, true);
            node.note("added to the cluster")?;
        }
        self.restart(i)?;
        let since = format!("the start of {}", self.name(i));
        self.wait_until_agreed(self.adapter.start_within(), &since).map(drop)
    }

    /// Removes a node, forgets its data, and adds it: how a lost machine is replaced.
    pub fn replace(&self, i: usize) -> Result<Option<String>> {
        let stopped = self.remove(i)?;
        self.add(i)?;
        Ok(stopped)
    }

    /// Hands leadership to a node, and waits until it leads.
    pub fn transfer(&self, i: usize) -> Result<()> {
        let leads = || self.roles.leader().is_some_and(|(leader, _)| leader == i);
        let deadline = Deadline::after(DONE_MAX);
        while !leads() {
            self.administer(Admin::Transfer, i)?;
            let what = format!("{} to lead", self.name(i));
            let led = wait_for(&what, LEADS_WITHIN, STEP, || leads().then_some(()));
            if deadline.passed() || self.has_given_up() {
                return led;
            }
        }
        Ok(())
    }

    /// Makes a node take a snapshot and drop the log before it.
    pub fn compact(&self, i: usize) -> Result<()> {
        self.administer(Admin::Compact, i)
    }

    /// Makes a call about node `target` until it is answered as done.
    fn administer(&self, what: Admin, target: usize) -> Result<()> {
        let deadline = Deadline::after(DONE_MAX);
        let name = self.name(target);
        let mut last = "nobody leads whom to ask".to_owned();
        loop {
            if let Some(asked) = self.asked(what, target) {
                let member = self.roles.member(target);
                let subject = Subject { asked, target, member: member.as_deref() };
                let call = || self.adapter.administer(what, &self.places, subject, CALL_MAX);
                let answer = self.net.clients().inside(call)?;
                let said = |why: &str| format!("{} answered: {why}", self.name(asked));
                last = match answer.context(|| format!("`{what}` of {name}"))? {
                    Ok(Answer::Refused) => {
                        let why = format!("`{what}` of {name} was refused by {}", self.name(asked));
                        return Err(Error::new(why));
                    }
                    Ok(_) => return Ok(()),
                    Err(Failure::NotDone(why) | Failure::Unknown(why)) => said(&why),
                };
            }
            if self.has_given_up() {
                return Err(Error::new(format!("`{what}` of {name} was given up; {last}")));
            }
            if deadline.passed() {
                let why = format!("`{what}` of {name} was not done within {DONE_MAX:?}; {last}");
                return Err(Error::new(why));
            }
            pause(AGAIN);
        }
    }

    /// Who has to be asked; none while nobody leads.
    fn asked(&self, what: Admin, target: usize) -> Option<usize> {
        if self.adapter.asks_target(what) {
            return Some(target);
        }
        self.roles.leader().map(|(leader, _)| leader)
    }

    /// How node `i` is to be started now.
    pub(super) fn joining(&self, i: usize) -> Joining {
        Joining { members: self.members(), joined: self.node(i).joined }
    }
}
