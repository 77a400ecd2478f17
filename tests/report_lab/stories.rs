//! The stories themselves.

use super::traffic::{Down, Reign, calls, messages, nodes};
use super::{Dice, MS, S};
use raftq::report::story::{
    AlarmInfo, Band, ElectionInfo, ErrorCount, EvidenceInfo, EvidenceLine, Excerpt, FileInfo,
    FindingInfo, Late, LinkSum, LoadInfo, MomentInfo, Outage, Packets, Phase, RecoveryInfo,
    RuleSum, RunInfo, Span, Story, Total, VERSION, VerdictInfo,
};

fn base(name: &str, length: i64, word: &str) -> Story {
    Story {
        version: VERSION,
        run: RunInfo {
            scenario: name.into(),
            adapter: Some("etcd 3.5".into()),
            seed: "18446744073709551615".into(),
            args: vec!["--heartbeat-interval=50".into()],
            raftq: "0.1.0".into(),
            started: Some("2026-11-20T10:15:00Z".into()),
            length,
            folder: format!("runs/2026-11-20-101500-{name}"),
            repeat: vec![format!("raftq replay runs/2026-11-20-101500-{name}")],
        },
        verdict: VerdictInfo { word: word.into(), ..VerdictInfo::default() },
        phases: vec![
            phase("warming up", 0, 3 * S),
            phase("faults", 3 * S, length - 6 * S),
            phase("settling", length - 6 * S, length - S),
            phase("reading back", length - S, length),
        ],
        faults: Some(Span { from: 3 * S, to: length - 6 * S }),
        files: [
            ("summary.json", "the verdict, for machines"),
            ("history.jsonl", "every call of every client"),
            ("events.jsonl", "what was done, as adopted"),
            ("wire.jsonl", "what nodes said to each other"),
            ("nodes/n1.log", "what n1 logged"),
        ]
        .map(|(name, what)| FileInfo { name: name.into(), what: what.into() })
        .to_vec(),
        ..Story::default()
    }
}

fn phase(name: &str, from: i64, to: i64) -> Phase {
    Phase { name: name.into(), from, to }
}

fn finding(check: &str, verdict: &str, detail: &str) -> FindingInfo {
    FindingInfo { check: check.into(), verdict: verdict.into(), detail: detail.into() }
}

fn band(rule: &str, does: &str, from: i64, to: i64, links: &[(usize, usize)]) -> Band {
    Band {
        rule: rule.into(),
        kind: if links.is_empty() { "process" } else { "packets" },
        from,
        to,
        ended: true,
        nodes: vec![],
        links: links.to_vec(),
        does: vec![does.into()],
        why: "n1 leads in term 2, as heard on the wire".into(),
        matched: 224,
        acted: 224,
        leaked: 0,
    }
}

fn sums(story: &mut Story) {
    let mut rules: Vec<RuleSum> = Vec::new();
    for band in &story.bands {
        let at = rules.iter().position(|rule| rule.name == band.rule).unwrap_or_else(|| {
            let first = band.from + 9 * MS;
            rules.push(RuleSum { name: band.rule.clone(), first, ..RuleSum::default() });
            rules.len() - 1
        });
        rules[at].activations += 1;
        rules[at].matched += band.matched.max(0).unsigned_abs();
        rules[at].acted += band.acted.max(0).unsigned_abs();
        rules[at].last = band.to - 11 * MS;
    }
    story.rules = rules;
    let n = story.nodes.len();
    for (from, to) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a != b) {
        let packets = 1_000 + 317 * from as u64 + 113 * to as u64;
        let cut = story.bands.iter().any(|band| band.links.contains(&(from, to)));
        let late = Late { count: 300, p50: 41.5, p99: 96.0 + from as f64, max: 310.0 };
        story.links.push(LinkSum {
            from,
            to,
            packets,
            dropped: if cut { 54 + from as u64 } else { 0 },
            delayed: if cut { 300 } else { 0 },
            late: cut.then_some(late),
            ..LinkSum::default()
        });
    }
    let total = |name: &str, value| Total { name: name.into(), value };
    story.totals = vec![total("packets", 12_480), total("held at most", 31)];
}

fn elections(story: &mut Story, reigns: &[Reign]) {
    for reign in reigns {
        story.elections.push(ElectionInfo {
            at: reign.from - 90 * MS,
            term: reign.term,
            group: String::new(),
            candidates: vec![reign.node],
            leader: reign.node as i64,
            took: 90 * MS,
        });
        moment(story, reign.from, "leader", reign.node, &format!("leads in term {}", reign.term));
    }
}

fn moment(story: &mut Story, at: i64, kind: &'static str, node: usize, text: &str) {
    let name = &story.nodes[node].name;
    let text = format!("{name} {text}");
    story.moments.push(MomentInfo { at, kind, node: node as i64, text });
    story.moments.sort_by_key(|moment| moment.at);
}

fn load(story: &mut Story) {
    let of = |outcome| story.calls.outcome.iter().map(|o| u64::from(*o == outcome)).sum();
    let load = LoadInfo {
        workload: "registers".into(),
        history: "history.jsonl".into(),
        clients: story.lanes.len(),
        ok: of(0),
        failed: of(1),
        unknown: of(2),
        p50: 3_100,
        p99: 48_000,
        errors: vec![
            ErrorCount { why: "etcdserver: no leader".into(), times: 61 },
            ErrorCount { why: "timed out after 1 s".into(), times: 23 },
        ],
    };
    story.loads = vec![load];
}

fn log(story: &mut Story, node: usize, at: i64, why: &str) {
    let name = story.nodes[node].name.clone();
    let line = |i: i64| {
        format!("2026-11-20T10:15:{:09.6}Z INFO raft: {name} became follower at term {i}", i as f64)
    };
    story.logs.push(Excerpt {
        node,
        at,
        why: why.into(),
        file: format!("nodes/{name}.log"),
        lines: (1..14).map(line).collect(),
        cut: true,
    });
}

/// Three nodes: the leader cut off, another one killed, links slowed. It held.
pub fn holding() -> Story {
    let length = 34 * S;
    let mut story = base("demo", length, "holds");
    let reign = |from, to, node, term| Reign { from, to, node, term };
    let reigns = [
        reign(310 * MS, 9_200 * MS, 0, 2),
        reign(9_250 * MS, 17 * S, 2, 3),
        reign(17_900 * MS, length, 1, 4),
    ];
    let downs = [Down { from: 17 * S, to: 20 * S, node: 2, state: "down" }];
    story.nodes = nodes(&["n1", "n2", "n3"], &reigns, &downs, length);
    let off = [(0, 1), (0, 2), (1, 0), (2, 0)];
    story.bands = vec![
        band("cut the leader off", "drop", 8 * S, 14 * S, &off),
        Band { nodes: vec![2], ..band("kill another", "kill", 17 * S, 20 * S, &[]) },
        band("slow links", "delay 20 ms", 22 * S, 27 * S, &[(1, 0), (1, 2)]),
    ];
    story.verdict.findings = vec![
        finding("linearizable", "holds", "2213 operations on 8 objects"),
        finding("invariants", "holds", "5310 messages, 99.2 % of the time readable"),
        finding("recovers", "holds", "a write succeeded 0.04 s after healing"),
        finding("durable", "not made", "there was nothing to judge"),
    ];
    fill(&mut story, &reigns, &downs, 6, 2_200, 60 * MS);
    story.unavailable = vec![
        Outage { from: 8_100 * MS, to: 9_400 * MS, ended: true },
        Outage { from: 17_010 * MS, to: 18_020 * MS, ended: true },
    ];
    story.recovery = Some(RecoveryInfo { healed: 27_002 * MS, after: 41 * MS, limit: 5 * S });
    moment(&mut story, 17 * S, "died", 2, "was killed");
    moment(&mut story, 20 * S, "done", 2, "was started again");
    log(&mut story, 2, 17 * S, "n3 was killed");
    log(&mut story, 1, 17_900 * MS, "n2 leads in term 4");
    story
}

fn fill(
    story: &mut Story,
    reigns: &[Reign],
    downs: &[Down],
    clients: usize,
    count: usize,
    every: i64,
) {
    let mut dice = Dice::new(7);
    messages(story, reigns, downs, every, &mut dice);
    calls(story, clients, count, reigns, &mut dice);
    elections(story, reigns);
    sums(story);
    load(story);
}

/// Seven nodes, of which one is paused; a stale read, and two who led in one term.
pub fn violated() -> Story {
    let length = 41 * S;
    let mut story = base("storm", length, "violated");
    let reign = |from, to, node, term| Reign { from, to, node, term };
    let reigns = [
        reign(400 * MS, 7_900 * MS, 3, 2),
        reign(8_350 * MS, 15_100 * MS, 5, 4),
        reign(15_900 * MS, 24 * S, 0, 5),
        reign(24_600 * MS, length, 6, 7),
    ];
    let downs = [
        Down { from: 15_100 * MS, to: 19 * S, node: 5, state: "paused" },
        Down { from: 24 * S, to: 27_500 * MS, node: 0, state: "down" },
    ];
    let names = ["n1", "n2", "n3", "n4", "n5", "n6", "n7"];
    story.nodes = nodes(&names, &reigns, &downs, length);
    let cut: Vec<_> = (0..7).filter(|n| *n != 3).flat_map(|n| [(3, n), (n, 3)]).collect();
    story.bands = vec![
        band("cut the leader off", "drop", 7_900 * MS, 12 * S, &cut),
        Band { nodes: vec![5], ..band("pause whoever leads", "pause", 15_100 * MS, 19 * S, &[]) },
        band("slow links", "delay 20 ms", 17 * S, 30 * S, &[(0, 1), (0, 2), (0, 4)]),
        Band { nodes: vec![0], ..band("kill another", "kill", 24 * S, 27_500 * MS, &[]) },
        band("lose a third of the votes", "drop, 33 %", 7_900 * MS, 33 * S, &[(1, 2), (2, 1)]),
    ];
    fill(&mut story, &reigns, &downs, 6, 4_000, 70 * MS);
    story.unavailable = vec![
        Outage { from: 7_920 * MS, to: 8_600 * MS, ended: true },
        Outage { from: 15_150 * MS, to: 16_010 * MS, ended: true },
    ];
    contradiction(&mut story);
    packets(&mut story);
    story.alarms.push(AlarmInfo {
        at: 24_640 * MS,
        invariant: "election safety".into(),
        said: "n7 and n1 both led in term 7".into(),
        evidence: vec![
            "24.612 s  n7 -> n2  append_entries term 7, previous 4411 of term 5".into(),
            "24.640 s  n1 -> n3  append_entries term 7, previous 4409 of term 5".into(),
        ],
        nodes: vec![0, 6],
    });
    moment(&mut story, 15_100 * MS, "done", 5, "was paused");
    moment(&mut story, 24 * S, "died", 0, "was killed");
    for (node, at) in [(0, 24 * S), (6, 24_640 * MS), (5, 15_100 * MS)] {
        log(&mut story, node, at, "around what was done");
    }
    story.verdict.findings = vec![
        finding(
            "linearizable",
            "violated",
            "k3: a read returned what was overwritten\nbefore it began. In full:\n  \
             client 2 read k3 -> 11\n  client 4 wrote k3 12 before",
        ),
        finding("invariants", "violated", "n7 and n1 both led in term 7"),
        finding("recovers", "holds", "a write succeeded 0.60 s after healing"),
        finding("available", "undecided", "97 probing writes could not be sent in time"),
    ];
    story.verdict.warnings = vec!["12 packets were of unknown senders and passed a cut".into()];
    story.left_out = vec!["messages between 30 s and 35 s, of which nothing came".into()];
    story
}

/// Packets as they are logged with all of them: each message in one, and an acknowledgement.
fn packets(story: &mut Story) {
    let m = &story.messages;
    let mut packets = Packets::default();
    for i in (0..m.at.len()).flat_map(|i| [i, i]) {
        packets.at.push(m.at[i]);
        packets.from.push(m.from[i]);
        packets.to.push(m.to[i]);
        packets.fate.push(m.fate[i]);
        packets.rule.push(if m.fate[i] == 0 { -1 } else { 0 });
        packets.delay.push(m.delay[i]);
    }
    story.packets = Some(packets);
}

/// A stale read: four calls of the history around 16 s.
fn contradiction(story: &mut Story) {
    let after = |at: i64, lane: usize| {
        let of = |i: &usize| story.calls.begin[*i] >= at && story.calls.lane[*i] == lane;
        (0..story.calls.begin.len()).find(of).expect("clients call all the time")
    };
    let found = [after(24_900 * MS, 4), after(24_950 * MS, 1), after(25_000 * MS, 2)];
    let texts = ["write k3 12 -> ok", "read k3 -> 12", "read k3 -> 11"];
    let mut lines = vec![EvidenceLine {
        process: "client 0".into(),
        node: Some("n1".into()),
        text: "write k3 11 -> timed out".into(),
        begin: 24_100 * MS,
        end: -1,
        blamed: false,
        call: -1,
    }];
    let mut begin = 24_900 * MS;
    for (i, (call, text)) in found.into_iter().zip(texts).enumerate() {
        let end = begin + 7 * MS + 2 * MS * i as i64;
        lines.push(EvidenceLine {
            process: format!("client {}", [4, 1, 2][i]),
            node: Some(format!("n{}", 2 * i + 1)),
            text: text.into(),
            begin,
            end,
            blamed: i == 2,
            call: call as i64,
        });
        begin = end - 2 * MS + 3 * MS * i as i64;
    }
    story.blamed = found.to_vec();
    story.evidence = vec![EvidenceInfo {
        history: "history.jsonl".into(),
        check: "linearizable".into(),
        object: "k3".into(),
        summary: "a read returned 11, which had been overwritten by 12 before it began".into(),
        lines,
    }];
}

/// The same, of a run without a trace: what became of a message is not known of any.
pub fn untraced() -> Story {
    let mut story = holding();
    story.messages.fate.fill(0);
    story.messages.delay.fill(-1);
    story
}

/// An attached session: no clients, no checks, and packets were lost.
pub fn undecided() -> Story {
    let mut story = holding();
    story.run.scenario = "partition.yaml".into();
    story.run.adapter = None;
    story.verdict = VerdictInfo {
        word: "undecided".into(),
        exit_code: 2,
        why: String::new(),
        findings: vec![finding("run", "undecided", "the kernel lost 12 packets of the queue")],
        warnings: vec!["n2 was restarted in another namespace".into()],
    };
    story.calls = raftq::report::story::Calls::default();
    (story.lanes, story.loads, story.texts) = (vec![], vec![], vec![]);
    (story.unavailable, story.recovery) = (vec![], None);
    story.phases = vec![];
    story
}

/// 100,000 calls of 100 clients and a million messages in ten minutes.
pub fn big() -> Story {
    let length = 600 * S;
    let mut story = base("big", length, "violated");
    let mut reigns = vec![];
    let (mut at, mut term) = (500 * MS, 2);
    while at < length {
        let to = (at + 11 * S).min(length);
        reigns.push(Reign { from: at, to, node: (term as usize * 3) % 5, term });
        (at, term) = (to + 700 * MS, term + 1);
    }
    story.nodes = nodes(&["n1", "n2", "n3", "n4", "n5"], &reigns, &[], length);
    for (i, reign) in reigns.iter().enumerate() {
        let links = [(reign.node, (reign.node + 1) % 5), ((reign.node + 1) % 5, reign.node)];
        let rule = ["cut the leader off", "slow links"][i % 2];
        let does = ["drop", "delay 20 ms"][i % 2];
        story.bands.push(band(rule, does, reign.from + 4 * S, reign.from + 9 * S, &links));
    }
    fill(&mut story, &reigns, &[], 100, 125_000, 4_300);
    story.verdict.findings = vec![finding("linearizable", "violated", "k3: a stale read")];
    story.blamed = vec![50_000, 50_004, 50_010];
    story
}

/// Every name and value tries to be more than text.
pub fn hostile() -> Story {
    let mut story = violated();
    let script = "</script><script>document.title='owned'</script>";
    let image = "<img src=x onerror=\"document.title='owned'\">";
    let turned = "a\u{202e}gnp.exe\u{2066}";
    story.run.scenario = format!("{script}{image}");
    story.run.folder = image.into();
    story.nodes[0].name = image.into();
    story.nodes[1].name = turned.into();
    story.nodes[2].name = "</title></style>".repeat(8);
    for band in &mut story.bands {
        band.rule = format!("{script} {}", band.rule);
        band.why = image.into();
    }
    for rule in &mut story.rules {
        rule.name = format!("{script} {}", rule.name);
    }
    for text in &mut story.texts {
        text.insert_str(0, image);
    }
    story.evidence[0].summary = script.into();
    story.evidence[0].lines[1].text = image.into();
    story.logs[0].lines[0] = format!("{script}{image}\u{1b}[31m");
    story.alarms[0].said = image.into();
    story.verdict.findings[0].detail = format!("{image}\n{script}");
    story.verdict.warnings.push(turned.into());
    story.files.push(FileInfo { name: "javascript:alert(1)".into(), what: script.into() });
    story.phases[0].name = image.into();
    story
}
