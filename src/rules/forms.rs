//! The schema of what is written in more than one form, and of scalars.

use super::file::{
    Action, Bits, Chance, DelayFields, DropFields, NodeEntry, NodeFields, NodeSet, Range, SWITCH,
    Size, StallFields, Start, Times,
};
use super::table::{Bounds, Event, ProcessAction, Reject};
use super::written::{
    ContainsFields, CorruptFields, DuplicateFields, HoldFields, LossFields, MarkFields, RateFields,
    RejectFields, ReorderFields, SlotFields, UntilSchema,
};
use crate::time::Nanos;
use crate::wire::{Kind, Protocol};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// A duration, as a pattern.
const LENGTH: &str = r"([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+";

/// Gives a type that is written in more than one form its schema.
macro_rules! forms {
    ($type:ty, $name:literal, |$generator:ident| $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

forms!(Protocol, "Protocol", |_generator| json_schema!({
    "enum": Protocol::ALL.map(Protocol::word),
}));
forms!(Nanos, "Duration", |_generator| json_schema!({
    "description": "A number and its unit: ns, us, ms, s, m or h. `1m30s` and `1.5s` work too.",
    "type": "string",
    "pattern": format!("^{LENGTH}$"),
}));
forms!(Start, "Start", |generator| json_schema!({
    "description": "A time, or `switch`: only when it is switched on by name.",
    "anyOf": [generator.subschema_for::<Range>(), { "const": SWITCH }],
}));
forms!(Chance, "Chance", |_generator| json_schema!({
    "description": "A percentage above 0% and up to 100%.",
    "type": "string",
    "pattern": r"^[0-9]+(\.[0-9]+)?%$",
}));
forms!(Bits, "Bits", |_generator| json_schema!({
    "description": "A number and its unit: bit, kbit, mbit, gbit or tbit, of 1000 each; kibit, \
                    mibit, gibit of 1024. All are a second.",
    "type": "string",
    "pattern": r"^[0-9]+(\.[0-9]+)? *([kKmMgGtT]i?)?bit(/s|ps)?$",
}));
forms!(Size, "Size", |_generator| json_schema!({
    "description": "A number of bytes, or one with its unit: B, kB, MB, GB, KiB, MiB or GiB.",
    "anyOf": [
        { "type": "integer", "minimum": 1 },
        { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *([kKmMgG]i?)?B?$" },
    ],
}));
forms!(Range, "DurationRange", |_generator| json_schema!({
    "description": "A duration, or two with dots between, such as `5s..10s`: then it is drawn from \
                    the seed, evenly, each time anew.",
    "type": "string",
    "pattern": format!("^{LENGTH}( *\\.\\. *{LENGTH})?$"),
}));
forms!(UntilSchema, "Until", |generator| json_schema!({
    "anyOf": [
        generator.subschema_for::<Nanos>(),
        generator.subschema_for::<Event>(),
        {
            "type": "object",
            "properties": { "end_of": { "type": "string" } },
            "required": ["end_of"],
            "additionalProperties": false,
        },
    ],
}));
forms!(FlagWords, "Flags", |generator| json_schema!({
    "anyOf": [
        generator.subschema_for::<FlagWord>(),
        { "type": "array", "items": generator.subschema_for::<FlagWord>(), "minItems": 1 },
    ],
}));
forms!(FlagWord, "Flag", |_generator| json_schema!({
    "type": "string",
    "pattern": "^!?(fin|syn|rst|psh|ack|urg|ece|cwr)$",
}));
forms!(EcnWords, "Ecn", |_generator| json_schema!({
    "anyOf": [
        { "enum": ["not_ect", "ect1", "ect0", "ce"] },
        { "type": "array", "items": { "enum": ["not_ect", "ect1", "ect0", "ce"] }, "minItems": 1 },
    ],
}));
forms!(ContainsSchema, "Contains", |generator| json_schema!({
    "anyOf": [{ "type": "string" }, generator.subschema_for::<ContainsFields>()],
}));
forms!(NodeSet, "NodeSet", |generator| json_schema!({
    "description": "A node, a group, `any`, `rest` (all nodes that are not in the other set), \
                    `leader`, `followers`, `minority` (with the leader), `majority`, `random` (one \
                    node), `random 2`, `random 2 followers`, or a list of these. They are found \
                    as the rule becomes active, and stay what they were. `candidate` is for \
                    `on: election_started`. `leader: current` follows elections.",
    "anyOf": [
        generator.subschema_for::<SetWord>(),
        { "type": "array", "items": generator.subschema_for::<SetWord>(), "minItems": 1 },
    ],
}));
forms!(SetWord, "SetWord", |_generator| json_schema!({
    "anyOf": [
        { "type": ["string", "integer"] },
        {
            "type": "object",
            "properties": { "leader": { "enum": ["current"] } },
            "required": ["leader"],
            "additionalProperties": false,
        },
    ],
}));
forms!(Times, "Times", |_generator| json_schema!({
    "anyOf": [{ "type": "integer", "minimum": 1 }, { "enum": ["unlimited"] }],
}));
forms!(Bounds, "Bounds", |_generator| json_schema!({
    "description": "A number, a comparison in quotes (\">3\", \">=3\", \"<3\", \"<=3\"), or a \
                    range with both its ends: 3..5.",
    "anyOf": [
        { "type": "integer", "minimum": 0 },
        { "type": "string", "pattern": r"^((<|<=|>|>=|=)? *[0-9]+|[0-9]+\.\.[0-9]+)$" },
    ],
}));
forms!(Kinds, "Kinds", |generator| json_schema!({
    "anyOf": [
        generator.subschema_for::<Kind>(),
        { "type": "array", "items": generator.subschema_for::<Kind>(), "minItems": 1 },
    ],
}));
forms!(NodeEntry, "Node", |generator| json_schema!({
    "description": "The peer addresses of a node, such as 10.77.0.1:2380 or \"[fd00::1]:2380\".",
    "anyOf": [generator.subschema_for::<Addresses>(), generator.subschema_for::<NodeFields>()],
}));
forms!(GroupSchema, "Group", |generator| json_schema!({
    "anyOf": [
        generator.subschema_for::<NodeSet>(),
        { "type": "null", "description": "Chosen on the command line with --set." },
    ],
}));
forms!(Addresses, "Addresses", |_generator| json_schema!({
    "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "type": "string" }, "minItems": 1 },
    ],
}));
forms!(Action, "Action", |generator| json_schema!({
    "anyOf": [
        {
            "enum": ["accept", "drop", "reset", "stall", "reject", "hold"],
            "description": "`accept`: the packet passes, after the delays so far; no later rule \
                            sees it. `drop`: the packet vanishes; TCP sends it again. `reset`: \
                            its connection is reset, and both its ends are told. `stall`: from it \
                            on nothing but acknowledgements passes in its direction of the \
                            connection, for as long as that lives, so that what it carries is \
                            lost. `reset` and `stall` are for TCP, and leave other packets alone. \
                            `reject`: the packet vanishes, and its sender is told by ICMP. `hold`: \
                            the packet waits until the rule ends, and all behind it in its \
                            direction of the connection.",
        },
        {
            "enum": ProcessAction::ALL.map(ProcessAction::name),
            "description": "Done to each of `node`, with all that it has started. `kill`: SIGKILL; \
                            `crash`: SIGKILL, and no packet passes until it is started again; \
                            `stop`: SIGTERM, and SIGKILL after 10 s; `pause`: SIGSTOP; `remove`: \
                            taken out of the cluster, and stopped. `for` says when these are \
                            undone. `start`, `resume`: what undoes them, by itself. `restart`, \
                            `wipe`: SIGKILL and a new start at once, with its data or without. \
                            `rolling restart`: stopped, started, and waited for until all follow \
                            one leader, one node after the other. `add`: a removed node comes back \
                            without its data; `replace`: remove and add. `transfer`: made the \
                            leader; `compact`: made to take a snapshot and drop its log. What \
                            changes the cluster is for systems whose adapter offers it; elsewhere \
                            it is refused, or left out where `optional`.",
        },
        {
            "type": "object",
            "properties": { "drop": generator.subschema_for::<DropFields>() },
            "required": ["drop"],
            "additionalProperties": false,
        },
        {
            "type": "object",
            "properties": { "stall": generator.subschema_for::<StallFields>() },
            "required": ["stall"],
            "additionalProperties": false,
        },
        one_key("delay", &short_or_long::<Nanos, DelayFields>(generator)),
        one_key("loss", &short_or_long::<Chance, LossFields>(generator)),
        one_key("reorder", &short_or_long::<Chance, ReorderFields>(generator)),
        one_key("duplicate", &short_or_long::<Chance, DuplicateFields>(generator)),
        one_key("corrupt", &short_or_long::<Chance, CorruptFields>(generator)),
        one_key("rate", &short_or_long::<Bits, RateFields>(generator)),
        one_key("slot", &short_or_long::<Range, SlotFields>(generator)),
        one_key("reject", &short_or_long::<Reject, RejectFields>(generator)),
        one_key("hold", &generator.subschema_for::<HoldFields>()),
        one_key("mark", &short_or_long::<u32, MarkFields>(generator)),
    ],
}));

/// A map with this key alone.
fn one_key(key: &str, value: &Schema) -> Schema {
    json_schema!({
        "type": "object",
        "properties": { key: value },
        "required": [key],
        "additionalProperties": false,
    })
}

/// A value by itself, or a map with all there is to say.
fn short_or_long<Short: JsonSchema, Long: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [generator.subschema_for::<Short>(), generator.subschema_for::<Long>()],
    })
}
forms!(Actions, "Actions", |generator| json_schema!({
    "anyOf": [
        generator.subschema_for::<Action>(),
        { "type": "array", "items": generator.subschema_for::<Action>(), "minItems": 1 },
    ],
}));

/// Stands for the forms of a group's value in the schema.
pub(super) struct GroupSchema;

/// Stands for one word of a node set in the schema.
pub(super) struct SetWord;

/// Stands for one flag or several in the schema.
pub(super) struct FlagWords;

/// Stands for one flag in the schema.
pub(super) struct FlagWord;

/// Stands for one word about congestion or several in the schema.
pub(super) struct EcnWords;

/// Stands for what a payload contains in the schema.
pub(super) struct ContainsSchema;

/// Stands for one kind of message or several in the schema.
pub(super) struct Kinds;

/// Stands for one address or several in the schema.
pub(super) struct Addresses;

/// Stands for one action or several in the schema.
pub(super) struct Actions;
