//! Files: the shipped ones, their schema, and everything that is wrong with one at once.

use super::*;

#[test]
fn every_shipped_adapter_and_each_of_its_variants_loads() {
    for name in shipped() {
        let adapter = Adapter::load(name).expect("a shipped adapter");
        assert_eq!(adapter.promises().len(), 6, "{name} offers everything");
        for variant in adapter.variants() {
            let what = format!("{name}:{variant}");
            let loaded = Adapter::load(&what).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(loaded.name(), what);
        }
    }
}

#[test]
fn every_shipped_file_names_its_schema() {
    for name in shipped() {
        let path = format!("{}/../adapters/{name}/adapter.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("a shipped file");
        assert!(text.starts_with("# yaml-language-server: $schema=../schema.json\n"), "{path}");
    }
}

#[test]
fn the_checked_in_schema_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../adapters/schema.json");
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == schema(),
        "adapters/schema.json is out of date: \
         cargo run -- lint --adapter-schema > adapters/schema.json"
    );
}

fn told(text: &str) -> String {
    read(text, &[]).expect_err("refused").to_string()
}

#[test]
fn a_wrong_file_is_told_with_its_place_and_the_nearest_word() {
    for (from, to, parts) in [
        ("answers:", "anwsers:", vec!["a.yaml:10:5: operations.write: ", "mean `answers`?"]),
        ("  write:", "  writes:", vec!["a.yaml:6:3: operations: ", "did you mean `write`?"]),
        ("is: done", "is: don", vec!["a.yaml:11:36: ", "did you mean `done`?"]),
        ("is: done", "when: 1 +", vec!["a.yaml:"]),
        ("promise: linearizable", "promise: 7", vec!["a.yaml:7:14: ", "text is needed here"]),
        ("put:", "get: /\n    put:", vec!["a.yaml:9:5: ", "exactly one of get, put"]),
        ("'{{ value }}'", "'{{ value'", vec!["a.yaml:9:11: operations.write.body: "]),
        ("body:", "stdin:", vec!["a.yaml:9:5: ", "`stdin` belongs to a command"]),
        ("put: '/{{ key | percent }}'", "driver: write", vec!["there is no `driver` at the top"]),
        ("client: 2", "client: 70000", vec!["a.yaml:2:48: node.ports.client: "]),
        (", client: 2", "", vec!["a.yaml:2:", "node.ports needs `client`"]),
        ("base: ", "bases: ", vec!["a.yaml:3:1: ", "did you mean `base`?"]),
        ("{ program: sh, ", "{ program: sh, start_within: 3m, ", vec!["no duration such as"]),
    ] {
        let text = own(WRITE);
        assert!(text.contains(from), "{from} is in the file");
        let said = told(&text.replacen(from, to, 1));
        for part in parts {
            assert!(said.contains(part), "{from} -> {to}: {part} is missing:\n{said}");
        }
    }
    assert!(told("about: [").contains("a.yaml:"), "what is no YAML has a place, too");
}

#[test]
fn every_error_of_a_file_is_told_at_once() {
    let text = own(WRITE).replace("about", "abuot").replace("is: refused", "is: refusd");
    let said = told(&text.replace("leads: 'true'", "leeds: 'true'"));
    assert!(said.lines().count() >= 4, "{said}");
    for part in ["`abuot`", "`refusd`", "`leeds`", "needs `about`"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}

#[test]
fn what_is_wrong_with_a_variant_is_told_where_it_stands_chosen_or_not() {
    let text = own(WRITE) + "variants:\n  fast:\n    node: { more_arg: [a] }\n";
    let said = told(&text);
    assert!(said.contains("a.yaml:16:13: node: there is no key `more_arg`"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let said = read(&own(WRITE), &["fast"]).expect_err("refused").to_string();
    assert!(said.contains("no variants"), "{said}");
    let said = read(&text.replace("more_arg", "more_args"), &["fats"]).expect_err("refused");
    assert!(said.to_string().contains("did you mean `fast`?"), "{said}");
}

#[test]
fn variants_add_their_arguments_and_the_last_one_counts_for_the_rest() {
    let text = own(WRITE)
        + "variants:\n  a: { node: { more_args: [one], env: { X: a } } }\n  \
           b: { node: { more_args: [two], env: { X: b } } }\n";
    let adapter = read(&text, &["a", "b"]).expect("an adapter");
    let place = NodePlace {
        name: "n1".into(),
        address: Ipv4Addr::LOCALHOST.into(),
        ports: adapter.ports().clone(),
        data: PathBuf::new(),
        netns: None,
    };
    let launch = adapter.launch(&[place], 0, &Joining::new(1)).expect("a launch");
    assert_eq!(launch.args, ["one", "two"]);
    assert_eq!(launch.env, [("X".to_owned(), "b".to_owned())]);
}
