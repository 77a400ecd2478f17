//! Alters figures of rules, one at a time, to see whether the checks notice.

/// Each rule with each of its figures another one, and which rule it is.
pub(crate) fn altered(rules: &[String]) -> Vec<(usize, String)> {
    let each = rules.iter().enumerate();
    each.flat_map(|(i, rule)| figures(rule).map(move |other| (i, other))).collect()
}

fn figures(rule: &str) -> impl Iterator<Item = String> {
    let starts = rule.char_indices().filter(|(at, c)| {
        // Not within a name such as n1, a number such as 10, or the key 1-h.
        let before = rule[..*at].chars().next_back();
        let inside = before.is_some_and(|c| c.is_ascii_alphanumeric());
        c.is_ascii_digit() && !inside && !rule[at + 1..].starts_with('-')
    });
    starts.map(|(at, _)| {
        let digits = rule[at..].bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rule[at..at + digits].parse().expect("a number");
        let other = if number > 1 { number / 2 } else { number + 2 };
        format!("{}{other}{}", &rule[..at], &rule[at + digits..])
    })
}
