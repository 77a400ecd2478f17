//! What a person has chosen to see, and what keys do. Pure.

use crate::run::api::To;
use crate::run::snapshot::{RULES_MAX, RuleSeen, Snapshot};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Rules on either side of the chosen one that are to be at hand.
const AROUND: usize = 64;

/// A part of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// Rules and what they did.
    #[default]
    Rules,
    /// What passes between nodes.
    Links,
    /// What nodes are.
    Nodes,
    /// Messages by kind.
    Messages,
    /// What happened.
    Events,
}

impl Pane {
    /// In the order of Tab.
    pub const ALL: [Self; 5] =
        [Self::Rules, Self::Links, Self::Nodes, Self::Messages, Self::Events];

    /// What it is called.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Rules => "Rules",
            Self::Links => "Links",
            Self::Nodes => "Nodes",
            Self::Messages => "Messages",
            Self::Events => "Events",
        }
    }

    fn next(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|pane| *pane == self).unwrap_or_default();
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

/// What cells of the link matrix show where there is no room for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Segments a second.
    #[default]
    Packets,
    /// Bytes a second.
    Bytes,
    /// Segments dropped a second.
    Dropped,
    /// Segments delayed a second.
    Delayed,
    /// The smoothed round trip.
    RoundTrip,
}

impl Measure {
    const ALL: [Self; 5] =
        [Self::Packets, Self::Bytes, Self::Dropped, Self::Delayed, Self::RoundTrip];

    /// What it is called.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Packets => "packets/s",
            Self::Bytes => "bytes/s",
            Self::Dropped => "dropped/s",
            Self::Delayed => "delayed/s",
            Self::RoundTrip => "round trip",
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|measure| *measure == self).unwrap_or_default();
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// How a word in the status line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It is under way.
    Waits,
    /// It was done.
    Done,
    /// It was refused, or went wrong.
    Refused,
}

/// Whether the source tells anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// It answers.
    #[default]
    Tells,
    /// It has not answered for a while.
    Late(String),
    /// It has ended.
    Over(String),
}

/// What a key asks for that is not the view's own business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Nothing.
    None,
    /// To leave.
    Leave,
    /// To let the shell have the terminal for a while.
    Suspend,
    /// To switch a rule.
    Switch(String, To),
    /// To look at once, since other rules are to be seen.
    Look,
}

/// What a person has chosen.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is switched by a key of its own")]
pub struct View {
    /// Where keys go.
    pub focus: Pane,
    /// Whether that pane has the screen for itself.
    pub zoomed: bool,
    /// Whether keys are explained.
    pub help: bool,
    /// Whether looks are held back.
    pub paused: bool,
    /// Whether raftq belongs to this view, and detaches with it.
    pub own: bool,
    /// The chosen rule, by its index among all.
    pub rule: usize,
    /// The first rule that is asked for.
    pub rules_from: usize,
    /// What cells of the link matrix show.
    pub measure: Measure,
    /// How far the link matrix is scrolled: rows and columns.
    pub links: (usize, usize),
    /// How far the list of nodes, and that of messages, is scrolled.
    pub down: (usize, usize),
    /// How many events back.
    pub back: usize,
    /// The last word of the status line.
    pub said: Option<(Tone, String)>,
    /// Whether anything comes.
    pub source: Source,
}

impl View {
    /// The chosen rule, where it is at hand.
    #[must_use]
    pub fn chosen<'a>(&self, look: &'a Snapshot) -> Option<&'a RuleSeen> {
        look.rules.list.get(self.rule.checked_sub(look.rules.from)?)
    }

    /// What a key does, given what is seen.
    pub fn key(&mut self, key: KeyEvent, look: Option<&Snapshot>) -> Deed {
        let held = key.modifiers.contains(KeyModifiers::CONTROL);
        if held && key.code == KeyCode::Char('c') {
            return Deed::Leave;
        }
        if matches!(self.source, Source::Over(_)) {
            return Deed::Leave;
        }
        if held && key.code == KeyCode::Char('z') {
            return self.suspend();
        }
        if self.help && key.code != KeyCode::Char('q') {
            self.help = false;
            return Deed::None;
        }
        match key.code {
            KeyCode::Char('q') => return Deed::Leave,
            KeyCode::Esc if self.zoomed => self.zoomed = false,
            KeyCode::Char('?') => self.help = true,
            KeyCode::Tab => self.focus = self.focus.next(1),
            KeyCode::BackTab => self.focus = self.focus.next(Pane::ALL.len() - 1),
            KeyCode::Char('z') => self.zoomed = !self.zoomed,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('m') => self.measure = self.measure.next(),
            KeyCode::Char(' ') | KeyCode::Enter => return self.toggle(look),
            KeyCode::Char('a') => return self.switch(look, |_| To::Auto),
            code => return self.go(code, look),
        }
        Deed::None
    }

    fn suspend(&mut self) -> Deed {
        if !self.own {
            return Deed::Suspend;
        }
        self.said = Some((Tone::Refused, "this raftq is attached: q detaches it first".into()));
        Deed::None
    }

    /// On where it does not act, off where it does.
    fn toggle(&mut self, look: Option<&Snapshot>) -> Deed {
        self.switch(look, |rule| {
            let acts = rule.state == "active" || (rule.switched == "on" && rule.state != "ended");
            if acts { To::Off } else { To::On }
        })
    }

    fn switch(&mut self, look: Option<&Snapshot>, to: impl FnOnce(&RuleSeen) -> To) -> Deed {
        let Some(rule) = look.and_then(|look| self.chosen(look)) else {
            self.said = Some((Tone::Refused, "there is no rule to switch".into()));
            return Deed::None;
        };
        let to = to(rule);
        self.said = Some((Tone::Waits, format!("switching \"{}\" {} ...", rule.name, to.word())));
        Deed::Switch(rule.name.clone(), to)
    }

    /// Up, down, and to the sides, in the pane that keys go to.
    fn go(&mut self, code: KeyCode, look: Option<&Snapshot>) -> Deed {
        let (rows, columns) = match code {
            KeyCode::Up | KeyCode::Char('k') => (-1, 0),
            KeyCode::Down | KeyCode::Char('j') => (1, 0),
            KeyCode::Left | KeyCode::Char('h') => (0, -1),
            KeyCode::Right | KeyCode::Char('l') => (0, 1),
            KeyCode::PageUp => (-10, 0),
            KeyCode::PageDown => (10, 0),
            KeyCode::Home | KeyCode::Char('g') => (isize::MIN, 0),
            KeyCode::End | KeyCode::Char('G') => (isize::MAX, 0),
            _ => return Deed::None,
        };
        let Some(look) = look else { return Deed::None };
        let nodes = look.nodes.len();
        match self.focus {
            Pane::Rules => {
                move_by(&mut self.rule, rows, look.rules.total);
                return self.ask_for(look);
            }
            Pane::Links => {
                move_by(&mut self.links.0, rows, nodes);
                move_by(&mut self.links.1, columns, nodes);
            }
            Pane::Nodes => move_by(&mut self.down.0, rows, nodes),
            Pane::Messages => move_by(&mut self.down.1, rows, look.messages.kinds.len()),
            // The last ones are at the bottom.
            Pane::Events => {
                let up = rows.checked_neg().unwrap_or(isize::MAX);
                move_by(&mut self.back, up, look.events.len());
            }
        }
        Deed::None
    }

    /// The rules around the chosen one have to be at hand.
    fn ask_for(&mut self, look: &Snapshot) -> Deed {
        let (first, behind) = (look.rules.from, look.rules.from + look.rules.list.len());
        let before = self.rule < first.saturating_add(AROUND) && first > 0;
        let after = self.rule + AROUND >= behind && behind < look.rules.total;
        let wanted = self.rule.saturating_sub(RULES_MAX / 2);
        if (before || after) && wanted != self.rules_from {
            self.rules_from = wanted;
            return Deed::Look;
        }
        Deed::None
    }

    /// Another look is there: what was chosen may be gone.
    pub fn fit(&mut self, look: &Snapshot) {
        move_by(&mut self.rule, 0, look.rules.total);
        move_by(&mut self.links.0, 0, look.nodes.len());
        move_by(&mut self.links.1, 0, look.nodes.len());
    }
}

fn move_by(at: &mut usize, by: isize, len: usize) {
    *at = at.saturating_add_signed(by).min(len.saturating_sub(1));
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
