//! The JSON schema of rule files, for editors, generated from the types in `file.rs`.
//!
//! `rules/schema.json` is this text; a test compares them, and another compares the schema's
//! keys with those that the parser knows.

use super::file::RuleFile;
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Value, json};

/// The schema as pretty JSON, ending with a newline.
#[must_use]
pub fn schema() -> String {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<RuleFile>();
    RecursiveTransform(refuse_null).transform(&mut schema);
    schema.insert("title".to_owned(), json!("raftq rules"));
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// `Option` means "may be left out" here, never "may be null": the parser takes an empty
/// value for a mistake. The one null that is meant has a description and stays.
fn refuse_null(schema: &mut Schema) {
    let null = json!("null");
    let is_null = |form: &Value| *form == json!({ "type": "null" });
    if let Some(Value::Array(types)) = schema.get_mut("type")
        && types.contains(&null)
    {
        types.retain(|t| *t != null);
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let Some(Value::Array(forms)) = schema.get_mut("anyOf") else { return };
    if !forms.iter().any(is_null) {
        return;
    }
    forms.retain(|form| !is_null(form));
    if let [only] = forms.as_slice() {
        // An `allOf` of one keeps the description beside a reference in draft 7.
        let only = only.clone();
        schema.remove("anyOf");
        schema.insert("allOf".to_owned(), json!([only]));
    }
}
