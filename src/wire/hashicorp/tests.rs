//! Messages made by hand, in every form that versions of hashicorp/raft write.

use super::Hashicorp;
use super::body::member;
use crate::wire::decoder::{Decoder, KEPT_MAX, Way};
use crate::wire::driven::{Driven, connection};
use crate::wire::message::{Entry, Kind, Member, Message, Position};
use proptest::prelude::*;

const ASKS: Way = Way::There;
const ANSWERS: Way = Way::Back;
/// `10.77.0.1:8300`, whose ends of connections have other ports.
const N1: Member = Member(0x0a4d_0001_206c);
const N2: Member = Member(0x0a4d_0002_206c);

fn text(text: &[u8]) -> Vec<u8> {
    match text.len() {
        len @ 0..32 => [&[0xa0 | len as u8][..], text].concat(),
        len @ 32..256 => [&[0xd9, len as u8][..], text].concat(),
        len => [&[0xdb][..], &(len as u32).to_be_bytes(), text].concat(),
    }
}

fn bin(bytes: &[u8]) -> Vec<u8> {
    [&[0xc6][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn uint(value: u64) -> Vec<u8> {
    if value < 128 { vec![value as u8] } else { [&[0xcf][..], &value.to_be_bytes()].concat() }
}

fn flag(value: bool) -> Vec<u8> {
    vec![0xc2 | u8::from(value)]
}

const NIL: [u8; 1] = [0xc0];

/// A map, its keys in the order of the alphabet as Go writes them.
fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut pairs = pairs.to_vec();
    pairs.sort();
    let mut bytes = vec![0x80 | pairs.len() as u8];
    for (key, value) in pairs {
        bytes.extend(text(key.as_bytes()));
        bytes.extend(value);
    }
    bytes
}

fn request(kind: u8, pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    [vec![kind], map(pairs)].concat()
}

fn answer(error: &str, pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    [text(error.as_bytes()), map(pairs)].concat()
}

fn entry(index: u64, term: u64, kind: u64, data: Vec<u8>) -> Vec<u8> {
    let times = [&[0xc7, 12, 0xff][..], &[7; 12]].concat();
    map(&[
        ("Index", uint(index)),
        ("Term", uint(term)),
        ("Type", uint(kind)),
        ("Data", data),
        ("Extensions", NIL.to_vec()),
        ("AppendedAt", times),
    ])
}

fn append(term: u64, previous: Position, entries: &[Vec<u8>], commit: u64) -> Vec<u8> {
    let list = match entries.len() {
        0 => NIL.to_vec(),
        len => [&[0xdc, (len >> 8) as u8, len as u8][..], &entries.concat()].concat(),
    };
    request(
        0,
        &[
            ("Term", uint(term)),
            ("Leader", text(b"10.77.0.1:8300")),
            ("PrevLogEntry", uint(previous.index)),
            ("PrevLogTerm", uint(previous.term)),
            ("Entries", list),
            ("LeaderCommitIndex", uint(commit)),
            ("ProtocolVersion", uint(3)),
        ],
    )
}

const ZERO: Position = Position { index: 0, term: 0 };

fn heartbeat(term: u64) -> Vec<u8> {
    append(term, ZERO, &[], 0)
}

fn append_answer(term: u64, last: u64, success: bool) -> Vec<u8> {
    answer(
        "",
        &[
            ("LastLog", uint(last)),
            ("NoRetryBackoff", flag(false)),
            ("ProtocolVersion", uint(3)),
            ("Success", flag(success)),
            ("Term", uint(term)),
        ],
    )
}

fn vote_request(term: u64) -> Vec<u8> {
    request(
        1,
        &[
            ("Candidate", text(b"10.77.0.1:8300")),
            ("LastLogIndex", uint(9)),
            ("LastLogTerm", uint(3)),
            ("LeadershipTransfer", flag(false)),
            ("ProtocolVersion", uint(3)),
            ("Term", uint(term)),
        ],
    )
}

fn vote_answer(term: u64, granted: bool) -> Vec<u8> {
    answer("", &[("Granted", flag(granted)), ("Peers", NIL.to_vec()), ("Term", uint(term))])
}

fn pre_vote_request(term: u64) -> Vec<u8> {
    request(
        4,
        &[
            ("Addr", bin(b"10.77.0.1:8300")),
            ("ID", bin(b"a name")),
            ("LastLogIndex", uint(9)),
            ("LastLogTerm", uint(3)),
            ("ProtocolVersion", uint(3)),
            ("Term", uint(term)),
        ],
    )
}

fn snapshot(size: usize) -> Vec<u8> {
    let map = request(
        2,
        &[
            ("Configuration", bin(&[1; 90])),
            ("ConfigurationIndex", uint(1)),
            ("LastLogIndex", uint(500)),
            ("LastLogTerm", uint(3)),
            ("Leader", text(b"10.77.0.1:8300")),
            ("Peers", NIL.to_vec()),
            ("Size", [&[0xd3][..], &(size as u64).to_be_bytes()].concat()),
            ("SnapshotVersion", uint(1)),
            ("Term", uint(4)),
        ],
    );
    [map, vec![0; size]].concat()
}

fn new() -> Driven<Hashicorp> {
    Driven::new(Hashicorp::new(&connection([40_000, 8300], Some(ASKS))))
}

fn from_n1(kind: Kind, term: Option<u64>) -> Message {
    Message { term, from: Some(N1), to: Some(N2), ..Message::new(kind) }
}

fn from_n2(kind: Kind, term: Option<u64>) -> Message {
    Message { term, from: Some(N2), to: Some(N1), ..Message::new(kind) }
}

/// What a request and its answer are told as.
fn exchange(asked: &[u8], answered: &[u8]) -> [Message; 2] {
    let mut driven = new();
    driven.feed(ASKS, asked);
    driven.feed(ANSWERS, answered);
    assert_eq!(driven.lost, [None; 2]);
    let told = driven.take();
    assert_eq!(told.iter().map(|told| told.0).collect::<Vec<_>>(), [ASKS, ANSWERS]);
    [told[0].1, told[1].1]
}

#[test]
fn votes() {
    let last = Some(Position { index: 9, term: 3 });
    assert_eq!(
        exchange(&vote_request(4), &vote_answer(4, true)),
        [
            Message { previous: last, ..from_n1(Kind::VoteRequest, Some(4)) },
            Message { granted: Some(true), ..from_n2(Kind::VoteAnswer, Some(4)) },
        ]
    );
    let granted =
        answer("", &[("Granted", flag(false)), ("ProtocolVersion", uint(3)), ("Term", uint(300))]);
    assert_eq!(
        exchange(&pre_vote_request(200), &granted),
        [
            Message { previous: last, ..from_n1(Kind::PreVoteRequest, Some(200)) },
            Message { granted: Some(false), ..from_n2(Kind::PreVoteAnswer, Some(300)) },
        ]
    );
}

#[test]
fn heartbeats_have_no_commit_and_appends_have() {
    assert_eq!(
        exchange(&heartbeat(2), &append_answer(2, 17, true)),
        [
            from_n1(Kind::Heartbeat, Some(2)),
            Message {
                index: Some(17),
                granted: Some(true),
                ..from_n2(Kind::HeartbeatAnswer, Some(2))
            },
        ]
    );
    let previous = Position { index: 1, term: 1 };
    assert_eq!(
        exchange(&append(2, previous, &[], 0), &append_answer(3, 0, false)),
        [
            Message { previous: Some(previous), commit: Some(0), ..from_n1(Kind::Append, Some(2)) },
            Message {
                index: Some(0),
                granted: Some(false),
                ..from_n2(Kind::AppendAnswer, Some(3))
            },
        ]
    );
}

#[test]
fn an_append_from_the_beginning_is_no_heartbeat_if_it_says_anything() {
    for bytes in [append(2, ZERO, &[], 5), append(2, ZERO, &[entry(1, 2, 0, bin(b"x"))], 0)] {
        let [told, _] = exchange(&bytes, &append_answer(2, 1, true));
        assert_eq!((told.kind, told.previous), (Kind::Append, Some(ZERO)));
    }
}

#[test]
fn a_snapshot_is_skipped_and_answered() {
    let done =
        answer("", &[("ProtocolVersion", uint(3)), ("Success", flag(true)), ("Term", uint(4))]);
    assert_eq!(
        exchange(&snapshot(5_000_000), &done),
        [
            Message {
                previous: Some(Position { index: 500, term: 3 }),
                ..from_n1(Kind::Snapshot, Some(4))
            },
            Message { granted: Some(true), ..from_n2(Kind::SnapshotAnswer, Some(4)) },
        ]
    );
}

#[test]
fn timeout_now_bears_no_term() {
    let asked = request(3, &[("Addr", bin(b"10.77.0.1:8300")), ("ProtocolVersion", uint(3))]);
    let done = answer("", &[("ProtocolVersion", uint(3))]);
    let other = from_n2(Kind::Other, None);
    assert_eq!(exchange(&asked, &done), [from_n1(Kind::TimeoutNow, None), other]);
    // Version 1.1 says of the sender only its protocol.
    let asked = request(3, &[("ProtocolVersion", uint(3))]);
    let [asked, _] = exchange(&asked, &done);
    assert_eq!(asked, Message { from: None, ..from_n1(Kind::TimeoutNow, None) });
}

#[test]
fn an_answer_that_failed_has_a_text_and_maybe_no_map() {
    let nothing = [text(b"raft is already shutdown"), NIL.to_vec()].concat();
    let [_, told] = exchange(&vote_request(4), &nothing);
    assert_eq!(told, from_n2(Kind::VoteAnswer, None));
    let [_, told] = exchange(&heartbeat(4), &nothing);
    assert_eq!(told, from_n2(Kind::HeartbeatAnswer, None));
    let mut refused = vote_answer(7, false);
    refused.splice(..1, text(b"a candidate that is not a voter"));
    let [_, told] = exchange(&vote_request(4), &refused);
    assert_eq!(told, Message { granted: Some(false), ..from_n2(Kind::VoteAnswer, Some(7)) });
}

/// The entries of one append.
fn entries(bytes: &[u8]) -> (u32, Vec<Entry>) {
    let mut driven = new();
    driven.feed(ASKS, bytes);
    let told = driven.take();
    assert_eq!(told.len(), 1, "{:?}", driven.lost);
    (told[0].1.entries, told[0].2.clone())
}

#[test]
fn entries_have_places_of_their_own_and_a_hash_of_type_and_data() {
    let previous = Position { index: 7, term: 2 };
    let list = [
        entry(8, 2, 0, text(b"a")),
        entry(9, 3, 0, bin(b"a")),
        entry(10, 3, 1, bin(b"a")),
        entry(11, 3, 1, NIL.to_vec()),
        entry(12, 3, 1, text(b"")),
    ];
    let (count, told) = entries(&append(3, previous, &list, 7));
    assert_eq!(count, 5);
    let places: Vec<_> = told.iter().map(|entry| (entry.at.index, entry.at.term)).collect();
    assert_eq!(places, [(8, 2), (9, 3), (10, 3), (11, 3), (12, 3)]);
    let hashes: Vec<_> = told.iter().map(|entry| entry.hash).collect();
    assert_eq!(hashes[0], hashes[1], "text or bytes is a matter of version");
    assert_eq!(hashes[3], hashes[4], "nil is empty");
    assert!(hashes[1] != hashes[2] && hashes[2] != hashes[3]);
    // The same entry in another append.
    let (_, again) = entries(&append(5, Position { index: 9, term: 3 }, &list[2..3], 9));
    assert_eq!(again, told[2..3]);
}

#[test]
fn of_an_entry_that_is_too_large_only_its_hash_is_not_known() {
    let list = [
        entry(8, 2, 0, text(b"a")),
        entry(9, 2, 0, bin(&vec![7; 3 * KEPT_MAX])),
        entry(10, 2, 0, text(b"b")),
    ];
    let bytes = [append(2, Position { index: 7, term: 2 }, &list, 7), heartbeat(2)].concat();
    let mut driven = new();
    for piece in bytes.chunks(1448) {
        driven.feed(ASKS, piece);
    }
    let told = driven.take();
    assert_eq!(told.iter().map(|t| t.1.kind).collect::<Vec<_>>(), [Kind::Append, Kind::Heartbeat]);
    assert_eq!(told[0].1.entries, 3);
    assert_eq!(told[0].2.iter().map(|entry| entry.at.index).collect::<Vec<_>>(), [8, 10]);
}

#[test]
fn keys_that_are_not_known_do_not_matter() {
    let mut pairs = vec![
        ("Term", uint(4)),
        ("LastLogIndex", uint(9)),
        ("LastLogTerm", uint(3)),
        ("Candidate", bin(b"10.77.0.1:8300")),
    ];
    pairs.push(("Whatever", map(&[("Term", uint(9)), ("x", bin(&[1; 300]))])));
    let [told, _] = exchange(&request(1, &pairs), &vote_answer(4, true));
    assert_eq!((told.kind, told.term), (Kind::VoteRequest, Some(4)));
}

#[test]
fn what_makes_no_sense_is_lost() {
    let without_term = request(0, &[("LeaderCommitIndex", uint(1)), ("Entries", NIL.to_vec())]);
    let twice = [vec![1, 0x82], [text(b"Term"), uint(1)].concat().repeat(2)].concat();
    let text_for_number = request(1, &[("Term", text(b"4"))]);
    let negative = request(2, &[("Size", vec![0xd0, 0xff])]);
    let wide = [&[1, 0xdf][..], &[0, 1, 0, 0]].concat();
    for (way, bytes, why) in [
        (ASKS, without_term, "lacks"),
        (ASKS, twice, "no message has"),
        (ASKS, text_for_number, "no message has"),
        (ASKS, negative, "no message has"),
        (ASKS, wide, "no request"),
        (ASKS, vec![5, 0x80], "no request"),
        (ASKS, vec![0x16, 3, 1, 2, 0], "TLS"),
        (ASKS, append_answer(2, 1, true), "where answers go"),
        (ANSWERS, heartbeat(2), "where answers go"),
        (ANSWERS, answer("", &[("Term", uint(1))]), "lacks"),
    ] {
        let mut driven = new();
        driven.feed(way, &bytes);
        let lost = driven.lost[way.index()];
        assert!(lost.is_some_and(|lost| lost.contains(why)), "{lost:?}: {bytes:?}");
        assert_eq!(driven.take(), []);
    }
}

#[test]
fn consul_and_nomad_begin_with_a_byte_of_their_own() {
    for (opening, asked) in [(1, vote_request(2)), (2, heartbeat(2)), (1, pre_vote_request(2))] {
        for pieces in [1, 2] {
            let mut driven = new();
            let bytes = [&[opening][..], &asked, &heartbeat(2)].concat();
            let (first, rest) = bytes.split_at(usize::from(pieces == 2));
            driven.feed(ASKS, first);
            driven.feed(ASKS, rest);
            assert_eq!((driven.take().len(), driven.lost), (2, [None; 2]));
            // Only there.
            driven.feed(ASKS, &bytes);
            assert_eq!((driven.take().len(), driven.lost[0].is_some()), (0, true));
        }
    }
}

#[test]
fn answers_of_a_pipeline_are_all_of_its_kind() {
    let mut driven = new();
    driven.feed(ASKS, &vote_request(2));
    driven.feed(ANSWERS, &vote_answer(2, true));
    let at = |index| Position { index, term: 2 };
    driven.feed(ASKS, &[append(2, at(1), &[], 1), append(2, at(2), &[], 1)].concat());
    driven.feed(ANSWERS, &append_answer(2, 1, true));
    driven.feed(ASKS, &append(2, at(3), &[], 1));
    driven.feed(ANSWERS, &[append_answer(2, 2, true), append_answer(2, 3, true)].concat());
    let kinds: Vec<_> = driven.take().iter().map(|told| told.1.kind).collect();
    let (asked, answered) = (Kind::Append, Kind::AppendAnswer);
    assert_eq!(kinds[..2], [Kind::VoteRequest, Kind::VoteAnswer]);
    assert_eq!(kinds[2..], [asked, asked, answered, asked, answered, answered]);
}

#[test]
fn after_a_gap_answers_are_of_no_kind_until_a_request_is_seen() {
    let mut driven = new();
    driven.feed(ASKS, &heartbeat(2));
    driven.gap(ASKS);
    driven.feed(ANSWERS, &append_answer(2, 1, true));
    driven.feed(ANSWERS, &vote_answer(2, false));
    let told = driven.take();
    assert_eq!(told[1].1.kind, Kind::Other);
    assert_eq!(told[1].1.to, None);
    assert_eq!(told[2].1.kind, Kind::VoteAnswer, "nothing else tells of peers");
    // Not in the middle of something, not half of it.
    driven.feed(ASKS, &heartbeat(2)[9..]);
    driven.feed(ASKS, &heartbeat(2)[..40]);
    assert_eq!(driven.take(), []);
    driven.feed(ASKS, &[heartbeat(2), heartbeat(2)[..20].to_vec()].concat());
    driven.feed(ANSWERS, &append_answer(2, 1, true));
    driven.feed(ASKS, &heartbeat(2)[20..]);
    let kinds: Vec<_> = driven.take().iter().map(|told| told.1.kind).collect();
    assert_eq!(kinds, [Kind::Heartbeat, Kind::HeartbeatAnswer, Kind::Heartbeat]);
}

#[test]
fn only_whole_messages_of_that_direction_are_a_certain_point() {
    let mut decoder = new().decoder;
    let without_term = request(1, &[("LastLogIndex", uint(1)), ("LastLogTerm", uint(1))]);
    assert_eq!(decoder.regain(ASKS, &vote_request(2)), Some(0));
    assert_eq!(decoder.regain(ANSWERS, &vote_answer(2, true)), Some(0));
    assert_eq!(decoder.regain(ASKS, &snapshot(20)), Some(0));
    for (way, bytes) in [
        (ASKS, &without_term[..]),
        (ASKS, &[vote_request(2), without_term.clone()].concat()),
        (ASKS, &[vote_request(2), vec![9]].concat()),
        (ASKS, &vote_answer(2, true)),
        (ANSWERS, &vote_request(2)),
        (ANSWERS, &vote_answer(2, true)[1..]),
        (ASKS, &[]),
    ] {
        assert_eq!(decoder.regain(way, bytes), None, "{bytes:?}");
    }
}

#[test]
fn the_answer_of_something_else_is_of_no_kind() {
    let [_, told] =
        exchange(&heartbeat(2), &answer("", &[("Success", flag(true)), ("Term", uint(2))]));
    assert_eq!((told.kind, told.to), (Kind::Other, None));
}

#[test]
fn without_a_syn_the_bytes_say_who_has_dialled() {
    let joined = connection([40_000, 8300], None);
    let mut driven = Driven::new(Hashicorp::new(&joined));
    driven.gap(ASKS);
    driven.gap(ANSWERS);
    driven.feed(ANSWERS, &vote_answer(2, true));
    driven.feed(ASKS, &append_answer(2, 1, true));
    assert_eq!(driven.take().len(), 1, "both ends do not answer");
    driven.feed(ASKS, &heartbeat(2));
    assert_eq!(driven.take()[0].1, from_n1(Kind::Heartbeat, Some(2)));
}

#[test]
fn members_are_numbers_where_they_are_addresses() {
    assert_eq!(member(b"10.77.0.1:8300"), Some(N1));
    assert_eq!(member(b"[::ffff:10.77.0.1]:8300"), Some(N1));
    assert_eq!(member(b""), None);
    let others = [&b"[fd00::1]:8300"[..], b"[fd00::1]:8301", b"consul-1.example:8300", b"\xff"];
    let named: std::collections::HashSet<_> = others.map(member).into();
    assert_eq!(named.len(), 4);
    assert!(named.iter().all(|member| member.is_some_and(|Member(id)| id >> 63 == 1)));
    let sixth = "[fd00::1]:8300".parse().expect("an address");
    assert_eq!(Some(super::member_at(crate::packet::Endpoint::new(sixth))), member(others[0]));
}

/// A request with its answer.
fn any_exchange() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let number = prop_oneof![0..200_u64, any::<u64>()];
    let data = proptest::collection::vec(any::<u8>(), 0..400);
    prop_oneof![
        number.clone().prop_map(|t| (vote_request(t), vote_answer(t, true))),
        number.clone().prop_map(|t| (heartbeat(t), append_answer(t, 4, true))),
        (number, proptest::collection::vec(data, 0..5)).prop_map(|(term, data)| {
            let place = |i: usize| 9 + i as u64;
            let list = data.iter().enumerate().map(|(i, data)| entry(place(i), term, 0, bin(data)));
            let list: Vec<_> = list.collect();
            (append(term, Position { index: 8, term: 1 }, &list, 8), append_answer(term, 9, false))
        }),
        (0..3000_usize).prop_map(|size| {
            (snapshot(size), answer("", &[("Success", flag(true)), ("Term", uint(4))]))
        }),
    ]
}

proptest! {
    #[test]
    fn wherever_bytes_are_cut_they_say_the_same(
        exchanges in proptest::collection::vec(any_exchange(), 1..6),
        cuts in proptest::collection::vec(1..90_usize, 1..20),
    ) {
        let (mut whole, mut cut) = (new(), new());
        let mut sizes = cuts.iter().cycle();
        for (asked, answered) in &exchanges {
            for (way, bytes) in [(ASKS, asked), (ANSWERS, answered)] {
                whole.feed(way, bytes);
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let size = rest.len().min(*sizes.next().unwrap_or(&1));
                    let (piece, behind) = rest.split_at(size);
                    cut.feed(way, piece);
                    rest = behind;
                }
            }
        }
        prop_assert_eq!(whole.told.len(), exchanges.len() * 2);
        prop_assert!(whole.told.iter().all(|told| told.1.kind != Kind::Other));
        prop_assert_eq!(&whole.told, &cut.told);
    }

    #[test]
    fn bytes_that_were_changed_are_read_or_lost(
        exchanges in proptest::collection::vec(any_exchange(), 1..4),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        sizes in 1..700_usize,
    ) {
        for (way, part) in [(ASKS, 0), (ANSWERS, 1)] {
            let pick = |e: &(Vec<u8>, Vec<u8>)| if part == 0 { e.0.clone() } else { e.1.clone() };
            let mut bytes = exchanges.iter().flat_map(pick).collect::<Vec<u8>>();
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            let mut driven = new();
            bytes.chunks(sizes).for_each(|piece| driven.feed(way, piece));
        }
    }

    #[test]
    fn any_bytes_are_read_or_lost(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut driven = new();
        driven.feed(ASKS, &bytes);
        driven.feed(ANSWERS, &bytes);
        let _ = driven.decoder.regain(ASKS, &bytes);
    }
}
