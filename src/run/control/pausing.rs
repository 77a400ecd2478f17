//! Ctrl-Z: the cluster is let go before raftq stops, and what a pause took from the rules is told.

use super::Control;
use crate::kernel::clock;
use crate::kernel::trouble::Trouble;
use crate::rules::table::{Rule, Window};
use crate::time::Nanos;

impl Control<'_> {
    /// Ctrl-Z: lets the cluster go before it stops, and takes it up again afterwards.
    pub(super) fn stop(&mut self) -> Result<(), Trouble> {
        let from = clock::now().saturating_sub(self.attached.start);
        if !self.attached.step_aside(&mut self.aside)? {
            // The regular look ends the run.
            return Ok(());
        }
        self.status.warn("stopped: the cluster runs undisturbed until raftq is continued");
        self.wishes.stop_here().map_err(|e| Trouble::new(format!("cannot stop ({e})"), ""))?;
        self.attached.come_back(&mut self.aside)?;
        self.status.warn("continued: the rules are in force again");
        self.note_pause(from, clock::now().saturating_sub(self.attached.start));
        Ok(())
    }

    /// The result says nothing about rules whose time a pause took.
    fn note_pause(&mut self, from: Nanos, to: Nanos) {
        // The clock went on meanwhile, so a table on its way has come into force.
        self.read_reports();
        let table = &self.attached.table;
        let missed = |window: &Window| window.activation(from).is_some_and(|(at, _)| at <= to);
        let active: Vec<&str> = self.status.active(table).collect();
        // What an event would have begun meanwhile nobody knows.
        let missed = |rule: &&Rule| match rule.on {
            None => missed(&rule.window),
            Some(_) => active.contains(&rule.name.as_str()),
        };
        let missed: Vec<String> =
            table.rules.iter().filter(missed).map(|rule| format!("`{}`", rule.name)).collect();
        let what = if missed.is_empty() {
            "no rule was to be active then".to_owned()
        } else {
            self.undecided = true;
            format!("the result is undecided, since these were to be active: {}", missed.join(", "))
        };
        self.tell_warnings();
        self.at_the_end.push(format!(
            "raftq was stopped from {:.3} s to {:.3} s after the start, and the cluster ran \
             undisturbed: {what}",
            from.as_secs_f64(),
            to.as_secs_f64(),
        ));
    }
}
