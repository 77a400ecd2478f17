//! What iptables cannot do to the tables that its nft flavour makes: look without spawning
//! a process, and delete an empty base chain or table.
//!
//! Speaks `nf_tables` directly, so that the `nft` program need not be there. It deletes only
//! with the kernel's own check for emptiness (`NLM_F_NONREC`), so a rule that somebody adds
//! at the last moment stays, and so does its table. It makes nothing.

use super::netlink::{self, Message};
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

/// Deletes a base chain if it is empty and accepts, and the mangle table if nothing is in
/// it then; both only where asked to. What is in use stays, and that is no error.
pub fn delete_empty(family: Family, base: Option<&str>, table: bool) -> io::Result<()> {
    let base = match base {
        // An empty chain with another policy is somebody's firewall.
        Some(name) => chain(family, name)?
            .filter(|c| c.uses == 0 && c.accepts)
            .map(|_| del_chain(family, name)),
        None => None,
    };
    let table =
        table.then(|| Message::new(DELTABLE, NONREC, &header(family)).text(TABLE_NAME, TABLE));
    // Every transaction waits some 20 ms for the packets under way, so one is tried for both.
    if let (Some(base), Some(table)) = (&base, &table)
        && commit(vec![base.clone(), table.clone()]).is_ok()
    {
        return Ok(());
    }
    for delete in [base, table].into_iter().flatten() {
        match commit(vec![delete]).map_err(|e| e.raw_os_error().ok_or(e)) {
            Ok(()) | Err(Ok(libc::ENOENT | libc::EBUSY)) => {}
            Err(Ok(code)) => return Err(io::Error::from_raw_os_error(code)),
            Err(Err(e)) => return Err(e),
        }
    }
    Ok(())
}

fn del_chain(family: Family, name: &str) -> Message {
    Message::new(DELCHAIN, NONREC, &header(family)).text(CHAIN_TABLE, TABLE).text(CHAIN_NAME, name)
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

/// One transaction. An error is reported for any of the deletions, success for the last,
/// which is the one that is made to ask for it.
fn commit(mut deletions: Vec<Message>) -> io::Result<()> {
    let batch = |kind| Message::new(kind, 0, &[0, 0, 0, 10]);
    if let Some(last) = deletions.last_mut() {
        last.ask_for_ack();
    }
    let mut messages = vec![batch(BATCH_BEGIN)];
    messages.append(&mut deletions);
    messages.push(batch(BATCH_END));
    netlink::exchange(NETLINK_NETFILTER, messages).map(drop)
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
