//! `raftq-picture`: runs a program on a terminal, waits for words, presses keys, and saves what
//! stands there as SVG. For pictures of real runs in the README.

use clap::Parser;
use raftq_harness::clock::wait_for;
use raftq_terminal::{Size, Terminal};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// How often it is looked for.
const STEP: Duration = Duration::from_millis(20);

/// Runs a program on a terminal and saves a picture of it; then ends the program by `q`.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where the picture is written
    #[arg(long, value_name = "FILE.svg")]
    out: PathBuf,
    /// Columns and rows
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "100x30", value_parser = size)]
    size: Size,
    /// What the picture is called
    #[arg(long, default_value = "a terminal")]
    title: String,
    /// What is done before, in this order: `wait WORDS` until they stand there, `gone WORDS` until
    /// they do not, `press KEYS` (or space, tab, enter, up, down, left, right, escape)
    #[arg(long = "do", value_name = "STEP", value_parser = step)]
    steps: Vec<Step>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

#[derive(Clone)]
enum Step {
    Wait(String),
    Gone(String),
    Press(String),
}

fn size(text: &str) -> Result<Size, String> {
    let both = text.split_once('x').and_then(|(c, r)| Some((c.parse().ok()?, r.parse().ok()?)));
    both.filter(|(columns, rows)| *columns > 0 && *rows > 0).ok_or("write it as 100x30".into())
}

fn step(text: &str) -> Result<Step, String> {
    let (verb, what) = text.split_once(' ').unwrap_or((text, ""));
    match verb {
        "wait" if !what.is_empty() => Ok(Step::Wait(what.to_owned())),
        "gone" if !what.is_empty() => Ok(Step::Gone(what.to_owned())),
        "press" if !what.is_empty() => Ok(Step::Press(keys(what).to_owned())),
        _ => Err("write `wait WORDS`, `gone WORDS` or `press KEYS`".into()),
    }
}

fn keys(word: &str) -> &str {
    match word {
        "space" => " ",
        "tab" => "\t",
        "enter" => "\r",
        "escape" => "\x1b",
        "up" => "\x1b[A",
        "down" => "\x1b[B",
        "right" => "\x1b[C",
        "left" => "\x1b[D",
        keys => keys,
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("raftq-picture: {why}");
            ExitCode::from(5)
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let words: Vec<&OsStr> = args.command.iter().map(OsString::as_os_str).collect();
    let terminal = Terminal::start(words[0], &words[1..], &[], args.size);
    let mut terminal =
        terminal.map_err(|e| format!("{} cannot be started: {e}", args.command[0].display()))?;
    for step in &args.steps {
        match step {
            Step::Wait(words) => stands(&mut terminal, words, true)?,
            Step::Gone(words) => stands(&mut terminal, words, false)?,
            Step::Press(keys) => terminal.press(keys).map_err(|e| e.to_string())?,
        }
    }
    let svg = terminal.svg(&args.title);
    let ended = terminal.press("q").map_err(|e| e.to_string()).and_then(|()| {
        wait_for("the program to end", LIMIT, STEP, || terminal.ended().ok().flatten())
            .map_err(|e| e.to_string())
    });
    std::fs::write(&args.out, svg).map_err(|e| format!("{}: {e}", args.out.display()))?;
    ended.map(drop)
}

/// Waits until words stand there, or do not any more.
fn stands(terminal: &mut Terminal, words: &str, there: bool) -> Result<(), String> {
    let found = wait_for(words, LIMIT, STEP, || {
        // Asked before looking: what an ended program has written is complete.
        let ended = terminal.ended().ok().flatten();
        let fits = terminal.text().contains(words) == there;
        fits.then_some(true).or(ended.map(|_| false))
    });
    match found {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("the program ended without {words:?}:\n{}", terminal.text())),
        Err(e) => Err(format!("{e}:\n{}", terminal.text())),
    }
}
