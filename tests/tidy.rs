//! What nobody should have to watch for by eye: floors, unsafe code, sizes, shipped files.

use raftq::rules::{Inputs, Roles, SetArg, Source};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the project").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let folders =
        ["src", "adapters", "harness/src", "harness/tests", "bench/src", "terminal/src", "tests"];
    folders
        .iter()
        .flat_map(|folder| files(&root().join(folder), "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file");
            (path.strip_prefix(root()).expect("inside the project").to_owned(), text)
        })
        .collect()
}

/// The floor of a module of the root package, by the first part of its path.
fn floor(module: &str) -> Option<u8> {
    Some(match module {
        "packet" | "time" => 0,
        "rules" | "wire" => 1,
        "engine" | "observe" => 2,
        "kernel" => 3,
        "run" | "report" | "watch" => 4,
        "cli" | "main" => 5,
        _ => return None,
    })
}

#[test]
fn every_file_imports_only_from_its_floor_and_below() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("src")) {
        let part = path.iter().nth(1).and_then(|p| p.to_str()).unwrap_or_default();
        let own = part.trim_end_matches(".rs");
        if own == "lib" {
            continue;
        }
        let own = floor(own).unwrap_or_else(|| panic!("{}: on no floor", path.display()));
        for (i, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (at, _) in code.match_indices("crate::") {
                let name = &code[at + "crate::".len()..];
                let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
                let name = &name[..end.unwrap_or(name.len())];
                let Some(other) = floor(name) else { continue };
                seen += 1;
                if other > own {
                    wrong.push(format!("{}:{}: {}", path.display(), i + 1, line.trim()));
                }
            }
        }
    }
    assert!(seen > 100, "the imports are found at all ({seen})");
    assert!(wrong.is_empty(), "imports from a higher floor:\n{}", wrong.join("\n"));
}

#[test]
fn the_harness_cannot_see_packets() {
    let manifest = fs::read_to_string(root().join("harness/Cargo.toml")).expect("its manifest");
    assert!(
        !manifest.lines().any(|line| line.starts_with("raftq ") || line.starts_with("raftq=")),
        "the root package depends on the harness, never the reverse"
    );
}

#[test]
fn unsafe_code_stays_in_the_kernel_shell_and_gives_its_reason() {
    for (path, text) in sources() {
        // The harness starts processes inside namespaces, and tests count allocations; each
        // place says why.
        for (i, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default().trim();
            let words = ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"];
            if !words.iter().any(|word| code.contains(word)) || code.contains('"') {
                continue;
            }
            let place = format!("{}:{}", path.display(), i + 1);
            if path.starts_with("src") {
                assert!(path.starts_with("src/kernel"), "{place}: unsafe outside the shell");
            }
            let before: Vec<&str> = text.lines().take(i).collect();
            let near = &before[before.len().saturating_sub(12)..];
            assert!(
                near.iter().any(|l| l.contains("SAFETY:")),
                "{place}: unsafe without a SAFETY comment"
            );
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_fits() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let place = path.display();
        if !text.starts_with("//!") {
            wrong.push(format!("{place}: opens without saying what it is"));
        }
        if text.lines().count() > 600 {
            wrong.push(format!("{place}: over 600 lines, a second subject?"));
        }
        for (i, line) in text.lines().enumerate() {
            let width = line.chars().count();
            if width > 100 && !line.contains("http") {
                wrong.push(format!("{place}:{}: {width} columns", i + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_shipped_rule_file_compiles_and_names_its_schema() {
    let shipped = files(&root().join("rules"), "yaml");
    assert!(shipped.len() >= 6, "the shipped files are found: {shipped:?}");
    for path in shipped {
        let text = fs::read_to_string(&path).expect("a shipped file");
        let name = path.display().to_string();
        let victim = text.contains("victim").then(|| SetArg::parse("victim=n2").expect("a set"));
        // A file without a cluster is for one that is found, and then somebody leads it.
        let found = "cluster: { nodes: { a: 10.0.0.1:1, b: 10.0.0.2:1, c: 10.0.0.3:1 } }";
        let lacks_cluster = !text.contains("\ncluster:");
        let inputs = Inputs {
            rules: Source::new(&name, &text),
            cluster: lacks_cluster.then(|| Source::new("found", found)),
            sets: victim.into_iter().collect(),
            roles: lacks_cluster.then(Roles::imagined),
            seed: None,
        };
        let compiled = inputs.compile();
        assert!(compiled.is_ok(), "{}", compiled.expect_err("checked").render(false));
        assert!(
            text.starts_with("# yaml-language-server: $schema=schema.json\n"),
            "{name}: does not name its schema for editors"
        );
    }
}
