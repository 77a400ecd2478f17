//! A terminal without a screen: a program runs on it, and what stands there is looked at.
//!
//! ```text
//! lib.rs   the pseudo-terminal, its program, and the screen that it writes
//! svg.rs   a screen as a picture
//! main.rs  `raftq-picture`: runs a program, presses keys, saves the picture
//! ```

pub mod svg;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use raftq_harness::clock::wait_for;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a program has to leave once its terminal is gone, and how often that is looked for.
const PATIENCE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(10);

/// Columns and rows.
pub type Size = (u16, u16);

/// A terminal with a program on it. Dropping it ends the program: by SIGHUP, as the end of a
/// terminal does, and where that does not within two seconds, by SIGKILL.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    /// None once it was given away.
    child: Option<Box<dyn Child + Send + Sync>>,
    screen: Arc<Mutex<vt100::Parser>>,
    closed: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    before: String,
}

impl Terminal {
    /// Starts a program on a terminal of its own; `env` is set beside what there is.
    pub fn start(
        program: &OsStr,
        args: &[&OsStr],
        env: &[(&str, &OsStr)],
        size: Size,
    ) -> io::Result<Self> {
        let pair = native_pty_system().openpty(pty_size(size)).map_err(io::Error::other)?;
        let mut command = CommandBuilder::new(program);
        command.args(args);
        // It would be the user's home.
        command.cwd(std::env::current_dir()?);
        command.env("TERM", "xterm-256color");
        for (name, value) in env {
            command.env(name, value);
        }
        let before = modes(&*pair.master);
        let mut output = pair.master.try_clone_reader().map_err(io::Error::other)?;
        let keys = pair.master.take_writer().map_err(io::Error::other)?;
        let child = pair.slave.spawn_command(command).map_err(io::Error::other)?;
        // Only the program has it now, so that its end shows.
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size.1, size.0, 0)));
        let closed = Arc::new(AtomicBool::new(false));
        let (written, over) = (Arc::clone(&screen), Arc::clone(&closed));
        let reader = std::thread::Builder::new().name("terminal".into()).spawn(move || {
            let mut part = [0; 16 << 10];
            while let Ok(n) = output.read(&mut part)
                && n > 0
                && !over.load(Ordering::Acquire)
            {
                written.lock().unwrap_or_else(PoisonError::into_inner).process(&part[..n]);
            }
        })?;
        let master = pair.master;
        let child = Some(child);
        Ok(Self { master, keys, child, screen, closed, reader: Some(reader), before })
    }

    fn screen(&self) -> MutexGuard<'_, vt100::Parser> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands there, a line a row, without what is blank at their ends.
    #[must_use]
    pub fn text(&self) -> String {
        self.rows().iter().map(|row| row.trim_end().to_owned() + "\n").collect()
    }

    /// The rows as they stand there.
    #[must_use]
    pub fn rows(&self) -> Vec<String> {
        let parser = self.screen();
        let columns = parser.screen().size().1;
        parser.screen().rows(0, columns).collect()
    }

    /// The picture of it.
    #[must_use]
    pub fn svg(&self, title: &str) -> String {
        svg::picture(self.screen().screen(), title)
    }

    /// Whether the program has put what stood there before aside.
    #[must_use]
    pub fn is_alternate(&self) -> bool {
        self.screen().screen().alternate_screen()
    }

    /// Whether the cursor is hidden.
    #[must_use]
    pub fn hides_cursor(&self) -> bool {
        self.screen().screen().hide_cursor()
    }

    /// Whether the terminal's modes are those that the program found.
    #[must_use]
    pub fn is_as_before(&self) -> bool {
        modes(&*self.master) == self.before
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) -> io::Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        self.keys.flush()
    }

    /// Makes it larger or smaller, which is told to the program.
    pub fn resize(&mut self, size: Size) -> io::Result<()> {
        self.screen().screen_mut().set_size(size.1, size.0);
        self.master.resize(pty_size(size)).map_err(io::Error::other)
    }

    /// The program's process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        let pid = self.child.as_ref().and_then(|child| child.process_id());
        pid.map_or(0, u32::cast_signed)
    }

    /// The program's exit code once it has ended; none is of a program that a signal has ended.
    pub fn ended(&mut self) -> io::Result<Option<Option<u32>>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        Ok(status.map(|status| status.signal().is_none().then(|| status.exit_code())))
    }

    /// Closes it as a window is closed: nobody reads what the program writes any more. Needs a
    /// program that still writes, or has ended. Gives what is left of the program.
    ///
    /// # Panics
    ///
    /// Never: a terminal has its program until it is closed.
    #[must_use]
    pub fn close(mut self) -> Box<dyn Child + Send + Sync> {
        self.closed.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.child.take().expect("it has its program until it is closed")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        let Some(child) = &mut self.child else { return };
        let pid =
            child.process_id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
        let is_over = |child: &mut Box<dyn Child + Send + Sync>| {
            matches!(child.try_wait(), Ok(Some(_)) | Err(_))
        };
        if let (Some(pid), false) = (pid, is_over(child)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::HUP);
            let ended = || is_over(child).then_some(());
            if wait_for("the program to end", PATIENCE, STEP, ended).is_err() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn pty_size((cols, rows): Size) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

/// Echo, lines and signals of a terminal.
fn modes(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios())
}
