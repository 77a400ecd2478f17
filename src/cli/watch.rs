//! `raftq watch`: a running cluster, live on a terminal.

use crate::kernel::signals::Signals;
use crate::run::client::{self, Failed};
use crate::run::outcome::{BAD_INPUT, ENVIRONMENT};
use crate::run::status;
use crate::watch::feed::{self, COMMAND, Feed};
use crate::watch::screen::{self, Options};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How often a line is printed where lines are asked for.
const LINES: Duration = Duration::from_secs(1);

/// Arguments of `raftq watch`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct WatchArgs {
    /// Which raftq, by its run id; not needed where only one runs
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Print what is seen as one JSON document a line, each second, instead of drawing
    #[arg(long)]
    json: bool,
    /// Leave by itself when raftq has ended
    #[arg(long)]
    until_end: bool,
}

/// Shows, and says why not.
pub(super) fn run(args: &WatchArgs) -> ExitCode {
    match watch(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { code, why, .. }) => {
            status::put(&format!("{}\n", why.trim_end()));
            ExitCode::from(code)
        }
    }
}

fn failed(why: &str) -> Failed {
    Failed::new(ENVIRONMENT, format!("{COMMAND}: {why}"))
}

fn watch(args: &WatchArgs) -> Result<(), Failed> {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !args.json && !is_terminal {
        let why = "this is no terminal to draw on; --json prints a line each second, `raftq rules \
                   list` lists the rules once";
        return Err(Failed::new(BAD_INPUT, format!("{COMMAND}: {why}")));
    }
    let socket = client::find(COMMAND, args.run.as_deref())?;
    if args.json {
        return lines(&socket);
    }
    let signals =
        Signals::block().map_err(|e| failed(&format!("signals cannot be heard ({e})")))?;
    let feed = Feed::start(&socket).map_err(|e| failed(&format!("no thread ({e})")))?;
    let options = Options { until_end: args.until_end, own: false };
    screen::show(&feed, &signals, options)
        .map_err(|e| failed(&format!("the terminal cannot be drawn on ({e})")))
}

/// A look a line, until raftq ends or nobody reads any more.
fn lines(socket: &Path) -> Result<(), Failed> {
    let mut out = io::stdout();
    loop {
        match feed::look(socket, 0) {
            Ok(look) => {
                if writeln!(out, "{look}").and_then(|()| out.flush()).is_err() {
                    return Ok(());
                }
            }
            Err(failed) if failed.is_gone => return Ok(()),
            Err(failed) => status::put(&format!("{}\n", failed.why)),
        }
        std::thread::park_timeout(LINES);
    }
}
