//! From a container's name or id to the pid of its first process.
//!
//! Asks the command-line tools of the runtimes that are installed, then looks for the id
//! in the control groups of all processes. Refuses to guess: two containers that an
//! abbreviated id fits are an error.

use super::clock;
use super::poll::pause;
use super::trouble::Trouble;
use crate::time::Nanos;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};

/// Each runtime's way to print the pid of a container.
const ASK: [(&str, &[&str]); 4] = [
    ("docker", &["inspect", "--format", "{{.State.Pid}}"]),
    ("podman", &["inspect", "--format", "{{.State.Pid}}"]),
    ("nerdctl", &["inspect", "--format", "{{.State.Pid}}"]),
    ("crictl", &["inspect", "--output", "go-template", "--template", "{{.info.pid}}"]),
];

/// The longest that one tool may take; they answer in tens of milliseconds.
const ANSWER: Nanos = Nanos::from_secs(5);

/// The pid of a running container.
pub fn pid_of(name: &str) -> Result<u32, Trouble> {
    if name.is_empty() || name.starts_with('-') {
        return Err(Trouble::new(format!("{name:?} is no container's name"), ""));
    }
    let mut asked = Vec::new();
    for (tool, args) in ASK {
        match ask(tool, args, name, ANSWER) {
            // A container that exists but does not run has pid 0.
            Some(Ok(0)) => {
                return Err(Trouble::new(
                    format!("{tool} says that the container {name} is not running"),
                    format!("start it: {tool} start {name}"),
                ));
            }
            Some(Ok(pid)) => return Ok(pid),
            Some(Err(Refusal::Unknown)) => asked.push(tool.to_owned()),
            Some(Err(Refusal::Late)) => asked.push(format!("{tool}, which did not answer")),
            None => {}
        }
    }
    by_cgroup(name)?.ok_or_else(|| not_found(name, &asked))
}

fn not_found(name: &str, asked: &[String]) -> Trouble {
    let asked = match asked {
        [] => "none of docker, podman, nerdctl and crictl is installed".to_owned(),
        tools => format!("asked {}", tools.join(", ")),
    };
    Trouble::new(
        format!("no running container {name} was found ({asked}; no control group names it)"),
        "give `pid:` of a process inside it, or the full container id",
    )
}

/// Why a tool gave no pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It knows no such container.
    Unknown,
    /// It did not answer in time.
    Late,
}

/// `None`: the tool is not installed. A daemon that hangs must not hang raftq.
fn ask(tool: &str, args: &[&str], name: &str, limit: Nanos) -> Option<Result<u32, Refusal>> {
    let mut command = Command::new(tool);
    command.args(args).arg(name).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let until = clock::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if clock::now() < until => pause(Nanos::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Some(Err(Refusal::Late));
            }
        }
    };
    // A pid fits into the pipe, so nothing had to be read before.
    let mut text = String::new();
    let _ = child.stdout.take()?.read_to_string(&mut text);
    Some(text.trim().parse().ok().filter(|_| status.success()).ok_or(Refusal::Unknown))
}

/// Runtimes put the 64-digit id of a container into the path of its control group.
fn by_cgroup(id: &str) -> Result<Option<u32>, Trouble> {
    if id.len() < 12 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let mut pids: Vec<(String, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
            Some((full_id(&cgroup, id)?.to_owned(), pid))
        })
        .collect();
    pids.sort();
    let ids: BTreeSet<&str> = pids.iter().map(|(full, _)| full.as_str()).collect();
    if ids.len() > 1 {
        return Err(Trouble::new(
            format!("{} containers have an id that begins with {id}", ids.len()),
            "give more of its digits",
        ));
    }
    Ok(pids.first().map(|(_, pid)| *pid))
}

/// The container id in a control group path that begins with `id`.
fn full_id<'a>(cgroup: &'a str, id: &str) -> Option<&'a str> {
    cgroup
        .split(|c: char| !c.is_ascii_hexdigit())
        .find(|word| word.len() == 64 && word.starts_with(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_in_the_paths_that_runtimes_make() {
        let id = "0123456789ab".repeat(5) + "cdef";
        let systemd = format!("0::/system.slice/docker-{id}.scope\n");
        let plain = format!("0::/docker/{id}\n");
        assert_eq!(full_id(&systemd, "0123456789ab"), Some(id.as_str()));
        assert_eq!(full_id(&plain, "0123456789ab"), Some(id.as_str()));
        assert_eq!(full_id(&plain, "fff"), None);
    }

    #[test]
    fn a_tool_that_hangs_is_given_up() {
        let asked = |limit| ask("sleep", &["0.2"], "0", limit);
        assert_eq!(asked(Nanos::from_millis(20)), Some(Err(Refusal::Late)));
        assert_eq!(asked(Nanos::from_secs(10)), Some(Err(Refusal::Unknown)));
        assert_eq!(ask("echo", &[], "17", Nanos::from_secs(10)), Some(Ok(17)));
        assert_eq!(ask("raftq-no-such-tool", &[], "17", Nanos::ZERO), None);
    }

    #[test]
    fn an_unknown_container_is_an_error_with_a_way_out() {
        let error = pid_of("raftq-no-such-container").expect_err("there is none");
        assert!(error.to_string().contains("`pid:`"), "{error}");
        assert!(pid_of("--help").is_err());
    }
}
