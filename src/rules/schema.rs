//! The JSON schema of rule files, for editors, generated from the types in `file.rs`.
//!
//! `rules/schema.json` is this text; a test compares them, and another compares the schema's
//! keys with those that the parser knows.

use super::file::RuleFile;
use raftq_harness::schema;

/// The schema as pretty JSON, ending with a newline.
#[must_use]
pub fn schema() -> String {
    schema::text(&schema::of::<RuleFile>("raftq rules"))
}

#[cfg(test)]
mod tests {
    use super::super::{parse, parse_actions, parse_where};
    use super::*;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    #[test]
    fn the_checked_in_schema_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/schema.json");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == schema(),
            "rules/schema.json is out of date: cargo run -- lint --schema > rules/schema.json"
        );
    }

    /// Every object of the schema that lists its keys, as `(keys, required keys)`.
    fn objects(value: &Value, found: &mut BTreeSet<Vec<String>>) {
        if let Some(Value::Object(properties)) = value.get("properties") {
            assert_eq!(value.get("additionalProperties"), Some(&json!(false)), "{value}");
            found.insert(properties.keys().cloned().collect());
        }
        match value {
            Value::Object(fields) => fields.values().for_each(|value| objects(value, found)),
            Value::Array(items) => items.iter().for_each(|value| objects(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_parser_knows_the_same_keys() {
        let schema: Value = serde_json::from_str(&schema()).expect("the schema is JSON");
        let mut found = BTreeSet::new();
        objects(&schema, &mut found);
        let sorted = |keys: &[&str]| {
            let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            keys.sort();
            keys
        };
        let known = [
            parse::FILE_KEYS,
            parse::CLUSTER_KEYS,
            parse::NODE_KEYS,
            parse::RULE_KEYS,
            parse::PHASE_KEYS,
            parse_where::WHERE_KEYS,
            parse_where::CONTAINS_KEYS,
            parse_actions::LOSS_KEYS,
            parse_actions::GEMODEL_KEYS,
            parse_actions::STATE_KEYS,
            parse_actions::REORDER_KEYS,
            parse_actions::DUPLICATE_KEYS,
            parse_actions::CORRUPT_KEYS,
            parse_actions::RATE_KEYS,
            parse_actions::SLOT_KEYS,
            parse_actions::REJECT_KEYS,
            parse_actions::HOLD_KEYS,
            parse_actions::MARK_KEYS,
            parse::DROP_KEYS,
            parse::DELAY_KEYS,
            parse::STALL_KEYS,
            &["drop"],
            &["loss"],
            &["reorder"],
            &["duplicate"],
            &["corrupt"],
            &["rate"],
            &["slot"],
            &["reject"],
            &["hold"],
            &["mark"],
            &["end_of"],
            &["delay"],
            &["stall"],
            &["leader"],
        ];
        assert_eq!(found, known.into_iter().map(sorted).collect());
    }

    #[test]
    fn only_a_group_may_be_null() {
        let text = schema();
        assert_eq!(text.matches("\"null\"").count(), 1, "an `Option` leaked a null: {text}");
    }
}
