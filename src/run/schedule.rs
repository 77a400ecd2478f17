//! When rules that depend on roles, and faults, become active and end: pure, on the rules' clock.

use crate::rules::Table;
use crate::rules::table::{Activation, Window};
use crate::time::Nanos;

/// What becomes active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A rule whose links depend on roles, by its index in the table.
    Rule(usize),
    /// A fault, by its index.
    Fault(usize),
}

/// Something that has to happen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It is time for this to become active, the n-th time; to be told to the schedule once it
    /// is ([`Schedule::started`]).
    Start(What, u64),
    /// It ends.
    End(What),
}

#[derive(Debug)]
struct Item {
    what: What,
    window: Window,
    dynamic: bool,
    /// Whether a packet starts it, and no time.
    by_packet: bool,
    /// The next activation, by the file; none if there is none left.
    next: Option<Activation>,
    activation: u64,
    /// When the present activation ends, if there is one.
    ends: Option<Nanos>,
}

/// Everything that the verdict loop does not start by itself.
#[derive(Debug)]
pub struct Schedule {
    items: Vec<Item>,
}

impl Schedule {
    /// Of a table.
    #[must_use]
    pub fn new(table: &Table) -> Self {
        let rules = table.rules.iter().enumerate().filter(|(_, rule)| rule.dynamic);
        let rules = rules.map(|(i, rule)| (What::Rule(i), rule.window, true));
        let faults = table.faults.iter().enumerate();
        let faults = faults.map(|(i, fault)| (What::Fault(i), fault.window, fault.dynamic));
        let item = |(what, window, dynamic): (What, Window, bool)| {
            let by_packet = matches!(what, What::Fault(i) if table.rule_that_triggers(i).is_some());
            let next = start_after(window, Nanos::ZERO).filter(|_| !by_packet);
            Item { what, window, dynamic, by_packet, next, activation: 0, ends: None }
        };
        Self { items: rules.chain(faults).map(item).collect() }
    }

    /// Its table comes into force at `t` only: what would be active by then starts, and what is
    /// over by then is not made up for.
    pub fn restart(&mut self, t: Nanos) {
        for item in self.items.iter_mut().filter(|item| !item.by_packet) {
            item.next = item.window.covering(t);
        }
    }

    /// Whether it has anything that needs to know who leads.
    #[must_use]
    pub fn needs_roles(&self) -> bool {
        self.items.iter().any(|item| item.dynamic)
    }

    /// What is due at `t`.
    #[must_use]
    pub fn due(&self, t: Nanos) -> Vec<Due> {
        let mut due = Vec::new();
        for item in &self.items {
            match (item.ends, item.next) {
                (Some(ends), _) if ends <= t => due.push(Due::End(item.what)),
                (None, Some(next)) if next.start <= t => {
                    due.push(Due::Start(item.what, item.activation));
                }
                _ => {}
            }
        }
        due
    }

    /// It became active at `t`, maybe later than the file says: its time counts from now.
    /// Returns the window of this one activation.
    pub fn started(&mut self, what: What, t: Nanos) -> Window {
        let Some(item) = self.items.iter_mut().find(|item| item.what == what) else {
            return Window::NEVER;
        };
        // Where a packet starts it, they are counted.
        let number = item.next.map_or(item.activation, |next| next.number);
        let ends = item.window.end_of(number, t);
        item.activation += 1;
        item.ends = Some(ends);
        item.next = start_after(item.window, t + Nanos(1)).filter(|_| !item.by_packet);
        let lasts = (ends < Nanos::MAX).then(|| ends.saturating_sub(t));
        Window { at: t, lasts, ..Window::ALWAYS }
    }

    /// Its time came, and passes without it.
    pub fn passed(&mut self, what: What, t: Nanos) {
        if let Some(item) = self.items.iter_mut().find(|item| item.what == what) {
            item.next = start_after(item.window, t + Nanos(1)).filter(|_| !item.by_packet);
        }
    }

    /// Somebody has switched it on at `t`, for so long.
    pub fn switched_on(&mut self, what: What, t: Nanos, lasts: Option<Nanos>) {
        self.started(what, t);
        if let Some(item) = self.items.iter_mut().find(|item| item.what == what) {
            item.ends = Some(lasts.map_or(Nanos::MAX, |lasts| t + lasts));
        }
    }

    /// How many activations there were, of all.
    #[must_use]
    pub fn activations(&self) -> u64 {
        self.items.iter().map(|item| item.activation).sum()
    }

    /// Whether there is a time left at which it starts.
    #[must_use]
    pub fn is_coming(&self, what: What) -> bool {
        self.items.iter().any(|item| item.what == what && item.next.is_some())
    }

    /// Its times, by the file.
    #[must_use]
    pub fn window(&self, what: What) -> Option<Window> {
        self.items.iter().find(|item| item.what == what).map(|item| item.window)
    }

    /// When its activation ends, if it is active and ends by itself.
    #[must_use]
    pub fn ends(&self, what: What) -> Option<Nanos> {
        let item = self.items.iter().find(|item| item.what == what)?;
        item.ends.filter(|ends| *ends < Nanos::MAX)
    }

    /// It ended.
    pub fn ended(&mut self, what: What) {
        if let Some(item) = self.items.iter_mut().find(|item| item.what == what) {
            item.ends = None;
        }
    }

    /// Whether it is active now.
    #[must_use]
    pub fn is_active(&self, what: What) -> bool {
        self.items.iter().any(|item| item.what == what && item.ends.is_some())
    }

    /// Whether it was ever active.
    #[must_use]
    pub fn has_started(&self, what: What) -> bool {
        self.items.iter().any(|item| item.what == what && item.activation > 0)
    }

    /// When something is due next.
    #[must_use]
    pub fn poll_at(&self) -> Option<Nanos> {
        let at = |item: &Item| item.ends.or(item.next.map(|next| next.start));
        self.items.iter().filter_map(at).min()
    }

    /// Whether something that ends by itself has still to start or to end.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let lasting = |item: &Item| item.ends.is_some_and(|ends| ends < Nanos::MAX);
        let coming = |item: &Item| item.ends.is_none() && item.next.is_some();
        self.items.iter().any(|item| lasting(item) || coming(item))
    }
}

/// The first activation that starts at or behind `t`.
fn start_after(window: Window, t: Nanos) -> Option<Activation> {
    let next = window.covering(t)?;
    if next.start >= t {
        return Some(next);
    }
    // `t` is within an activation that has begun: the next one is behind its end.
    if next.end == Nanos::MAX { None } else { window.covering(next.end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::NodeId;
    use crate::rules::table::{Fault, ProcessAction, Unattributed};

    fn schedule(window: Window) -> Schedule {
        let fault = Fault {
            name: "f".into(),
            action: ProcessAction::Kill,
            nodes: vec![NodeId(0)],
            window,
            dynamic: true,
            optional: false,
        };
        Schedule::new(&Table {
            nodes: Vec::new(),
            seed: 0,
            max_rate: 1,
            unattributed: Unattributed::Accept,
            protocol: None,
            group: None,
            patterns: Vec::new(),
            rules: Vec::new(),
            faults: vec![fault],
            distributions: Vec::new(),
            phases: Vec::new(),
        })
    }

    const IT: What = What::Fault(0);

    fn s(seconds: u64) -> Nanos {
        Nanos::from_secs(seconds)
    }

    #[test]
    fn an_activation_that_waits_lasts_as_long_as_the_file_says() {
        let window = Window { at: s(2), lasts: Some(s(3)), ..Window::ALWAYS };
        let mut schedule = schedule(window);
        assert_eq!(schedule.due(s(1)), []);
        assert_eq!(schedule.poll_at(), Some(s(2)));
        assert_eq!(schedule.due(s(2)), [Due::Start(IT, 0)]);
        assert_eq!(schedule.due(s(4)), [Due::Start(IT, 0)], "nobody has started it yet");
        schedule.started(IT, s(4));
        assert_eq!(schedule.due(s(6)), []);
        assert_eq!(schedule.due(s(7)), [Due::End(IT)]);
        schedule.ended(IT);
        assert!(!schedule.is_busy());
        assert_eq!(schedule.poll_at(), None);
    }

    #[test]
    fn every_activation_is_started_anew() {
        let (lasts, every) = (Some(s(1)), Some(s(5)));
        let window = Window { at: s(1), lasts, every, times: Some(2), ..Window::ALWAYS };
        let mut schedule = schedule(window);
        for (start, n) in [(1, 0), (6, 1)] {
            assert_eq!(schedule.due(s(start)), [Due::Start(IT, n)]);
            schedule.started(IT, s(start));
            assert_eq!(schedule.due(s(start + 1)), [Due::End(IT)]);
            schedule.ended(IT);
        }
        assert_eq!(schedule.poll_at(), None);
    }

    #[test]
    fn a_time_that_passes_is_not_made_up_for() {
        let window = Window {
            at: s(1),
            lasts: Some(s(1)),
            every: Some(s(5)),
            times: Some(2),
            ..Window::ALWAYS
        };
        let mut schedule = schedule(window);
        assert_eq!(schedule.due(s(1)), [Due::Start(IT, 0)]);
        schedule.passed(IT, s(1));
        assert_eq!((schedule.due(s(2)), schedule.poll_at()), (vec![], Some(s(6))));
        schedule.passed(IT, s(6));
        assert!(!schedule.is_coming(IT) && !schedule.has_started(IT));
    }

    #[test]
    fn what_is_switched_on_lasts_as_long_as_is_said() {
        let window = Window { at: Window::SWITCH, lasts: Some(s(3)), ..Window::ALWAYS };
        let mut schedule = schedule(window);
        assert_eq!((schedule.poll_at(), schedule.is_busy()), (None, false));
        for (lasts, ends) in [(None, None), (Some(s(2)), Some(s(12)))] {
            schedule.switched_on(IT, s(10), lasts);
            assert!(schedule.is_active(IT));
            assert_eq!((schedule.ends(IT), schedule.is_busy()), (ends, ends.is_some()));
        }
        assert_eq!(schedule.due(s(12)), [Due::End(IT)]);
    }

    #[test]
    fn rules_that_come_later_begin_with_what_would_be_active_by_then() {
        let window = |at, lasts| Window { at: s(at), lasts, ..Window::ALWAYS };
        for (window, due) in [
            (window(5, None), true),
            (window(5, Some(s(20))), true),
            (window(5, Some(s(2))), false),
            (window(11, None), false),
        ] {
            let mut later = schedule(window);
            later.restart(s(10));
            assert_eq!(!later.due(s(10)).is_empty(), due, "{window:?}");
        }
    }

    #[test]
    fn what_has_no_end_is_not_waited_for() {
        let mut schedule = schedule(Window::ALWAYS);
        assert!(schedule.is_busy());
        schedule.started(IT, s(0));
        assert!(!schedule.is_busy());
    }
}
