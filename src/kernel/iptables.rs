//! raftq's rules in the mangle table: in with one atomic restore a family, out with one.
//!
//! Every chain bears the run's name, the jump to it stands last in its base chain, and what
//! existed before is noted, so that removal leaves the firewall as it was: rules by
//! `iptables-restore`, then the empty base chain and table of the nft flavour if raftq made
//! them (`nftables.rs`). Rules of others are never touched, except jumps to our chain. The
//! legacy flavour registers its table with the kernel for good; nothing can undo that.

use super::chains::{Script, Spec, base_chain, jump, script};
use super::netns::{NetNs, NsRef};
use super::nftables;
use super::restore::{self, Running};
use super::topology::{Family, Hook};
use super::trouble::Trouble;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::BorrowedFd;

pub use super::restore::Flavour;

/// The rules of one family in one namespace, with all that is needed to remove them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Installed {
    /// Where they are.
    pub ns: NsRef,
    /// Which table.
    pub family: Family,
    /// Through which kernel interface.
    pub flavour: Flavour,
    /// Which base chain.
    pub hook: Hook,
    /// The chains that are ours, the first one jumped to.
    pub chains: Vec<String>,
    /// How much of ours refers to each: its rules, and the jumps to it.
    pub uses: Vec<u32>,
    /// Whether the table came into being with our rules (nft only).
    pub made_table: bool,
    /// Whether the base chain did (nft only).
    pub made_base: bool,
    /// An open namespace is faster to come back to than one that must be found.
    #[serde(skip)]
    open: Option<NetNs>,
}

/// Rules that are ready to go in.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What will be there; goes into the record before the rules go in.
    pub installed: Installed,
    script: Script,
}

/// How a removal went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// All was there and is gone now.
    Removed,
    /// Somebody had removed a part; the rest is gone now.
    RestRemoved,
    /// Nothing of it was there.
    WasGone,
    /// The namespace is gone, and its rules with it.
    NamespaceGone,
}

/// Makes the rules of a site ready, one [`Prepared`] a family, and notes what exists. Whoever
/// calls holds the record's lock, so that no other raftq comes or goes meanwhile.
pub fn prepare(spec: &Spec<'_>, flavour: Flavour) -> Result<Vec<Prepared>, Trouble> {
    let site = spec.site;
    let ready = |&family: &Family| {
        let script = script(spec, family)?;
        let before = match flavour {
            Flavour::Legacy => Ok((true, true)),
            Flavour::Nft => site.ns.enter(|| before(family, site.hook)).and_then(|r| r),
        };
        Some(before.map_err(|e| unasked(&site.ns, &e)).map(|(table, base)| Prepared {
            installed: Installed {
                ns: site.ns.reference().clone(),
                family,
                flavour,
                hook: site.hook,
                chains: script.chains.clone(),
                uses: script.chains.iter().map(|c| uses(&script.text, c)).collect(),
                made_table: !table,
                made_base: !base,
                open: Some(site.ns.clone()),
            },
            script,
        }))
    };
    site.families.iter().filter_map(ready).collect()
}

/// Whether the table and the base chain exist.
fn before(family: Family, hook: Hook) -> io::Result<(bool, bool)> {
    let table = nftables::has_table(family)?;
    Ok((table, table && nftables::chain(family, base_chain(hook))?.is_some()))
}

/// Puts all of them in, at once where it can; if one fails, none stays.
pub fn install_all(prepared: &[Prepared]) -> Result<(), Trouble> {
    install(prepared, None)
}

/// The same; the programs that do it hold the record's lock themselves. They go on when raftq
/// is killed, and who removes what it left has to come after them.
pub fn install_all_under(lock: BorrowedFd<'_>, prepared: &[Prepared]) -> Result<(), Trouble> {
    install(prepared, Some(lock))
}

fn install(prepared: &[Prepared], lock: Option<BorrowedFd<'_>>) -> Result<(), Trouble> {
    let start = |p: &Prepared| p.installed.start(p.script.text.clone(), lock);
    let running: Vec<_> = prepared.iter().map(start).collect();
    let mut failed = None;
    let mut done = Vec::new();
    for (p, running) in prepared.iter().zip(running) {
        match running.and_then(Running::finish) {
            Ok(()) => done.push(p.installed.clone()),
            Err(e) => failed = Some(refused(&p.installed, &e)),
        }
    }
    let Some(trouble) = failed else { return Ok(()) };
    for (installed, removal) in done.iter().zip(remove_all(&done)) {
        if let Err(e) = removal {
            log::error!("{}: {e}", installed.ns.label);
        }
    }
    Err(trouble)
}

/// Removes all of them: first every rule everywhere, all namespaces at once, because packets
/// may be waiting for it; then the empty chains and tables that raftq made.
pub fn remove_all(installed: &[Installed]) -> Vec<Result<Removal, Trouble>> {
    let found: Vec<_> = installed.iter().map(Installed::reopened).collect();
    let start = |i: &Installed| i.start(i.removal_script(), None);
    let running: Vec<_> =
        found.iter().map(|found| found.as_ref().ok()?.as_ref().map(start)).collect();
    let removed = installed.iter().zip(found).zip(running).map(|((i, found), running)| {
        let Some(open) = found.map_err(|e| hidden(i, &e))? else {
            return Ok((Removal::NamespaceGone, None));
        };
        let result = running.expect("it was started where the namespace is open");
        let removal = match result.and_then(Running::finish) {
            Ok(()) => Removal::Removed,
            Err(_) => open.remove_rest()?,
        };
        Ok((removal, Some(open)))
    });
    // All rules are out before the first thing is tidied up, everywhere at once.
    let removed: Vec<_> = removed.collect();
    std::thread::scope(|scope| {
        for open in removed.iter().flatten().filter_map(|(_, open)| open.as_ref()) {
            let tidy = || tidied(open);
            if std::thread::Builder::new().spawn_scoped(scope, tidy).is_err() {
                tidied(open);
            }
        }
    });
    removed.into_iter().map(|result| result.map(|(removal, _)| removal)).collect()
}

/// The second step of a removal, which never fails the first.
fn tidied(installed: &Installed) {
    if let Err(e) = installed.tidy() {
        log::warn!("{}: an empty chain or table stays ({e})", installed.ns.label);
    }
}

impl Installed {
    /// Removes these rules; does nothing where they are gone.
    pub fn remove(&self) -> Result<Removal, Trouble> {
        remove_all(std::slice::from_ref(self)).pop().expect("one result for each")
    }

    /// Whether our chains are as they were put in and the first is still jumped to: the queue
    /// rules are in the last. Cheap on nft; legacy has to ask a program.
    pub fn stands(&self) -> io::Result<bool> {
        let Some(ns) = self.reopened()?.and_then(|i| i.open) else { return Ok(false) };
        let mut expected = self.chains.iter().zip(&self.uses);
        match self.flavour {
            // The kernel counts the same.
            Flavour::Nft => ns.enter(|| {
                for (name, uses) in expected {
                    let chain = nftables::chain(self.family, name)?;
                    if chain.is_none_or(|chain| chain.uses < *uses) {
                        return Ok(false);
                    }
                }
                Ok(true)
            })?,
            Flavour::Legacy => {
                let save = restore::save(&ns, self.flavour, self.family)?;
                let jump = format!("-A {}", jump(self.hook, &self.chains[0]));
                let whole = expected.all(|(name, uses_then)| uses(&save, name) >= *uses_then);
                Ok(whole && save.lines().any(|line| line == jump))
            }
        }
    }

    /// Lets it tidy up what another run of raftq made: whoever leaves last finds it empty.
    pub fn inherit(&mut self, others: &[Self]) {
        let same = |o: &&Self| {
            o.ns.id == self.ns.id && o.family == self.family && o.flavour == self.flavour
        };
        for other in others.iter().filter(same) {
            self.made_table |= other.made_table;
            self.made_base |= other.made_base && other.hook == self.hook;
        }
    }

    /// With its namespace open; `None` when that is gone.
    fn reopened(&self) -> io::Result<Option<Self>> {
        let open = match &self.open {
            Some(open) => Some(open.clone()),
            None => NetNs::find(&self.ns)?,
        };
        Ok(open.map(|open| Self { open: Some(open), ..self.clone() }))
    }

    fn start(&self, text: String, held: Option<BorrowedFd<'_>>) -> io::Result<Running> {
        let ns = self.open.as_ref().ok_or_else(|| io::Error::other("its namespace is gone"))?;
        restore::start(ns, self.flavour, self.family, text, held)
    }

    /// Takes out everything, or fails and takes out nothing.
    fn removal_script(&self) -> String {
        let first = self.chains.first().map_or("", String::as_str);
        let mut lines = vec!["*mangle".into(), format!("-D {}", jump(self.hook, first))];
        lines.extend(self.chains.iter().map(|chain| format!("-F {chain}")));
        lines.extend(self.chains.iter().map(|chain| format!("-X {chain}")));
        lines.push("COMMIT\n".into());
        lines.join("\n")
    }

    /// Somebody has been at our rules: looks at what is left, and removes that. If that
    /// fails, somebody may have been faster once more, such as the last program that a killed
    /// raftq started; so it looks again.
    fn remove_rest(&self) -> Result<Removal, Trouble> {
        let ns = self.open.as_ref().expect("only called on a reopened one");
        let mut failed = None;
        for _ in 0..3 {
            let rest = restore::save(ns, self.flavour, self.family)
                .map(|save| leftovers(&save, &self.chains))
                .map_err(|e| unasked(ns, &e))?;
            let Some(script) = rest else { return Ok(Removal::WasGone) };
            match self.start(script, None).and_then(Running::finish) {
                Ok(()) => return Ok(Removal::RestRemoved),
                Err(e) => failed = Some(e),
            }
        }
        Err(stays(self, &failed.unwrap_or_else(|| io::Error::other("it does not go"))))
    }

    /// Deletes what the nft flavour leaves behind, if we made it and nobody uses it.
    fn tidy(&self) -> io::Result<()> {
        let Some(ns) = self.open.as_ref().filter(|_| self.flavour == Flavour::Nft) else {
            return Ok(());
        };
        let base = self.made_base.then(|| base_chain(self.hook));
        if base.is_none() && !self.made_table {
            return Ok(());
        }
        ns.enter(|| nftables::delete_empty(self.family, base, self.made_table))?
    }
}

/// The rules of a chain and the jumps to it, in a script or a save.
fn uses(text: &str, chain: &str) -> u32 {
    let (rule, jump) = (format!("-A {chain} "), format!(" -j {chain}"));
    text.lines().map(|l| u32::from(l.starts_with(&rule)) + u32::from(l.ends_with(&jump))).sum()
}

/// A script that removes what a save still shows of our chains and of jumps to them.
fn leftovers(save: &str, chains: &[String]) -> Option<String> {
    let ours = |name: &str| chains.iter().any(|chain| chain == name);
    let mangle = restore::table(save, "mangle");
    let mut jumps = Vec::new();
    let mut declared = Vec::new();
    for line in mangle {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some(name) = first.strip_prefix(':') {
            declared.extend(ours(name).then_some(name));
        } else if first == "-A" && !words.next().is_some_and(ours) {
            let jumps_here = words.clone().zip(words.skip(1));
            let mut jumps_here = jumps_here.filter(|(flag, _)| matches!(*flag, "-j" | "-g"));
            if jumps_here.any(|(_, target)| ours(target)) {
                jumps.push(line.replacen("-A", "-D", 1));
            }
        }
    }
    if declared.is_empty() {
        return None;
    }
    let flush = declared.iter().map(|chain| format!("-F {chain}"));
    let delete = declared.iter().map(|chain| format!("-X {chain}"));
    let lines = std::iter::once("*mangle".to_owned()).chain(jumps).chain(flush).chain(delete);
    Some(lines.collect::<Vec<_>>().join("\n") + "\nCOMMIT\n")
}

fn refused(installed: &Installed, e: &io::Error) -> Trouble {
    let cause = format!("the rules could not be installed in {}: {e}", installed.ns.label);
    let way_out = if e.to_string().contains("exists") {
        "`raftq clean` removes what a killed raftq left behind"
    } else {
        "`raftq doctor` says what this host lacks"
    };
    Trouble::new(cause, way_out)
}

fn stays(installed: &Installed, e: &io::Error) -> Trouble {
    Trouble::new(format!("rules stay behind in {}: {e}", installed.ns.label), "run `raftq clean`")
}

fn hidden(installed: &Installed, e: &io::Error) -> Trouble {
    Trouble::new(
        format!("{} could not be found again ({e}); its rules may stay", installed.ns.label),
        "run `raftq clean` as root; in a container it needs CAP_SYS_PTRACE",
    )
}

fn unasked(ns: &NetNs, e: &io::Error) -> Trouble {
    Trouble::new(
        format!("the firewall of {ns} cannot be read ({e})"),
        "`raftq doctor` says what this host lacks",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVE: &str = "\
*filter
:C - [0:0]
-A INPUT -j C
COMMIT
*mangle
:INPUT ACCEPT [0:0]
:C - [0:0]
:USER - [0:0]
-A INPUT -p tcp -j USER
-A INPUT -j C
-A USER -s 10.0.0.1/32 -g C
-A C -p udp -j NFQUEUE --queue-num 1
COMMIT
";

    #[test]
    fn leftovers_are_our_chains_and_jumps_to_them_and_nothing_else() {
        let expected = "*mangle\n-D INPUT -j C\n-D USER -s 10.0.0.1/32 -g C\n-F C\n-X C\nCOMMIT\n";
        let chains = ["C".to_owned(), "C-D".to_owned()];
        assert_eq!(leftovers(SAVE, &chains).as_deref(), Some(expected));
        assert_eq!(leftovers(SAVE, &["OTHER".to_owned()]), None);
    }
}
