//! What a run writes down beside its histories.

use super::Failure;
use crate::run::recorder::Recorder;
use crate::run::sampler::{Sampler, Watched};
use raftq_harness::cluster::Cluster;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Opens the record of what happens in a run that began at `epoch`.
pub(super) fn open(folder: &Path, epoch: Duration) -> Result<Arc<Recorder>, Failure> {
    let recorder = Recorder::create(folder, epoch.into());
    recorder
        .map(Arc::new)
        .map_err(|e| Failure::Environment(format!("{} cannot be filled: {e}", folder.display())))
}

/// Looks now and then at what changes by itself.
pub(super) fn sample(
    folder: &Path,
    cluster: &Arc<Cluster>,
    recorder: &Arc<Recorder>,
) -> Result<Sampler, Failure> {
    let asked = Arc::clone(cluster);
    let watched = Watched {
        nodes: (0..cluster.size()).map(|i| cluster.name(i).to_owned()).collect(),
        logs: (0..cluster.size()).map(|i| cluster.log(i)).collect(),
        view: Some(Box::new(move |i| asked.roles().view(i))),
    };
    Sampler::start(folder, watched, recorder)
        .map_err(|e| Failure::Environment(format!("nodes cannot be looked at: {e}")))
}
