//! The programs of the iptables package: which there are, and running them in a namespace.
//!
//! The only file that spawns them. A restore is started and waited for apart, so that
//! several namespaces can be served at once; the lock they may wait for has a limit.

use super::netns::NetNs;
use super::topology::Family;
use super::trouble::Trouble;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The kernel interface behind iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// `iptables-nft`, on `nf_tables`.
    Nft,
    /// `iptables-legacy`, on the older tables.
    Legacy,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        })
    }
}

impl Flavour {
    /// The flavour of this host's `iptables`.
    pub fn found() -> Result<Self, Trouble> {
        let ask = |path| Command::new(path).arg("--version").output().ok();
        let Some(output) = which("iptables").and_then(ask) else {
            return Err(Trouble::new(
                "iptables is not installed, or not where this user may run it",
                "install it: apt-get install iptables",
            ));
        };
        // Versions before 1.8 name no flavour: there was one.
        let nft = String::from_utf8_lossy(&output.stdout).contains("nf_tables");
        Ok(if nft { Self::Nft } else { Self::Legacy })
    }

    /// Whether all its programs for this family can be found.
    #[must_use]
    pub fn installed(self, family: Family) -> bool {
        self.program(family, "restore").is_ok() && self.program(family, "save").is_ok()
    }

    /// The program that does `what` (`restore`, `save`); named after its flavour, or else
    /// the plain one if that is of this flavour.
    fn program(self, family: Family, what: &str) -> io::Result<PathBuf> {
        let tables = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        which(&format!("{tables}-{self}-{what}"))
            .or_else(|| {
                let plain = which(&format!("{tables}-{what}"))?;
                (Self::found().ok()? == self).then_some(plain)
            })
            .ok_or_else(|| io::Error::other(format!("{tables}-{self}-{what} is not installed")))
    }
}

/// A restore under way.
pub struct Running {
    child: Child,
    text: String,
}

/// Starts a restore in `ns` that adds to what is there. The program keeps `held` open until
/// it ends, even if this process ends before.
pub fn start(
    ns: &NetNs,
    flavour: Flavour,
    family: Family,
    text: String,
    held: Option<BorrowedFd<'_>>,
) -> io::Result<Running> {
    let program = flavour.program(family, "restore")?;
    // It prints nothing there, so whatever is to be kept open may stand there.
    let held = held.map(|fd| fd.try_clone_to_owned()).transpose()?;
    let mut child = ns.enter(|| {
        apart(program)
            .args(["--noflush", "--wait=5"])
            .stdin(Stdio::piped())
            .stdout(held.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::piped())
            .spawn()
    })??;
    let mut input = child.stdin.take().expect("it was asked for");
    // Most scripts fit into the pipe; a longer one waits for the child, whose own wait for
    // the lock is limited. A child that died early says more by its status than a broken
    // pipe does.
    let _ = input.write_all(text.as_bytes());
    Ok(Running { child, text })
}

/// A program in a process group of its own: a Ctrl-C or Ctrl-Z at the terminal is meant for
/// raftq, and must not end or stop a removal half-way.
fn apart(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.process_group(0);
    command
}

impl Running {
    /// Waits until it is done.
    pub fn finish(self) -> io::Result<()> {
        let output = self.child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().find(|l| !l.starts_with('#')).unwrap_or("it failed").trim();
        Err(io::Error::other(match failed_line(said, &self.text) {
            Some(line) => format!("{said} ({line})"),
            None => said.to_owned(),
        }))
    }
}

/// The line of the script that a message like `line 2 failed` means.
fn failed_line<'a>(said: &str, text: &'a str) -> Option<&'a str> {
    let number = said.split("line ").nth(1)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    text.lines().nth(digits.parse::<usize>().ok()?.checked_sub(1)?)
}

/// What `iptables-save` prints in `ns`, the mangle table at least. Looking changes nothing:
/// legacy registers a table that is asked for by name, so it is not; nft does not, and may
/// fail over a foreign table if it is asked for all.
pub fn save(ns: &NetNs, flavour: Flavour, family: Family) -> io::Result<String> {
    let program = flavour.program(family, "save")?;
    let only: &[&str] = match flavour {
        Flavour::Nft => &["-t", "mangle"],
        Flavour::Legacy => &[],
    };
    let output = ns.enter(|| apart(program).args(only).stdin(Stdio::null()).output())??;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(said.lines().next().unwrap_or("it failed").to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The lines of one table in a save.
pub fn table<'a>(save: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let opening = format!("*{name}");
    let lines = save.lines().skip_while(move |line| *line != opening).skip(1);
    lines.take_while(|line| *line != "COMMIT")
}

/// A program by name: in `PATH`, then where administrators' programs are, which the `PATH`
/// of a plain `su` leaves out.
#[must_use]
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(extra).map(|dir| dir.join(name)).find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_line_of_the_script() {
        let text = "*mangle\n-N C\nCOMMIT\n";
        let said = "iptables-nft-restore: line 2 failed: Chain already exists.";
        assert_eq!(failed_line(said, text), Some("-N C"));
        assert_eq!(failed_line("no number", text), None);
        assert_eq!(failed_line("line 0 failed", text), None);
    }

    #[test]
    fn a_table_is_cut_out_of_a_save() {
        let save = "# c\n*filter\n:A\nCOMMIT\n*mangle\n:B\n-A B\nCOMMIT\n*raw\nCOMMIT\n";
        assert_eq!(table(save, "mangle").collect::<Vec<_>>(), [":B", "-A B"]);
        assert_eq!(table(save, "nat").count(), 0);
    }
}
