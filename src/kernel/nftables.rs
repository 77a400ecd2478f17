//! What iptables cannot do to the tables that its nft flavour makes: look without spawning
//! a process, and delete an empty base chain or table.
//!
//! Speaks `nf_tables` directly, so that the `nft` program need not be there. It deletes only
//! with the kernel's own check for emptiness (`NLM_F_NONREC`), so a rule that somebody adds
//! at the last moment stays, and so does its table. It makes nothing.

use super::netlink::{self, ACK, Message};
use super::topology::Family;
use std::io;

const NETLINK_NETFILTER: i32 = 12;
const SUBSYS: u16 = 10 << 8;
const GETTABLE: u16 = SUBSYS | 1;
const DELTABLE: u16 = SUBSYS | 2;
const GETCHAIN: u16 = SUBSYS | 4;
const DELCHAIN: u16 = SUBSYS | 5;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_POLICY: u16 = 5;
const CHAIN_USE: u16 = 6;
/// `NLM_F_NONREC`: refuse to delete what is not empty.
const NONREC: u16 = 0x100;
const POLICY_ACCEPT: u32 = 1;

/// The table that raftq's rules are in.
const TABLE: &str = "mangle";

/// A chain as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Number of rules in it plus number of jumps to it.
    pub uses: u32,
    /// Whether its policy is to accept; chains without a policy count as such.
    pub accepts: bool,
}

/// Whether the mangle table exists in this thread's namespace.
pub fn has_table(family: Family) -> io::Result<bool> {
    let ask = Message::new(GETTABLE, 0, &header(family)).text(TABLE_NAME, TABLE);
    Ok(one(ask)?.is_some())
}

/// A chain of the mangle table in this thread's namespace.
pub fn chain(family: Family, name: &str) -> io::Result<Option<Chain>> {
    let ask =
        Message::new(GETCHAIN, 0, &header(family)).text(CHAIN_TABLE, TABLE).text(CHAIN_NAME, name);
    let Some(body) = one(ask)? else { return Ok(None) };
    let number = |kind| {
        let value = netlink::attr(body.get(4..)?, kind)?;
        netlink::word(value).map(u32::from_be_bytes)
    };
    Ok(Some(Chain {
        uses: number(CHAIN_USE).unwrap_or(0),
        accepts: number(CHAIN_POLICY).is_none_or(|policy| policy == POLICY_ACCEPT),
    }))
}

/// Deletes a base chain if it is empty and accepts; `false` where it stays.
pub fn delete_empty_chain(family: Family, name: &str) -> io::Result<bool> {
    // An empty chain with another policy is somebody's firewall.
    match chain(family, name)? {
        None => return Ok(true),
        Some(chain) if chain.uses > 0 || !chain.accepts => return Ok(false),
        Some(_) => {}
    }
    let delete = Message::new(DELCHAIN, ACK | NONREC, &header(family))
        .text(CHAIN_TABLE, TABLE)
        .text(CHAIN_NAME, name);
    commit(delete)
}

/// Deletes the mangle table if nothing is in it; `false` where it stays.
pub fn delete_empty_table(family: Family) -> io::Result<bool> {
    let delete = Message::new(DELTABLE, ACK | NONREC, &header(family)).text(TABLE_NAME, TABLE);
    commit(delete)
}

/// One request without acknowledgement; `None` where the kernel knows no such object, or
/// no `nf_tables` at all.
fn one(ask: Message) -> io::Result<Option<Vec<u8>>> {
    match netlink::exchange(NETLINK_NETFILTER, vec![ask]) {
        Ok(answers) => Ok(answers.into_iter().next().map(|answer| answer.body)),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A transaction of one deletion.
fn commit(delete: Message) -> io::Result<bool> {
    let batch = |kind| Message::new(kind, 0, &[0, 0, 0, 10]);
    let messages = vec![batch(BATCH_BEGIN), delete, batch(BATCH_END)];
    match netlink::exchange(NETLINK_NETFILTER, messages) {
        Ok(_) => Ok(true),
        Err(e) => match e.raw_os_error() {
            Some(libc::ENOENT) => Ok(true),
            Some(libc::EBUSY) => Ok(false),
            _ => Err(e),
        },
    }
}

/// `struct nfgenmsg`.
fn header(family: Family) -> [u8; 4] {
    const NFPROTO_IPV4: u8 = 2;
    const NFPROTO_IPV6: u8 = 10;
    let number = match family {
        Family::V4 => NFPROTO_IPV4,
        Family::V6 => NFPROTO_IPV6,
    };
    [number, 0, 0, 0]
}
