//! What a run was made of beside the texts in its folder: `run.json`.
//!
//! The scenario, its rules and this are enough to run it again, wherever the folder is by then.
//! The adapter is named, not copied: what the system is, it says.

use crate::rules::SetArg;
use crate::rules::scenario::{Replacements, Scenario, TopologyWord};
use crate::run::trace::CaptureWord;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Its name in a run's folder.
pub const RECIPE: &str = "run.json";

/// The scenario's text in a run's folder, and that of its rules where they stand apart.
const SCENARIO: &str = "scenario.yaml";
const RULES: &str = "rules.yaml";

/// The version of the format; an older raftq refuses what it does not know.
const VERSION: u32 = 1;

/// What a run was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The version of this format, which also tells such a file from others.
    pub raftq_run: u32,
    /// The raftq that ran it.
    pub raftq: String,
    /// The scenario's name.
    pub scenario: String,
    /// Seed of everything random: decisions, times, choices among nodes, clients' calls.
    pub seed: u64,
    /// `--adapter`, where it replaced the scenario's; a file by its full path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// `--nodes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// `--topology`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
    /// `--node-arg`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// `--set`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// Whether every packet was logged.
    #[serde(default)]
    pub trace: bool,
    /// Which packets were captured.
    #[serde(default)]
    pub capture: CaptureWord,
    /// The folder of the run that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<String>,
}

impl Recipe {
    /// Of a scenario, with what the command line replaced in it.
    #[must_use]
    pub fn new(scenario: &Scenario, replace: &Replacements, trace: bool) -> Self {
        let full = |name: &String| match fs::canonicalize(name) {
            Ok(path) if path.is_file() => path.display().to_string(),
            _ => name.clone(),
        };
        let topology = replace.topology.and_then(|topology| topology.to_possible_value());
        Self {
            raftq_run: VERSION,
            raftq: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            adapter: replace.adapter.as_ref().map(full),
            nodes: replace.nodes,
            topology: topology.map(|value| value.get_name().to_owned()),
            args: replace.args.clone(),
            sets: replace.sets.iter().map(SetArg::to_string).collect(),
            trace,
            capture: CaptureWord::default(),
            repeats: None,
        }
    }

    /// Writes it into a run's folder.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        fs::write(folder.join(RECIPE), text)
    }

    /// Reads it from a run's folder. The error is for people, with a way out.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let at = folder.display();
        let path = folder.join(RECIPE);
        let text = fs::read_to_string(&path).map_err(|e| {
            let why = match e.kind() {
                io::ErrorKind::NotFound if !folder.exists() => "there is no such folder".to_owned(),
                io::ErrorKind::NotADirectory => {
                    "this is a file, not the folder of a run".to_owned()
                }
                io::ErrorKind::NotFound if folder.join(SCENARIO).is_file() => {
                    return format!(
                        "{at}: it has no {RECIPE}, as an older raftq left it\n  help: run it by \
                         hand: raftq run {at}/{SCENARIO} --seed $(cat {at}/seed), with the \
                         arguments that it was run with"
                    );
                }
                io::ErrorKind::NotFound => format!("it has no {RECIPE}: it is no run's folder"),
                _ => format!("{RECIPE} cannot be read ({e})"),
            };
            format!("{at}: {why}\n  help: name a folder that `raftq run` has made, such as runs/*")
        })?;
        let recipe: Self = serde_json::from_str(&text).map_err(|e| {
            format!("{}: it does not say what a run was made of ({e})", path.display())
        })?;
        if recipe.raftq_run != VERSION {
            return Err(format!(
                "{}: version {} of the format, made by raftq {}; this raftq reads {VERSION}",
                path.display(),
                recipe.raftq_run,
                recipe.raftq
            ));
        }
        Ok(recipe)
    }

    /// The scenario's file in a run's folder.
    #[must_use]
    pub fn scenario_file(folder: &Path) -> PathBuf {
        folder.join(SCENARIO)
    }

    /// What has to be replaced in the scenario's text to make it that run's again.
    pub fn replacements(&self, folder: &Path) -> Result<Replacements, String> {
        let wrong =
            |what: &str, why: String| format!("{}: `{what}`: {why}", folder.join(RECIPE).display());
        let topology = self.topology.as_ref().map(|word| TopologyWord::from_str(word, false));
        let sets = self.sets.iter().map(|set| SetArg::parse(set));
        let rules = folder.join(RULES);
        Ok(Replacements {
            adapter: self.adapter.clone(),
            nodes: self.nodes,
            topology: topology.transpose().map_err(|why| wrong("topology", why))?,
            seed: Some(self.seed),
            args: self.args.clone(),
            sets: sets.collect::<Result<_, _>>().map_err(|why| wrong("sets", why))?,
            name: Some(self.scenario.clone()),
            rules: rules.is_file().then_some(rules),
        })
    }
}
