//! What may be done to the processes of a cluster depends on who started them.

use crate::kernel::trouble::Trouble;
use crate::rules::table::{Fault, ProcessAction};

/// What raftq may do to the processes of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nothing: somebody else started them.
    Nothing,
    /// Signals only: somebody else started them, and has to start them again.
    Signals,
    /// Everything: raftq started them.
    Everything,
}

impl Reach {
    /// Refuses the first fault that is beyond it.
    pub fn check(self, faults: &[Fault]) -> Result<(), Trouble> {
        faults.iter().try_for_each(|fault| match self {
            Self::Everything => Ok(()),
            Self::Signals => by_signal(fault),
            // Where the flag alone would not do, that is said first.
            Self::Nothing => by_signal(fault).and_then(|()| {
                Err(Trouble::new(
                    format!(
                        "the rule `{}` is done to a process that raftq did not start",
                        fault.name
                    ),
                    "pass --allow-process-faults to have it done all the same; or write a \
                     scenario, and let `raftq run` start the cluster",
                ))
            }),
        })
    }
}

/// Refuses what takes more than signals.
fn by_signal(fault: &Fault) -> Result<(), Trouble> {
    use ProcessAction::{Crash, Kill, Pause, Resume, Stop};
    let (name, action) = (&fault.name, fault.action.name());
    let refuse = |why: String, instead: &str| {
        let way_out = "or write a scenario, and let `raftq run` start the cluster";
        let way_out = format!("{instead}; {way_out}");
        Err(Trouble::new(why, way_out))
    };
    match fault.action {
        Pause | Resume => Ok(()),
        Kill | Crash | Stop if !fault.window.is_bounded() => Ok(()),
        Kill | Crash | Stop => refuse(
            format!(
                "the rule `{name}` says `for`, and after a `{action}` nobody starts a process \
                 again that raftq did not start"
            ),
            "leave `for` out, and start it yourself",
        ),
        _ => refuse(
            format!("the rule `{name}` is a `{action}` of a process that raftq did not start"),
            "--allow-process-faults is for kill, crash, stop, pause and resume",
        ),
    }
}
