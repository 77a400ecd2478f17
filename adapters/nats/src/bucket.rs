//! Reading and changing keys of a bucket, and what each outcome is worth.
//!
//! A change is decided on the key's *revision*: what a read found is only a guess, since reads
//! may be stale, but a change that bears the revision of that read is stored only where it is
//! still the last. So a compare-and-set that was stored was right. One that found another value,
//! or met another revision, changed nothing; yet whether the key really had another value at any
//! moment of the call nobody knows, so it is "not done", never "refused".
//!
//! Surely not stored is what the node itself says so: that nobody takes it (no stream has a
//! leader), or that the revision is another. Everything else is unknown.

use crate::line::{Hello, Outcome, Request};
use crate::name::{decode, encode, filter};
use async_nats::jetstream::consumer::{DeliverPolicy, push::OrderedConfig};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, DiscardPolicy, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{HeaderMap, Subject};
use futures_util::StreamExt;
use std::error::Error;
use std::time::Duration;

/// How NATS marks a removed key.
const OPERATION: &str = "KV-Operation";

/// What makes a change depend on the revision: the key's last, zero for none at all.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// The most replicas of a bucket that NATS allows.
const REPLICAS_MAX: usize = 5;

/// Calls have limits of their own, which are shorter.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// One bucket, spoken to through one node.
#[derive(Debug)]
pub(crate) struct Bucket {
    context: Context,
    name: String,
    replicas: usize,
}

/// What a read found.
struct Found {
    revision: u64,
    /// None where the key was removed, or never there.
    value: Option<String>,
}

impl Bucket {
    pub(crate) fn new(client: async_nats::Client, hello: &Hello) -> Self {
        let mut context = jetstream::new(client);
        context.set_timeout(ANSWER_MAX);
        let replicas = hello.nodes.len().min(REPLICAS_MAX);
        Self { context, name: hello.options.bucket.clone(), replicas }
    }

    /// Does what is asked.
    pub(crate) async fn perform(&self, request: &Request) -> Outcome {
        match request {
            Request::Prepare => self.prepare().await,
            Request::Read { key } => self
                .find(key)
                .await
                .map_or_else(Outcome::not_done, |found| Outcome::Value(found.value)),
            Request::Write { key, value } => self.change(key, Some(value), None).await,
            Request::Cas { key, from, to } => {
                self.change_where(key, |found| found == Some(from), Some(to)).await
            }
            Request::Create { key, value } => {
                self.change_where(key, |found| found.is_none(), Some(value)).await
            }
            Request::Remove { key } => self.change_where(key, |found| found.is_some(), None).await,
            Request::List { prefix } => match self.list(prefix).await {
                Ok(pairs) => Outcome::Listing(pairs),
                Err(error) => Outcome::not_done(error),
            },
        }
    }

    /// Makes the bucket where there is none; to make it again changes nothing. By hand, since
    /// the client's own way asks for the account first, and cannot read what servers of 2.9 say.
    async fn prepare(&self) -> Outcome {
        let config = Config {
            name: format!("KV_{}", self.name),
            subjects: vec![self.subject(">")],
            num_replicas: self.replicas,
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..Config::default()
        };
        match self.context.create_stream(config).await {
            Ok(_) => Outcome::Done,
            Err(error) => Outcome::unknown(chain(&error)),
        }
    }

    async fn change_where(
        &self,
        key: &str,
        condition: impl Fn(Option<&String>) -> bool,
        value: Option<&String>,
    ) -> Outcome {
        match self.find(key).await {
            Ok(found) if condition(found.value.as_ref()) => {
                self.change(key, value, Some(found.revision)).await
            }
            Ok(found) => Outcome::not_done(format!(
                "a read found {:?} at revision {}, and may have been stale",
                found.value, found.revision
            )),
            Err(why) => Outcome::not_done(why),
        }
    }

    /// What a key holds by some replica.
    async fn find(&self, key: &str) -> Result<Found, String> {
        let stream = self.stream().await?;
        match stream.direct_get_last_for_subject(self.subject(&encode(key))).await {
            Ok(message) => Ok(Found {
                revision: message.sequence,
                value: value_of(&message.headers, &message.payload)?,
            }),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {
                Ok(Found { revision: 0, value: None })
            }
            Err(error) => Err(chain(&error)),
        }
    }

    /// Sets or removes a key, where its last revision is the expected one, if one is.
    async fn change(&self, key: &str, value: Option<&String>, expected: Option<u64>) -> Outcome {
        let mut headers = HeaderMap::new();
        if value.is_none() {
            headers.insert(OPERATION, "DEL");
        }
        if let Some(revision) = expected {
            headers.insert(EXPECTED, revision.to_string().as_str());
        }
        let payload = value.cloned().unwrap_or_default().into();
        let subject = self.subject(&encode(key));
        match self.context.publish_with_headers(subject, headers, payload).await {
            Ok(stored) => stored.await.map_or_else(|error| failed(&error), |_| Outcome::Done),
            Err(error) => failed(&error),
        }
    }

    /// The keys with a prefix, one after the other: it is no snapshot.
    async fn list(&self, prefix: &str) -> Result<Vec<(String, String)>, String> {
        let config = OrderedConfig {
            deliver_subject: self.context.client().new_inbox(),
            filter_subject: self.subject(&filter(prefix)),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ..OrderedConfig::default()
        };
        let consumer = self.stream().await?.create_consumer(config).await;
        let consumer = consumer.map_err(|e| chain(&e))?;
        let mut left = consumer.cached_info().num_pending;
        let mut messages = consumer.messages().await.map_err(|e| chain(&e))?;
        let mut pairs = Vec::new();
        while left > 0 {
            let message = messages.next().await.ok_or("the listing ended early")?;
            let message = message.map_err(|e| chain(&e))?;
            let none = HeaderMap::new();
            let headers = message.headers.as_ref().unwrap_or(&none);
            if let Some(value) = value_of(headers, &message.payload)?
                && let Some(key) = self.key_of(&message.subject)
                && key.starts_with(prefix)
            {
                pairs.push((key, value));
            }
            left = message.info().map_err(|e| e.to_string())?.pending;
        }
        Ok(pairs)
    }

    async fn stream(&self) -> Result<Stream<()>, String> {
        let name = format!("KV_{}", self.name);
        self.context.get_stream_no_info(name).await.map_err(|e| chain(&e))
    }

    fn subject(&self, name: &str) -> String {
        format!("$KV.{}.{name}", self.name)
    }

    fn key_of(&self, subject: &Subject) -> Option<String> {
        decode(subject.strip_prefix(&self.subject(""))?)
    }
}

/// What a change that was not acknowledged is worth.
fn failed(error: &PublishError) -> Outcome {
    match error.kind() {
        // Nobody took it; another revision; refused before it was sent.
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::MaxPayloadExceeded => Outcome::not_done(chain(error)),
        _ => Outcome::unknown(chain(error)),
    }
}

/// The value of a stored message; none of one that marks a removal.
fn value_of(headers: &HeaderMap, payload: &[u8]) -> Result<Option<String>, String> {
    match headers.get(OPERATION).map(async_nats::HeaderValue::as_str) {
        Some("DEL" | "PURGE") => Ok(None),
        _ => String::from_utf8(payload.to_vec()).map(Some).map_err(|e| e.to_string()),
    }
}

/// An error with its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_told = inner.to_string();
        if !told.contains(&inner_told) {
            told = format!("{told}: {inner_told}");
        }
        cause = inner.source();
    }
    told
}
