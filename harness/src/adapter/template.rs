//! Filling in names, keys and values, and asking about answers, by a template library.

use super::wrong;
use crate::Result;
use crate::system::Failure;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use minijinja::{Environment, UndefinedBehavior, Value};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The library with our own filters: `b64encode`, `b64decode`, `percent`, and `tojson`, and
/// the words `raftq`, `beside` and `tool`.
#[derive(Debug)]
pub(super) struct Templates {
    /// For texts: a name that is not there is an error.
    strict: Environment<'static>,
    /// For answers: what an answer does not have is nothing.
    lenient: Environment<'static>,
}

impl Templates {
    pub(super) fn new() -> Self {
        let make = |undefined| {
            let mut library = Environment::new();
            library.set_undefined_behavior(undefined);
            library.add_filter("b64encode", |text: &str| BASE64_STANDARD.encode(text));
            library.add_filter("b64decode", decode);
            library.add_filter("percent", |text: &str| {
                utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
            });
            library.add_function("entries", entries);
            library.add_function("tool", |name: &str| super::find::tool(name));
            library.add_function("beside", |name: &str| super::find::beside(name));
            library.add_global("raftq", super::find::raftq());
            library
        };
        Self {
            strict: make(UndefinedBehavior::Strict),
            lenient: make(UndefinedBehavior::Chainable),
        }
    }

    /// Whether a text can be read as a template.
    pub(super) fn check(&self, text: &str) -> Result<()> {
        self.strict.template_from_str(text).map(drop).map_err(|e| told(text, &e))
    }

    /// Whether a text can be read as an expression.
    pub(super) fn check_expression(&self, text: &str) -> Result<()> {
        self.lenient.compile_expression(text).map(drop).map_err(|e| told(text, &e))
    }

    /// The text with everything filled in.
    pub(super) fn fill(&self, text: &str, context: &Value) -> Result<String> {
        self.strict.render_str(text, context).map_err(|e| told(text, &e))
    }

    /// The value of an expression about an answer. The call was made, so that one that cannot
    /// be evaluated leaves its outcome unknown.
    pub(super) fn evaluate(
        &self,
        text: &str,
        context: &Value,
    ) -> std::result::Result<Value, Failure> {
        let value = self.lenient.compile_expression(text).and_then(|it| it.eval(context));
        value.map_err(|e| Failure::Unknown(told(text, &e).to_string()))
    }
}

/// A list of maps whose `key` and `value` are base64, in plain text.
fn entries(list: &Value) -> std::result::Result<Value, minijinja::Error> {
    if list.is_none() || list.is_undefined() {
        return Ok(Value::from(Vec::<Value>::new()));
    }
    let plain = |item: Value| {
        let field = |name| decode(&item.get_attr(name)?);
        let value = field("value")?;
        let value = if value.is_none() { Value::from("") } else { value };
        Ok(minijinja::context! { key => field("key")?, value })
    };
    list.try_iter()?.map(plain).collect::<std::result::Result<Vec<Value>, _>>().map(Value::from)
}

/// What an answer leaves out stays nothing.
fn decode(text: &Value) -> std::result::Result<Value, minijinja::Error> {
    let Some(encoded) = text.as_str() else { return Ok(Value::from(())) };
    let failed = |why: String| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, why);
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|e| failed(e.to_string()))?;
    String::from_utf8(bytes).map(Value::from).map_err(|e| failed(e.to_string()))
}

fn told(text: &str, error: &minijinja::Error) -> crate::Error {
    let short: String = text.chars().take(80).collect();
    wrong(format!("the template `{short}`: {error}"))
}
