//! A connection of etcd's, byte by byte and chunk by chunk.

use super::super::message::{Kind, Member, Message};
use super::*;
use crate::packet::Endpoint;

const TO: u64 = 0x6961_3aab_7e17_b22b;
const FROM: u64 = 0x79c4_fb06_3b06_262a;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn entry(index: u64, term: u64, data: &[u8]) -> Vec<u8> {
    let mut out = vec![8, 0, 16];
    varint(&mut out, term);
    out.push(24);
    varint(&mut out, index);
    out.push(0x22);
    varint(&mut out, data.len() as u64);
    out.extend(data);
    out
}

/// A message as etcd writes it.
fn message(kind: u8, [term, log_term, index, commit]: [u64; 4], entries: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![8, kind];
    for (tag, value) in [(0x10, TO), (0x18, FROM), (0x20, term), (0x28, log_term), (0x30, index)] {
        out.push(tag);
        varint(&mut out, value);
    }
    for entry in entries {
        out.push(0x3a);
        varint(&mut out, entry.len() as u64);
        out.extend(entry);
    }
    out.push(0x40);
    varint(&mut out, commit);
    out.extend([0x4a, 10, 0x12, 8, 10, 2, 0x28, 0, 16, 0, 24, 0, 0x50, 0, 0x58, 0]);
    out
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_be_bytes()[..], bytes].concat()
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

fn app_entries(entries: &[Vec<u8>], commit: u64) -> Vec<u8> {
    let mut out = vec![1];
    out.extend((entries.len() as u64).to_be_bytes());
    out.extend(entries.iter().flat_map(|entry| framed(entry)));
    out.extend(commit.to_be_bytes());
    out
}

fn get(stream: &str) -> Vec<u8> {
    format!(
        "GET /raft/stream/{stream}/{TO:x} HTTP/1.1\r\nX-Raft-To: {FROM:x}\r\n\
         X-Server-From: {TO:x}\r\n\r\n"
    )
    .into_bytes()
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Kind, term, previous position, entries whose hash is told, commit.
type Brief = (Kind, Option<u64>, Option<(u64, u64)>, usize, Option<u64>);

#[derive(Debug)]
struct Talk {
    decoder: Etcd,
    told: Vec<(Message, usize)>,
}

impl Talk {
    fn new(dialler: Option<Way>) -> Self {
        let end = Endpoint { addr: 1, port: 2380 };
        let connection = Connection { ends: [end, end], dialler, whole: true };
        Self { decoder: Etcd::new(&connection), told: Vec::new() }
    }

    /// Shows bytes as a reader does, `at_once` at a time.
    fn say(&mut self, way: Way, bytes: &[u8], at_once: usize) -> Result<(), &'static str> {
        let (mut start, mut end) = (0, 0);
        let known = &mut Known::default();
        while start < bytes.len() {
            end = (end + at_once).min(bytes.len()).max(start + 1).min(bytes.len());
            let mut need = 1;
            while start < end && end - start >= need {
                let told = &mut self.told;
                let tell = &mut |m: &Message, e: &[Entry]| told.push((*m, e.len()));
                match self.decoder.step(way, &bytes[start..end], known, tell) {
                    Step::Took(len) => start += len,
                    Step::Skip(len) => {
                        start =
                            bytes.len().min(start + usize::try_from(len).unwrap_or(usize::MAX / 2));
                    }
                    Step::Need(len) => {
                        assert!(len > end - start, "needs {len} of {}", end - start);
                        need = len;
                    }
                    Step::Lost(why) => return Err(why),
                }
            }
            if end == bytes.len() && start < end {
                return Err("not whole");
            }
        }
        Ok(())
    }

    fn brief(&self) -> Vec<Brief> {
        let position = |m: &Message| m.previous.map(|p| (p.index, p.term));
        self.told.iter().map(|(m, n)| (m.kind, m.term, position(m), *n, m.commit)).collect()
    }
}

fn appends() -> Vec<u8> {
    let full = framed(&message(3, [2, 1, 4, 4], &[entry(5, 2, b"")]));
    let mut data = vec![0, 2];
    data.extend(full);
    data.extend(app_entries(&[entry(6, 2, b"one"), entry(7, 2, &[7; 300])], 5));
    data.push(0);
    data.extend(app_entries(&[], 7));
    data
}

#[test]
fn a_msgapp_stream_inherits_whatever_its_chunks_and_pieces() {
    let data = appends();
    for size in [1, 2, 7, 9, 50, 400, 4_000] {
        for at_once in [1, 3, 64, 10_000] {
            let mut talk = Talk::new(Some(Way::There));
            talk.say(Way::There, &get("msgapp"), at_once).expect("a request");
            let mut answer = CHUNKED.to_vec();
            answer.extend(data.chunks(size).flat_map(chunk));
            answer.extend(b"0\r\n\r\n");
            talk.say(Way::Back, &answer, at_once).expect("an answer");
            let wanted = [
                (Kind::Other, None, None, 0, None),
                (Kind::Append, Some(2), Some((4, 1)), 1, Some(4)),
                (Kind::Append, Some(2), Some((5, 2)), 2, Some(5)),
                (Kind::Other, None, None, 0, None),
                (Kind::Append, Some(2), Some((7, 2)), 0, Some(7)),
            ];
            assert_eq!(talk.brief(), wanted, "chunks of {size}, {at_once} at once");
            for (message, _) in &talk.told {
                assert_eq!((message.from, message.to), (Some(Member(FROM)), Some(Member(TO))));
            }
        }
    }
}

#[test]
fn joined_in_the_middle_app_entries_have_the_term_and_position_of_their_entries() {
    let data = app_entries(&[entry(6, 2, b"one")], 5);
    let mut talk = Talk::new(Some(Way::There));
    talk.decoder.lose(Way::Back);
    assert_eq!(talk.decoder.regain(Way::Back, &chunk(&[0])), None);
    assert_eq!(talk.decoder.regain(Way::Back, &chunk(&app_entries(&[], 5))), None);
    assert_eq!(talk.decoder.regain(Way::Back, &chunk(&data)[1..]), None);
    assert_eq!(talk.decoder.regain(Way::There, &chunk(&data)), None);
    let late = [b"\r\n", &chunk(&data)[..]].concat();
    assert_eq!(talk.decoder.regain(Way::Back, &late), Some(2));
    talk.say(Way::Back, &late[2..], 64).expect("a chunk");
    talk.say(Way::Back, &chunk(&app_entries(&[], 6)), 64).expect("a chunk");
    let append = |previous, n, commit| (Kind::Append, Some(2), Some(previous), n, Some(commit));
    assert_eq!(talk.brief(), [append((5, 2), 1, 5), append((6, 2), 0, 6)]);
    assert_eq!(talk.told[0].0.from, None);
    talk.say(Way::Back, &chunk(&appends()), 64).expect("a chunk");
    talk.say(Way::Back, &chunk(&app_entries(&[], 8)), 64).expect("a chunk");
    let last = talk.told.last().expect("told").0;
    assert_eq!((last.term, last.from, last.to), (Some(2), Some(Member(FROM)), Some(Member(TO))));
}

#[test]
fn joined_in_the_middle_app_entries_without_entries_say_no_term() {
    let mut talk = Talk::new(Some(Way::There));
    talk.say(Way::There, &get("msgapp"), 1_000).expect("a request");
    talk.say(Way::Back, CHUNKED, 1_000).expect("an answer");
    talk.say(Way::Back, &chunk(&app_entries(&[], 5)), 64).expect("a chunk");
    let two_terms = app_entries(&[entry(6, 2, b"one"), entry(7, 3, b"two")], 5);
    talk.say(Way::Back, &chunk(&two_terms), 64).expect("a chunk");
    let append = |n| (Kind::Append, None, None, n, Some(5));
    assert_eq!(talk.brief(), [append(0), append(2)], "no leader of ours sends the second");
}

#[test]
fn each_stream_is_told_by_its_frames() {
    let heartbeat = framed(&message(8, [2, 0, 0, 5], &[]));
    let mut talk = Talk::new(None);
    talk.decoder.lose(Way::There);
    let other = chunk(&[&[2], &heartbeat[..]].concat());
    assert_eq!(talk.decoder.regain(Way::There, &other), None, "no append");
    let wrong_end = [&chunk(&heartbeat)[..], b"x"].concat();
    let wrong_end = [&wrong_end[..wrong_end.len() - 3], b"xx"].concat();
    assert_eq!(talk.decoder.regain(Way::There, &wrong_end), None);
    assert_eq!(talk.decoder.regain(Way::There, &chunk(&heartbeat)), Some(0));
    talk.say(Way::There, &chunk(&heartbeat), 10).expect("a chunk");
    assert_eq!(talk.brief(), [(Kind::Heartbeat, Some(2), None, 0, Some(5))]);
    // What was asked says it, too, even if the answer is lost.
    let mut talk = Talk::new(Some(Way::There));
    talk.say(Way::There, &get("msgapp"), 1_000).expect("a request");
    talk.say(Way::Back, CHUNKED, 1_000).expect("an answer");
    talk.decoder.lose(Way::Back);
    assert_eq!(talk.decoder.regain(Way::Back, &chunk(&heartbeat)), None);
    assert_eq!(talk.decoder.regain(Way::Back, &chunk(&appends())), Some(0));
    talk.say(Way::Back, &chunk(&app_entries(&[], 6)), 64).expect("a chunk");
    assert_eq!(talk.told[0].0.from, Some(Member(FROM)));
    assert_eq!(talk.told[0].0.term, None);
}

#[test]
fn posts_follow_each_other_and_other_requests_are_passed_over() {
    let post = |body: &[u8], path: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let vote = message(5, [3, 2, 9, 0], &[]);
    let snapshot = |index: u8| {
        let mut m = message(7, [3, 0, 0, 0], &[]);
        let at = m.len() - 6;
        m[at - 2..at + 2].copy_from_slice(&[16, index, 24, 2]);
        m
    };
    let database = [&framed(&snapshot(9))[..], &[0xff; 5_000]].concat();
    let mut chunked =
        b"POST /raft/snapshot HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    chunked.extend(database.chunks(33).flat_map(chunk));
    chunked.extend(b"0\r\n\r\n");
    let asks = [
        post(&vote, "/raft"),
        post(b"GET / HTTP/1.1", "/raft/probing"),
        post(&database, "/raft/snapshot"),
        chunked,
        b"GET /members HTTP/1.1\r\n\r\n".to_vec(),
        post(&vote, "/raft"),
    ]
    .concat();
    for at_once in [1, 10, 100_000] {
        let mut talk = Talk::new(Some(Way::There));
        talk.say(Way::There, &asks, at_once).expect("requests");
        let vote = (Kind::VoteRequest, Some(3), Some((9, 2)), 0, None);
        let snapshot = (Kind::Snapshot, Some(3), Some((9, 2)), 0, None);
        assert_eq!(talk.brief(), [vote, snapshot, snapshot, vote]);
        let answers = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\
            HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\
            Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        talk.say(Way::Back, answers, at_once).expect("answers");
    }
}

#[test]
fn too_large_to_be_kept_is_passed_over_in_any_chunks() {
    let large = entry(6, 2, &vec![b'x'; 3 << 20]);
    let full = framed(&message(3, [2, 1, 4, 4], &[entry(5, 2, &vec![b'x'; 2 << 20])]));
    let mut data = app_entries(&[large, entry(7, 2, b"after")], 5);
    data.push(2);
    data.extend(full);
    data.extend(app_entries(&[], 7));
    for size in [100_000, 1 << 30] {
        let mut talk = Talk::new(Some(Way::There));
        talk.say(Way::There, &get("msgapp"), 1_000).expect("a request");
        let answer: Vec<u8> =
            [CHUNKED, &data.chunks(size).flat_map(chunk).collect::<Vec<_>>()].concat();
        talk.say(Way::Back, &answer, 64_000).expect("an answer");
        let counts: Vec<_> = talk.told.iter().map(|(m, n)| (m.entries, *n, m.commit)).collect();
        assert_eq!(counts, [(2, 1, Some(5)), (1, 0, None), (0, 0, Some(7))]);
        assert_eq!(talk.brief()[2].1, Some(2));
        assert_eq!(talk.brief()[2].2, None, "where the large one ends is not known");
    }
}

#[test]
fn tls_is_said_to_be_tls() {
    let mut talk = Talk::new(Some(Way::There));
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    assert_eq!(talk.say(Way::There, &hello, 100), Err("TLS: nobody else can read it"));
}
