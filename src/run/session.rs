//! The folder of an attached session: what `raftq --rules FILE --out DIR` leaves in it.
//!
//! It is that of a run, as far as there is anything to say: no clients, and no nodes' logs.

use super::experiment::{PCAP, WIRE};
use super::found::Found;
use super::outcome::{ENVIRONMENT, HOLDS, NEVER_MATCHED, Outcome, UNDECIDED, VIOLATED};
use super::recorder::{EVENTS, Recorder};
use super::sampler::{Sampler, Watched};
use super::timeline::Timeline;
use super::verdict::{Finding, SUMMARY, invariants};
use super::words::RunVerdict;
use crate::kernel::clock;
use crate::rules::{Inputs, Table};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version of the format, which also tells such a file from that of `raftq run`.
pub const VERSION: u32 = 1;

/// The whole document.
#[derive(Debug, Serialize, Deserialize)]
pub struct SessionSummary {
    /// [`VERSION`].
    pub raftq_session: u32,
    /// The rule file's name without its ending.
    pub rules: String,
    /// By which adapter the cluster was asked, where it was.
    pub adapter: Option<String>,
    /// All in one word.
    pub verdict: RunVerdict,
    /// As the process ended.
    pub exit_code: u8,
    /// Raft's invariants, where the wire was read.
    pub findings: Vec<Finding>,
    /// Clocks.
    pub timeline: Timeline,
    /// What rules did to packets.
    pub network: Outcome,
}

impl SessionSummary {
    /// Of what came out.
    #[must_use]
    pub fn new(rules: &str, adapter: Option<String>, timeline: Timeline, network: Outcome) -> Self {
        let verdict = match network.exit_code {
            HOLDS => RunVerdict::Holds,
            VIOLATED => RunVerdict::Violated,
            UNDECIDED => RunVerdict::Undecided,
            NEVER_MATCHED => RunVerdict::NeverMatched,
            code => {
                debug_assert_eq!(code, ENVIRONMENT, "a session has no other ends");
                RunVerdict::Failed
            }
        };
        Self {
            raftq_session: VERSION,
            rules: rules.to_owned(),
            adapter,
            verdict,
            exit_code: network.exit_code,
            findings: invariants(network.wire.as_ref()).into_iter().collect(),
            timeline,
            network,
        }
    }

    /// Whether a text is one, and not that of a run.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        #[derive(Deserialize)]
        struct Mark {
            #[serde(rename = "raftq_session")]
            _version: u32,
        }
        serde_json::from_str::<Mark>(text).is_ok()
    }

    /// Reads one. The error is one line.
    pub fn read(text: &str) -> Result<Self, String> {
        let read: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if read.raftq_session == VERSION {
            Ok(read)
        } else {
            Err(format!("version {} of the format; this raftq reads {VERSION}", read.raftq_session))
        }
    }

    /// Writes it into a folder.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        fs::write(folder.join(SUMMARY), text)
    }
}

/// One that is being recorded.
#[derive(Debug)]
pub struct Session {
    folder: PathBuf,
    rules: String,
    adapter: Option<String>,
    recorder: Arc<Recorder>,
    sampler: Option<Sampler>,
    wire: Option<PathBuf>,
    pcap: PathBuf,
}

impl Session {
    /// Into this folder, which is empty or not there yet: copies of what was given, and the record
    /// of what happens from now on.
    pub fn open(
        folder: &Path,
        inputs: &Inputs,
        table: &Table,
        adapter: Option<&str>,
        found: Option<&Arc<Found>>,
    ) -> io::Result<Self> {
        let epoch = clock::now();
        fs::create_dir_all(folder)?;
        fs::write(folder.join("rules.yaml"), inputs.rules.text())?;
        if let Some(cluster) = &inputs.cluster {
            fs::write(folder.join("cluster.yaml"), cluster.text())?;
        }
        fs::write(folder.join("seed"), format!("{}\n", table.seed))?;
        let recorder = Arc::new(Recorder::create(folder, epoch)?);
        let sampler = found.map(|found| {
            let asked = Arc::clone(found);
            let watched = Watched {
                nodes: table.nodes.iter().map(|node| node.name.clone()).collect(),
                logs: Vec::new(),
                view: Some(Box::new(move |i| asked.view(i))),
            };
            Sampler::start(folder, watched, &recorder)
        });
        let stem = Path::new(inputs.rules.name()).file_stem();
        Ok(Self {
            folder: folder.to_owned(),
            rules: stem.map_or(String::new(), |stem| stem.to_string_lossy().into_owned()),
            adapter: adapter.map(str::to_owned),
            sampler: sampler.transpose()?,
            wire: table.protocol.map(|_| folder.join(WIRE)),
            pcap: folder.join(PCAP),
            recorder,
        })
    }

    /// Where what happens is written down.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Where what is said on the wire goes, where that can be read.
    #[must_use]
    pub fn wire(&self) -> Option<&Path> {
        self.wire.as_deref()
    }

    /// Where packets go.
    #[must_use]
    pub fn pcap(&self) -> &Path {
        &self.pcap
    }

    /// The session is over, and this came out. The error says what is not whole.
    pub fn close(self, mut outcome: Outcome) -> (Outcome, Result<PathBuf, String>) {
        let Self { folder, rules, adapter, recorder, sampler, .. } = self;
        drop(sampler);
        outcome.warnings.extend(recorder.lacks());
        let summary = SessionSummary::new(&rules, adapter, recorder.timeline(), outcome);
        let written = summary.write(&folder).map_err(|e| e.to_string());
        let whole = if recorder.has_failed() {
            Err(format!("{} could not be written", recorder.path().display()))
        } else {
            written
        };
        (summary.network, whole.map(|()| folder))
    }

    /// Nothing came of it: raftq was never attached.
    pub fn abandon(self) {
        drop(self.sampler);
        for name in ["rules.yaml", "cluster.yaml", "seed", EVENTS, WIRE, PCAP] {
            let _ = fs::remove_file(self.folder.join(name));
        }
        // Only where nobody else has put anything there.
        let _ = fs::remove_dir(&self.folder);
    }
}
