//! The lines of a route: a verb, words, CR LF; behind those of messages so many bytes and CR LF.

/// Bytes of a line; an INFO that names many addresses is the longest.
const LINE_MAX: usize = 1 << 16;
/// Bytes of a message. NATS has 64 MiB as its own limit.
const SIZE_MAX: usize = 1 << 27;

/// What a server writes to another one. Servers take any case.
const VERBS: [(&[u8], Verb); 13] = [
    (b"RMSG", Verb::Message { header: false, leaf: false }),
    (b"HMSG", Verb::Message { header: true, leaf: false }),
    (b"LMSG", Verb::Message { header: false, leaf: true }),
    (b"RS+", Verb::Words),
    (b"RS-", Verb::Words),
    (b"LS+", Verb::Words),
    (b"LS-", Verb::Words),
    (b"A+", Verb::Words),
    (b"A-", Verb::Words),
    (b"INFO", Verb::Text),
    (b"CONNECT", Verb::Text),
    (b"-ERR", Verb::Text),
    (b"PING", Verb::Alone),
];
/// Those that are like PING.
const ALONE: [&[u8]; 2] = [b"PONG", b"+OK"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    /// A message; of one from a leaf node's cluster nothing but its size is read.
    Message { header: bool, leaf: bool },
    /// Some words.
    Words,
    /// Anything.
    Text,
    /// Nothing.
    Alone,
}

/// A line, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A message follows.
    Message(Head<'a>),
    /// Which subjects somebody has come to want, or not any more.
    Interest,
    /// Any other.
    Other,
}

/// What stands before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    /// Its subject behind `$NRG.`, where it is one of Raft's.
    pub(super) subject: Option<&'a [u8]>,
    /// Where answers go, whole.
    pub(super) reply: Option<&'a [u8]>,
    /// How many of its bytes are a header.
    pub(super) header: usize,
    /// How many it has in all.
    pub(super) size: usize,
}

/// Why there is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLine {
    /// It has no end yet.
    Short,
    /// No line of a route begins so, or ends so.
    Wrong,
}

/// The line at the front, and how many bytes it has with its end.
pub(super) fn read(bytes: &[u8]) -> Result<(Line<'_>, usize), NoLine> {
    let (verb, behind) = verb(bytes)?;
    let shown = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = shown.iter().position(|&b| b == b'\n') else {
        return Err(if bytes.len() < LINE_MAX { NoLine::Short } else { NoLine::Wrong });
    };
    let words = bytes[..end].strip_suffix(b"\r").and_then(|line| line.get(behind..));
    let words = words.ok_or(NoLine::Wrong)?;
    let line = match verb {
        Verb::Message { header, leaf } => {
            Line::Message(message(words, header, leaf).ok_or(NoLine::Wrong)?)
        }
        Verb::Words if !is_clean(words) || split(words).next().is_none() => {
            return Err(NoLine::Wrong);
        }
        Verb::Words => Line::Interest,
        Verb::Alone if split(words).next().is_some() => return Err(NoLine::Wrong),
        Verb::Alone | Verb::Text => Line::Other,
    };
    Ok((line, end + 1))
}

/// The verb at the front, and how long it is.
fn verb(bytes: &[u8]) -> Result<(Verb, usize), NoLine> {
    let alone = ALONE.iter().map(|&name| (name, Verb::Alone));
    for (name, verb) in VERBS.into_iter().chain(alone) {
        let len = bytes.len().min(name.len());
        if !bytes[..len].eq_ignore_ascii_case(&name[..len]) {
            continue;
        }
        match bytes.get(name.len()) {
            None => return Err(NoLine::Short),
            Some(b' ' | b'\t' | b'\r') => return Ok((verb, name.len())),
            Some(_) => {}
        }
    }
    Err(NoLine::Wrong)
}

fn split(words: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    words.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// Whether these are words and nothing else.
fn is_clean(words: &[u8]) -> bool {
    words.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f))
}

fn number(word: &[u8]) -> Option<usize> {
    if word.is_empty() || word.len() > 9 {
        return None;
    }
    word.iter().try_fold(0, |sum, &b| b.is_ascii_digit().then(|| sum * 10 + usize::from(b - b'0')))
}

/// `[account] subject [reply | + reply queue... | '|' queue...] [header] size`. A route that is
/// only for one account leaves the account out.
fn message(words: &[u8], has_header: bool, leaf: bool) -> Option<Head<'_>> {
    if !is_clean(words) {
        return None;
    }
    let mut all = split(words);
    let size = number(all.next_back()?)?;
    let header = if has_header { number(all.next_back()?)? } else { 0 };
    if header > size || size > SIZE_MAX {
        return None;
    }
    let nobodys = Head { subject: None, reply: None, header, size };
    let first = all.next()?;
    if leaf {
        return Some(nobodys);
    }
    let subject = match raft(first) {
        Some(subject) => subject,
        None => match all.next().and_then(raft) {
            Some(subject) => subject,
            None => return Some(nobodys),
        },
    };
    let reply = match (all.next(), all.next()) {
        (Some(b"+"), reply) => Some(reply?),
        (Some(b"|") | None, _) => None,
        (Some(reply), None) => Some(reply),
        (Some(_), Some(_)) => return None,
    };
    Some(Head { subject: Some(subject), reply, ..nobodys })
}

fn raft(subject: &[u8]) -> Option<&[u8]> {
    subject.strip_prefix(b"$NRG.")
}

#[cfg(test)]
mod tests {
    use super::{Head, Line, NoLine, read};

    fn head(line: &str) -> Option<Head<'_>> {
        match read(line.as_bytes()) {
            Ok((Line::Message(head), len)) => {
                assert_eq!(len, line.len());
                Some(head)
            }
            _ => None,
        }
    }

    #[test]
    fn a_message_with_every_combination_of_words() {
        let raft = |subject, reply: Option<&'static str>, header, size| Head {
            subject: Some(subject),
            reply: reply.map(str::as_bytes),
            header,
            size,
        };
        for (line, expected) in [
            ("RMSG $SYS $NRG.V.g 32\r\n", raft(b"V.g", None, 0, 32)),
            ("RMSG $NRG.V.g 32\r\n", raft(b"V.g", None, 0, 32)),
            ("RMSG $SYS $NRG.V.g $NRG.R.a 32\r\n", raft(b"V.g", Some("$NRG.R.a"), 0, 32)),
            ("RMSG $NRG.V.g $NRG.R.a 32\r\n", raft(b"V.g", Some("$NRG.R.a"), 0, 32)),
            ("rmsg\t$SYS  $NRG.V.g\t$NRG.R.a  32\r\n", raft(b"V.g", Some("$NRG.R.a"), 0, 32)),
            ("RMSG $SYS $NRG.V.g + r q1 q2 32\r\n", raft(b"V.g", Some("r"), 0, 32)),
            ("RMSG $SYS $NRG.V.g | q1 q2 32\r\n", raft(b"V.g", None, 0, 32)),
            ("RMSG $NRG.V.g | q1 32\r\n", raft(b"V.g", None, 0, 32)),
            ("HMSG $SYS $NRG.V.g r 12 44\r\n", raft(b"V.g", Some("r"), 12, 44)),
            ("HMSG $NRG.V.g 12 44\r\n", raft(b"V.g", None, 12, 44)),
        ] {
            assert_eq!(head(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn of_other_messages_only_the_size() {
        for (line, header, size) in [
            ("RMSG $G foo 0\r\n", 0, 0),
            ("RMSG $G foo _INBOX.1 7\r\n", 0, 7),
            ("RMSG foo 7\r\n", 0, 7),
            ("HMSG $G foo + r q 3 7\r\n", 3, 7),
            ("LMSG hub $SYS $NRG.V.g r 7\r\n", 0, 7),
        ] {
            assert_eq!(head(line), Some(Head { subject: None, reply: None, header, size }));
        }
    }

    #[test]
    fn lines_that_are_none() {
        for line in [
            "RMSG\r\n",
            "RMSG 12\r\n",
            "RMSG $G foo\r\n",
            "RMSG $G foo -1\r\n",
            "RMSG $G foo 1x\r\n",
            "RMSG $G foo 9999999999\r\n",
            "RMSG $G f\x01oo 1\r\n",
            "RMSG $SYS $NRG.V.g a b 32\r\n",
            "RMSG $SYS $NRG.V.g + 32\r\n",
            "HMSG $G foo 8 7\r\n",
            "HMSG foo 7\r\n",
            "RMSG $G foo 1\n",
            "RS+\r\n",
            "RS+ a\x00b\r\n",
            "PING 1\r\n",
            "PINGS\r\n",
            "GET / HTTP/1.1\r\n",
            "\r\n",
        ] {
            assert_eq!(read(line.as_bytes()), Err(NoLine::Wrong), "{line:?}");
        }
        assert_eq!(read(&[b"INFO ", &vec![b'x'; 1 << 16][..]].concat()), Err(NoLine::Wrong));
    }

    #[test]
    fn a_line_is_short_until_it_has_an_end() {
        for line in ["INFO {\"a\":1} \r\n", "PONG\r\n", "+OK\r\n", "RS+ $G foo\r\n", "A- x\r\n"] {
            for cut in 1..line.len() {
                assert_eq!(read(&line.as_bytes()[..cut]), Err(NoLine::Short), "{line} {cut}");
            }
            assert_eq!(read(line.as_bytes()).map(|(_, len)| len), Ok(line.len()));
        }
    }
}
