//! The active rules of a class of links, by what a packet tells at a glance: transport and ports.
//!
//! A packet has one transport and two ports, so of all rules that name a port it can meet those of
//! two. Rules stand in groups, one for each port and one for those that name none, each in file
//! order and apart for each transport; a walk merges at most three groups, which gives file order
//! again. In a small class everything is in one group and asked in turn: that is cheaper than
//! looking ports up. All room is reserved when a table is laid out; rules go in and out without
//! allocating.
//!
//! It knows nothing of links, times or actions, and does not say whether a rule matches.

use crate::packet::Proto;

/// A class of more rules has its ports looked up.
const WALKED_MAX: usize = 5;

/// A packet's ports.
type Ports = [u16; 2];

/// What of a rule's `where` can be asked without looking the rule up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    pub(super) rule: u16,
    /// 0: any.
    pub(super) port: u16,
    pub(super) proto: Option<Proto>,
}

impl Gate {
    fn is_for(self, half: usize) -> bool {
        self.proto.is_none_or(|proto| of_proto(proto) == half)
    }
}

fn of_proto(proto: Proto) -> usize {
    usize::from(proto == Proto::Udp)
}

/// A rule in a group. Sixteen fit a cache line.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    rule: u16,
    /// 0: any.
    port: u16,
}

/// Where the rules of one port are among the entries, for each transport, and how many are in.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    start: [u32; 2],
    len: [u16; 2],
}

impl Group {
    #[inline]
    fn lane(&self, half: usize) -> Lane {
        let at = self.start[half];
        Lane { at, end: at + u32::from(self.len[half]) }
    }
}

/// A place in the table that finds groups by ports.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// 0: free.
    port: u16,
    group: u16,
}

/// What is left of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    at: u32,
    end: u32,
}

impl Lane {
    #[inline]
    fn is_over(self) -> bool {
        self.at == self.end
    }
}

/// Where a walk stands. Rules that go in or out make it worthless, see [`Index::resume`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// The rules without ports, or all.
    first: Lane,
    /// Those of the packet's ports.
    ports: [Lane; 2],
    /// Whether there are any of these.
    merges: bool,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Box<[Entry]>,
    /// The rules without ports; all, where they are walked.
    first: Group,
    groups: Box<[Group]>,
    /// A power of two of them, at least half of them free; none where all rules are walked.
    slots: Box<[Slot]>,
    /// How far a hash is shifted to be a place there.
    shift: u32,
    /// How many rules are in groups of ports, for each transport.
    apart: [u32; 2],
}

impl Index {
    /// Room for these rules, none of which is in yet.
    pub(super) fn new(gates: impl Iterator<Item = Gate> + Clone) -> Self {
        let mut index = Self::default();
        if gates.clone().count() > WALKED_MAX {
            index.make_groups(gates.clone().map(|gate| gate.port));
        }
        for gate in gates {
            for half in [0, 1].into_iter().filter(|half| gate.is_for(*half)) {
                index.group(gate.port).len[half] += 1;
            }
        }
        let mut end = 0;
        for group in std::iter::once(&mut index.first).chain(&mut index.groups) {
            for half in [0, 1] {
                group.start[half] = end;
                end += u32::from(std::mem::take(&mut group.len[half]));
            }
        }
        index.entries = vec![Entry::default(); end as usize].into();
        index
    }

    fn make_groups(&mut self, ports: impl Iterator<Item = u16>) {
        let mut ports: Vec<u16> = ports.filter(|port| *port != 0).collect();
        ports.sort_unstable();
        ports.dedup();
        if ports.is_empty() {
            return;
        }
        let bits = (ports.len() * 2).next_power_of_two().ilog2();
        self.shift = u32::BITS - bits;
        self.slots = vec![Slot::default(); 1 << bits].into();
        self.groups = vec![Group::default(); ports.len()].into();
        for (group, &port) in ports.iter().enumerate() {
            let place = self.place(port);
            self.slots[place] = Slot { port, group: group as u16 };
        }
    }

    /// Where a port is among the slots, or would be.
    #[inline]
    fn place(&self, port: u16) -> usize {
        // Fibonacci hashing spreads neighbours, and neighbours are what ports are.
        let mut at = (u32::from(port).wrapping_mul(0x9e37_79b1) >> self.shift) as usize;
        while self.slots[at].port != port && self.slots[at].port != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        at
    }

    /// The group of a rule's port.
    fn group(&mut self, port: u16) -> &mut Group {
        if port == 0 || self.slots.is_empty() {
            return &mut self.first;
        }
        let slot = self.slots[self.place(port)];
        debug_assert_eq!(slot.port, port, "an index has all ports of its rules");
        &mut self.groups[usize::from(slot.group)]
    }

    /// Takes all rules out.
    pub(super) fn clear(&mut self) {
        self.first.len = [0; 2];
        self.groups.iter_mut().for_each(|group| group.len = [0; 2]);
        self.apart = [0; 2];
    }

    /// Takes a rule in or out; one of those that there is room for.
    pub(super) fn put(&mut self, gate: Gate, is_in: bool) {
        let apart = gate.port != 0 && !self.slots.is_empty();
        for half in [0, 1].into_iter().filter(|half| gate.is_for(*half)) {
            let Lane { at, end } = self.group(gate.port).lane(half);
            let (start, end) = (at as usize, end as usize);
            // Rules mostly come in file order, behind all others.
            let behind = end == start || self.entries[end - 1].rule < gate.rule;
            let found = if behind {
                Err(end)
            } else {
                let all = &self.entries[start..end];
                let found = all.binary_search_by_key(&gate.rule, |entry| entry.rule);
                found.map(|i| start + i).map_err(|i| start + i)
            };
            match (found, is_in) {
                (Err(at), true) => {
                    self.entries.copy_within(at..end, at + 1);
                    self.entries[at] = Entry { rule: gate.rule, port: gate.port };
                    self.group(gate.port).len[half] += 1;
                    self.apart[half] += u32::from(apart);
                }
                (Ok(at), false) => {
                    self.entries.copy_within(at + 1..end, at);
                    self.group(gate.port).len[half] -= 1;
                    self.apart[half] -= u32::from(apart);
                }
                (Ok(_), true) | (Err(_), false) => {}
            }
        }
    }

    /// Begins to walk the rules that a packet's transport and ports do not rule out.
    #[inline]
    pub(super) fn begin(&self, proto: Proto, ports: Ports) -> Cursor {
        let half = of_proto(proto);
        let first = self.first.lane(half);
        if self.apart[half] == 0 {
            return Cursor { first, ports: [Lane::default(); 2], merges: false };
        }
        let ports = self.find(half, ports);
        Cursor { first, ports, merges: ports.iter().any(|lane| !lane.is_over()) }
    }

    /// What is in under these ports.
    #[inline(never)]
    fn find(&self, half: usize, [src, dst]: Ports) -> [Lane; 2] {
        let lane = |port: u16| {
            let slot = self.slots[self.place(port)];
            // No packet has port 0, unless somebody made it on purpose.
            let found = slot.port == port && port != 0;
            if found { self.groups[usize::from(slot.group)].lane(half) } else { Lane::default() }
        };
        [lane(src), if dst == src { Lane::default() } else { lane(dst) }]
    }

    /// The next of them, in file order.
    #[inline]
    pub(super) fn next(&self, ports: Ports, cursor: &mut Cursor) -> Option<u16> {
        if cursor.merges {
            return self.merge(cursor);
        }
        let Lane { at, end } = cursor.first;
        if at == end {
            return None;
        }
        let rest = self.entries.get(at as usize..end as usize)?;
        let [src, dst] = ports;
        let is_open = |e: &Entry| e.port == 0 || e.port == src || e.port == dst;
        for (behind, entry) in (at + 1..).zip(rest) {
            if is_open(entry) {
                cursor.first.at = behind;
                return Some(entry.rule);
            }
        }
        None
    }

    #[inline(never)]
    fn merge(&self, cursor: &mut Cursor) -> Option<u16> {
        let Cursor { first, ports: [src, dst], .. } = cursor;
        let head = |lane: &Lane| self.entries[lane.at as usize].rule;
        let lanes = [first, src, dst].into_iter().filter(|lane| !lane.is_over());
        let lane = lanes.min_by_key(|lane| head(lane))?;
        let rule = head(lane);
        lane.at += 1;
        Some(rule)
    }

    /// Goes on behind a rule, after rules went in or out.
    #[cold]
    pub(super) fn resume(&self, proto: Proto, ports: Ports, behind: u16) -> Cursor {
        let mut cursor = self.begin(proto, ports);
        let Cursor { first, ports: [src, dst], .. } = &mut cursor;
        for lane in [first, src, dst] {
            let all = &self.entries[lane.at as usize..lane.end as usize];
            lane.at += all.partition_point(|entry| entry.rule <= behind) as u32;
        }
        cursor
    }

    /// All rules that a packet's transport and ports do not rule out, in file order.
    pub(super) fn open(&self, proto: Proto, ports: Ports) -> impl Iterator<Item = u16> {
        let mut cursor = self.begin(proto, ports);
        std::iter::from_fn(move || self.next(ports, &mut cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn gates() -> impl Strategy<Value = Vec<Gate>> {
        let proto = prop::option::of(select(vec![Proto::Tcp, Proto::Udp]));
        let gate = (proto, prop_oneof![Just(0), 1_u16..6, any::<u16>()]);
        prop::collection::vec(gate, 0..40).prop_map(|gates| {
            let gates = gates.into_iter().enumerate();
            gates.map(|(i, (proto, port))| Gate { rule: i as u16 * 3, port, proto }).collect()
        })
    }

    fn open(gates: &[Gate], is_in: &[bool], proto: Proto, ports: Ports) -> Vec<u16> {
        let all = gates.iter().zip(is_in).filter(|(gate, is_in)| {
            **is_in
                && gate.proto.is_none_or(|own| own == proto)
                && (gate.port == 0 || ports.contains(&gate.port))
        });
        all.map(|(gate, _)| gate.rule).collect()
    }

    proptest! {
        #[test]
        fn it_finds_what_asking_each_rule_finds(
            gates in gates(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..80),
            ports in [prop_oneof![0_u16..7, any::<u16>()], prop_oneof![0_u16..7, any::<u16>()]],
            late in any::<prop::sample::Index>(),
        ) {
            let mut index = Index::new(gates.iter().copied());
            let mut is_in = vec![false; gates.len()];
            for (at, now) in changes.iter().filter(|_| !gates.is_empty()) {
                let at = at.index(gates.len());
                index.put(gates[at], *now);
                is_in[at] = *now;
            }
            // A port that some rule names, too.
            let named = gates.get(late.index(gates.len().max(1))).map_or(1, |gate| gate.port);
            for ports in [ports, [named, ports[1]], [ports[0], named], [named, named]] {
                for proto in [Proto::Tcp, Proto::Udp] {
                    let wanted = open(&gates, &is_in, proto, ports);
                    prop_assert_eq!(index.open(proto, ports).collect::<Vec<_>>(), wanted.clone());
                    for (i, &rule) in wanted.iter().enumerate() {
                        let mut cursor = index.resume(proto, ports, rule);
                        prop_assert_eq!(index.next(ports, &mut cursor), wanted.get(i + 1).copied());
                    }
                }
            }
            index.clear();
            prop_assert_eq!(index.open(Proto::Tcp, ports).count(), 0);
        }
    }

    #[test]
    fn it_has_room_for_as_many_rules_as_a_table_may_have() {
        let gates: Vec<Gate> =
            (0..20_000).map(|i| Gate { rule: i, port: i + 1, proto: None }).collect();
        let mut index = Index::new(gates.iter().copied());
        for gate in &gates {
            index.put(*gate, true);
        }
        for gate in &gates {
            let other = gates[(usize::from(gate.rule) * 7 + 1) % gates.len()];
            let mut wanted = vec![gate.rule, other.rule];
            wanted.sort_unstable();
            wanted.dedup();
            let found: Vec<u16> = index.open(Proto::Udp, [gate.port, other.port]).collect();
            assert_eq!(found, wanted);
        }
    }
}
