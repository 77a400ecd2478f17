//! What a firewall looks like, to show that it is afterwards what it was before.
//!
//! Only reads; comments, which bear dates, and counters are left out of the comparison.

use crate::Result;
use crate::netns::Namespace;

/// The rules of one namespace, of both families and both of the kernel's interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(String);

impl Rules {
    /// Reads them.
    pub fn of(space: &Namespace) -> Result<Self> {
        let mut text = String::new();
        for program in ["iptables-save", "ip6tables-save"] {
            text += &plain(&space.run(program, &[])?.stdout);
        }
        // Not everybody has nft; where it is missing the two above are all there is to see.
        if let Ok(output) = space.run("nft", &["--stateless", "list", "ruleset"]) {
            text += &plain(&output.stdout);
        }
        Ok(Self(text))
    }

    /// What differs, a line each: `-` is gone, `+` is new. Empty where nothing does.
    #[must_use]
    pub fn changes(&self, after: &Self) -> Vec<String> {
        let lacks = |text: &str, line: &str| !text.lines().any(|other| other == line);
        let gone = self.0.lines().filter(|line| lacks(&after.0, line));
        let new = after.0.lines().filter(|line| lacks(&self.0, line));
        let signed =
            gone.map(|line| format!("- {line}")).chain(new.map(|line| format!("+ {line}")));
        let changes: Vec<String> = signed.collect();
        if changes.is_empty() && self != after {
            return vec!["the same lines in another order or number".into()];
        }
        changes
    }
}

fn plain(save: &[u8]) -> String {
    let text = String::from_utf8_lossy(save);
    let rules = text.lines().filter(|line| !line.starts_with('#'));
    rules.map(|line| format!("{}\n", without_counters(line))).collect::<Vec<_>>().concat()
}

/// `:INPUT ACCEPT [12:3456]` without its last word.
fn without_counters(line: &str) -> &str {
    match line.rfind(" [") {
        Some(at) if line.starts_with(':') && line.ends_with(']') => &line[..at],
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        Rules(plain(text.as_bytes()))
    }

    #[test]
    fn dates_and_counters_do_not_count() {
        let before = rules("# made on Monday\n*mangle\n:INPUT ACCEPT [1:60]\nCOMMIT\n");
        let after = rules("# made on Tuesday\n*mangle\n:INPUT ACCEPT [9:540]\nCOMMIT\n");
        assert_eq!(before.changes(&after), Vec::<String>::new());
    }

    #[test]
    fn a_rule_that_stayed_is_told() {
        let before = rules("*mangle\nCOMMIT\n");
        let after = rules("*mangle\n-A INPUT -j NFQUEUE\nCOMMIT\n");
        assert_eq!(before.changes(&after), ["+ -A INPUT -j NFQUEUE"]);
        assert_eq!(after.changes(&before), ["- -A INPUT -j NFQUEUE"]);
    }

    #[test]
    fn doubled_lines_are_a_change() {
        let once = rules("-A INPUT -j NFQUEUE\n");
        let twice = rules("-A INPUT -j NFQUEUE\n-A INPUT -j NFQUEUE\n");
        assert_eq!(once.changes(&twice).len(), 1);
    }
}
