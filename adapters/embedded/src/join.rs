//! How a node that joins learns its id: it asks the others under its name until it was added.
//!
//! On a connection of its own to the address for peers of any member, one line each way:
//!
//! ```text
//! question  "raftq-join/1 <cluster> <name> <number of the folder>\n"
//! answer    "id <id>\n", or "not yet: <why>\n"
//! ```
//!
//! The asked member proposes a *claim* to the cluster, so the answer is what a majority agreed
//! on after the question, never a stale member's list: under the id of a member that was
//! removed, or whose data is wiped, nobody comes back.

use crate::clock;
use crate::config::NodeArgs;
use crate::core::Input;
use crate::disk::Identity;
use crate::http::{Answer, Task};
use crate::peers::dial_from;
use crossbeam_channel::{Receiver, Sender, after};
use serde_json::json;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What the question begins with.
pub(crate) const PREAMBLE: &str = "raftq-join/1";

/// Between two rounds of asking everybody.
const ROUND: Duration = Duration::from_millis(100);

/// How long one member may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Waits for the id, answering clients meanwhile that there is no member here yet. Fails when
/// no thread can be had for asking.
pub(crate) fn await_id(
    args: &NodeArgs,
    identity: &Identity,
    address: SocketAddr,
    inputs: &Receiver<Input>,
    inbox: Sender<Input>,
) -> io::Result<u64> {
    let others: Vec<SocketAddr> =
        args.peers.iter().map(|(_, _, other)| other).filter(|other| *other != address).collect();
    let Identity { cluster, name, folder, .. } = identity;
    let question = format!("{PREAMBLE} {cluster} {name} {folder}\n");
    log::info!("{name} waits to be added to the cluster {cluster}");
    let ask_all = move || {
        let mut told = vec![String::new(); others.len()];
        loop {
            for (to, told) in others.iter().zip(&mut told) {
                match ask(address, *to, &question) {
                    Ok(id) => {
                        let _ = inbox.send(Input::Joined(id));
                        return;
                    }
                    // Told once, not in each of many rounds.
                    Err(e) if e.to_string() != *told => {
                        *told = e.to_string();
                        log::info!("{to}: {told}");
                    }
                    Err(_) => {}
                }
            }
            let _ = after(ROUND).recv();
        }
    };
    std::thread::Builder::new().name("join".into()).spawn(ask_all)?;
    for input in inputs {
        match input {
            Input::Joined(id) => return Ok(id),
            Input::Client(Task::Status, reply) => reply.send(Answer::Json(json!({
                "name": name,
                "role": "joining",
                "members": [],
            }))),
            Input::Client(_, reply) => {
                reply.send(Answer::NotDone("this node is no member yet".into()));
            }
            _ => {}
        }
    }
    unreachable!("the thread that asks ends only with an answer")
}

fn ask(own: SocketAddr, to: SocketAddr, question: &str) -> io::Result<u64> {
    let mut stream = dial_from(own, to)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(question.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(256)).read_line(&mut line)?;
    let id = line.strip_prefix("id ").and_then(|id| id.trim().parse().ok());
    id.ok_or_else(|| io::Error::other(line.trim()))
}

/// The asked member's side: waits for its core, and answers.
pub(crate) fn answer(mut stream: &TcpStream, answer: &Receiver<Answer>) -> io::Result<()> {
    let line = match answer.recv_deadline(clock::now() + ANSWER_MAX) {
        Ok(Answer::Joined(id)) => format!("id {id}\n"),
        Ok(Answer::NotDone(why)) => format!("not yet: {why}\n"),
        _ => "not yet: the cluster did not decide in time\n".to_owned(),
    };
    stream.write_all(line.as_bytes())
}
