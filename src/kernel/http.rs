//! As much of HTTP/1.1 as a control socket needs: one request a connection, bodies of a length
//! that is said, and a bound on everything. Pure: bytes in, a request or an answer out.
//!
//! It knows no chunks, no compression and no second request on a connection: whoever asks for
//! them is told so.

use serde_json::{Value, json};
use std::fmt::Write as _;

/// The most bytes before the body.
pub const HEAD_MAX: usize = 16 << 10;

/// The most bytes of a body: twice what the most rules take that a table may have.
pub const BODY_MAX: usize = 4 << 20;

const HEADERS_MAX: usize = 64;

/// A whole request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// As it was written: methods are told apart by case.
    pub method: String,
    /// Path and query, as they were written.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// What came behind the head.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What is sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The type of the body.
    pub kind: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// The methods that there are, where it was another.
    pub allow: Option<&'static str>,
}

impl Answer {
    /// A document.
    #[must_use]
    pub fn json(status: u16, value: &Value) -> Self {
        let body = format!("{value:#}\n").into_bytes();
        Self { status, kind: "application/json", body, allow: None }
    }

    /// What is wrong, and a way out, as every error of the API is told.
    #[must_use]
    pub fn error(status: u16, error: &str, way_out: &str) -> Self {
        Self::json(status, &json!({ "error": error, "way_out": way_out }))
    }

    /// As it goes over the connection, which ends behind it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\n",
            self.status,
            reason(self.status),
            self.kind,
            self.body.len(),
        );
        if let Some(allow) = self.allow {
            let _ = write!(head, "Allow: {allow}\r\n");
        }
        head.push_str("Connection: close\r\n\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// What the bytes of a connection come to so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// There has to come more.
    More {
        /// Whether its sender waits for a word before it sends the body.
        waits: bool,
    },
    /// A request; whatever stands behind it is left alone.
    Whole(Request),
    /// No request can come of them.
    Refused(Answer),
}

/// Reads what has come of a connection.
#[must_use]
pub fn read(bytes: &[u8]) -> Read {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(head)) if head <= HEAD_MAX => head,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => {
            return Read::More { waits: false };
        }
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return refused(431, "the request's head is too long", "send fewer headers");
        }
        Err(e) => {
            let why = format!("this is no HTTP request ({e})");
            return refused(400, &why, "GET /v1/openapi.yaml says what can be asked");
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers: parsed
            .headers
            .iter()
            .map(|header| (header.name.to_ascii_lowercase(), text(header.value)))
            .collect(),
        body: Vec::new(),
    };
    let length = match length(&request) {
        Ok(length) => length,
        Err(answer) => return Read::Refused(answer),
    };
    let Some(body) = bytes.get(head..head + length) else {
        let waits =
            request.header("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue"));
        return Read::More { waits: waits && bytes.len() == head };
    };
    request.body = body.to_vec();
    Read::Whole(request)
}

/// How long the body is.
fn length(request: &Request) -> Result<usize, Answer> {
    if request.header("transfer-encoding").is_some() {
        let way_out = "send the body with its Content-Length (curl: --data-binary @FILE)";
        return Err(Answer::error(411, "a body in chunks is not read", way_out));
    }
    let mut said = request.headers.iter().filter(|(name, _)| name == "content-length");
    let Some((_, first)) = said.next() else { return Ok(0) };
    let digits = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || said.next().is_some() {
        return Err(Answer::error(400, "Content-Length is not one number", "send it once"));
    }
    // What does not fit into a number is too long as well.
    match first.parse::<usize>() {
        Ok(length) if length <= BODY_MAX => Ok(length),
        _ => {
            let why = format!("the body is longer than {BODY_MAX} bytes");
            Err(Answer::error(413, &why, "node sets and groups let one rule cover many links"))
        }
    }
}

fn refused(status: u16, error: &str, way_out: &str) -> Read {
    Read::Refused(Answer::error(status, error, way_out))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &str = "POST /v1/rules/a%20b HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";

    fn status(read: &Read) -> u16 {
        match read {
            Read::Refused(answer) => answer.status,
            other => panic!("it was not refused: {other:?}"),
        }
    }

    #[test]
    fn a_request_is_whole_with_its_last_byte_and_not_before() {
        for end in 0..POST.len() {
            let read = read(&POST.as_bytes()[..end]);
            assert_eq!(read, Read::More { waits: false }, "{end} bytes");
        }
        let more = format!("{POST}GET / HTTP/1.1\r\n\r\n");
        for text in [POST, &more] {
            let Read::Whole(request) = read(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(request.method, "POST");
            assert_eq!(request.target, "/v1/rules/a%20b");
            assert_eq!(request.header("host"), Some("x"));
            assert_eq!(request.body, b"body");
        }
    }

    #[test]
    fn who_waits_for_a_word_before_the_body_gets_it_once() {
        let head = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(read(head.as_bytes()), Read::More { waits: true });
        assert_eq!(read(format!("{head}a").as_bytes()), Read::More { waits: false });
        assert!(matches!(read(format!("{head}ab").as_bytes()), Read::Whole(_)));
    }

    #[test]
    fn what_can_never_become_a_request_is_refused_at_once() {
        let of = |text: &str| status(&read(text.as_bytes()));
        assert_eq!(of("\u{1}\u{2}\u{3}"), 400);
        assert_eq!(of("GET / HTTP/1.1\r\nno header\r\n\r\n"), 400);
        assert_eq!(of("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400);
        assert_eq!(of("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), 400);
        assert_eq!(of("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 411);
        assert_eq!(of("PUT / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"), 413);
        assert_eq!(
            of(&format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", "9".repeat(40))),
            413
        );
        assert_eq!(of(&format!("GET /{} ", "a".repeat(HEAD_MAX))), 431);
        assert_eq!(of(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65))), 431);
    }

    #[test]
    fn an_answer_says_how_long_it_is_and_that_it_is_the_last() {
        let answer = Answer { allow: Some("GET"), ..Answer::error(405, "no", "other") };
        let text = String::from_utf8(answer.bytes()).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert!(head.contains("Allow: GET\r\n") && head.ends_with("Connection: close"), "{head}");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body, json!({ "error": "no", "way_out": "other" }));
    }
}
