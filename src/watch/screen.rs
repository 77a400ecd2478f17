//! The terminal: taken, drawn on, and given back on every way out: keys, signals, a terminal that
//! is gone, a panic.
//!
//! Signals are blocked before any thread starts and read here, so that none of them ends the
//! program with a terminal in raw mode. Ctrl-C comes as a key. Keys are read only where some are
//! there, and another size is seen by asking for it, so that nothing here waits but [`Show::wait`].

use super::draw::{Scene, draw};
use super::feed::{Fed, Feed};
use super::pair::Looks;
use super::theme::Theme;
use super::view::{Deed, Source, Tone, View};
use crate::kernel::signals::{Signals, Wish};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::layout::Size;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// How long a turn waits for a key; what was fed meanwhile is drawn then.
const TURN_MS: u16 = 50;

/// How long it is waited for more keys where some were there; without time nothing is read at all.
const MORE: Duration = Duration::from_millis(1);

/// How a view is shown.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether it leaves by itself when raftq has ended.
    pub until_end: bool,
    /// Whether raftq belongs to it.
    pub own: bool,
}

/// The terminal while it is ours.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> io::Result<Self> {
        // It gives the terminal back before a panic is told, too.
        ratatui::try_init().map(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone cannot be given back.
        let _ = ratatui::try_restore();
    }
}

/// Shows what is fed until somebody wants to leave.
pub fn show(feed: &Feed, signals: &Signals, options: Options) -> io::Result<()> {
    // What raftq has to say to a log would be written across the screen.
    let loud = log::max_level();
    log::set_max_level(log::LevelFilter::Off);
    let shown = Show { feed, signals, options, looks: Looks::default(), view: View::default() };
    let result = shown.run();
    log::set_max_level(loud);
    result
}

struct Show<'a> {
    feed: &'a Feed,
    signals: &'a Signals,
    options: Options,
    looks: Looks,
    view: View,
}

/// What a turn has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Keys,
    Nothing,
    /// The terminal is gone.
    Gone,
}

impl Show<'_> {
    fn run(mut self) -> io::Result<()> {
        self.view.own = self.options.own;
        let theme = Theme::found();
        let mut screen = Screen::take()?;
        let mut drawn = Size::ZERO;
        let mut changed = true;
        loop {
            let size = screen.0.size()?;
            if changed || size != drawn {
                let scene = Scene { pair: self.looks.pair(), view: &self.view, theme };
                screen.0.draw(|frame| draw(frame, &scene))?;
                drawn = size;
            }
            let turn = self.wait()?;
            changed = self.hear();
            let over = matches!(self.view.source, Source::Over(_));
            if turn == Turn::Gone || (over && self.options.until_end) {
                return Ok(());
            }
            let wish = self.signals.next();
            let mut stops = wish == Some(Wish::Stop) && !self.view.own;
            // A reload is for who has rules; a terminal that is closed says so by SIGHUP.
            if matches!(wish, Some(Wish::End | Wish::Reload)) {
                return Ok(());
            }
            while turn == Turn::Keys && event::poll(MORE)? {
                if let Event::Key(key) = event::read()?
                    && key.kind != KeyEventKind::Release
                {
                    changed = true;
                    match self.press(key) {
                        Deed::Leave => return Ok(()),
                        Deed::Suspend => stops = true,
                        _ => {}
                    }
                }
            }
            if stops {
                screen = self.suspend(screen)?;
                changed = true;
            }
        }
    }

    /// Waits for keys and signals, and not for long.
    fn wait(&self) -> io::Result<Turn> {
        let keys = io::stdin();
        let mut fds = [
            PollFd::new(keys.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::from(TURN_MS)) {
            Ok(_) => {}
            // Another size is told by a signal.
            Err(Errno::EINTR) => return Ok(Turn::Nothing),
            Err(e) => return Err(e.into()),
        }
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        Ok(match fds[0].revents() {
            Some(told) if told.intersects(gone) => Turn::Gone,
            Some(told) if told.contains(PollFlags::POLLIN) => Turn::Keys,
            _ => Turn::Nothing,
        })
    }

    /// Does what a key asks for, but for leaving the terminal.
    fn press(&mut self, key: KeyEvent) -> Deed {
        self.view.said = None;
        let now = self.looks.pair().map(|pair| pair.now);
        let deed = self.view.key(key, now);
        match &deed {
            Deed::Switch(name, to) => self.feed.switch(name.clone(), *to),
            Deed::Look => self.feed.look(self.view.rules_from),
            _ => {}
        }
        deed
    }

    /// Takes in what was fed; whether that changes the picture.
    fn hear(&mut self) -> bool {
        let mut changed = false;
        while let Ok(fed) = self.feed.fed.try_recv() {
            changed = true;
            match fed {
                Fed::Look(_) if self.view.paused => changed = false,
                Fed::Look(look) => {
                    self.view.source = Source::Tells;
                    self.view.fit(&look);
                    self.looks.push(*look);
                }
                Fed::Late(why) => self.view.source = Source::Late(why),
                Fed::Over(why) => self.view.source = Source::Over(why),
                Fed::Switched(Ok(done)) => {
                    self.view.said = Some((Tone::Done, done));
                    self.feed.look(self.view.rules_from);
                }
                Fed::Switched(Err(why)) => self.view.said = Some((Tone::Refused, why)),
            }
        }
        changed
    }

    /// Gives the terminal to the shell until somebody continues this process.
    fn suspend(&self, screen: Screen) -> io::Result<Screen> {
        drop(screen);
        self.signals.stop_here()?;
        Screen::take()
    }
}
