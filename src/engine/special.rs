//! What only few rules need: messages, counts, events, and sets that are known only by then. It
//! stands aside of what every packet looks at.

use super::Facts;
use crate::observe::{self, Leaders};
use crate::packet::{LinkId, NodeId};
use crate::rules::table::{
    Bounds, Hold, Masks, Meant, MessageFilter, Narrow, NodeBits, On, OpenSides, Role, Rule, Until,
    Window,
};
use crate::time::Nanos;
use crate::wire::Message;

/// An activation that an event has brought about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) start: Nanos,
    pub(super) end: Nanos,
    pub(super) meant: Meant,
    /// The link of the packet that showed the event.
    pub(super) by: LinkId,
}

/// The rest of a rule.
#[derive(Clone, Debug)]
pub(super) struct Special {
    narrow: Narrow,
    /// How it holds packets, if it does.
    pub(super) hold: Option<Hold>,
    /// Whether what it holds in this activation has been let go.
    pub(super) hold_over: bool,
    /// The endings of the other rule that it waits for, as it became active.
    pub(super) endings: Option<u32>,
    pub(super) message: Option<MessageFilter>,
    /// 0: none.
    nth: u64,
    /// 0: all.
    first: u64,
    /// What met the conditions in this activation, and what of it was hit.
    seen: u64,
    taken: u64,
    pub(super) on: Option<On>,
    /// From when to when its event counts, and what is drawn for how long it lasts.
    window: Window,
    pub(super) sides: Option<OpenSides>,
    /// What the sides come to now.
    pub(super) masks: Masks,
    /// The nodes that a fault is done to, where an event tells them.
    pub(super) nodes: NodeBits,
    pub(super) planned: Option<Planned>,
    /// Behind that one, or instead of what is left of it.
    next: Option<Planned>,
    starts: u32,
    all: u16,
}

impl Special {
    /// None for an ordinary rule, as nearly all are.
    pub(super) fn of(rule: &Rule, all: usize) -> Option<Box<Self>> {
        let filter = &rule.filter;
        let hold = super::holds::of(&rule.actions);
        let ordinary = filter.message.is_none()
            && filter.narrow.is_nothing()
            && hold.is_none()
            && filter.first.is_none()
            && filter.every_nth.is_none()
            && rule.on.is_none()
            && rule.sides.is_none();
        (!ordinary).then(|| {
            Box::new(Self {
                narrow: filter.narrow,
                hold,
                hold_over: false,
                endings: None,
                message: filter.message,
                nth: filter.every_nth.map_or(0, u64::from),
                first: filter.first.map_or(0, u64::from),
                seen: 0,
                taken: 0,
                on: rule.on,
                window: rule.window,
                sides: rule.sides.clone(),
                masks: Masks::default(),
                nodes: 0,
                planned: None,
                next: None,
                starts: 0,
                all: all as u16,
            })
        })
    }

    /// Whether it is about this link now.
    #[inline]
    pub(super) fn covers(&self, link: LinkId) -> bool {
        if self.sides.is_none() {
            return true;
        }
        let (from, to) = link.ends(usize::from(self.all));
        self.masks.cover(from, to)
    }

    /// Whether a packet is such as its `where` asks, as far as the packet itself goes.
    pub(super) fn is_met(&self, facts: &Facts) -> bool {
        let of = &self.narrow;
        let within = |bounds: Option<Bounds>, number: u32| {
            bounds.is_none_or(|bounds| bounds.has(u64::from(number)))
        };
        let offset = |bounds: Bounds| {
            let bytes = u64::from(facts.payload_len());
            let last = facts.offset.saturating_add(bytes.saturating_sub(1));
            facts.offset != Facts::NOWHERE
                && bytes > 0
                && facts.offset <= bounds.most
                && last >= bounds.least
        };
        within(of.size, facts.len)
            && within(of.payload, facts.payload_len())
            && of.dialled.is_none_or(|by| facts.dialled == Some(by))
            && of.flags.is_none_or(|flags| flags.meet(facts.flags))
            && of.dscp.is_none_or(|dscp| facts.tos >> 2 == dscp)
            && of.ecn.is_none_or(|codes| codes & (1 << (facts.tos & 3)) != 0)
            && of.pattern.is_none_or(|pattern| facts.patterns & (1 << pattern) != 0)
            && of.offset.is_none_or(offset)
    }

    /// How much of what a packet brings is hit: of its messages, or of its segments.
    pub(super) fn hits(
        &mut self,
        from: NodeId,
        segments: u16,
        heard: &[Message],
        leaders: Option<&Leaders>,
    ) -> u64 {
        let met = match &self.message {
            None => u64::from(segments),
            Some(filter) => {
                heard.iter().filter(|message| meets(filter, message, from, leaders)).count() as u64
            }
        };
        let seen = self.seen;
        self.seen += met;
        let hits = match self.nth {
            0 => met,
            nth => self.seen / nth - seen / nth,
        };
        // The last of the first ones may come together with further ones: they share a packet.
        self.taken += hits;
        hits
    }

    /// Whether all that it was to hit in this activation is hit.
    pub(super) fn is_used_up(&self) -> bool {
        self.first > 0 && self.taken >= self.first
    }

    /// It becomes active.
    pub(super) fn begin(&mut self) {
        (self.seen, self.taken) = (0, 0);
        (self.hold_over, self.endings) = (false, None);
        if let (Some(_), Some(planned)) = (self.on, self.planned) {
            self.bind(planned.meant);
        }
    }

    /// Whom the words of its sides mean.
    pub(super) fn bind(&mut self, meant: Meant) {
        let all = all_nodes(self.all);
        if let Some(sides) = &self.sides {
            self.masks = sides.masks(&meant, all);
            self.nodes = sides.node.bits(&meant, all);
        }
    }

    /// Somebody else leads.
    pub(super) fn follow(&mut self, current: Option<NodeId>) {
        for planned in [&mut self.planned, &mut self.next].into_iter().flatten() {
            planned.meant.current = current;
        }
        let meant = self.planned.map_or_else(Meant::default, |planned| planned.meant);
        self.bind(Meant { current, ..meant });
    }

    /// An event has come at `t`: plans an activation, if it is to have one and there is somebody
    /// whom its words mean.
    pub(super) fn plan(&mut self, t: Nanos, meant: Meant, by: LinkId) -> Option<Nanos> {
        let (on, sides) = (self.on?, self.sides.as_ref()?);
        let waits = self.next.is_some() || self.planned.is_some_and(|planned| planned.start > t);
        if on.times.is_some_and(|times| self.starts >= times) || (waits && on.after > Nanos::ZERO) {
            return None;
        }
        let all = all_nodes(self.all);
        let nobody = !sides.node.words.is_empty() && sides.node.bits(&meant, all) == 0;
        let empty = !on.fires && !sides.follows() && sides.masks(&meant, all).is_empty();
        if nobody || empty {
            return None;
        }
        let start = t + on.after;
        if t < self.window.at || start >= self.window.until {
            return None;
        }
        let longer = self.window.longer(u64::from(self.starts));
        let end = on.lasts.map_or(Nanos::MAX, |lasts| start + lasts + longer);
        let end = end.min(self.window.until);
        self.starts += 1;
        let planned = Planned { start, end, meant, by };
        if on.after == Nanos::ZERO {
            self.planned = Some(planned);
        } else {
            self.next = Some(planned);
        }
        Some(start)
    }

    /// The activation that covers `t`, or else the next one, where an event has planned one.
    pub(super) fn activation(&mut self, t: Nanos) -> Option<(Nanos, Nanos)> {
        let over = self.planned.is_none_or(|planned| planned.end <= t);
        if self.next.is_some_and(|next| next.start <= t || over) {
            self.planned = self.next.take();
        }
        let planned = self.planned.filter(|planned| t < planned.end)?;
        Some((planned.start, planned.end))
    }

    /// How often an event has made it active.
    pub(super) fn starts(&self) -> u32 {
        self.starts
    }

    /// When it starts or ends next, by what is planned.
    pub(super) fn edge(&self, active: bool) -> Nanos {
        let end = self.planned.filter(|_| active).map_or(Nanos::MAX, |planned| planned.end);
        self.next.map_or(end, |next| end.min(next.start))
    }

    /// Goes on where a rule of the same name stood, which was active and still is. `former` has
    /// the number that each rule had in the former table.
    pub(super) fn go_on(&mut self, old: &Self, former: &[Option<usize>]) {
        (self.seen, self.taken) = (old.seen, old.taken);
        let as_former = |hold: Hold| match hold.until {
            Until::Rule(other) => {
                let other = former.get(usize::from(other)).copied().flatten()? as u16;
                Some(Hold { until: Until::Rule(other), ..hold })
            }
            _ => Some(hold),
        };
        if self.hold.and_then(as_former) == old.hold {
            (self.hold_over, self.endings) = (old.hold_over, old.endings);
        }
    }

    /// Takes over what was planned for a rule of the same name that follows the same event.
    pub(super) fn inherit(&mut self, old: &Self) {
        (self.planned, self.next, self.starts) = (old.planned, old.next, old.starts);
        if let Some(planned) = self.planned {
            self.bind(planned.meant);
        }
    }
}

fn all_nodes(count: u16) -> NodeBits {
    NodeBits::MAX >> (NodeBits::BITS - u32::from(count).clamp(1, NodeBits::BITS))
}

/// Whether a message is one of those that a rule is about.
fn meets(
    filter: &MessageFilter,
    message: &Message,
    from: NodeId,
    leaders: Option<&Leaders>,
) -> bool {
    let role = |role: Role| {
        let wanted = match role {
            Role::Leader => observe::Role::Leader,
            Role::Follower => observe::Role::Follower,
            Role::Candidate => observe::Role::Candidate,
        };
        leaders.is_some_and(|leaders| {
            leaders.group() == Some(message.group) && leaders.role(from) == wanted
        })
    };
    filter.has(message.kind)
        && filter.term.is_none_or(|bounds| message.term.is_some_and(|term| bounds.has(term)))
        && filter.entries.is_none_or(|bounds| bounds.has(u64::from(message.entries)))
        && filter.granted.is_none_or(|granted| message.granted == Some(granted))
        && filter.group.is_none_or(|groups| groups.has(&message.group))
        && filter.from_role.is_none_or(role)
}
