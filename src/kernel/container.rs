//! From a container's name or id to the pid of its first process.
//!
//! Asks the command-line tools of the runtimes that are installed, then looks for the id
//! in the control groups of all processes. Refuses to guess: two containers that an
//! abbreviated id fits are an error.

use super::trouble::Trouble;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

/// Each runtime's way to print the pid of a container.
const ASK: [(&str, &[&str]); 4] = [
    ("docker", &["inspect", "--format", "{{.State.Pid}}"]),
    ("podman", &["inspect", "--format", "{{.State.Pid}}"]),
    ("nerdctl", &["inspect", "--format", "{{.State.Pid}}"]),
    ("crictl", &["inspect", "--output", "go-template", "--template", "{{.info.pid}}"]),
];

/// The pid of a running container.
pub fn pid_of(name: &str) -> Result<u32, Trouble> {
    if name.is_empty() || name.starts_with('-') {
        return Err(Trouble::new(format!("{name:?} is no container's name"), ""));
    }
    let mut asked = Vec::new();
    for (tool, args) in ASK {
        match ask(tool, args, name) {
            // A container that exists but does not run has pid 0.
            Some(Ok(0)) => {
                return Err(Trouble::new(
                    format!("{tool} says that the container {name} is not running"),
                    format!("start it: {tool} start {name}"),
                ));
            }
            Some(Ok(pid)) => return Ok(pid),
            Some(Err(())) => asked.push(tool),
            None => {}
        }
    }
    by_cgroup(name)?.ok_or_else(|| not_found(name, &asked))
}

fn not_found(name: &str, asked: &[&str]) -> Trouble {
    let asked = match asked {
        [] => "none of docker, podman, nerdctl and crictl is installed".to_owned(),
        tools => format!("asked {}", tools.join(", ")),
    };
    Trouble::new(
        format!("no running container {name} was found ({asked}; no control group names it)"),
        "give `pid:` of a process inside it, or the full container id",
    )
}

/// `None`: the tool is not installed. `Err`: it knows no such container.
fn ask(tool: &str, args: &[&str], name: &str) -> Option<Result<u32, ()>> {
    let output = Command::new(tool).args(args).arg(name).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let pid = text.trim().parse().map_err(|_| ());
    Some(if output.status.success() { pid } else { Err(()) })
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
    fn an_unknown_container_is_an_error_with_a_way_out() {
        let error = pid_of("raftq-no-such-container").expect_err("there is none");
        assert!(error.to_string().contains("`pid:`"), "{error}");
        assert!(pid_of("--help").is_err());
    }
}
