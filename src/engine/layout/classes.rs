//! Links that have the same rules, as classes.
//!
//! A link's rules are summed up to one number instead of listed, since 100 nodes have 9,900 links
//! and a table may have as many rules on each. Equal sums are only a hint: whether a class's links
//! really have the same rules is seen where they are listed, once a class.

use crate::packet::{LinkId, NodeId};
use crate::rules::Table;
use std::collections::HashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Tries before it gives up: one in 2^64 pairs of links fails the first.
const TRIES: u64 = 8;

/// For each link its class, and for each class its rules, in file order.
pub(super) type Classes = (Vec<u16>, Vec<Box<[u16]>>);

/// Groups the links by the rules that are on them.
pub(super) fn of(table: &Table) -> Classes {
    let key = |seed| move |rule: u16| xxh3_64_with_seed(&rule.to_le_bytes(), seed);
    (0..TRIES)
        .find_map(|seed| grouped(table, key(seed)))
        .expect("the links of a rule are sorted and unique, and sums of random keys differ")
}

/// The same with given keys; `None` where the sums of different links are equal.
fn grouped(table: &Table, key: impl Fn(u16) -> u64) -> Option<Classes> {
    let nodes = table.nodes.len();
    // A rule never is on a link from a node to itself, so that this many are all others.
    let all = nodes * nodes.saturating_sub(1);
    let mut sums = vec![0_u64; table.links()];
    for node in 0..nodes as u16 {
        sums[usize::from(LinkId::new(NodeId(node), NodeId(node), nodes).0)] = u64::MAX;
    }
    let some = |i: &usize| table.rules[*i].links.len() < all;
    for i in (0..table.rules.len()).filter(some) {
        let key = key(i as u16);
        for link in &table.rules[i].links {
            let sum = &mut sums[usize::from(link.0)];
            *sum = sum.wrapping_add(key);
        }
    }
    let mut known = HashMap::new();
    let mut sizes = Vec::new();
    let mut class_of = Vec::with_capacity(sums.len());
    for sum in sums {
        let class = *known.entry(sum).or_insert(sizes.len());
        if class == sizes.len() {
            sizes.push(0_usize);
        }
        sizes[class] += 1;
        class_of.push(class as u16);
    }
    // The first link leads from the first node to itself.
    if sizes.first().is_some_and(|&own| own != nodes) {
        return None;
    }
    let mut lists: Vec<Vec<u16>> = vec![Vec::new(); sizes.len()];
    let mut last = vec![None; sizes.len()];
    for (i, rule) in table.rules.iter().enumerate() {
        if !some(&i) {
            lists.iter_mut().skip(1).for_each(|list| list.push(i as u16));
            continue;
        }
        // A rule is on all links of a class or on none.
        let mut links = 0;
        for link in &rule.links {
            let class = usize::from(class_of[usize::from(link.0)]);
            if last[class] != Some(i as u16) {
                last[class] = Some(i as u16);
                lists[class].push(i as u16);
                links += sizes[class];
            }
        }
        if links != rule.links.len() {
            return None;
        }
    }
    Some((class_of, lists.into_iter().map(Vec::into_boxed_slice).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::compile;

    fn table(rules: &str) -> Table {
        let nodes: Vec<String> = (1..=6).map(|i| format!("n{i}: 10.0.0.{i}:2380")).collect();
        let text = format!("cluster: {{ nodes: {{ {} }} }}\nrules:\n{rules}", nodes.join(", "));
        compile("test", &text, &[]).expect("a table").table
    }

    /// The rules of each link, asked of each rule.
    fn slow(table: &Table) -> Vec<Vec<u16>> {
        let on = |link| {
            let rules = table.rules.iter().enumerate();
            rules.filter(|(_, r)| r.links.contains(&link)).map(|(i, _)| i as u16).collect()
        };
        (0..table.links()).map(|link| on(LinkId(link as u16))).collect()
    }

    const RULES: &str = "
  - { name: a, from: n1, to: any, do: drop }
  - { name: b, from: any, to: any, where: { port: 7 }, do: drop }
  - { name: c, between: [n2, n3], where: { port: 9 }, do: drop }
  - { name: d, from: n1, to: [n2, n3], where: { port: 11 }, do: drop }
  - { name: e, from: [n2, n3], to: [n3, n2, n4], where: { port: 13 }, do: drop }
";

    #[test]
    fn classes_have_the_rules_of_their_links() {
        let table = table(RULES);
        let (class_of, lists) = of(&table);
        for (link, wanted) in slow(&table).iter().enumerate() {
            assert_eq!(&*lists[usize::from(class_of[link])], wanted, "{link}");
        }
        // Of a node to itself; from n1 to n2 and n3, to others; between n2 and n3; of these to n4;
        // all others.
        assert_eq!(lists.len(), 6);
    }

    #[test]
    fn equal_sums_of_different_links_are_noticed() {
        let table = table(RULES);
        assert!(grouped(&table, |_| 1).is_none(), "one rule is as good as another");
        assert!(grouped(&table, u64::from).is_none(), "the first adds nothing");
        assert!(grouped(&table, |_| u64::MAX).is_none(), "one is like no rule can be");
        assert!(grouped(&table, |rule| 1 << rule).is_some(), "each is told apart");
    }
}
