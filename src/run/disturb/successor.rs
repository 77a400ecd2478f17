//! Other rules in the place of those in force, where they depend on roles or act on processes.
//!
//! Nothing may be under way by then: reports of the verdict loop name a fault by its index.

use super::{Compile, Disturb, Loaded, What};
use crate::kernel::trouble::Trouble;
use crate::rules::{Source, Table};
use crate::run::switches::{Switched, Switches};
use crate::time::Nanos;

impl<'a> Disturb<'a> {
    /// For other rules from `t` on, to be put in the place of this one by [`Disturb::succeed`].
    /// Refused where something of this one is under way, or could come meanwhile.
    pub fn successor(
        &self,
        table: &Table,
        rules: Source,
        compile: &'a Compile<'a>,
        switches: &Switches,
        t: Nanos,
    ) -> Result<Self, Trouble> {
        for (fault, under_way) in self.faults.iter().zip(&self.under_way) {
            let begun = under_way.awaits_silence || !under_way.victims.is_empty();
            if begun || !under_way.silent.is_empty() {
                let why = format!("`{}` is under way", fault.name);
                return Err(Trouble::new(why, "switch it off first, which undoes it, or wait"));
            }
            let off = switches.of(&fault.name) == Some(&Switched::Off);
            if under_way.by_packet && !off {
                let why = format!("`{}` waits for a packet, which may come any moment", fault.name);
                return Err(Trouble::new(why, "switch it off first"));
            }
        }
        if self.worker.as_ref().is_some_and(|worker| !worker.is_idle()) {
            let way_out = "ask again in a moment";
            return Err(Trouble::new("something is just being done to a process", way_out));
        }
        let mut next = Self::idle(table, self.hosted)?;
        next.schedule.restart(t);
        next.loaded = Some(Loaded { rules, compile });
        next.heard = self.heard;
        // What was switched off stays so by its name.
        let off = |i: &usize| {
            let name = &next.faults[*i].name;
            let before = self.faults.iter().position(|fault| fault.name == *name);
            before.is_some_and(|before| self.held_off.contains(&What::Fault(before)))
        };
        next.held_off = (0..next.faults.len()).filter(off).map(What::Fault).collect();
        if self.worker.is_none() {
            next.hire()?;
        }
        Ok(next)
    }

    /// The other rules are in force: this one goes on with them.
    pub fn succeed(&mut self, mut next: Self) {
        next.worker = next.worker.take().or(self.worker.take());
        next.happened.splice(0..0, std::mem::take(&mut self.happened));
        next.failures.splice(0..0, std::mem::take(&mut self.failures));
        next.orders.splice(0..0, std::mem::take(&mut self.orders));
        next.undone = next.undone.max(self.undone);
        next.heard = self.heard;
        *self = next;
    }
}
