//! Calls about the cluster itself: members added and removed, leadership handed over, snapshots
//! forced. What an adapter offers of these stands in its section `admin`.

use super::file::Call;
use super::session::HttpSession;
use super::template::Templates;
use super::{Adapter, NodePlace, about, all, wrong};
use crate::Result;
use crate::system::{Answer, Failure};
use minijinja::{Value, context};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What may be asked of a cluster about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admin {
    /// To take a node in.
    Add,
    /// To put a node out.
    Remove,
    /// To make a node the leader.
    Transfer,
    /// To make a node take a snapshot and drop its log.
    Compact,
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Transfer => "transfer",
            Self::Compact => "compact",
        })
    }
}

/// Who is asked for such a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Asked {
    /// The leader of the moment.
    Leader,
    /// The node that the call is about.
    Target,
}

/// Whom a call asks, and about whom; nodes are counted from 0.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    /// The node that is asked.
    pub asked: usize,
    /// The node that it is about.
    pub target: usize,
    /// That node's id as a member, as it told it last.
    pub member: Option<&'s str>,
}

/// How a node finds its cluster when it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// The nodes that belong to the cluster, this one included, counted from 0.
    pub members: Vec<usize>,
    /// Whether it was added to a cluster that ran already.
    pub joined: bool,
}

impl Joining {
    /// A new cluster of this size.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self { members: (0..nodes).collect(), joined: false }
    }
}

impl Adapter {
    /// Whether the system has a call for this.
    #[must_use]
    pub fn offers(&self, what: Admin) -> bool {
        self.inner.file.admin.contains_key(&what)
    }

    /// Whether the node that it is about has to be asked itself, instead of the leader.
    #[must_use]
    pub fn asks_target(&self, what: Admin) -> bool {
        let call = self.inner.file.admin.get(&what);
        call.is_some_and(|call| call.at == Some(Asked::Target))
    }

    /// Makes such a call once. The error says that there is none, or that it cannot be made.
    pub fn administer(
        &self,
        what: Admin,
        nodes: &[NodePlace],
        subject: Subject<'_>,
        limit: Duration,
    ) -> Result<std::result::Result<Answer, Failure>> {
        let call = self.inner.file.admin.get(&what);
        let call = call.ok_or_else(|| wrong(not_offered(self.name(), what)))?;
        let session = HttpSession::new(&self.inner, nodes, subject.asked)?;
        let target = target(nodes, subject);
        let fields = context! { node => about(nodes, subject.asked), nodes => all(nodes), target };
        Ok(session.make(call, &fields, limit))
    }
}

/// For whoever wanted it.
fn not_offered(adapter: &str, what: Admin) -> String {
    format!("the adapter {adapter} does not offer `{what}`")
}

/// The node that a call is about, with its id if it has told one: a template that needs an id
/// which nobody knows is an error.
fn target(nodes: &[NodePlace], subject: Subject<'_>) -> Value {
    let target = about(nodes, subject.target);
    match subject.member {
        Some(member) => context! { member, ..target },
        None => target,
    }
}

/// Whether the calls of the section are complete and mean something.
pub(super) fn check(section: &BTreeMap<Admin, Call>, templates: &Templates) -> Result<()> {
    for (what, call) in section {
        let checked = super::file::check_call(call, templates);
        checked.map_err(|e| wrong(format!("admin.{what}: {e}")))?;
        if call.promise.is_some() {
            return Err(wrong(format!("admin.{what}: nothing is promised of such a call")));
        }
        if call.answers.iter().any(|meaning| meaning.is.is_none()) {
            return Err(wrong(format!("admin.{what}: its answers bear no data; write `is`")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::path::{Path, PathBuf};

    const FILE: &str = "about: a test\nnode: { program: sh, ports: { peer: 1, client: 2 } }\n\
        base: 'http://{{ node.address }}:{{ node.ports.client }}'\n\
        status: { get: /, leads: 'true' }\noperations:\n  write:\n    \
        promise: linearizable\n    put: '/{{ key | percent }}'\n    \
        answers: [{ when: status == 200, is: done }]\nadmin:\n  remove:\n    \
        post: '/out/{{ target.name }}/{{ target.member }}'\n    answers:\n      \
        - { when: status == 200, is: done }\n      - { when: status == 409, is: refused }\n  \
        compact:\n    at: target\n    post: /snapshot\n    \
        answers: [{ when: status == 200, is: done }]\n";

    fn read(text: &str) -> Result<Adapter> {
        Adapter::read(text, Path::new("a.yaml"), "a", &[])
    }

    fn places(port: u16) -> Vec<NodePlace> {
        let place = |i: u16| NodePlace {
            name: format!("n{i}"),
            address: Ipv4Addr::LOCALHOST.into(),
            ports: BTreeMap::from([("peer".into(), 1), ("client".into(), port)]),
            data: PathBuf::new(),
            netns: None,
        };
        (1..=3).map(place).collect()
    }

    fn remove(port: u16, member: Option<&str>) -> std::result::Result<Answer, Failure> {
        let adapter = read(FILE).expect("an adapter");
        let subject = Subject { asked: 0, target: 1, member };
        let limit = Duration::from_secs(5);
        adapter.administer(Admin::Remove, &places(port), subject, limit).expect("it is offered")
    }

    #[test]
    fn a_change_of_members_is_told_of_its_target_and_answered_as_the_file_says() {
        for (status, expected) in
            [("200 OK", Some(Answer::Done)), ("409 No", Some(Answer::Refused)), ("503 Later", None)]
        {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let port = listener.local_addr().expect("bound").port();
            let serve = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a call");
                let mut bytes = [0; 4096];
                let n = stream.read(&mut bytes).expect("a request");
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).expect("an answer");
                String::from_utf8_lossy(&bytes[..n]).into_owned()
            });
            let answer = remove(port, Some("77"));
            assert!(serve.join().expect("served").starts_with("POST /out/n2/77 "));
            assert_eq!(answer.as_ref().ok(), expected.as_ref(), "{status}: {answer:?}");
        }
    }

    #[test]
    fn an_id_that_nobody_told_is_not_made_up() {
        let why = remove(1, None).expect_err("not called");
        assert!(matches!(&why, Failure::NotDone(why) if why.contains("undefined")), "{why:?}");
    }

    #[test]
    fn what_an_adapter_does_not_offer_is_known_before_and_told() {
        let adapter = read(FILE).expect("an adapter");
        assert!(adapter.offers(Admin::Remove) && !adapter.offers(Admin::Add));
        assert!(adapter.asks_target(Admin::Compact) && !adapter.asks_target(Admin::Remove));
        let subject = Subject { asked: 0, target: 1, member: None };
        let told = adapter.administer(Admin::Add, &places(1), subject, Duration::from_secs(1));
        let told = told.expect_err("refused").to_string();
        assert!(told.contains("the adapter a does not offer `add`"), "{told}");
    }

    #[test]
    fn a_wrong_call_of_the_cluster_itself_is_told_by_its_name() {
        let told = |from: &str, to: &str| {
            assert!(FILE.contains(from), "{from}");
            read(&FILE.replace(from, to)).expect_err("refused").to_string()
        };
        let compact = "    post: /snapshot\n";
        for (from, to, word) in [
            (compact, "", "admin.compact: it needs exactly one of get, put, post and delete"),
            (compact, "    promise: stale\n    post: /snapshot\n", "nothing is promised"),
            ("at: target", "at: anybody", "anybody"),
            ("is: refused", "value: text", "admin.remove: its answers bear no data"),
            ("    promise: linearizable\n", "", "operations.write: it needs a `promise`"),
            (
                "    promise: linearizable\n",
                "    promise: linearizable\n    at: leader\n",
                "leave `at` out",
            ),
            ("  compact:", "  compacts:", "compacts"),
        ] {
            let told = told(from, to);
            assert!(told.contains(word), "{word}: {told}");
        }
    }

    #[test]
    fn a_node_that_joins_is_started_for_the_members_of_then() {
        let text = FILE.replace(
            "program: sh,",
            "program: sh, args: ['{% for n in members %}{{ n.name }}:{{ n.index }} {% endfor %}', \
             '{{ nodes | length }}'], join_args: [--join],",
        );
        let adapter = read(&text).expect("an adapter");
        let args =
            |joining: &Joining| adapter.launch(&places(1), 2, joining).expect("a launch").args;
        assert_eq!(args(&Joining::new(3)), ["n1:1 n2:2 n3:3 ", "3"]);
        let late = Joining { members: vec![0, 2], joined: true };
        assert_eq!(args(&late), ["n1:1 n3:3 ", "3", "--join"]);
    }
}
