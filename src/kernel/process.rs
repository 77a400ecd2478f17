//! Whether a process lives and since when, and what this one may do, as `/proc` says.

use std::fs;

/// `PF_EXITING`, in the flags of a process.
const EXITING: u64 = 0x4;

/// A process as it was when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Only its exit status is left, or soon will be.
    pub ending: bool,
    /// When it started, in the kernel's ticks since boot: with the pid it names a process
    /// for good, because pids are used again.
    pub start_time: u64,
}

/// Asks for a process; `None` when there is none.
#[must_use]
pub fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    // The name in brackets may hold anything, brackets too.
    let (_, behind_name) = text.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace();
    let state = fields.next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    let start_time = fields.nth(12)?.parse().ok()?;
    Some(Stat { ending: matches!(state, "Z" | "X") || flags & EXITING != 0, start_time })
}

/// Whether a process is stopped, as by Ctrl-Z: it takes no signal but `SIGCONT` and
/// `SIGKILL` until then.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(')').is_some_and(|(_, behind_name)| behind_name.starts_with(" T "))
}

/// The capability to look into other processes.
pub const CAP_SYS_PTRACE: u32 = 19;

/// Whether this thread may use a capability, by its number in `linux/capability.h`.
#[must_use]
pub fn holds(capability: u32) -> bool {
    status("CapEff:").is_some_and(|set| set >> capability & 1 == 1)
}

/// Whether this process could ever get a capability, as by `sudo`.
#[must_use]
pub fn may_hold(capability: u32) -> bool {
    status("CapBnd:").is_some_and(|set| set >> capability & 1 == 1)
}

/// A hexadecimal field of the calling thread's status.
fn status(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/status").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    u64::from_str_radix(value.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let text = |state: &str, flags: u64| {
            format!(
                "7 (a b) (c) {state} 1 2 3 4 5 {flags} 7 8 9 10 11 12 13 14 15 16 17 18 1234 20"
            )
        };
        assert_eq!(parse(&text("S", 64)), Some(Stat { ending: false, start_time: 1234 }));
        assert_eq!(parse(&text("R", 68)), Some(Stat { ending: true, start_time: 1234 }));
        assert_eq!(parse(&text("Z", 64)).map(|s| s.ending), Some(true));
        assert_eq!(parse("7 (x"), None);
    }

    #[test]
    fn this_process_lives() {
        assert!(stat(std::process::id()).is_some_and(|s| !s.ending && s.start_time > 0));
    }
}
