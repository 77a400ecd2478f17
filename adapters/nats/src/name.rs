//! Keys as NATS takes them: parts with dots between, of letters, digits and few signs.
//!
//! A slash becomes a dot, so that a prefix that ends in one is a filter; an empty part is `=`,
//! and whatever else NATS does not take is `=` and two digits in hex for each byte.

/// A key's name in NATS.
pub(crate) fn encode(key: &str) -> String {
    key.split('/').map(part).collect::<Vec<_>>().join(".")
}

fn part(text: &str) -> String {
    if text.is_empty() {
        return "=".to_owned();
    }
    let sign = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("={byte:02X}"),
    };
    text.bytes().map(sign).collect()
}

/// The key of a name; none of a name that is not ours.
pub(crate) fn decode(name: &str) -> Option<String> {
    let parts: Option<Vec<String>> = name.split('.').map(text).collect();
    Some(parts?.join("/"))
}

fn text(part: &str) -> Option<String> {
    if part == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::new();
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'=' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

/// What filters the names of the keys with a prefix, and maybe more of them.
pub(crate) fn filter(prefix: &str) -> String {
    match prefix.rsplit_once('/') {
        Some((folder, _)) => format!("{}.>", encode(folder)),
        None => ">".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_name_of_its_own_and_comes_back() {
        for key in ["r0.3", "set/s0/v 1", "tree/d1/", "tree/d1/f0", "", "/", "a=b", "é", "."] {
            let name = encode(key);
            assert!(!name.split('.').any(str::is_empty), "{key}: {name} has an empty part");
            assert_eq!(decode(&name).as_deref(), Some(key), "{name}");
        }
        assert_eq!(decode("a.=2"), None);
    }

    #[test]
    fn a_filter_lets_every_key_with_the_prefix_through() {
        assert_eq!(filter("tree/d1/"), "tree.d1.>");
        assert_eq!(filter("tree/d"), "tree.>");
        assert_eq!(filter("t"), ">");
    }
}
