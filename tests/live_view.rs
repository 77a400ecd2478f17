//! `raftq watch` on a terminal, with a real etcd cluster under it: what stands on the screen is
//! what the API and the nodes say, keys switch rules, and every way out gives the terminal back.
//! Needs root; run it by `make test`.

mod api_lab;
mod live_lab;
mod switch_lab;
mod wire_lab;

use api_lab::call;
use live_lab::{Before, RAFTQ, Raftq};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use raftq_harness::clock::wait_for;
use raftq_harness::etcd::{EtcdCluster, name};
use raftq_harness::netns::{Bridged, Namespace};
use raftq_harness::owner::{Scratch, runs};
use raftq_terminal::{Size, Terminal};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wire_lab::{LIMIT, STEP, net, others, speaking};

const LARGE: Size = (100, 30);
const SMALL: Size = (60, 15);

/// `raftq watch` on a terminal.
struct View {
    terminal: Terminal,
}

impl View {
    fn start(run_dir: &Path, args: &[&OsStr]) -> Self {
        let mut all = vec![OsStr::new("watch")];
        all.extend(args);
        let env = [("RAFTQ_RUN_DIR", run_dir.as_os_str()), ("RUST_LOG", OsStr::new("debug"))];
        let terminal = Terminal::start(OsStr::new(RAFTQ), &all, &env, LARGE);
        Self { terminal: terminal.expect("raftq watch starts") }
    }

    /// Waits until the screen fits.
    fn until<T>(&mut self, what: &str, mut fit: impl FnMut(&[String]) -> Option<T>) -> T {
        let found = wait_for(what, LIMIT, STEP, || {
            let ended = self.terminal.ended().expect("it can be asked");
            fit(&self.terminal.rows()).map(Ok).or(ended.map(Err))
        });
        match found {
            Ok(Ok(found)) => found,
            Ok(Err(code)) => {
                panic!("it ended ({code:?}) without {what}:\n{}", self.terminal.text())
            }
            Err(e) => panic!("{e}:\n{}", self.terminal.text()),
        }
    }

    fn await_words(&mut self, words: &str) {
        self.until(words, |rows| rows.iter().any(|row| row.contains(words)).then_some(()));
    }

    fn press(&mut self, keys: &str) {
        self.terminal.press(keys).expect("it reads keys");
    }

    /// Waits for its end; the terminal has to be as it was before.
    fn must_end(mut self, code: u32) -> String {
        let ended = wait_for("raftq watch to end", LIMIT, STEP, || {
            self.terminal.ended().expect("it can be asked")
        });
        let text = self.terminal.text();
        assert_eq!(ended, Ok(Some(code)), "{text}");
        // What it has written last may be still on its way to the screen.
        let back = wait_for("the screen to be given back", LIMIT, STEP, || {
            (!self.terminal.is_alternate()).then_some(())
        });
        assert!(back.is_ok() && self.terminal.is_as_before(), "{text}");
        assert!(!self.terminal.hides_cursor(), "{text}");
        self.terminal.text()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.terminal.pid()), signal).expect("it runs");
    }

    /// Closes the window; the program has to end.
    fn close(self) {
        let pid = self.terminal.pid();
        let mut child = self.terminal.close();
        let ended = wait_for("it to end without a terminal", LIMIT, STEP, || {
            child.try_wait().expect("it can be asked").map(drop)
        });
        assert!(ended.is_ok(), "{pid} lives: {}", runs(pid.cast_unsigned()));
    }
}

/// The cell of the link matrix from one node to another: its three lines.
fn cell(rows: &[String], from: &str, to: &str) -> Option<[String; 3]> {
    let head = rows.iter().position(|row| row.contains(" Links: "))? + 1;
    let columns: Vec<char> = rows[head].chars().collect();
    let heads: String = columns.iter().collect();
    // The names of senders stand further to the left, in the pane's first column.
    let start = rows[head].chars().skip(1).position(|c| c == '\u{2502}')? + 3;
    let byte = heads.find(&format!(" {to} "))?;
    let end = heads[..byte].chars().count() + 1 + to.chars().count();
    let is_from = |row: &String| {
        let name: String = row.chars().skip(start).take_while(|c| *c != ' ').collect();
        name == from
    };
    let first = head + rows[head..].iter().position(is_from)?;
    let part = |i: usize| -> String {
        rows[first + i].chars().skip(end - 16).take(16).collect::<String>().trim().to_owned()
    };
    Some([part(0), part(1), part(2)])
}

/// A round trip on the screen, ms.
fn round_trip(cell: &[String; 3]) -> Option<f64> {
    let word = cell[1].split(' ').next()?;
    match (word.strip_suffix("us"), word.strip_suffix("ms")) {
        (Some(us), _) => us.parse::<f64>().ok().map(|us| us / 1e3),
        (_, Some(ms)) => ms.parse().ok(),
        _ => None,
    }
}

/// State, switch, and what a rule acted on, in its row.
fn rule_row(rows: &[String], rule: &str) -> Option<(String, String, u64)> {
    let row = rows.iter().find(|row| row.contains(&format!(" {rule} ")))?;
    let behind = row.split_once(&format!(" {rule} "))?.1;
    let words: Vec<&str> = behind.split_whitespace().collect();
    Some((words.first()?.to_string(), words.get(1)?.to_string(), words.get(3)?.parse().ok()?))
}

fn rule(socket: &Path, name: &str) -> Value {
    call(socket, "GET", &format!("/v1/rules/{name}"), None).1
}

fn leader(socket: &Path) -> (String, u64) {
    wait_for("a leader", LIMIT, STEP, || {
        let leader = &call(socket, "GET", "/v1/watch", None).1["leader"];
        Some((leader["node"].as_str()?.to_owned(), leader["term"].as_u64()?))
    })
    .expect("somebody leads")
}

fn spaces(net: &Bridged) -> Vec<&Namespace> {
    net.nodes().iter().chain([net.hub()]).collect()
}

/// Rules that wait to be switched on, for a cluster of which this node leads. What the leader says
/// is not dropped, so that it goes on to lead.
fn rules(leads: usize) -> String {
    let [leader, follower, other] = [leads, others(leads)[0], others(leads)[1]].map(name);
    format!(
        "rules:\n\
         - {{ name: cut, at: switch, from: {follower}, to: {other}, do: drop }}\n\
         - {{ name: slow, at: switch, from: {leader}, to: {follower}, do: {{ delay: 25ms }} }}\n"
    )
}

#[test]
fn a_cluster_is_watched_and_its_rules_are_switched_by_key() {
    let net = net();
    let (etcd, leads) = wire_lab::etcd(&net);
    watched(&net, &etcd, leads);
    by_itself(&net, &etcd, leads);
}

/// With a raftq that is attached already.
fn watched(net: &Bridged, etcd: &EtcdCluster<'_>, leads: usize) {
    let cluster = speaking(etcd, "etcd");
    let mut raftq = Raftq::start_with(&cluster, spaces(net), None, &rules(leads), &["--json"]);
    raftq.await_line("attached to ");
    let (run_dir, socket) = (raftq.file("run"), switch_lab::socket(&raftq));
    let (leader, term) = leader(&socket);
    assert_eq!(leader, name(leads));
    let [follower, other] = others(leads).map(name);

    let mut view = View::start(&run_dir, &[]);
    view.await_words(&format!("{leader} leads in term {term}"));
    assert!(view.terminal.is_alternate() && !view.terminal.is_as_before());
    // Messages of the leader are counted, and its row says what it is.
    view.until("the leader's row", |rows| {
        let row = format!("{leader} leader    term {term}");
        rows.iter().any(|line| line.contains(&row)).then_some(())
    });
    view.await_words("heartbeat");
    // A round trip without raftq's delay is short.
    let before = view
        .until("a round trip", |rows| cell(rows, &leader, &follower).as_ref().and_then(round_trip));
    assert!(before < 20.0, "{before} ms:\n{}", view.terminal.text());

    // On by key: packets are dropped, which both the screen and the API count.
    view.press(" ");
    view.await_words("\"cut\" is on since ");
    view.until("dropped packets in the rule's row", |rows| {
        let (state, switched, acted) = rule_row(rows, "cut")?;
        (state == "active" && switched == "on" && acted > 0).then_some(())
    });
    view.until("dropped packets in the matrix", |rows| {
        cell(rows, &follower, &other)?[2].starts_with("drop ").then_some(())
    });
    let counted = rule(&socket, "cut");
    assert_eq!(counted["state"], "active", "{counted}");
    assert!(counted["acted"].as_u64() > Some(0), "{counted}");
    // Off by key: it acts no more, while packets go on.
    view.press("\r");
    view.await_words("\"cut\" is off since ");
    let counted = rule(&socket, "cut");
    assert_eq!((&counted["state"], &counted["switched"]), (&"waiting".into(), &"off".into()));
    await_packets(&socket, 20);
    assert_eq!(rule(&socket, "cut")["acted"], counted["acted"]);
    let acted = counted["acted"].as_u64().expect("a count");
    view.until("the same count on the screen", |rows| {
        (rule_row(rows, "cut")? == ("waiting".into(), "off".into(), acted)).then_some(())
    });

    // The sender's kernel measures what raftq delays.
    view.press("j ");
    view.await_words("\"slow\" is on since ");
    let slow = view.until("a slow round trip", |rows| {
        cell(rows, &leader, &follower).as_ref().and_then(round_trip).filter(|ms| *ms > 20.0)
    });
    assert!(slow < 1_000.0, "{slow} ms");
    view.press("a");
    view.await_words("\"slow\" is auto since ");
    sizes(&mut view);
    ways_out(view, &run_dir, &socket);
    for_machines(&run_dir);

    // raftq ends before its views do.
    let mut view = View::start(&run_dir, &[]);
    let mut leaves = View::start(&run_dir, &[OsStr::new("--until-end")]);
    view.await_words(" leads in term ");
    leaves.await_words(" leads in term ");
    raftq.process().signal(Signal::SIGINT).expect("SIGINT");
    view.await_words("raftq has ended; any key leaves");
    view.press("x");
    view.must_end(0);
    leaves.must_end(0);
    raftq.end().must_be_clean(0);
}

fn await_packets(socket: &Path, more: u64) {
    let packets = || call(socket, "GET", "/v1/status", None).1["packets"].as_u64();
    let from = packets().expect("a count");
    wait_for("packets", LIMIT, STEP, || (packets()? >= from + more).then_some(())).expect("some");
}

/// Another size is another picture; too small a one is a sentence.
fn sizes(view: &mut View) {
    view.await_words(" Events ");
    view.terminal.resize(SMALL).expect("it can be resized");
    view.until("one pane", |rows| {
        let has = |words: &str| rows.iter().any(|row| row.contains(words));
        (has("> Rules:") && !has(" Events ") && rows[14].starts_with("\"slow\" is auto"))
            .then_some(())
    });
    view.terminal.resize((40, 8)).expect("it can be resized");
    view.await_words("needs 60 columns");
    view.terminal.resize(LARGE).expect("it can be resized");
    view.await_words(" Events ");
    view.press("?");
    view.await_words(" Keys ");
    view.press("?");
    view.until("the keys to be put away", |rows| {
        (!rows.iter().any(|row| row.contains(" Keys "))).then_some(())
    });
}

/// By a key, by Ctrl-C, by a signal, and by a window that is closed; raftq stays.
fn ways_out(mut view: View, run_dir: &Path, socket: &Path) {
    view.press("q");
    view.must_end(0);
    for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGHUP)] {
        let mut view = View::start(run_dir, &[]);
        view.await_words(" leads in term ");
        match signal {
            None => view.press("\x03"),
            Some(signal) => view.signal(signal),
        }
        view.must_end(0);
    }
    let mut view = View::start(run_dir, &[]);
    view.await_words(" leads in term ");
    view.close();
    assert_eq!(call(socket, "GET", "/v1/status", None).0, 200);
}

/// Without a terminal.
fn for_machines(run_dir: &Path) {
    let watch = |args: &[&str]| {
        let mut command = Command::new(RAFTQ);
        command.env("RAFTQ_RUN_DIR", run_dir).arg("watch").args(args).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("raftq runs")
    };
    let refused = watch(&[]).wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("--json") && said.contains("raftq rules list"), "{said}");
    let mut lines = watch(&["--json"]);
    let out = std::io::BufReader::new(lines.stdout.take().expect("its output"));
    let two: Vec<Value> = std::io::BufRead::lines(out)
        .take(2)
        .map(|line| serde_json::from_str(&line.expect("a line")).expect("a document"))
        .collect();
    assert!(two[1]["t_s"].as_f64() > two[0]["t_s"].as_f64(), "{two:?}");
    kill(Pid::from_raw(lines.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    assert_eq!(lines.wait().expect("it ends").code(), Some(0));
}

/// Where no raftq is attached it attaches by itself, and leaves nothing behind.
fn by_itself(net: &Bridged, etcd: &EtcdCluster<'_>, leads: usize) {
    let folder = Scratch::new("rqlive").expect("a folder");
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let cluster = file("cluster.yaml", &speaking(etcd, "etcd"));
    let rules = file("rules.yaml", &rules(leads));
    let run_dir = folder.path().join("run");
    let before = Before::look(spaces(net));
    let nothing_is_left = |log: &str| {
        before.must_be_back(log);
        let left: Vec<_> = fs::read_dir(&run_dir).into_iter().flatten().flatten().collect();
        let left: Vec<_> = left.iter().map(fs::DirEntry::file_name).collect();
        assert!(left.iter().all(|name| name == "lock"), "{left:?}\n{log}");
    };
    // Nobody to be watched: the way out is told.
    let said = View::start(&run_dir, &[]).must_end(5);
    assert!(said.contains("raftq watch --cluster FILE"), "{said}");

    let own =
        [OsStr::new("--cluster"), cluster.as_os_str(), OsStr::new("--rules"), rules.as_os_str()];
    let mut view = View::start(&run_dir, &own);
    view.await_words("attached by this view");
    view.await_words(&format!("{} leads in term ", name(leads)));
    view.press(" ");
    view.until("dropped packets", |rows| (rule_row(rows, "cut")?.2 > 0).then_some(()));
    view.press(" ");
    view.await_words("\"cut\" is off since ");
    view.press("q");
    let told = view.must_end(0);
    assert!(told.contains("cut"), "what came of it is told:\n{told}");
    nothing_is_left(&told);

    // Everything passes, and messages are read all the same.
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut view = View::start(&run_dir, &own[..2]);
        view.await_words("there are no rules");
        view.await_words("heartbeat");
        view.signal(signal);
        let told = view.must_end(0);
        nothing_is_left(&told);
    }
    let mut view = View::start(&run_dir, &own[..2]);
    view.await_words("there are no rules");
    view.close();
    nothing_is_left("a closed window");
    // What is wrong with files is told as ever, and nothing is drawn.
    let broken = file("broken.yaml", "rules: [{ form: n1, do: drop }]\n");
    let args = [own[0], own[1], own[2], broken.as_os_str()];
    let said = View::start(&run_dir, &args).must_end(4);
    assert!(said.contains("broken.yaml:1:"), "{said}");
}
