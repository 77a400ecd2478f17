//! Opens everything a node needs, and runs it.
//!
//! There is no orderly end: what was promised is on disk at any moment, so a signal may just end
//! the process. It comes back from here only by trouble.

use crate::config::NodeArgs;
use crate::core::{Core, FIRST};
use crate::disk::Disk;
use crate::http;
use crate::join;
use crate::machine::Machine;
use crate::members::Members;
use crate::peers::{self, Identity, Peers};
use crossbeam_channel::bounded;
use raft::eraftpb::Snapshot;
use std::fmt;
use std::io;
use std::net::TcpListener;

/// Exit code for arguments that contradict each other.
pub const BAD_INPUT: u8 = 4;

/// Exit code for a host that does not do its part.
pub const ENVIRONMENT: u8 = 5;

/// Inputs that wait for the core; who has more to say waits.
const WAITING_MAX: usize = 8192;

/// Why a node did not start, or ended.
#[derive(Debug)]
pub struct Trouble {
    /// What went wrong, and what to do.
    pub what: String,
    /// With which code to end.
    pub exit_code: u8,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

fn environment(what: String) -> Trouble {
    Trouble { what, exit_code: ENVIRONMENT }
}

/// Runs a node, for as long as the disk takes what it promises.
pub fn run(args: &NodeArgs) -> Result<(), Trouble> {
    let Some((first_id, address)) = args.peers.find(&args.name) else {
        let what = format!("{} is not among --peers; name this node as it stands there", args.name);
        return Err(Trouble { what, exit_code: BAD_INPUT });
    };
    let (inbox, inputs) = bounded(WAITING_MAX);
    // The folder first: a second process on the same ports must not touch it, but it is the
    // ports that tell, and they are bound before anything is promised.
    let listener = TcpListener::bind(address)
        .map_err(|e| environment(format!("cannot listen for peers at {address}: {e}")))?;
    let unusable =
        |e: io::Error| environment(format!("cannot use --data {}: {e}", args.data.display()));
    let (mut disk, mut found) =
        Disk::open(&args.data, &args.cluster, &args.name, random()).map_err(unusable)?;
    if found.log.torn > 0 {
        log::warn!("cut off {} bytes that a crash left half written", found.log.torn);
    }
    http::serve(args.listen_client, inbox.clone()).map_err(|e| {
        environment(format!("cannot listen for clients at {}: {e}", args.listen_client))
    })?;
    let threads = |e: io::Error| environment(format!("cannot start a thread: {e}"));
    let id = match disk.identity.id {
        Some(id) => id,
        None if args.join => join::await_id(args, &disk.identity, address, &inputs, inbox.clone())
            .map_err(threads)?,
        None => {
            found.snapshot = first_snapshot(args);
            disk.save_snapshot(&found.snapshot).map_err(unusable)?;
            first_id
        }
    };
    if disk.identity.id.is_none() {
        disk.save_id(id).map_err(unusable)?;
    }
    let identity = Identity { cluster: args.cluster.clone(), id, address };
    let ways = Peers::new(identity.clone(), inbox.clone());
    let core = Core::new(args, id, disk, found, ways, life()).map_err(environment)?;
    peers::listen(&identity, listener, inbox).map_err(threads)?;
    log::info!(
        "{} (node {id}) speaks with peers at {address}, with clients at {}",
        args.name,
        args.listen_client
    );
    core.run(&inputs).map_err(|e| {
        environment(format!("{}: the disk failed, so this node ends: {e}", args.data.display()))
    })
}

/// What every node of a new cluster begins with. It stands behind an entry that nobody has, so
/// that a node which joins later cannot replay the log from its start: who the first members
/// are is in no entry.
fn first_snapshot(args: &NodeArgs) -> Snapshot {
    let machine = Machine::first(Members::first(args.peers.iter()));
    let mut snapshot = Snapshot { data: machine.save().into(), ..Snapshot::default() };
    let metadata = snapshot.mut_metadata();
    (metadata.index, metadata.term) = FIRST;
    metadata.mut_conf_state().voters = machine.members.ids();
    snapshot
}

/// A number that tells this process from earlier ones of the same node.
fn life() -> u64 {
    random() & u64::from(u32::MAX)
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the process id does as well, unless it comes around.
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => u64::from(std::process::id()),
    }
}
