//! `raftq watch`: a running cluster, live on a terminal. It looks at a raftq that runs, or attaches
//! by itself for as long as it is there.

use super::attach::OwnArgs;
use crate::kernel::door;
use crate::kernel::poll::Poller;
use crate::kernel::signals::{Signals, Wish};
use crate::run::client::{self, Failed};
use crate::run::outcome::{BAD_INPUT, ENVIRONMENT};
use crate::run::status;
use crate::time::Nanos;
use crate::watch::feed::{self, COMMAND, Feed};
use crate::watch::screen::{self, Options};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

/// How often a line is printed where lines are asked for.
const LINES: Nanos = Nanos::from_secs(1);

/// Arguments of `raftq watch`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct WatchArgs {
    /// Which raftq, by its run id; not needed where only one runs
    #[arg(long, value_name = "ID", conflicts_with_all = ["rules", "cluster", "attach"])]
    run: Option<String>,
    /// Print what is seen as one JSON document a line, each second, instead of drawing
    #[arg(long)]
    json: bool,
    /// Leave by itself when raftq has ended
    #[arg(long)]
    until_end: bool,
    #[command(flatten)]
    own: OwnArgs,
}

/// Shows, and says why not.
pub(super) fn run(args: &WatchArgs) -> ExitCode {
    match watch(args) {
        Ok(code) => code,
        Err(failed) => said(&failed),
    }
}

fn said(Failed { code, why, .. }: &Failed) -> ExitCode {
    status::put(&format!("{}\n", why.trim_end()));
    ExitCode::from(*code)
}

fn failed(why: &str) -> Failed {
    Failed::new(ENVIRONMENT, format!("{COMMAND}: {why}"))
}

fn watch(args: &WatchArgs) -> Result<ExitCode, Failed> {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !args.json && !is_terminal {
        let why = "this is no terminal to draw on; --json prints a line each second, `raftq rules \
                   list` lists the rules once";
        return Err(Failed::new(BAD_INPUT, format!("{COMMAND}: {why}")));
    }
    // Before any other thread is there, so that all have them blocked.
    let signals =
        Signals::block().map_err(|e| failed(&format!("signals cannot be heard ({e})")))?;
    let view = |socket: &Path, own: bool| {
        if args.json {
            return lines(socket, &signals);
        }
        let feed = Feed::start(socket).map_err(|e| failed(&format!("no thread ({e})")))?;
        let options = Options { until_end: args.until_end, own };
        screen::show(&feed, &signals, options)
            .map_err(|e| failed(&format!("the terminal cannot be drawn on ({e})")))
    };
    if args.own.is_meant() {
        let shown = |id: &str| view(&door::path(id), true).map_err(|failed| said(&failed));
        return Ok(args.own.attached(&signals, shown));
    }
    let socket = client::find(COMMAND, args.run.as_deref()).map_err(|mut failed| {
        if failed.is_gone {
            failed.why += "; or have this attach by itself: sudo raftq watch --cluster FILE";
        }
        failed
    })?;
    view(&socket, false).map(|()| ExitCode::SUCCESS)
}

/// A look a line, until raftq ends, somebody wants this to end, or nobody reads any more.
fn lines(socket: &Path, signals: &Signals) -> Result<(), Failed> {
    let unable = |e: io::Error| failed(&format!("cannot wait ({e})"));
    let mut poller = Poller::new().map_err(unable)?;
    poller.add(signals.as_fd()).map_err(unable)?;
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
        poller.wait(LINES).map_err(unable)?;
        match signals.next() {
            Some(Wish::End | Wish::Reload) => return Ok(()),
            Some(Wish::Stop) => signals.stop_here().map_err(unable)?,
            None => {}
        }
    }
}
