//! `raftq rules`: switches the rules of a raftq that runs, by its control socket.

use crate::rules;
use crate::run::api::{JSON, To, YAML};
use crate::run::client::{self, Failed, path_of_rule};
use crate::run::outcome::BAD_INPUT;
use crate::run::status;
use crate::time::Nanos;
use clap::Subcommand;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Who asks.
const COMMAND: &str = "raftq rules";

/// Arguments of `raftq rules`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RulesArgs {
    #[command(subcommand)]
    what: What,
    /// Which raftq, by its run id; not needed where only one runs
    #[arg(long, value_name = "ID", global = true)]
    run: Option<String>,
    /// Print the answer as one JSON document on stdout
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// List the rules, whether they are active, and what they did
    List,
    /// Switch a rule on, whatever its times say; comes back when it is in force
    On {
        /// The rule
        name: String,
        /// For how long; else as long as the rule's `for` says, or for good
        #[arg(long = "for", value_name = "TIME", value_parser = rules::duration)]
        lasts: Option<Nanos>,
    },
    /// Switch a rule off; comes back when it does not act any more
    Off {
        /// The rule
        name: String,
    },
    /// Let a rule be active as its file says
    Auto {
        /// The rule
        name: String,
    },
    /// Put the rules of another file in the place of those in force
    Load {
        /// The rule file
        #[arg(value_name = "RULES.yaml")]
        file: PathBuf,
    },
}

/// Asks, and says what came of it.
pub(super) fn run(args: &RulesArgs) -> ExitCode {
    match ask(args) {
        Ok(text) => {
            // A reader that has gone away has seen what it wanted.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(Failed { code, why, .. }) => {
            status::put(&format!("{}\n", why.trim_end()));
            ExitCode::from(code)
        }
    }
}

fn ask(args: &RulesArgs) -> Result<String, Failed> {
    // What can be wrong without anybody being asked.
    let text = match &args.what {
        What::Load { file } => fs::read(file).map_err(|e| {
            let why = format!("{COMMAND}: {} cannot be read: {e}", file.display());
            Failed::new(BAD_INPUT, why)
        })?,
        _ => Vec::new(),
    };
    let socket = client::find(COMMAND, args.run.as_deref())?;
    let call = |method: &str, target: &str, body: Option<(&str, &[u8])>| {
        client::call(COMMAND, &socket, method, target, body)
    };
    let switch = |name: &str, to: To, lasts: Option<Nanos>| {
        let mut body = json!({ "switch": to });
        if let Some(lasts) = lasts {
            body["for"] = json!(format!("{}ns", lasts.0));
        }
        call("POST", &path_of_rule(name), Some((JSON, body.to_string().as_bytes())))
    };
    let answer = match &args.what {
        What::List => call("GET", "/v1/rules", None),
        What::On { name, lasts } => switch(name, To::On, *lasts),
        What::Off { name } => switch(name, To::Off, None),
        What::Auto { name } => switch(name, To::Auto, None),
        What::Load { file } => {
            let name = file.to_string_lossy();
            let name = utf8_percent_encode(&name, NON_ALPHANUMERIC);
            call("PUT", &format!("/v1/rules?name={name}"), Some((YAML, &text)))
        }
    }?;
    if args.json {
        return Ok(format!("{answer:#}\n"));
    }
    Ok(match &args.what {
        What::List => table(&answer),
        What::Load { file } => format!(
            "{} is in force since {} s: {} rules\n",
            file.display(),
            seconds(&answer["in_force_s"]),
            answer["rules"]
        ),
        _ => {
            let until = match &answer["until_s"] {
                Value::Null => String::new(),
                until => format!(", until {} s", seconds(until)),
            };
            format!(
                "\"{}\" is {} since {} s{until}\n",
                answer["rule"].as_str().unwrap_or_default(),
                answer["switched"].as_str().unwrap_or_default(),
                seconds(&answer["in_force_s"]),
            )
        }
    })
}

fn seconds(value: &Value) -> String {
    format!("{:.3}", value.as_f64().unwrap_or_default())
}

/// The rules in columns.
fn table(answer: &Value) -> String {
    let rules = answer["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |rule: &Value, key: &str| match &rule[key] {
        Value::String(word) => word.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(all) => {
            all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", then ")
        }
        other => other.to_string(),
    };
    let keys = ["name", "state", "switched", "matched", "acted", "do"];
    let heads = keys.map(|key| if key == "name" { "rule" } else { key }.to_owned());
    let rows = rules.iter().map(|rule| keys.map(|key| text(rule, key)));
    let rows: Vec<[String; 6]> = [heads].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..keys.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}
