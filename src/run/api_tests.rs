//! What the API makes of requests.

use super::*;
use serde_json::Value;
use std::net::SocketAddr;

const SOCKET: Visitor = Visitor::User { uid: 0, pid: 1 };

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Request {
        method: method.into(),
        target: target.into(),
        headers: headers.iter().map(owned).collect(),
        body: body.into(),
    }
}

fn asked(request: &Request, by: &Visitor) -> Result<Command, (u16, String)> {
    match route(request, by) {
        Routed::Command(command) => Ok(command),
        Routed::Answer(answer) => {
            let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            // Every error has its way out.
            if answer.status != 200 {
                assert!(value["way_out"].as_str().is_some_and(|w| !w.is_empty()), "{value}");
            }
            Err((answer.status, value["error"].as_str().unwrap_or_default().to_owned()))
        }
    }
}

fn post(target: &str, body: &str) -> Result<Command, (u16, String)> {
    asked(&request("POST", target, &[("content-type", JSON)], body), &SOCKET)
}

fn put(target: &str, kind: &str, body: &str) -> Result<Command, (u16, String)> {
    asked(&request("PUT", target, &[("content-type", kind)], body), &SOCKET)
}

#[test]
fn names_are_decoded_and_durations_read() {
    let command = post("/v1/rules/a%2Fb%20%C3%A9", r#"{ "switch": "on", "for": "1m30s" }"#);
    let switch = Switch { to: To::On, lasts: Some(Nanos::from_secs(90)) };
    assert_eq!(command, Ok(Command::Switch("a/b \u{e9}".into(), switch)));
    let off = Switch { to: To::Off, lasts: None };
    let command = post("/v1/rules/a", r#"{"switch":"off"}"#);
    assert_eq!(command, Ok(Command::Switch("a".into(), off)));
}

#[test]
fn a_switch_that_makes_no_sense_is_refused_with_its_reason() {
    for (body, words) in [
        ("", "line 1 column 0"),
        ("{", "line 1 column 1"),
        (r#"{"switch":"up"}"#, "unknown variant `up`"),
        (r#"{"switch":"on","for":"soon"}"#, "no duration"),
        (r#"{"switch":"on","for":"1us"}"#, "`for` is 1us"),
        (r#"{"switch":"off","for":"1s"}"#, "`for` is for `on`"),
    ] {
        let (status, why) = post("/v1/rules/a", body).expect_err(body);
        assert!(status == 400 && why.contains(words), "{body}: {status} {why}");
    }
    let broken = post("/v1/rules/%ff", r#"{"switch":"on"}"#).expect_err("not UTF-8");
    assert_eq!(broken.0, 400);
}

#[test]
fn bodies_are_of_the_type_that_no_web_form_can_send() {
    assert_eq!(put("/v1/rules", "text/plain", "rules: []").expect_err("a form").0, 415);
    let without = request("PUT", "/v1/rules", &[], "rules: []");
    assert_eq!(asked(&without, &SOCKET).expect_err("nothing").0, 415);
    let form = request("POST", "/v1/rules/a", &[("content-type", "text/plain")], "{}");
    assert_eq!(asked(&form, &SOCKET).expect_err("a form").0, 415);
    let loaded = put("/v1/rules?name=my%20file.yaml", "application/yaml; charset=utf-8", "x");
    assert_eq!(loaded, Ok(Command::Load("my file.yaml".into(), "x".into())));
    assert_eq!(put("/v1/rules?path=/etc/passwd", YAML, "x").expect_err("no such key").0, 400);
    let broken = Request {
        body: vec![b'a', 0xff],
        ..request("PUT", "/v1/rules", &[("content-type", YAML)], "")
    };
    assert!(asked(&broken, &SOCKET).expect_err("not UTF-8").1.contains("byte 1"));
}

#[test]
fn by_the_loopback_only_this_host_and_its_own_pages_may_ask() {
    for at in ["127.0.0.1:7780", "[::1]:7780"] {
        let at: SocketAddr = at.parse().expect("an address");
        let by = Visitor::Address { from: at, at };
        let own = at.to_string();
        let status = |headers: &[(&str, &str)]| {
            asked(&request("GET", "/v1/status", headers, ""), &by).map_err(|refused| refused.0)
        };
        assert_eq!(status(&[]), Err(400));
        assert_eq!(status(&[("host", &own)]), Ok(Command::Status));
        assert_eq!(status(&[("host", "LOCALHOST:7780")]), Ok(Command::Status));
        // A name that a page's owner lets lead here.
        assert_eq!(status(&[("host", "evil.example:7780")]), Err(403));
        assert_eq!(status(&[("host", "localhost")]), Err(403));
        assert_eq!(status(&[("host", &own), ("origin", "http://evil.example")]), Err(403));
        assert_eq!(status(&[("host", &own), ("origin", "null")]), Err(403));
        let origin = format!("http://{own}");
        assert_eq!(status(&[("host", &own), ("origin", &origin)]), Ok(Command::Status));
    }
    let any = request("GET", "/v1/status", &[("host", "raftq")], "");
    assert_eq!(asked(&any, &SOCKET), Ok(Command::Status), "the socket knows who asks");
}
