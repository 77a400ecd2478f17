//! `raftq run --repeat N`: the same scenario many times.

use super::report;
use super::run::{self, Ended, Job, RunArgs};
use crate::kernel::clock;
use crate::run::outcome::{BAD_INPUT, ENVIRONMENT};
use crate::run::repeat::{self, Attempt, Plan, Repeat, Runner};
use crate::run::{status, tone};
use raftq_harness::clock::interrupted;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Makes the runs, and says how often they went wrong.
pub(super) fn run(args: &RunArgs, times: u32) -> ExitCode {
    let job = args.job();
    let plan = match plan(&job, times) {
        Ok(plan) => plan,
        Err(ended) => return ended.into(),
    };
    if let Err(e) = fs::create_dir_all(&plan.folder) {
        status::put(&format!("raftq: {}: {e}; name another --out\n", plan.folder.display()));
        return ExitCode::from(ENVIRONMENT);
    }
    let mut runner = Real { job, quiet: args.quiet };
    let repeat = match repeat::repeat(&plan, &mut runner) {
        Ok(repeat) => repeat,
        Err(why) => {
            status::put(&format!("raftq: {why}; the runs themselves are beside it\n"));
            return ExitCode::from(ENVIRONMENT);
        }
    };
    let text = if args.json {
        repeat.json()
    } else {
        let folder = plan.folder.display().to_string();
        repeat::text(&repeat, &folder, tone::color(&io::stdout()))
    };
    // A reader that has gone away has seen what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(repeat.exit_code)
}

/// Checks the scenario with every seed before the first run, since what is drawn may not fit: in
/// the middle of the night nobody would mend it.
fn plan(job: &Job, times: u32) -> Result<Plan, Ended> {
    let (first, warnings) = run::prepare(job)?;
    let plan = Plan {
        scenario: first.scenario.name.clone(),
        adapter: first.adapter.name().to_owned(),
        nodes: first.scenario.nodes,
        args: first.scenario.args.clone(),
        seed: first.scenario.seed,
        times,
        folder: first.folder,
    };
    status::put(&warnings);
    for seed in repeat::seeds(plan.seed, times).into_iter().skip(1) {
        if let Err(ended) = run::prepare(&with_seed(job, seed)) {
            let how = if ended.code == BAD_INPUT { "is wrong" } else { "cannot be run" };
            status::put(&format!(
                "raftq: the scenario {how} with the seed {seed}, which is drawn from {}; let what \
                 is drawn fit with any seed, or start from another --seed\n",
                plan.seed
            ));
            return Err(ended);
        }
    }
    Ok(plan)
}

fn with_seed(job: &Job, seed: u64) -> Job {
    let mut job = job.clone();
    job.replace.seed = Some(seed);
    job
}

/// Real clusters.
struct Real {
    job: Job,
    quiet: bool,
}

impl Runner for Real {
    fn run(&mut self, seed: u64, folder: &Path) -> Attempt {
        let began = clock::now();
        let mut job = with_seed(&self.job, seed);
        job.out = Some(folder.to_owned());
        // A line when it has ended is enough; warnings are told all the same.
        job.quiet = true;
        let made = run::prepare(&job).and_then(|(experiment, _)| run::execute(experiment));
        let (result, network_ended) = match made {
            Ok((summary, folder)) => {
                report::line(&folder);
                let ended = summary.network.interrupted;
                (Ok(Box::new(summary)), ended)
            }
            Err(ended) => (Err((ended.code, ended.why)), false),
        };
        let took = clock::now().saturating_sub(began);
        Attempt { result, took, interrupted: network_ended || interrupted() }
    }

    fn ended(&mut self, so_far: &Repeat) {
        if !self.quiet {
            status::put(&format!("raftq: {}\n", repeat::line(so_far, status::color())));
        }
    }
}
