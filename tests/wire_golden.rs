//! Every capture is read as its golden text in `tests/golden/wire/` says.
//!
//! `UPDATE_GOLDEN=1` writes what is read now; read the difference before you keep it.

mod wire_support;

use std::fs;
use wire_support::{capture, folder, golden, names};

#[test]
fn every_capture_is_read_as_its_text_says() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let names = names();
    assert!(names.len() >= 13, "only {} captures were found", names.len());
    let mut wrong = Vec::new();
    for name in names {
        let got = golden::render(&capture(&name));
        let path = folder().join("golden/wire").join(format!("{name}.txt"));
        if update {
            fs::write(&path, &got).expect("the text can be written");
            continue;
        }
        let wanted = fs::read_to_string(&path).unwrap_or_default();
        if got != wanted {
            wrong.push(format!("{name}:\n{}", difference(&wanted, &got)));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 would write\n\n{}", wrong.join("\n"));
}

/// The first lines in which the two differ.
fn difference(wanted: &str, got: &str) -> String {
    let same = wanted.lines().zip(got.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    format!("line {}\n- {}\n+ {}", same + 1, line(wanted), line(got))
}
