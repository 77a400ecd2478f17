//! JSON schemas from types: what editors complete by, and what our own files are checked by.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

/// The schema of a type in draft 7, in which nothing may be null that need not be, and nothing
/// may stand that is not named.
#[must_use]
pub fn of<T: JsonSchema>(title: &str) -> Schema {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    RecursiveTransform(refuse_null).transform(&mut schema);
    RecursiveTransform(refuse_strangers).transform(&mut schema);
    schema.insert("title".to_owned(), json!(title));
    schema
}

/// The schema of what a type writes, in draft 7: which fields always stand there, and which may be
/// null. Fields that it does not name are nobody's mistake, but a later version's.
#[must_use]
pub fn of_output<T: JsonSchema>(title: &str) -> Schema {
    let settings = SchemaSettings::draft07().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), json!(title));
    schema
}

/// As pretty JSON, ending with a newline.
#[must_use]
pub fn text(schema: &Schema) -> String {
    let mut text = serde_json::to_string_pretty(schema).unwrap_or_default();
    text.push('\n');
    text
}

/// `Option` means "may be left out" here, never "may be null": an empty value is taken for a
/// mistake. A null that is meant has a description and stays.
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

/// A type with a flattened field cannot say so itself.
fn refuse_strangers(schema: &mut Schema) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
}
