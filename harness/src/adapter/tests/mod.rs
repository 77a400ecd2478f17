//! What adapter files say, what is told about wrong ones, and what answers are worth.

mod admin;
mod calls;
mod files;
mod http;

use super::*;
use crate::system::{Answer, Request};
use std::net::Ipv4Addr;

/// Answers within this time are in time; nothing here takes as long.
const LIMIT: Duration = Duration::from_secs(10);

fn read(text: &str, variants: &[&str]) -> Result<Adapter> {
    Adapter::read(text, Path::new("a.yaml"), "a", variants)
}

/// An adapter with these operations, and a node that speaks HTTP.
fn own(operations: &str) -> String {
    format!(
        "about: a test\nnode: {{ program: sh, ports: {{ peer: 1, client: 2 }} }}\n\
         base: 'http://{{{{ node.address }}}}:{{{{ node.ports.client }}}}'\n\
         status: {{ get: /, leads: 'true' }}\noperations:\n{operations}"
    )
}

const WRITE: &str = "  write:\n    promise: linearizable\n    put: '/{{ key | percent }}'\n    \
    body: '{{ value }}'\n    answers:\n      - { when: status == 200, is: done }\n      \
    - { when: status == 409, is: refused }\n      - { when: status == 421, is: not done }\n";

fn session(adapter: &Adapter, port: u16) -> Box<dyn Session> {
    let place = NodePlace {
        name: "n1".into(),
        address: Ipv4Addr::LOCALHOST.into(),
        ports: BTreeMap::from([("peer".into(), 1), ("client".into(), port)]),
        data: PathBuf::new(),
        netns: None,
    };
    adapter.session(&[place], 0).expect("a session")
}

fn write() -> Request {
    Request::Write { key: "k".into(), value: "v".into() }
}

fn is_unknown(answer: &std::result::Result<Answer, Failure>) -> bool {
    matches!(answer, Err(Failure::Unknown(_)))
}

fn is_not_done(answer: &std::result::Result<Answer, Failure>) -> bool {
    matches!(answer, Err(Failure::NotDone(_)))
}
