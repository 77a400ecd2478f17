//! Sets that depend on who leads: `leader`, `followers`, `minority`, `majority`, and `random` ones.
//!
//! They are known once a rule becomes active, and stay what they were until it ends. A rule file
//! is compiled with roles that are only imagined to find its mistakes, and again with the real
//! ones each time such a rule becomes active.

use super::about::{Meant, OpenSet, RoleWord};
use super::reach::Bits;
use crate::packet::NodeId;

/// Whoever leads, at any time.
pub(super) const CURRENT_LEADER: &str = "current leader";

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

    /// The nodes behind a word; none for one that says nothing about roles, or that only an event
    /// can tell. No nodes at all where `random` asks for more than there are.
    pub(super) fn word(self, word: &str, all: Bits) -> Option<Bits> {
        self.bits(RoleWord::parse(word)?, all)
    }

    fn bits(self, word: RoleWord, all: Bits) -> Option<Bits> {
        let leader = all & (1 << self.leader.0);
        let among = |n: u32, from: Bits| {
            if n <= from.count_ones() { self.among(from, n) } else { 0 }
        };
        Some(match word {
            RoleWord::Leader => leader,
            RoleWord::Followers => all & !leader,
            // The leader with as many others as do not make a majority.
            RoleWord::Minority => self.minority(leader, all),
            RoleWord::Majority => all & !self.minority(leader, all),
            RoleWord::Random(n) => among(n, all),
            RoleWord::RandomFollowers(n) => among(n, all & !leader),
            RoleWord::Candidate | RoleWord::CurrentLeader => return None,
        })
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

impl RoleWord {
    /// Reads a word of rule files; none for one that says nothing about roles.
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "leader" => Self::Leader,
            "followers" => Self::Followers,
            "candidate" | "candidates" => Self::Candidate,
            "minority" => Self::Minority,
            "majority" => Self::Majority,
            CURRENT_LEADER => Self::CurrentLeader,
            "random" => Self::Random(1),
            _ => {
                let (n, of) = match word.strip_prefix("random ")?.split_once(' ') {
                    Some((n, of)) => (n, Some(of)),
                    None => (word.strip_prefix("random ")?, None),
                };
                match of {
                    None => Self::Random(n.parse().ok()?),
                    Some("followers") => Self::RandomFollowers(n.parse().ok()?),
                    Some(_) => return None,
                }
            }
        })
    }

    /// The word in output.
    pub(super) fn shown(self) -> String {
        match self {
            Self::Leader => "leader".to_owned(),
            Self::Followers => "followers".to_owned(),
            Self::Candidate => "candidate".to_owned(),
            Self::Minority => "minority".to_owned(),
            Self::Majority => "majority".to_owned(),
            Self::CurrentLeader => CURRENT_LEADER.to_owned(),
            Self::Random(n) => format!("random {n}"),
            Self::RandomFollowers(n) => format!("random {n} followers"),
        }
    }
}

impl OpenSet {
    /// The nodes behind it, `rest` aside. Where nobody is known to be the leader, words that need
    /// one stand for nobody.
    #[must_use]
    pub fn bits(&self, meant: &Meant, all: Bits) -> Bits {
        let one = |node: Option<NodeId>| node.map_or(0, |node| all & (1 << node.0));
        let word = |word: &RoleWord| match (word, meant.leader) {
            (RoleWord::Candidate, _) => one(meant.candidate),
            (RoleWord::CurrentLeader, _) => one(meant.current),
            // Any node will do as the leader of those that need none.
            (RoleWord::Random(_), leader) => {
                let leader = leader.unwrap_or(NodeId(0));
                Roles { leader, choice: meant.choice }.bits(*word, all).unwrap_or(0)
            }
            (_, None) => 0,
            (_, Some(leader)) => {
                Roles { leader, choice: meant.choice }.bits(*word, all).unwrap_or(0)
            }
        };
        self.words.iter().fold(self.named & all, |bits, one| bits | word(one))
    }

    /// All nodes that it may come to stand for.
    pub(super) fn possible(&self, all: Bits) -> Bits {
        if self.rest || !self.words.is_empty() { all } else { self.named }
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
