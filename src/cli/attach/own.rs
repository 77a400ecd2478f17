//! Attaching behind a live view: the view has the terminal and hears signals, raftq runs on a
//! thread beside it and is told by mail to end.

use super::{AttachArgs, Target, perform};
use crate::kernel::signals::{Signals, Wish};
use crate::run::control::{self, Run};
use crate::run::mailbox::{self, Post};
use crate::run::outcome::{ENVIRONMENT, NEVER_MATCHED};
use crate::run::status;
use crate::run::wishes::Behind;
use crossbeam_channel::{RecvTimeoutError, bounded};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How often it is looked for signals while raftq attaches.
const LOOK: Duration = Duration::from_millis(50);

/// What a view takes to attach by itself.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "To attach by itself")]
pub(in crate::cli) struct OwnArgs {
    /// Attach with these rules, and detach at the end; without them everything passes until some
    /// are loaded
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Tells raftq to end, whatever becomes of who holds this.
struct Ending(Post<Wish>);

impl Drop for Ending {
    fn drop(&mut self) {
        // Where it has ended already nobody hears it.
        let _ = self.0.send(Wish::End);
    }
}

impl OwnArgs {
    /// Whether somebody wants it to attach.
    pub(in crate::cli) fn is_meant(&self) -> bool {
        let Target { cluster, attach, .. } = &self.target;
        self.rules.is_some() || cluster.is_some() || !attach.is_empty()
    }

    /// Attaches, has `view` shown with the run's id, and detaches when it comes back, in whatever
    /// way. Gives the exit code of a raftq that was attached, but for rules that never matched:
    /// nobody may have switched them on.
    ///
    /// Signals are blocked by then, so that all threads have them blocked.
    pub(in crate::cli) fn attached(
        &self,
        signals: &Signals,
        view: impl FnOnce(&str) -> Result<(), ExitCode>,
    ) -> ExitCode {
        let Self { rules, target } = self.clone();
        let args = AttachArgs { rules, target, ..AttachArgs::default() };
        let Ok((wishes, inbox)) = mailbox::post(16) else {
            status::put("raftq watch: there is no eventfd for another mailbox\n");
            return ExitCode::from(ENVIRONMENT);
        };
        let (open, opened) = bounded(1);
        std::thread::scope(|scope| {
            let ending = Ending(wishes);
            let run = move || {
                perform(&args, |table, run| {
                    let ready = |id: &str| drop(open.try_send(id.to_owned()));
                    let behind = Behind { wishes: inbox, ready: Box::new(ready) };
                    control::run(table, &Run { behind: Some(behind), ..run })
                })
            };
            let thread = std::thread::Builder::new().name("raftq-main".into());
            let thread = match thread.spawn_scoped(scope, run) {
                Ok(thread) => thread,
                Err(e) => {
                    status::put(&format!("raftq watch: no thread to attach on ({e})\n"));
                    return ExitCode::from(ENVIRONMENT);
                }
            };
            let shown = loop {
                match opened.recv_timeout(LOOK) {
                    Ok(id) => break view(&id),
                    // It says why not.
                    Err(RecvTimeoutError::Disconnected) => break Ok(()),
                    Err(RecvTimeoutError::Timeout) if signals.next() == Some(Wish::End) => {
                        break Ok(());
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
            };
            drop(ending);
            // It is told now that the terminal is free again.
            let code = match thread.join() {
                Ok(Ok(came)) => {
                    let unmatched =
                        came.result.as_ref().is_ok_and(|o| o.exit_code == NEVER_MATCHED);
                    let code = came.tell(0, false);
                    if unmatched { ExitCode::SUCCESS } else { code }
                }
                Ok(Err(code)) => code,
                Err(_) => ExitCode::from(ENVIRONMENT),
            };
            shown.map_or_else(|failed| failed, |()| code)
        })
    }
}
