//! The `raftq` command: hands its arguments to `cli`.

fn main() -> std::process::ExitCode {
    raftq::cli::main()
}
