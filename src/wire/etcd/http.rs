//! As much of HTTP/1.1 (RFC 9112) as etcd's peers speak: heads, and how long bodies are.

use super::super::message::Member;
use super::frames::{Body, Route};

/// The longest head that is believed.
pub(super) const HEAD_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 48;
/// Sixteen hexadecimal digits, and the end of their line.
const CHUNK_HEAD_MAX: usize = 18;

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Bytes(u64),
    Chunked,
    /// Up to the end of the connection.
    Open,
}

/// What was asked, so that its answer can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// What a 200 brings.
    pub(super) answer: Body,
    pub(super) route: Route,
    /// `HEAD`: the answer has no body, whatever it says.
    pub(super) head_only: bool,
}

/// The head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Its own bytes.
    pub(super) len: usize,
    pub(super) body: Body,
    pub(super) length: Length,
    pub(super) asked: Asked,
    /// Whether peers of etcd send such ones.
    pub(super) is_peers: bool,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its own bytes.
    pub(super) len: usize,
    pub(super) code: u16,
    pub(super) length: Length,
}

/// Why there is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHead {
    /// Its end is not there.
    Short,
    Wrong,
}

impl From<httparse::Error> for NoHead {
    fn from(_: httparse::Error) -> Self {
        Self::Wrong
    }
}

pub(super) fn request(bytes: &[u8]) -> Result<Request, NoHead> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len) = head.parse(bytes)? else { return Err(NoHead::Short) };
    let (method, path) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let body = match (method, path) {
        ("POST", "/raft") => Body::Post,
        ("POST", "/raft/snapshot") => Body::Snapshot,
        _ => Body::Other,
    };
    let stream = if method == "GET" { path.strip_prefix("/raft/stream/") } else { None };
    let answer = match stream.and_then(|rest| rest.split('/').next()) {
        Some("message") => Body::Messages,
        Some("msgapp") => Body::Appends,
        _ => Body::Other,
    };
    let member = |name| header(head.headers, name).and_then(hex).map(Member);
    // Who is asked will speak.
    let route = Route { from: member("x-raft-to"), to: member("x-server-from") };
    let from_peer = header(head.headers, "x-server-from").is_some();
    let asked = Asked { answer, route, head_only: method == "HEAD" };
    let is_peers = match path {
        "/members" | "/version" | "/raft/probing" => method == "GET",
        _ => from_peer && path.starts_with("/raft"),
    };
    let length = length(head.headers)?.unwrap_or(Length::Bytes(0));
    Ok(Request { len, body, length, asked, is_peers })
}

pub(super) fn answer(bytes: &[u8]) -> Result<Answer, NoHead> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = head.parse(bytes)? else { return Err(NoHead::Short) };
    let code = head.code.unwrap_or_default();
    let length = match code {
        100..=199 | 204 | 304 => Length::Bytes(0),
        _ => length(head.headers)?.unwrap_or(Length::Open),
    };
    Ok(Answer { len, code, length })
}

fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn length(headers: &[httparse::Header<'_>]) -> Result<Option<Length>, NoHead> {
    if let Some(coding) = header(headers, "transfer-encoding") {
        let chunked = coding.eq_ignore_ascii_case(b"chunked");
        return if chunked { Ok(Some(Length::Chunked)) } else { Err(NoHead::Wrong) };
    }
    let Some(length) = header(headers, "content-length") else { return Ok(None) };
    let digits = std::str::from_utf8(length).ok().filter(|text| !text.starts_with('+'));
    let bytes = digits.and_then(|text| text.parse().ok()).ok_or(NoHead::Wrong)?;
    Ok(Some(Length::Bytes(bytes)))
}

/// A number in at most sixteen hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |sum, &digit| {
        char::from(digit).to_digit(16).map(|digit| sum << 4 | u64::from(digit))
    })
}

/// The line before a chunk: its own length, and that of the chunk.
pub(super) fn chunk_head(bytes: &[u8]) -> Result<(usize, u64), NoHead> {
    let digits = bytes.iter().take(CHUNK_HEAD_MAX).take_while(|b| b.is_ascii_hexdigit()).count();
    match &bytes[digits..] {
        [] | [b'\r'] if digits <= 16 => Err(NoHead::Short),
        [b'\r', b'\n', ..] => hex(&bytes[..digits]).map(|n| (digits + 2, n)).ok_or(NoHead::Wrong),
        _ => Err(NoHead::Wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_of_a_stream_says_who_will_speak() {
        let text = b"GET /raft/stream/msgapp/79c4fb063b06262a HTTP/1.1\r\nHost: n3:2380\r\n\
            X-Raft-To: 69613aab7e17b22b\r\nX-Server-From: 79c4fb063b06262a\r\n\r\nrest";
        let head = request(text).expect("a head");
        assert_eq!(head.len, text.len() - 4);
        assert_eq!((head.body, head.length), (Body::Other, Length::Bytes(0)));
        let from = Some(Member(0x6961_3aab_7e17_b22b));
        let route = Route { from, to: Some(Member(0x79c4_fb06_3b06_262a)) };
        assert_eq!(head.asked, Asked { answer: Body::Appends, route, head_only: false });
        assert!(head.is_peers);
        assert_eq!(request(&text[..60]), Err(NoHead::Short));
        assert_eq!(request(b"\x16\x03\x01\x02\x00\x01"), Err(NoHead::Wrong));
    }

    #[test]
    fn bodies_are_as_long_as_heads_say() {
        let length = |text: &str| answer(text.as_bytes()).map(|answer| answer.length);
        let ok = "HTTP/1.1 200 OK\r\n";
        assert_eq!(length(&format!("{ok}Content-Length: 230\r\n\r\n")), Ok(Length::Bytes(230)));
        assert_eq!(length(&format!("{ok}transfer-encoding: Chunked\r\n\r\n")), Ok(Length::Chunked));
        assert_eq!(length(&format!("{ok}\r\n")), Ok(Length::Open));
        assert_eq!(length(&format!("{ok}Content-Length: -1\r\n\r\n")), Err(NoHead::Wrong));
        assert_eq!(length("HTTP/1.1 204 No Content\r\n\r\n"), Ok(Length::Bytes(0)));
    }

    #[test]
    fn heads_of_chunks() {
        assert_eq!(chunk_head(b"36\r\nx"), Ok((4, 0x36)));
        assert_eq!(chunk_head(b"0\r\n"), Ok((3, 0)));
        assert_eq!(chunk_head(b"fffFFFffffffffff\r\n"), Ok((18, u64::MAX)));
        for short in ["3", "36\r", "0123456789abcdef"] {
            assert_eq!(chunk_head(short.as_bytes()), Err(NoHead::Short));
        }
        for wrong in ["\r\n", "3;x\r\n", "00000000000000001\r\n", "3\n", "x", "3\rx"] {
            assert_eq!(chunk_head(wrong.as_bytes()), Err(NoHead::Wrong));
        }
    }
}
