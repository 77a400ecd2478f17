//! One call over a kept connection, and what surely was not sent.
//!
//! A call is made once: no retry, no redirect, no proxy. An answer of any status is an answer.

use super::answer::{Answered, Silent};
use crate::http::surely_not_sent;
use std::time::Duration;

/// Answers are small; more than this is somebody else's port.
const ANSWER_MAX_BYTES: u64 = 16 << 20;

/// A connection to one node, opened by its first call.
#[derive(Debug)]
pub(super) struct Connection {
    agent: ureq::Agent,
}

impl Connection {
    pub(super) fn new() -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .build()
            .into();
        Self { agent }
    }

    pub(super) fn call(
        &self,
        method: &str,
        url: &str,
        body: Option<String>,
        limit: Duration,
    ) -> Result<Answered, Silent> {
        let builder = ureq::http::Request::builder().method(method).uri(url);
        let asked = match body {
            Some(body) => {
                let request = builder.header("Content-Type", "application/json").body(body);
                request.map(|request| {
                    let request =
                        self.agent.configure_request(request).timeout_global(Some(limit)).build();
                    self.agent.run(request)
                })
            }
            None => builder.body(()).map(|request| {
                let request =
                    self.agent.configure_request(request).timeout_global(Some(limit)).build();
                self.agent.run(request)
            }),
        };
        let asked = asked.map_err(|e| Silent::NotSent(format!("{method} {url}: {e}")))?;
        let mut answer = asked.map_err(|error| told(&error))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_MAX_BYTES).read_to_string();
        let text = body.map_err(|error| Silent::Unknown(error.to_string()))?;
        Ok(Answered::Http { status, text })
    }
}

fn told(error: &ureq::Error) -> Silent {
    let why = error.to_string();
    if surely_not_sent(error) { Silent::NotSent(why) } else { Silent::Unknown(why) }
}
