//! `raftq check` on histories of a million calls: time and memory.

use crate::Fault;
use crate::clock::now_ns;
use crate::history::{self, Shape};
use crate::stats::median;
use nix::sys::resource::{UsageWho, getrusage};
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a million calls may take.
const TARGET_S: f64 = 10.0;
const TARGET_MB: f64 = 2_000.0;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The program that is measured
    #[arg(long, default_value = "target/release/raftq")]
    raftq: PathBuf,
    /// Where the histories are written; they are removed again
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
}

/// Measures each history so many times, in turn. Ends with 1 where a target is missed.
pub(crate) fn run(options: &Options) -> Result<u8, Fault> {
    std::fs::create_dir_all(&options.folder)?;
    let kinds = [("reads and writes", false), ("with compare-and-set", true)];
    let mut paths = Vec::new();
    for (i, (_, cas)) in kinds.iter().enumerate() {
        let path = options.folder.join(format!("history-{}-{i}.jsonl", std::process::id()));
        let mut out = BufWriter::new(File::create(&path)?);
        paths.push(Scratch(path));
        history::write(&Shape::standard(*cas), &mut out)?;
    }
    let mut samples = vec![(Vec::new(), Vec::new()); kinds.len()];
    for _ in 0..options.rounds {
        for (sample, path) in samples.iter_mut().zip(&paths) {
            let (seconds, megabytes) = apart(options, &path.0)?;
            sample.0.push(seconds);
            sample.1.push(megabytes);
        }
    }
    let mut missed = false;
    for ((name, _), (seconds, megabytes)) in kinds.iter().zip(&samples) {
        let seconds = median(seconds).ok_or("no round was made")?;
        let megabytes = median(megabytes).ok_or("no round was made")?;
        let met = seconds < TARGET_S && megabytes < TARGET_MB;
        missed |= !met;
        let word = if met { "met" } else { "missed" };
        println!("a million calls, {name}: {seconds:.2} s, {megabytes:.0} MB at most; {word}");
    }
    println!(
        "targets: under {TARGET_S} s and {TARGET_MB} MB; medians of {} rounds",
        options.rounds
    );
    Ok(u8::from(missed))
}

/// The file goes when the measuring is over.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// One sample by a process of its own, since the memory of children is known as a maximum only.
fn apart(options: &Options, history: &std::path::Path) -> Result<(f64, f64), Fault> {
    let output = Command::new(std::env::current_exe()?)
        .arg("check-once")
        .arg(&options.raftq)
        .arg(history)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [seconds, megabytes] => Ok((seconds, megabytes)),
        _ => Err(format!("{} could not be judged", history.display()).into()),
    }
}

/// Prints the seconds and megabytes of judging a history that holds.
pub(crate) fn once(raftq: &PathBuf, history: &PathBuf) -> Result<(), Fault> {
    let start = now_ns();
    let status = Command::new(raftq).arg("check").arg(history).stdout(Stdio::null()).status()?;
    let seconds = (now_ns() - start) as f64 / 1e9;
    if !status.success() {
        return Err(format!("{} ended with {status}", raftq.display()).into());
    }
    let most = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    println!("{seconds} {}", most as f64 / 1e3);
    Ok(())
}
