//! The newer actions and conditions as they are written: the types behind their grammar and
//! schema. `parse_actions.rs` and `parse_where.rs` read them; their docs are what editors show.

use super::file::{At, Bits, Chance, Range, ReleaseOrder, Size};
use super::impair::{Corrupt, Duplicate, Losing, Mark, Per, Rate, Reject, Reorder, Slot};
use super::table::{Distribution, Event};
use crate::time::Nanos;
use schemars::JsonSchema;

/// An action that is read whole: nothing else in the file changes what it means.
#[derive(Clone, Debug)]
pub(super) enum Impair {
    Lose(Losing),
    Reorder(Reorder),
    Duplicate(Duplicate),
    Corrupt(Corrupt),
    Rate(Rate),
    Slot(Slot),
    Reject(Reject),
    Mark(Mark),
    Hold(HoldFields),
}

/// How `loss` loses: by a chance, or by one of the two models.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct LossFields {
    /// The share of packets that is lost.
    #[schemars(with = "Option<Chance>")]
    pub(super) chance: Option<At<Chance>>,
    /// How often what happened to the last packet of its direction of the connection happens to
    /// the next one, too; the share that is lost stays what it is. `0%` if left out.
    #[schemars(with = "Option<Chance>")]
    pub(super) correlation: Option<At<Chance>>,
    /// The model of Gilbert and Elliott, as `netem loss gemodel`.
    pub(super) gemodel: Option<GilbertElliottFields>,
    /// The Markov chain of four states, as `netem loss state`.
    pub(super) state: Option<StateFields>,
}

/// Good and bad times by turns.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct GilbertElliottFields {
    /// From good to bad.
    #[schemars(with = "Chance", required)]
    pub(super) p: At<Chance>,
    /// From bad to good; `100%` less `p` if left out.
    #[schemars(with = "Option<Chance>")]
    pub(super) r: Option<At<Chance>>,
    /// What is lost in bad times; `100%` if left out.
    #[schemars(rename = "1-h", with = "Option<Chance>")]
    pub(super) one_minus_h: Option<At<Chance>>,
    /// What is lost in good times; `0%` if left out.
    #[schemars(rename = "1-k", with = "Option<Chance>")]
    pub(super) one_minus_k: Option<At<Chance>>,
}

/// The chances between the states: 1 good, 2 good within a burst, 3 lost within a burst, 4 lost
/// alone.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct StateFields {
    /// From 1 to 3.
    #[schemars(with = "Chance", required)]
    pub(super) p13: At<Chance>,
    /// From 3 to 1; `100%` less `p13` if left out.
    #[schemars(with = "Option<Chance>")]
    pub(super) p31: Option<At<Chance>>,
    /// From 3 to 2; `0%` if left out.
    #[schemars(with = "Option<Chance>")]
    pub(super) p32: Option<At<Chance>>,
    /// From 2 to 3; `100%` if left out.
    #[schemars(with = "Option<Chance>")]
    pub(super) p23: Option<At<Chance>>,
    /// From 1 to 4; `0%` if left out.
    #[schemars(with = "Option<Chance>")]
    pub(super) p14: Option<At<Chance>>,
}

/// Which packets overtake the delays that stand before this action.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ReorderFields {
    /// The share that does; `100%` if left out, which needs a `gap`.
    #[schemars(with = "Option<Chance>")]
    pub(super) chance: Option<At<Chance>>,
    /// How often the last draw of its direction of the connection is taken again.
    #[schemars(with = "Option<Chance>")]
    pub(super) correlation: Option<At<Chance>>,
    /// Of so many packets in a row only the last may overtake; `1` if left out.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(super) gap: Option<At<u32>>,
}

/// Which packets arrive more than once.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct DuplicateFields {
    /// The share that does; `100%` if left out.
    #[schemars(with = "Option<Chance>")]
    pub(super) chance: Option<At<Chance>>,
    /// How often the last draw of its direction of the connection is taken again.
    #[schemars(with = "Option<Chance>")]
    pub(super) correlation: Option<At<Chance>>,
    /// Copies beside the packet itself; `1` if left out.
    #[schemars(with = "Option<u32>", range(min = 1, max = 16))]
    pub(super) count: Option<At<u32>>,
    /// How long behind the packet its copies arrive; `0s` if left out.
    #[schemars(with = "Option<Nanos>")]
    pub(super) delay: Option<At<Nanos>>,
}

/// Which packets have their payload changed, and how.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct CorruptFields {
    /// The share that has; `100%` if left out.
    #[schemars(with = "Option<Chance>")]
    pub(super) chance: Option<At<Chance>>,
    /// How often the last draw of its direction of the connection is taken again.
    #[schemars(with = "Option<Chance>")]
    pub(super) correlation: Option<At<Chance>>,
    /// The bytes of the payload that are changed, such as `0..4` for the first four. If left out
    /// it is one bit anywhere in it.
    #[schemars(with = "Option<String>")]
    pub(super) bytes: Option<At<(u16, u16)>>,
    /// `wrong`: TCP notices, and has the segment sent again. `right`: the checksum is made to fit,
    /// and the program gets the changed bytes. `wrong` if left out.
    #[schemars(with = "Option<Checksum>")]
    pub(super) checksum: Option<At<Checksum>>,
}

/// What becomes of a changed packet's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    Wrong,
    Right,
}

/// A bottleneck.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RateFields {
    /// Bits a second, such as `100mbit`.
    #[schemars(with = "Bits", required)]
    pub(super) bits: At<Bits>,
    /// Bytes that each packet takes besides its own, such as `24` for Ethernet's; `0` if left out.
    /// Its own begin with the IP header.
    #[schemars(with = "Option<i32>")]
    pub(super) overhead: Option<At<i32>>,
    /// Each packet takes whole cells of so many bytes, as ATM's; no cells if left out.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(super) cell: Option<At<u32>>,
    /// Bytes that each cell takes besides.
    #[schemars(with = "Option<i32>")]
    pub(super) cell_overhead: Option<At<i32>>,
    /// What passes at once after a silence, such as `16KiB`; nothing if left out.
    #[schemars(with = "Option<Size>")]
    pub(super) burst: Option<At<Size>>,
    /// The longest that a packet waits; what would wait longer is dropped. `1s` if left out.
    #[schemars(with = "Option<Nanos>")]
    pub(super) limit: Option<At<Nanos>>,
    /// `link`: all that goes from one node to another shares it. `flow`: each direction of each
    /// connection has its own. `link` if left out.
    #[schemars(with = "Option<Per>")]
    pub(super) per: Option<At<Per>>,
}

/// Delivery in bunches: packets wait for the next slot.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct SlotFields {
    /// Time from one slot to the next, drawn anew for each: `20ms`, or `10ms..30ms`; with `jitter`
    /// the middle of a distribution.
    #[schemars(with = "Range", required)]
    pub(super) every: At<Range>,
    /// Half the width of a uniform distribution, or the deviation of another; at most `every`.
    #[schemars(with = "Option<Nanos>")]
    pub(super) jitter: Option<At<Nanos>>,
    /// The shape of the jitter; `uniform` if left out.
    #[schemars(with = "Option<Distribution>")]
    pub(super) distribution: Option<At<Distribution>>,
    /// Packets that one slot takes; any number if left out.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(super) packets: Option<At<u32>>,
    /// Bytes that one slot takes, such as `64KiB`; any number if left out.
    #[schemars(with = "Option<Size>")]
    pub(super) bytes: Option<At<Size>>,
}

/// What the sender is told.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RejectFields {
    /// An ICMP error, or a RST; `port_unreachable` if left out.
    #[schemars(with = "Reject", required)]
    pub(super) with: At<Reject>,
}

/// What held packets wait for.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct HoldFields {
    /// A time of the rules' clock, such as `20s`; an event, such as `leader_elected`; or
    /// `{ end_of: RULE }`. The end of this rule if left out; that ends it in any case.
    #[schemars(with = "Option<UntilSchema>")]
    pub(super) until: Option<At<WrittenUntil>>,
    /// `in_order`: they leave as they came. `reversed`: the last leaves first.
    #[schemars(with = "Option<ReleaseOrder>")]
    pub(super) release: Option<At<ReleaseOrder>>,
}

/// What ends a hold.
#[derive(Clone, Debug)]
pub(super) enum WrittenUntil {
    Time(Nanos),
    Event(Event),
    Rule(String),
}

/// The bits of a mark that are set.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct MarkFields {
    /// The mark, such as `0x10`.
    #[schemars(with = "u32", required)]
    pub(super) set: At<u32>,
    /// The bits of it that are set; the others stay as they were. All if left out.
    #[schemars(with = "Option<u32>")]
    pub(super) mask: Option<At<u32>>,
}

/// Bytes that a payload contains.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ContainsFields {
    /// A text, or bytes such as `0x0a1b`.
    #[schemars(with = "String", required)]
    pub(super) bytes: At<Vec<u8>>,
    /// Where in the payload they begin; anywhere if left out.
    #[schemars(with = "Option<u16>")]
    pub(super) at: Option<At<u16>>,
}

/// Stands for the forms of `until` in the schema.
pub(super) struct UntilSchema;
