//! Requests of clients, and questions about a node's state: by HTTP, a command or a driver.

use super::answer::{Answered, Silent, text_of};
use super::command;
use super::driver::{self, Driver, Start};
use super::file::{Ask, DriverFields, Expression, Meaning, Template};
use super::http::Connection;
use super::{Adapter, Inner, NodePlace, Watch, about, all, find};
use crate::Result;
use crate::clock::Deadline;
use crate::error::Context;
use crate::system::{Answer, Failure, NodeStatus, Request, Session};
use minijinja::{Value, context};
use serde_json::{Map, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

/// What is said with one node.
#[derive(Debug)]
pub(super) struct NodeSession {
    adapter: Arc<Inner>,
    base: String,
    node: Value,
    nodes: Value,
    /// The node that a call about the cluster itself is about.
    target: Value,
    name: String,
    connection: Connection,
    driver: Option<Arc<Driver>>,
    /// The first line of a driver of its own.
    key: String,
    logs: Option<PathBuf>,
}

/// Drivers by their first line, which tells what they were started for.
#[derive(Debug, Default)]
pub(super) struct Drivers {
    /// Those that serve several sessions; each lives as long as one does.
    shared: HashMap<String, Weak<Driver>>,
    /// Those whose session is over. One that takes longer to start than a call may last would
    /// never be ready if it ended with the session that started it.
    idle: HashMap<String, Vec<Arc<Driver>>>,
}

impl NodeSession {
    pub(super) fn new(adapter: &Adapter, nodes: &[NodePlace], i: usize) -> Result<Self> {
        let name = nodes[i].name.clone();
        let (node, nodes) = (about(nodes, i), Value::from(all(nodes)));
        let inner = Arc::clone(&adapter.inner);
        let fields = context! { node, nodes };
        let base = inner.file.base.as_ref().map(|base| inner.templates.fill(&base.0, &fields));
        Ok(Self {
            base: base.transpose()?.unwrap_or_default(),
            adapter: inner,
            node,
            nodes,
            target: Value::UNDEFINED,
            name,
            connection: Connection::new(),
            driver: None,
            key: String::new(),
            logs: adapter.logs.clone(),
        })
    }

    /// The same for calls about this node.
    pub(super) fn about(mut self, target: Value) -> Self {
        self.target = target;
        self
    }

    /// Makes a call and says what its answer is worth.
    pub(super) fn asked(
        &mut self,
        ask: &Ask,
        answers: &[Meaning],
        arguments: &[(&str, &str)],
        limit: Duration,
    ) -> std::result::Result<Answer, Failure> {
        let answered = self.ask(ask, arguments, limit)?;
        answered.meaning(answers, &self.fields(arguments), &self.adapter.templates)
    }

    /// Makes a call.
    fn ask(
        &mut self,
        ask: &Ask,
        arguments: &[(&str, &str)],
        limit: Duration,
    ) -> std::result::Result<Answered, Failure> {
        if let Some(op) = &ask.driver {
            return self.ask_driver(op, arguments, limit);
        }
        let fields = self.fields(arguments);
        let templates = &self.adapter.templates;
        let unsaid = |e: crate::Error| Failure::NotDone(e.to_string());
        let fill = |text: &Template| templates.fill(&text.0, &fields).map_err(unsaid);
        if let Some(words) = &ask.command {
            let words: Vec<String> =
                words.iter().map(fill).collect::<std::result::Result<_, _>>()?;
            let stdin = ask.stdin.as_ref().map(fill).transpose()?;
            let (program, args) = words.split_first().expect("checked when it was read");
            let program = find::program(program).map_err(unsaid)?;
            let args = args.iter().map(Into::into);
            return Ok(command::run(&program, args, stdin.as_deref(), limit)?);
        }
        let (method, path) = ask.line().expect("checked when it was read");
        let url = format!("{}{}", self.base, fill(path)?);
        let body = ask.body.as_ref().map(fill).transpose()?;
        Ok(self.connection.call(method, &url, body, limit)?)
    }

    fn ask_driver(
        &mut self,
        op: &str,
        arguments: &[(&str, &str)],
        limit: Duration,
    ) -> std::result::Result<Answered, Failure> {
        let deadline = Deadline::after(limit);
        let adapter = Arc::clone(&self.adapter);
        let fields = adapter.file.driver.as_ref().expect("checked when it was read");
        let driver = self.driver(fields).map_err(|e| Failure::NotDone(e.to_string()))?;
        driver.wait_ready(deadline).map_err(Silent::NotSent)?;
        let line: Map<_, _> =
            arguments.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        let answered = driver.call(op, line, deadline);
        if answered.is_err() && !fields.shared {
            // It may still be busy with that call, and would keep the next one waiting.
            self.driver = None;
        }
        Ok(Answered::Driver(answered?))
    }

    /// A driver that works, started where there is none.
    fn driver(&mut self, fields: &DriverFields) -> Result<Arc<Driver>> {
        if let Some(driver) = self.driver.as_ref().filter(|driver| driver.works()) {
            return Ok(Arc::clone(driver));
        }
        self.driver = None;
        let start = self.start(fields)?;
        let open = || {
            let failed = || format!("the driver {}", start.program.display());
            Driver::start(&start).map(Arc::new).context(failed)
        };
        let key = start.hello.to_string();
        let mut drivers = self.adapter.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        let there = if fields.shared {
            drivers.shared.get(&key).and_then(Weak::upgrade)
        } else {
            drivers.idle.get_mut(&key).and_then(Vec::pop)
        };
        let driver = match there.filter(|driver| driver.works()) {
            Some(driver) => driver,
            None => open()?,
        };
        if fields.shared {
            drivers.shared.insert(key, Arc::downgrade(&driver));
        } else {
            self.key = key;
        }
        self.driver = Some(Arc::clone(&driver));
        Ok(driver)
    }

    fn start(&self, fields: &DriverFields) -> Result<Start> {
        let about = self.fields(&[]);
        let fill = |text: &str| self.adapter.templates.fill(text, &about);
        let program = fill(&fields.program.0).context(|| "driver.program".into())?;
        let env = fields.env.iter().map(|(name, text)| Ok((name.clone(), fill(&text.0)?)));
        Ok(Start {
            program: find::program(&program)?,
            args: fields.args.iter().map(|arg| fill(&arg.0)).collect::<Result<_>>()?,
            env: env.collect::<Result<_>>()?,
            hello: json!({
                "hello": 1, "node": self.node, "nodes": self.nodes, "options": fields.options,
            }),
            log: self.logs.as_ref().map(|folder| driver::log(folder, &self.name)),
        })
    }

    /// What templates see.
    fn fields(&self, arguments: &[(&str, &str)]) -> Value {
        let asked: Value = arguments.iter().copied().collect();
        context! { node => self.node, nodes => self.nodes, target => self.target, ..asked }
    }

    fn status(&mut self, limit: Duration) -> std::result::Result<NodeStatus, Failure> {
        let adapter = Arc::clone(&self.adapter);
        let status = &adapter.file.status;
        let answered = self.ask(&status.ask, &[], limit)?;
        if !answered.is_status() {
            return Err(answered.unknown());
        }
        let context = answered.context(&self.fields(&[]));
        let ask = |text: &Expression| adapter.templates.evaluate(&text.0, &context);
        let text = |expression: &Option<Expression>| {
            let value = expression.as_ref().map(ask).transpose()?;
            Ok::<_, Failure>(value.as_ref().and_then(text_of))
        };
        Ok(NodeStatus {
            leads: ask(&status.leads)?.is_true(),
            leader: text(&status.leader)?,
            member: text(&status.member)?,
            term: text(&status.term)?.and_then(|term| term.parse().ok()),
        })
    }
}

impl Drop for NodeSession {
    fn drop(&mut self) {
        let is_shared = self.adapter.file.driver.as_ref().is_none_or(|driver| driver.shared);
        if let Some(driver) = self.driver.take().filter(|driver| !is_shared && driver.works()) {
            let key = std::mem::take(&mut self.key);
            let mut drivers = self.adapter.drivers.lock().unwrap_or_else(PoisonError::into_inner);
            drivers.idle.entry(key).or_default().push(driver);
        }
    }
}

impl Session for NodeSession {
    fn call(&mut self, request: &Request, limit: Duration) -> std::result::Result<Answer, Failure> {
        let adapter = Arc::clone(&self.adapter);
        let Some(call) = adapter.file.operations.get(&request.operation()) else {
            return Err(Failure::NotDone("the adapter does not offer this operation".into()));
        };
        self.asked(&call.ask, &call.answers, &arguments(request), limit)
    }
}

fn arguments(request: &Request) -> Vec<(&'static str, &str)> {
    match request {
        Request::Read { key } | Request::Remove { key } => vec![("key", key)],
        Request::Write { key, value } | Request::Create { key, value } => {
            vec![("key", key), ("value", value)]
        }
        Request::Cas { key, from, to } => vec![("key", key), ("from", from), ("to", to)],
        Request::List { prefix } => vec![("prefix", prefix)],
    }
}

/// Asks a node about its state; before its first answer, whatever prepares the cluster has to
/// be done. A cluster that raftq did not start is taken as it is.
#[derive(Debug)]
pub(super) struct StatusWatch {
    session: NodeSession,
    prepared: bool,
}

impl StatusWatch {
    pub(super) fn new(adapter: &Adapter, nodes: &[NodePlace], i: usize) -> Result<Self> {
        let is_ours = !nodes[i].data.as_os_str().is_empty();
        let prepared = adapter.inner.file.prepare.is_none() || !is_ours;
        Ok(Self { session: NodeSession::new(adapter, nodes, i)?, prepared })
    }

    fn prepare(&mut self, limit: Duration) -> std::result::Result<(), Failure> {
        let adapter = Arc::clone(&self.session.adapter);
        let prepare = adapter.file.prepare.as_ref().expect("there is something to do");
        match self.session.asked(&prepare.ask, &prepare.answers, &[], limit) {
            Ok(Answer::Done) => {
                self.prepared = true;
                // Its driver has nothing more to do, unless the state is asked of it, too.
                self.session.driver = None;
                Ok(())
            }
            Ok(other) => Err(Failure::Unknown(format!("not prepared yet: {other:?}"))),
            Err(Failure::NotDone(why) | Failure::Unknown(why)) => {
                Err(Failure::Unknown(format!("not prepared yet: {why}")))
            }
        }
    }
}

impl Watch for StatusWatch {
    fn status(&mut self, limit: Duration) -> std::result::Result<NodeStatus, Failure> {
        let deadline = Deadline::after(limit);
        if !self.prepared {
            self.prepare(limit)?;
        }
        self.session.status(deadline.left())
    }
}
