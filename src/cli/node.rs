//! `raftq node`: one node of the embedded cluster, in the foreground.

use raftq_node::NodeArgs;
use std::process::ExitCode;

/// One node of the embedded Raft key-value cluster.
///
/// It keeps what it promised in --data, speaks with its peers at its address in --peers, and
/// with clients over HTTP at --listen-client: GET, PUT and DELETE /kv/KEY, POST /kv/KEY/cas,
/// GET /kv?prefix=P, GET /status; and with those who run it: POST /admin/add, remove, transfer,
/// compact. `RUST_LOG=info` shows who leads and who is connected.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs it; comes back only by trouble.
pub(super) fn run(args: &Args) -> ExitCode {
    match raftq_node::run(&args.node) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            crate::run::status::put(&format!("raftq node: {trouble}\n"));
            ExitCode::from(trouble.exit_code)
        }
    }
}
