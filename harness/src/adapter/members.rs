//! Which members a running cluster has, asked of any one of them: so a cluster that raftq did not
//! start is found by a client's URL alone.

use super::answer::{Answered, Silent};
use super::file::{Expression, MembersFields};
use super::http::Connection;
use super::{Adapter, NodePlace, wrong};
use crate::system::Failure;
use crate::{Error, Result};
use minijinja::{Value, context};
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// One member of a running cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, as the system has it.
    pub name: String,
    /// Where its peers reach it.
    pub peer: SocketAddr,
    /// Where its clients do.
    pub client: SocketAddr,
}

impl Member {
    /// Where it is, for sessions and questions about its state.
    #[must_use]
    pub fn place(&self) -> NodePlace {
        let ports = [("peer", self.peer.port()), ("client", self.client.port())];
        NodePlace {
            name: self.name.clone(),
            address: self.client.ip(),
            ports: ports.map(|(name, port)| (name.to_owned(), port)).into(),
            data: PathBuf::new(),
            netns: None,
        }
    }
}

impl Adapter {
    /// Whether members can be asked for at these URLs; the error says what the adapter lacks, or
    /// which of them is none.
    pub fn check_members(&self, urls: &[String]) -> Result<()> {
        self.members_fields()?;
        urls.iter().try_for_each(|url| endpoint(url).map(|_| ()))
    }

    fn members_fields(&self) -> Result<&MembersFields> {
        self.inner.file.members.as_ref().ok_or_else(|| {
            wrong(format!(
                "the adapter {} does not say how a cluster is asked for its members: it has no \
                 `members`",
                self.name()
            ))
        })
    }

    /// Asks whoever answers at this URL for the members of its cluster, in the order of names.
    pub fn members(&self, url: &str, limit: Duration) -> Result<Vec<Member>> {
        let fields = self.members_fields()?;
        endpoint(url)?;
        let (method, path) = fields.line().expect("checked when the adapter was read");
        let asked = format!("{}{path}", url.trim_end_matches('/'));
        let answer = Connection::new().call(method, &asked, fields.body.clone(), limit);
        let answered = answer.map_err(|silent| {
            let (Silent::NotSent(why) | Silent::Unknown(why)) = silent;
            Error::new(format!("{asked}: {why}"))
        })?;
        let Answered::Http { status, text } = answered else {
            return Err(Error::new(format!("{asked}: no answer of HTTP")));
        };
        let said: String = text.chars().take(120).collect();
        let not_understood =
            |what: &str| Error::new(format!("{asked} {what}: HTTP {status} {said}"));
        let body: serde_json::Value =
            serde_json::from_str(&text).map_err(|_| not_understood("did not answer with JSON"))?;
        let ask = |text: &Expression, context: &Value| {
            self.inner.templates.evaluate(&text.0, context).map_err(|failure| {
                let (Failure::NotDone(why) | Failure::Unknown(why)) = failure;
                Error::new(format!("{asked}: {why}"))
            })
        };
        let list = ask(&fields.list, &context! { body => Value::from_serialize(&body) })?;
        let list: Vec<Value> = list.try_iter().map(Iterator::collect).unwrap_or_default();
        if list.is_empty() {
            return Err(not_understood("named no members"));
        }
        let mut members = BTreeMap::new();
        for member in list {
            let context = context! { member };
            let text = |text: &Expression| Ok::<_, Error>(text_of(&ask(text, &context)?));
            let peer = text(&fields.peer)?.unwrap_or_default();
            let name = text(&fields.name)?.filter(|name| !name.is_empty());
            let client = text(&fields.client)?;
            let (Some(name), Some(client)) = (name, client) else {
                return Err(Error::new(format!(
                    "the member at {peer} has no name yet: it was added and has not started; \
                     start it, or remove it"
                )));
            };
            let one = Member { peer: endpoint(&peer)?, client: endpoint(&client)?, name };
            members.insert(one.name.clone(), one);
        }
        Ok(members.into_values().collect())
    }
}

/// The address in `http://HOST:PORT`, or in `HOST:PORT`.
fn endpoint(url: &str) -> Result<SocketAddr> {
    let unfit = |why: &str| Error::new(format!("`{url}` is no address of a node: {why}"));
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err(unfit(&format!("raftq speaks http, not {scheme}"))),
        None => url,
    };
    let rest = rest.trim_end_matches('/');
    let found = rest.to_socket_addrs().map_err(|e| unfit(&format!("{e}; write http://HOST:PORT")));
    found?.next().ok_or_else(|| unfit("its host has no address"))
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    const LIMIT: Duration = Duration::from_secs(5);

    /// A server that answers one request with this.
    fn answering(body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a call");
            let mut asked = [0; 4096];
            let n = stream.read(&mut asked).expect("a request");
            assert!(asked[..n].starts_with(b"POST /v3/cluster/member/list"));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).expect("an answer");
        });
        url
    }

    fn etcd() -> Adapter {
        Adapter::load("etcd").expect("the adapter")
    }

    fn refused(url: &str) -> String {
        etcd().members(url, LIMIT).expect_err("refused").to_string()
    }

    #[test]
    fn members_come_with_both_addresses_in_the_order_of_names() {
        let url = answering(
            r#"{"members":[{"name":"b","peerURLs":["http://10.0.0.2:2380"],
            "clientURLs":["http://10.0.0.2:2379/"]},{"name":"a",
            "peerURLs":["http://127.0.0.1:2380"],"clientURLs":["http://127.0.0.1:2379"]}]}"#,
        );
        let members = etcd().members(&url, LIMIT).expect("members");
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(members[1].peer.to_string(), "10.0.0.2:2380");
        assert_eq!(members[1].client.to_string(), "10.0.0.2:2379");
    }

    #[test]
    fn what_is_no_list_of_members_is_told() {
        assert!(refused(&answering("hello")).contains("did not answer with JSON: HTTP 200 hello"));
        assert!(refused(&answering("{}")).contains("named no members"));
        let learner = r#"{"members":[{"peerURLs":["http://10.0.0.9:2380"]}]}"#;
        let said = refused(&answering(learner));
        assert!(said.contains("http://10.0.0.9:2380 has no name yet"), "{said}");
        assert!(refused("ftp://n1:1").contains("raftq speaks http, not ftp"));
        assert!(refused("n1").contains("write http://HOST:PORT"));
        let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        assert!(refused(&format!("http://{gone}")).contains("refused"));
        let embedded = Adapter::load("embedded").expect("the adapter");
        let said = embedded.members("http://127.0.0.1:1", LIMIT).expect_err("none").to_string();
        assert!(said.contains("it has no `members`"), "{said}");
    }
}
