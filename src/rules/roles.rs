//! Sets that depend on who leads: `leader`, `followers`, `minority`, `majority`, and `random` ones.
//!
//! They are known once a rule becomes active, and stay what they were until it ends. A rule file
//! is compiled with roles that are only imagined to find its mistakes, and again with the real
//! ones each time such a rule becomes active.

use super::reach::Bits;
use crate::packet::NodeId;

/// Who leads, and a number to choose by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The leader.
    pub leader: NodeId,
    /// Chooses among the others: from the run's seed, the rule, and which activation it is.
    pub choice: u64,
}

impl Roles {
    /// Roles for a cluster that nobody has asked yet: the first node leads.
    #[must_use]
    pub fn imagined() -> Self {
        Self { leader: NodeId(0), choice: 0 }
    }

    /// The nodes behind a word; none for one that says nothing about roles. No nodes at all where
    /// `random` asks for more than there are.
    pub(super) fn word(self, word: &str, all: Bits) -> Option<Bits> {
        let leader = all & (1 << self.leader.0);
        Some(match word {
            "leader" => leader,
            "followers" => all & !leader,
            // The leader with as many others as do not make a majority.
            "minority" => self.minority(leader, all),
            "majority" => all & !self.minority(leader, all),
            _ => self.random(word.strip_prefix("random")?, leader, all)?,
        })
    }

    /// Behind `random`: nothing for one node, a number, and maybe `followers`.
    fn random(self, how: &str, leader: Bits, all: Bits) -> Option<Bits> {
        let mut words = how.split(' ').skip(1);
        if how.is_empty() {
            return Some(self.among(all, 1));
        }
        let n: u32 = words.next()?.parse().ok()?;
        let from = match (words.next(), words.next()) {
            (None, _) => all,
            (Some("followers"), None) => all & !leader,
            _ => return None,
        };
        Some(if n <= from.count_ones() { self.among(from, n) } else { 0 })
    }

    fn minority(self, leader: Bits, all: Bits) -> Bits {
        let others = (all.count_ones().saturating_sub(1) / 2).saturating_sub(1);
        leader | self.among(all & !leader, others)
    }

    /// So many of these nodes, the same ones for the same choice.
    fn among(self, mut from: Bits, n: u32) -> Bits {
        let (mut chosen, mut choice) = (0, self.choice);
        for _ in 0..n.min(from.count_ones()) {
            let skip = choice % u64::from(from.count_ones());
            let mut rest = from;
            for _ in 0..skip {
                rest &= rest - 1;
            }
            let one = rest & rest.wrapping_neg();
            chosen |= one;
            from &= !one;
            choice = choice.rotate_right(17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minority_has_the_leader_and_its_majority_has_the_rest() {
        for n in 3..9_u32 {
            let all: Bits = (1 << n) - 1;
            for choice in 0..50 {
                let roles = Roles { leader: NodeId(1), choice };
                let minority = roles.word("minority", all).expect("a word");
                let majority = roles.word("majority", all).expect("a word");
                assert_eq!(minority.count_ones(), (n - 1) / 2);
                assert!(minority & 2 != 0, "the leader is in it");
                assert_eq!(minority | majority, all);
                assert_eq!(minority & majority, 0);
            }
        }
    }

    #[test]
    fn as_many_random_nodes_as_are_asked_for() {
        for choice in 0..50 {
            let roles = Roles { leader: NodeId(1), choice };
            let word = |word| roles.word(word, 0b11111);
            assert_eq!(word("random 3").map(Bits::count_ones), Some(3));
            let followers = word("random 2 followers").expect("a word");
            assert_eq!((followers.count_ones(), followers & 2), (2, 0));
            assert_eq!(word("random 4 followers"), Some(0b11101));
            assert_eq!(word("random 5 followers"), Some(0), "there are four");
            assert_eq!(word("random 0"), Some(0));
            for wrong in ["random x", "random 2 leaders", "randomly", "random 2 followers 1"] {
                assert_eq!(word(wrong), None, "{wrong}");
            }
        }
    }

    #[test]
    fn a_random_node_is_the_same_for_the_same_choice_and_any_for_others() {
        let random = |choice| Roles { leader: NodeId(0), choice }.word("random", 0b111);
        assert_eq!(random(5), random(5));
        let all: std::collections::HashSet<_> = (0..20).map(random).collect();
        assert_eq!(all.len(), 3);
    }
}
