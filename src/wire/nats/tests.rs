//! Messages made by hand, as 2.9 writes them and as 2.15 does.

use super::Nats;
use crate::wire::decoder::{Decoder, KEPT_MAX, Way};
use crate::wire::driven::{Driven, connection};
use crate::wire::message::{Entry, Group, Kind, Member, Message, Position};
use proptest::prelude::*;

const HERE: Way = Way::There;
const BACK: Way = Way::Back;
const LEADER: &[u8] = b"fjFyEjc1";
const FOLLOWER: &[u8] = b"44jzkV9D";

fn id(name: &[u8]) -> Option<Member> {
    name.try_into().ok().map(|name| Member(u64::from_be_bytes(name)))
}

fn group() -> Group {
    Group::named(b"S-R3F-7zstaNHi")
}

/// A message as a route between accounts has it.
fn message(words: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("RMSG $SYS {words} {}\r\n", payload.len());
    [head.as_bytes(), payload, b"\r\n"].concat()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn vote_request(term: u64) -> Vec<u8> {
    let payload = [&numbers(&[term, 1, 34])[..], LEADER].concat();
    message("$NRG.V.S-R3F-7zstaNHi $NRG.R.CMWnBtoC", &payload)
}

fn vote_answer(term: u64, flag: u8) -> Vec<u8> {
    let payload = [&numbers(&[term])[..], FOLLOWER, &[flag]].concat();
    message("$NRG.R.CMWnBtoC", &payload)
}

/// An append's bytes: what is before, the entries, what is behind.
fn append_bytes(term: u64, commit: u64, previous: Position, entries: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = LEADER.to_vec();
    bytes.extend(numbers(&[term, commit, previous.term, previous.index]));
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (kind, data) in entries {
        bytes.extend((data.len() as u32 + 1).to_le_bytes());
        bytes.push(*kind);
        bytes.extend(*data);
    }
    bytes
}

fn append(term: u64, commit: u64, previous: Position, entries: &[(u8, &[u8])]) -> Vec<u8> {
    let bytes = append_bytes(term, commit, previous, entries);
    message("$NRG.AE.S-R3F-7zstaNHi $NRG.R.ue6c1Wms", &bytes)
}

fn append_answer(term: u64, index: u64, success: u8, inbox: &str) -> Vec<u8> {
    let payload = [&numbers(&[term, index])[..], FOLLOWER, &[success]].concat();
    message(&format!("$NRG.R.ue6c1Wms{inbox}"), &payload)
}

fn new() -> Driven<Nats> {
    Driven::new(Nats::new(&connection([40_000, 6222], Some(HERE))))
}

/// What is told of bytes that come in these directions.
fn told(pieces: &[(Way, &[u8])]) -> Vec<Message> {
    let mut driven = new();
    for (way, bytes) in pieces {
        driven.feed(*way, bytes);
    }
    assert_eq!(driven.lost, [None; 2]);
    driven.take().iter().map(|told| told.1).collect()
}

fn from_leader(kind: Kind, term: u64) -> Message {
    Message { group: group(), term: Some(term), from: id(LEADER), ..Message::new(kind) }
}

fn from_follower(kind: Kind, term: Option<u64>) -> Message {
    let (from, to) = (id(FOLLOWER), id(LEADER));
    Message { group: group(), term, from, to, ..Message::new(kind) }
}

#[test]
fn a_vote_request_and_answers_of_both_versions() {
    let request = Message {
        previous: Some(Position { index: 34, term: 1 }),
        ..from_leader(Kind::VoteRequest, 2)
    };
    // 2.9 grants with its former term, and that is not the vote's; 2.15 with the one asked for,
    // and says in the flag that its log is empty.
    for (term, flag, told_term, granted) in [
        (1, 1, None, true),
        (2, 1, Some(2), true),
        (2, 3, Some(2), true),
        (3, 0, Some(3), false),
        (3, 2, Some(3), false),
        (3, 1, None, true),
    ] {
        let answer =
            Message { granted: Some(granted), ..from_follower(Kind::VoteAnswer, told_term) };
        let pieces = [(HERE, &vote_request(2)[..]), (BACK, &vote_answer(term, flag))];
        assert_eq!(told(&pieces), [request, answer]);
    }
}

#[test]
fn a_granted_vote_has_no_term_where_a_later_request_may_be_missing() {
    let mut driven = new();
    driven.feed(HERE, &vote_request(2));
    driven.gap(HERE);
    driven.feed(BACK, &vote_answer(2, 1));
    assert_eq!(driven.told[1].1.term, None);
    assert_eq!((driven.told[1].1.group, driven.told[1].1.to), (group(), id(LEADER)));
    driven.feed(HERE, &vote_request(3));
    driven.feed(BACK, &[vote_answer(2, 1), vote_answer(3, 1)].concat());
    assert_eq!(
        driven.told[3..].iter().map(|told| told.1.term).collect::<Vec<_>>(),
        [None, Some(3)]
    );
}

#[test]
fn heartbeats_and_appends() {
    let at = Position { index: 4, term: 1 };
    let empty = append(2, 3, at, &[]);
    let full = append(2, 4, at, &[(0, b"one"), (3, b"BXScrY9i")]);
    let all = told(&[
        (HERE, &empty),
        (BACK, &append_answer(2, 4, 1, "")),
        (HERE, &full),
        (BACK, &append_answer(2, 5, 1, "")),
    ]);
    let said = Message { previous: Some(at), commit: Some(3), ..from_leader(Kind::Heartbeat, 2) };
    assert_eq!(all[0], said);
    let said = Message { kind: Kind::Append, commit: Some(4), entries: 1, ..said };
    assert_eq!(all[2], said);
    for (told, index) in [(all[1], 4), (all[3], 5)] {
        let said = from_follower(Kind::AppendAnswer, Some(2));
        assert_eq!(told, Message { index: Some(index), granted: Some(true), ..said });
    }
}

#[test]
fn an_answer_to_an_append_tells_a_term_only_where_that_is_its_senders() {
    let request = append(5, 3, Position { index: 4, term: 3 }, &[]);
    for (term, success, told_term) in [
        // The last entry is of an earlier leader; the sender's own term may be any above.
        (3, 1, None),
        (5, 1, Some(5)),
        // It refuses, since it knows a later leader.
        (7, 0, Some(7)),
    ] {
        let all = told(&[(HERE, &request), (BACK, &append_answer(term, 4, success, ""))]);
        assert_eq!(all[1].term, told_term);
        assert_eq!(all[1].granted, Some(success == 1));
    }
}

#[test]
fn an_answer_to_an_append_has_no_term_where_a_later_append_may_be_missing() {
    let mut driven = new();
    driven.feed(HERE, &append(5, 3, Position { index: 4, term: 3 }, &[]));
    driven.gap(HERE);
    // Behind the gap may have been one of term 6.
    driven.feed(BACK, &append_answer(5, 4, 1, ""));
    let message = driven.told[1].1;
    assert_eq!((message.kind, message.term), (Kind::AppendAnswer, None));
    assert_eq!((message.group, message.to), (group(), id(LEADER)));
}

fn entry_of(bytes: &[u8]) -> Vec<Entry> {
    let mut driven = new();
    driven.feed(HERE, bytes);
    assert_eq!(driven.told.len(), 1, "{:?}", driven.lost);
    driven.told[0].2.clone()
}

#[test]
fn an_append_is_one_entry_whoever_sends_it_again() {
    let at = Position { index: 2, term: 1 };
    let two: [(u8, &[u8]); 2] = [(3, b"BXScrY9i"), (3, b"BXScrY9i")];
    let entry = entry_of(&append(1, 1, at, &two));
    assert_eq!(entry.len(), 1);
    assert_eq!(entry[0].at, Position { index: 3, term: 1 });
    // Sent again when more is committed, and by 2.15, with the leader's term behind.
    assert_eq!(entry_of(&append(1, 9, at, &two)), entry);
    let longer = [append_bytes(1, 1, at, &two), vec![0]].concat();
    assert_eq!(entry_of(&message("$NRG.AE.g r", &longer)), entry);
    for other in [
        append(1, 1, at, &two[..1]),
        append(1, 1, at, &[(4, b"BXScrY9i"), (3, b"BXScrY9i")]),
        append(1, 1, at, &[(3, b"BXScrY9iBXScrY9i")]),
    ] {
        assert_ne!(entry_of(&other)[0].hash, entry[0].hash);
    }
    // Snapshots and peers are entries like others.
    assert_eq!(entry_of(&append(1, 1, at, &[(6, b"snapshot"), (2, b"peers")])).len(), 1);
}

#[test]
fn a_transfer_of_leadership_may_have_no_place_in_the_log() {
    let bytes = append(1, 1, Position { index: 2, term: 1 }, &[(5, FOLLOWER)]);
    assert_eq!(entry_of(&bytes), []);
    let all = told(&[(HERE, &bytes)]);
    assert_eq!((all[0].kind, all[0].entries), (Kind::Append, 0));
}

#[test]
fn an_append_too_large_to_be_kept_is_told_without_its_hash() {
    let large = vec![7; 2 * KEPT_MAX];
    let bytes = append(3, 1, Position { index: 2, term: 1 }, &[(0, &large)]);
    let mut driven = new();
    for piece in [bytes, append(3, 2, Position { index: 3, term: 3 }, &[])].concat().chunks(1448) {
        driven.feed(HERE, piece);
    }
    assert_eq!(driven.lost, [None; 2]);
    let kinds: Vec<_> = driven.told.iter().map(|told| (told.1.kind, told.1.entries)).collect();
    assert_eq!(kinds, [(Kind::Append, 1), (Kind::Heartbeat, 0)]);
    assert_eq!(driven.told[0].2, []);
}

#[test]
fn catching_up_is_never_a_leaders_word() {
    let at = Position { index: 12, term: 2 };
    let stored = append_bytes(2, 12, at, &[(0, b"after-0")]);
    for (inbox, answers) in
        [("$NRG.CR.aLCuLnYa", "$NRG.CP.FwSxCOeC"), ("$NRG.R.inbox", "$NRG.R.ue6c1Wms")]
    {
        let all = told(&[
            (HERE, &append(5, 15, Position { index: 15, term: 2 }, &[])),
            (BACK, &append_answer(1, 11, 0, &format!(" {inbox}"))),
            (HERE, &message(&format!("{inbox} {answers}"), &stored)),
        ]);
        let said = Message {
            index: Some(11),
            granted: Some(false),
            ..from_follower(Kind::AppendAnswer, None)
        };
        assert_eq!(all[1], said);
        assert_eq!(
            all[2],
            Message { group: group(), to: id(FOLLOWER), ..Message::new(Kind::Other) }
        );
    }
    // How far it has come, in 2.15.
    let mut driven = new();
    driven.feed(HERE, &append(5, 15, Position { index: 15, term: 2 }, &[]));
    driven.feed(BACK, &append_answer(1, 11, 0, " $NRG.CR.a"));
    driven.feed(HERE, &message("$NRG.CR.a $NRG.CP.b", &stored));
    let progress = [&numbers(&[2, 13])[..], FOLLOWER, &[1]].concat();
    driven.feed(BACK, &message("$NRG.CP.b", &progress));
    assert_eq!(driven.told[3].1, Message { group: group(), ..Message::new(Kind::Other) });
}

#[test]
fn an_answer_is_known_on_another_connection_and_not_before_its_question() {
    let mut asks = new();
    let mut answers = new();
    let early = append_answer(2, 4, 1, "");
    answers.feed(BACK, &early);
    let message = answers.take()[0].1;
    assert_eq!((message.kind, message.term), (Kind::AppendAnswer, None));
    assert_eq!(message.group, Group::UNKNOWN);
    // Even a refused vote: that is a term of which group?
    answers.feed(BACK, &vote_answer(2, 0));
    let message = answers.take()[0].1;
    assert_eq!(
        (message.kind, message.group, message.term),
        (Kind::VoteAnswer, Group::UNKNOWN, None)
    );
    asks.feed(HERE, &append(2, 3, Position { index: 4, term: 1 }, &[]));
    std::mem::swap(&mut asks.known, &mut answers.known);
    answers.feed(BACK, &early);
    let message = answers.take()[0].1;
    // Of which group it is, is certain; whether this is the latest append that it knew, is not.
    assert_eq!((message.group, message.term, message.to), (group(), None, id(LEADER)));
}

#[test]
fn proposals_and_what_is_malformed_is_some_other_message() {
    for (words, bytes) in [
        ("$NRG.P.S-R3F-7zstaNHi", &b"a proposal"[..]),
        ("$NRG.RP.S-R3F-7zstaNHi", FOLLOWER),
        ("$NRG.V.S-R3F-7zstaNHi r", &[0; 31]),
        ("$NRG.AE.S-R3F-7zstaNHi r", &[1; 41]),
        // So many entries are not there.
        ("$NRG.AE.S-R3F-7zstaNHi r", &[1; 42]),
        // An entry without a type.
        ("$NRG.AE.S-R3F-7zstaNHi r", &[&[0; 40][..], &[1, 0, 0, 0, 0, 0]].concat()),
    ] {
        let all = told(&[(HERE, &message(words, bytes))]);
        assert_eq!(all, [Message { group: group(), ..Message::new(Kind::Other) }]);
    }
    for (words, bytes) in [("$NRG.R.x", &[0; 18][..]), ("$NRG.R.x", &[9; 17]), ("$NRG.NEW", b"")] {
        let all = told(&[(HERE, &message(words, bytes))]);
        assert_eq!(all, [Message { group: Group::UNKNOWN, ..Message::new(Kind::Other) }]);
    }
}

#[test]
fn whatever_else_goes_over_a_route_is_passed_over() {
    let quiet = [
        &b"INFO {\"server_id\":\"N\",\"version\":\"2.15.1\"} \r\n"[..],
        b"CONNECT {\"echo\":true}\r\nPING\r\nPONG\r\n+OK\r\n-ERR 'Stale Connection'\r\n",
        b"RS+ $SYS $NRG.V._meta_\r\nRS- $G foo\r\nRS+ $G foo q 1\r\nLS+ $G foo\r\nA+ x\r\n",
        &message("$SYS.REQ.SERVER.PING", b""),
        b"RMSG $G foo reply 12\r\nRMSG $SYS $N\r\n",
        b"HMSG $G foo 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
        b"LMSG hub $G foo 2\r\nhi\r\n",
    ]
    .concat();
    let header = b"HMSG $NRG.V.S-R3F-7zstaNHi r 12 44\r\nNATS/1.0\r\n\r\n";
    let traced = [&header[..], &numbers(&[2, 1, 34]), LEADER, b"\r\n"].concat();
    let all = told(&[(HERE, &[quiet.clone(), traced, quiet].concat())]);
    assert_eq!(
        all.iter().map(|told| (told.kind, told.term)).collect::<Vec<_>>(),
        [(Kind::VoteRequest, Some(2))]
    );
}

#[test]
fn what_makes_no_sense_is_lost_and_found_again_at_a_message() {
    let bad_end = [&message("$NRG.P.g", b"x")[..], b"x"].concat();
    for (bytes, why) in [
        (b"RMSG $SYS $NRG.P.g 1\r\nxyz".to_vec(), "end where it should"),
        (b"RMSG $G foo 1\r\nxyz".to_vec(), "end where it should"),
        (bad_end, "no line"),
        (vec![0xff, 6, 0, 0, b'S', b'2', b's', b'T', b'w', b'O'], "compressed"),
        (vec![0x16, 3, 1, 2, 0], "TLS"),
    ] {
        let mut driven = new();
        driven.feed(HERE, &bytes);
        let lost = driven.lost[0];
        assert!(lost.is_some_and(|lost| lost.contains(why)), "{lost:?}: {bytes:?}");
        driven.take();
        let beat = append(2, 3, Position { index: 4, term: 1 }, &[]);
        for uncertain in
            [&beat[1..], &beat[..60], b"PING\r\n+OK\r\n", b"-ERR 'x'\r\n", b"\r\n", b"RS+ a\n"]
        {
            driven.feed(HERE, uncertain);
            assert_eq!(driven.lost[0], lost, "{uncertain:?}");
        }
        driven.feed(HERE, &[&b"PING\r\n"[..], &beat, &beat[..30]].concat());
        driven.feed(HERE, &beat[30..]);
        assert_eq!(driven.lost[0], None);
        assert_eq!(driven.take().len(), 2);
    }
}

#[test]
fn a_message_that_ends_wrong_makes_no_point_certain() {
    let beat = append(2, 3, Position { index: 4, term: 1 }, &[]);
    let mut decoder = new().decoder;
    assert_eq!(decoder.regain(HERE, &[&beat[..], &beat[..70]].concat()), Some(0));
    for behind in [&b"RMSG $G foo 1\r\nxyz"[..], b"what"] {
        assert_eq!(decoder.regain(HERE, &[&beat[..], behind].concat()), None);
    }
}

#[test]
fn a_route_that_is_only_kept_alive_is_taken_up() {
    for alone in [b"PING\r\n", b"PONG\r\n"] {
        let mut driven = new();
        driven.gap(HERE);
        driven.feed(HERE, alone);
        assert_eq!(driven.lost[0], None);
    }
}

/// A message or a line, and how many messages of Raft that is.
fn any_piece() -> impl Strategy<Value = (Vec<u8>, usize)> {
    let data = proptest::collection::vec(any::<u8>(), 0..400);
    prop_oneof![
        (0..9_u64).prop_map(|term| (vote_request(term), 1)),
        (0..9_u64, 0..4_u8).prop_map(|(term, flag)| (vote_answer(term, flag), 1)),
        (0..9_u64, 0..2_u8)
            .prop_map(|(term, flag)| (append_answer(term, 7, flag, " $NRG.CR.x"), 1)),
        (0..9_u64, proptest::collection::vec(data.clone(), 0..5)).prop_map(|(term, data)| {
            let entries: Vec<_> = data.iter().map(|data| (0, &data[..])).collect();
            (append(term, 7, Position { index: 8, term: 1 }, &entries), 1)
        }),
        data.prop_map(|data| (message("foo.bar", &data), 0)),
        Just((b"RS+ $SYS $NRG.V._meta_\r\nPING\r\n".to_vec(), 0)),
    ]
}

proptest! {
    #[test]
    fn wherever_bytes_are_cut_they_say_the_same(
        pieces in proptest::collection::vec((any::<bool>(), any_piece()), 1..9),
        cuts in proptest::collection::vec(1..90_usize, 1..20),
    ) {
        let (mut whole, mut cut) = (new(), new());
        let mut sizes = cuts.iter().cycle();
        for (there, (bytes, _)) in &pieces {
            let way = if *there { HERE } else { BACK };
            whole.feed(way, bytes);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap_or(&1)));
                cut.feed(way, piece);
                rest = behind;
            }
        }
        prop_assert_eq!(whole.lost, [None; 2]);
        prop_assert_eq!(whole.told.len(), pieces.iter().map(|(_, (_, told))| told).sum::<usize>());
        prop_assert_eq!(&whole.told, &cut.told);
    }

    #[test]
    fn bytes_that_were_changed_are_read_or_lost(
        pieces in proptest::collection::vec(any_piece(), 1..6),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        sizes in 1..700_usize,
    ) {
        let mut bytes: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.0).collect();
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        let mut driven = new();
        bytes.chunks(sizes).for_each(|piece| driven.feed(HERE, piece));
        let _ = driven.decoder.regain(HERE, &bytes);
    }

    #[test]
    fn any_payload_is_some_message(
        words in prop_oneof![
            Just("$NRG.V.g $NRG.R.r"),
            Just("$NRG.AE.g $NRG.R.r"),
            Just("$NRG.R.r"),
            Just("$NRG.R.r $NRG.CR.c"),
            Just("$NRG.CR.c $NRG.CP.p"),
            Just("$NRG.CP.p"),
            Just("$NRG.P.g"),
            Just("$NRG."),
            Just("$NRG.R."),
        ],
        payload in proptest::collection::vec(any::<u8>(), 0..90),
    ) {
        prop_assert_eq!(told(&[(HERE, &message(words, &payload))]).len(), 1);
    }
}
