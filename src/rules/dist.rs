//! Tables of delays, from the text of netem's `.dist` files.
//!
//! The format is that of `tc`: whole numbers between whitespace, each of them as likely as the
//! others, 8192 for one deviation; what stands behind a `#` is a comment. Nothing is guessed: a
//! word that is no number is an error with its line. Files are read elsewhere (`source.rs`).

use super::diagnostic::quote;
use super::random::Distribution;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

/// The most values of a table; `tc` takes a quarter of it.
pub const VALUES_MAX: usize = 65_536;

/// The values of a distribution; at least one, at most [`VALUES_MAX`]. Copies share them.
#[derive(Clone, PartialEq, Eq)]
pub struct DistTable {
    values: Arc<[i16]>,
    /// The path by which a rule named it; empty where none did.
    path: Arc<str>,
}

/// Why a text is no table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistError {
    /// The line, counted from 1, where one is to blame.
    pub line: Option<usize>,
    /// What is wrong.
    pub why: String,
    /// A way out.
    pub help: &'static str,
}

impl DistTable {
    /// Reads the text of a `.dist` file. The error tells the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, DistError> {
        let mut values = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let numbers = line.split('#').next().unwrap_or_default();
            for word in numbers.split_whitespace() {
                let wrong = |(why, help)| DistError { line: Some(i + 1), why, help };
                let value = value(word).map_err(wrong)?;
                if values.len() == VALUES_MAX {
                    let why = format!("more than {VALUES_MAX} values");
                    return Err(wrong((why, "take every second value, or every tenth")));
                }
                values.push(value);
            }
        }
        if values.is_empty() {
            let why = "there is no value in it".to_owned();
            let help = "write whole numbers, 8192 for one deviation, or make some with maketable";
            return Err(DistError { line: None, why, help });
        }
        Ok(Self { values: values.into(), path: "".into() })
    }

    /// The same, by the path that a rule file has.
    #[must_use]
    pub fn named(self, path: &str) -> Self {
        Self { path: path.into(), ..self }
    }

    /// The values, in the order of the file.
    #[must_use]
    pub fn values(&self) -> &[i16] {
        &self.values
    }

    /// What its file is called, without folders; none where it has none.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        Path::new(&*self.path).file_name()?.to_str()
    }

    /// The text of a file with these values.
    #[must_use]
    pub fn text(&self) -> String {
        self.values.iter().fold(String::new(), |mut text, value| {
            let _ = writeln!(text, "{value}");
            text
        })
    }

    /// The distribution that draws from this table, where it stands at `index` of
    /// [`Table::distributions`](super::Table::distributions).
    #[must_use]
    pub fn distribution(&self, index: u16) -> Distribution {
        let largest = self.values.iter().copied().max().unwrap_or_default();
        Distribution::Table { index, largest }
    }
}

/// One value, or what is wrong with it and a way out.
fn value(word: &str) -> Result<i16, (String, &'static str)> {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let why = format!("{} is not a whole number", quote(word));
        return Err((why, "a table has whole numbers between spaces; comments begin with #"));
    }
    word.parse().map_err(|_| {
        let why = format!("{} is not between {} and {}", quote(word), i16::MIN, i16::MAX);
        (why, "8192 is one deviation, so that four is the most; make `jitter` larger instead")
    })
}

impl fmt::Debug for DistTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DistTable({} values)", self.values.len())
    }
}

impl fmt::Display for DistError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for DistError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_table_is_read_as_tc_reads_it() {
        let text = "# made by hand\n -8192 0\t+3 # behind a comment\n\n32767 -32768\r\n";
        let table = DistTable::parse(text).expect("a table");
        assert_eq!(table.values(), [-8192, 0, 3, 32767, -32768]);
        let wanted = Distribution::Table { index: 4, largest: 32767 };
        assert_eq!(table.distribution(4), wanted);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, wanted) in [
            ("", "there is no value in it"),
            ("# nothing\n", "there is no value in it"),
            ("1 2\n3 x4\n", "line 2: `x4` is not a whole number"),
            ("1.5", "line 1: `1.5` is not a whole number"),
            ("-", "line 1: `-` is not a whole number"),
            ("0x10", "line 1: `0x10` is not a whole number"),
            ("\n\n32768", "line 3: `32768` is not between -32768 and 32767"),
            ("99999999999999999999", "line 1: `99999999999999999999` is not between"),
        ] {
            let told = DistTable::parse(text).expect_err(text).to_string();
            assert!(told.starts_with(wanted), "{text:?}: {told}");
        }
        let many = "1\n".repeat(VALUES_MAX);
        assert_eq!(DistTable::parse(&many).map(|t| t.values().len()), Ok(VALUES_MAX));
        let told = DistTable::parse(&(many + "1")).expect_err("one too many").to_string();
        assert_eq!(told, "line 65537: more than 65536 values");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in r"(?s).{0,200}") {
            if let Ok(table) = DistTable::parse(&text) {
                prop_assert!(!table.values().is_empty());
            }
        }

        /// Made of what a table is made of, so that many of them are tables, and most nearly.
        #[test]
        fn nothing_near_a_table_is_too_strange(text in r"([-+#0-9 \n\t\rx]{0,8} ?){0,40}") {
            match DistTable::parse(&text) {
                Ok(table) => prop_assert!(!table.values().is_empty()),
                Err(error) => {
                    let lines = text.lines().count();
                    prop_assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)));
                }
            }
        }

        #[test]
        fn what_is_written_is_read(
            values in prop::collection::vec(any::<i16>(), 1..500),
            row in 1_usize..20,
        ) {
            let rows: Vec<String> = values
                .chunks(row)
                .map(|row| row.iter().map(i16::to_string).collect::<Vec<_>>().join(" "))
                .collect();
            let table = DistTable::parse(&rows.join("  # a comment\n")).expect("a table");
            prop_assert_eq!(table.values(), &values[..]);
        }
    }
}
