//! The rounds: every engine once a round, so that what disturbs the machine disturbs all alike.

use crate::Fault;
use crate::engine::{Binaries, Engine, Hook, rules_of_raftq};
use crate::measure::{Bench, Lengths};
use crate::report::{Answer, FIGURES, Figure, Samples, write_into};
use crate::world::World;
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

#[derive(Args)]
pub(crate) struct Options {
    /// Less than a minute, for a look rather than for the record
    #[arg(long)]
    quick: bool,
    /// Exit with 1 when a target is missed, with 2 when one could not be decided
    #[arg(long)]
    check: bool,
    /// Rounds that count, after one that does not
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..100))]
    rounds: Option<u32>,
    /// Who takes part; without raftq the C loop gets rules of the same shape
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Engine::ALL)]
    engines: Vec<Engine>,
    #[arg(long, default_value = "target/release/raftq")]
    raftq: PathBuf,
    /// The accept-all loop, built from `bench/accept_all.c`
    #[arg(long, default_value = "target/bench/accept_all")]
    accept_all: PathBuf,
    /// Put the figures between the markers of this file
    #[arg(long)]
    write: Option<PathBuf>,
    /// The day to write beside them
    #[arg(long, default_value = "an unknown day")]
    date: String,
}

/// Measures and prints everything; the exit code.
pub(crate) fn run(options: &Options) -> Result<u8, Fault> {
    let raftq = if options.engines.contains(&Engine::Raftq) {
        built(&options.raftq)?
    } else {
        PathBuf::new()
    };
    let binaries = Binaries { raftq, c: built(&options.accept_all)? };
    let load = load_average();
    if load > 0.5 {
        eprintln!("raftq-bench: the load average is {load}: figures of a busy machine mislead");
    }
    let world = World::make()?;
    let rounds = options.rounds.unwrap_or(if options.quick { 2 } else { 5 });
    let lengths = if options.quick {
        Lengths { warm: 150, run: 500, delay: 1_200 }
    } else {
        Lengths { warm: 300, run: 1_200, delay: 3_000 }
    };
    let rules = |hook| {
        if options.engines.contains(&Engine::Raftq) {
            return rules_of_raftq(&world, &binaries, hook);
        }
        Ok(hook.namespaces(&world).iter().map(|_| Hook::plain_rules(hook)).collect())
    };
    let bench = Bench {
        node_rules: rules(Hook::Nodes)?,
        bridge_rules: rules(Hook::Bridge)?,
        world: &world,
        binaries: &binaries,
        lengths,
    };
    let samples = measure(&bench, &options.engines, rounds, !options.quick)?;
    let (table, answers) = samples.table();
    println!("{table}");
    for (title, answer) in &answers {
        match answer {
            Answer::Met => {}
            Answer::Missed => println!("MISSED: {title}"),
            Answer::Undecided => {
                println!("undecided: {title}: the source could not keep raftq busy");
            }
        }
    }
    if let Some(path) = &options.write {
        write_into(
            path,
            FIGURES,
            &format!("{}\n\n{table}", how_taken(options, rounds, lengths, load)),
        )?;
    }
    let is = |which| answers.iter().any(|(_, answer)| *answer == which);
    Ok(match (options.check, is(Answer::Missed), is(Answer::Undecided)) {
        (true, true, _) => 1,
        (true, false, true) => 2,
        _ => 0,
    })
}

fn measure(bench: &Bench, engines: &[Engine], rounds: u32, warm: bool) -> Result<Samples, Fault> {
    let mut samples = Samples::default();
    for round in u32::from(!warm)..=rounds {
        let kept = if round == 0 { "warm-up" } else { "counted" };
        eprintln!("raftq-bench: round {round} of {rounds}, {kept}");
        let mut of_round = Samples::default();
        one_round(bench, engines, &mut of_round)?;
        if round > 0 {
            samples.merge(of_round);
        }
    }
    Ok(samples)
}

/// One experiment after the other, and all engines within each: what is compared is measured
/// seconds apart.
fn one_round(bench: &Bench, engines: &[Engine], samples: &mut Samples) -> Result<(), Fault> {
    let kinds = [(true, Figure::Rate, Figure::Cpu), (false, Figure::OpenRate, Figure::OpenCpu)];
    for (saturated, rate, cpu) in kinds {
        for &engine in engines {
            let flood = bench.flood(engine, saturated)?;
            samples.add(rate, engine, flood.rate / 1e3);
            if saturated && engine == Engine::Raftq && !flood.backlog {
                samples.idled();
            }
            if engine != Engine::None {
                samples.add(cpu, engine, flood.cpu_us);
            }
        }
    }
    for &engine in engines {
        let [p50, p99] = bench.ping(engine)?;
        samples.add(Figure::PingP50, engine, p50);
        samples.add(Figure::PingP99, engine, p99);
    }
    for &engine in engines {
        samples.add(Figure::Bulk, engine, bench.bulk(engine)?);
    }
    if engines.contains(&Engine::Raftq) {
        let kinds = [
            (false, Figure::LateP50, Figure::LateP99),
            (true, Figure::DisturbedP50, Figure::DisturbedP99),
        ];
        for (disturbed, p50, p99) in kinds {
            let late = bench.lateness(disturbed)?;
            samples.add(p50, Engine::Raftq, late[0]);
            samples.add(p99, Engine::Raftq, late[1]);
        }
    }
    Ok(())
}

fn how_taken(options: &Options, rounds: u32, lengths: Lengths, load: f64) -> String {
    let (date, run_ms) = (&options.date, lengths.run);
    format!(
        "Taken on {date} by `bench/run`: {}, load average\n\
         {load} before it began. Medians of {rounds} rounds, each of them every engine once for\n\
         {run_ms} ms a figure, after a round that was thrown away; in brackets the least and the\n\
         greatest ratio within one round.",
        machine()
    )
}

/// Kernel, cores and processor.
pub(crate) fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unnamed processor", |(_, name)| name);
    let cores = available_parallelism().map_or(0, usize::from);
    format!("kernel {}, {cores} cores of {model}", kernel.trim())
}

pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// The absolute path of a binary, because it is started from elsewhere.
fn built(path: &Path) -> Result<PathBuf, Fault> {
    path.canonicalize().map_err(|error| {
        format!("{}: {error}; `bench/run` builds what is measured", path.display()).into()
    })
}
