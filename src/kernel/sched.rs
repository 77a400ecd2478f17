//! The scheduling of the threads that packets wait for: as urgent as the host allows, and honest
//! about it.

use nix::errno::Errno;
use nix::libc;

/// What the host granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// `SCHED_FIFO`, priority 2 or 1.
    Fifo,
    /// The ordinary scheduler at nice -20.
    Nice,
    /// Nothing; verdicts compete with everything else on the machine.
    Ordinary,
}

impl Urgency {
    /// For people: `"SCHED_FIFO"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fifo => "SCHED_FIFO",
            Self::Nice => "nice -20",
            Self::Ordinary => "ordinary scheduling",
        }
    }
}

/// Makes the calling thread as urgent as possible, and its timers exact.
///
/// Children that this thread might start do not inherit it (`SCHED_RESET_ON_FORK`).
#[must_use]
pub fn become_urgent() -> Urgency {
    exact_timers();
    if become_fifo(2) { Urgency::Fifo } else { become_nice() }
}

/// Puts the calling thread before all others but the urgent one, where that is granted: for work
/// that takes milliseconds and that packets wait for. Niceness alone counts within a session only
/// where the kernel groups tasks by session (sched(7), autogroup).
#[must_use]
pub fn become_preferred() -> Urgency {
    if become_fifo(1) { Urgency::Fifo } else { become_nice() }
}

#[expect(unsafe_code, reason = "nix has no per-thread scheduling")]
fn become_fifo(priority: i32) -> bool {
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    let param = libc::sched_param { sched_priority: priority };
    // SAFETY: pid 0 is the calling thread; param lives on this frame.
    unsafe { libc::sched_setscheduler(0, policy, &raw const param) == 0 }
}

#[expect(unsafe_code, reason = "nix has no per-thread scheduling")]
fn become_nice() -> Urgency {
    // SAFETY: plain integers; 0 names the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) } == 0 {
        return Urgency::Nice;
    }
    Urgency::Ordinary
}

/// Sets the calling thread's timer slack to 1 ns; the default lets timers be 50 us late.
#[expect(unsafe_code, reason = "nix has no timer slack")]
pub fn exact_timers() {
    // SAFETY: an integer option of prctl; it cannot fail with this value.
    let result = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    debug_assert_eq!(Errno::result(result).map(drop), Ok(()), "1 ns is a valid timer slack");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Priority and policy of the calling thread: fields 40 and 41 of `/proc/PID/stat`, the first
    /// after the name being field 3.
    fn granted() -> Vec<i32> {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("a thread has one");
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let fields = fields.split_whitespace().skip(40 - 3).take(2);
        fields.map(|field| field.parse().expect("a number")).collect()
    }

    #[test]
    fn live_a_search_is_urgent_and_the_loop_more_so() {
        let on_a_thread = |become_so: fn() -> Urgency| {
            let thread = std::thread::spawn(move || (become_so(), granted()));
            thread.join().expect("it ends")
        };
        for (become_so, priority) in
            [(become_urgent as fn() -> Urgency, 2), (become_preferred as fn() -> Urgency, 1)]
        {
            let (urgency, granted) = on_a_thread(become_so);
            assert_eq!(urgency, Urgency::Fifo);
            assert_eq!(granted, [priority, libc::SCHED_FIFO]);
        }
    }
}
