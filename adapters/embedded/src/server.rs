//! Opens everything a node needs, and runs it.
//!
//! There is no orderly end: what was promised is on disk at any moment, so a signal may just end
//! the process. It comes back from here only by trouble.

use crate::config::NodeArgs;
use crate::core::Core;
use crate::disk::Disk;
use crate::http;
use crate::peers::{self, Identity, Peers};
use crossbeam_channel::bounded;
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
    let Some((id, address)) = args.peers.find(&args.name) else {
        let what = format!("{} is not among --peers; name this node as it stands there", args.name);
        return Err(Trouble { what, exit_code: BAD_INPUT });
    };
    let (inbox, inputs) = bounded(WAITING_MAX);
    // The folder first: a second process on the same ports must not touch it, but it is the
    // ports that tell, and they are bound before anything is promised.
    let listener = TcpListener::bind(address)
        .map_err(|e| environment(format!("cannot listen for peers at {address}: {e}")))?;
    let identity = format!("{} ({id}) of cluster {}", args.name, args.cluster);
    let (disk, found) = Disk::open(&args.data, &identity)
        .map_err(|e| environment(format!("cannot use --data {}: {e}", args.data.display())))?;
    if found.log.torn > 0 {
        log::warn!("cut off {} bytes that a crash left half written", found.log.torn);
    }
    let identity = Identity { cluster: args.cluster.clone(), id, address };
    let threads = |e: io::Error| environment(format!("cannot start a thread: {e}"));
    let all = args.peers.iter().map(|(id, _, address)| (id, address));
    let ways = Peers::start(&identity, all, &inbox).map_err(threads)?;
    let core = Core::new(args, id, disk, found, ways, life()).map_err(environment)?;
    http::serve(args.listen_client, inbox.clone()).map_err(|e| {
        environment(format!("cannot listen for clients at {}: {e}", args.listen_client))
    })?;
    peers::listen(&identity, listener, args.peers.ids(), inbox.clone()).map_err(threads)?;
    drop(inbox);
    log::info!(
        "{} (node {id}) speaks with peers at {address}, with clients at {}",
        args.name,
        args.listen_client
    );
    core.run(&inputs).map_err(|e| {
        environment(format!("{}: the disk failed, so this node ends: {e}", args.data.display()))
    })
}

/// A number that tells this process from earlier ones of the same node.
fn life() -> u64 {
    let mut bytes = [0; 4];
    // Without randomness the process id does as well, unless it comes around.
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from(u32::from_le_bytes(bytes)),
        Err(_) => u64::from(std::process::id()),
    }
}
