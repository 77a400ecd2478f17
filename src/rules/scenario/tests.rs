//! What scenarios say, and what is said about wrong ones.

use super::*;

fn read(text: &str) -> Result<Scenario, Report> {
    let scenario = Scenario::read(
        Source::new("s.yaml", text),
        Path::new("folder/s.yaml"),
        &Replacements::default(),
    )?;
    let compiled = scenario.compile(&scenario.imagined_cluster(None), Roles::imagined())?;
    scenario.fits(&compiled.table)?;
    Ok(scenario)
}

fn refused(text: &str) -> String {
    read(text).expect_err("a wrong scenario is refused").render(false)
}

const LEAST: &str = "cluster: { adapter: embedded }\nload: { workload: register }\nrules: []\n";

#[test]
fn the_least_scenario_has_defaults_for_everything_else() {
    let scenario = read(LEAST).expect("a scenario");
    assert_eq!((scenario.name.as_str(), scenario.nodes), ("s", 3));
    assert_eq!(scenario.topology, TopologyWord::Namespaces);
    let [load] = scenario.loads.as_slice() else { panic!("one load") };
    assert_eq!((load.clients, load.rate, load.keys), (5, None, 5));
}

#[test]
fn a_scenario_says_everything_it_can() {
    let text = "\
about: everything
cluster: { adapter: etcd, nodes: 5, topology: loopback, args: [--bug, x] }
seed: 9
load:
  - { workload: register, clients: 2, rate: 50, keys: 3, skew: 1.1, mix: { read: 2, cas: 1 } }
  - { workload: files, clients: 1, think: 10ms, timeout: 500ms, per_key: 20 }
warm_up: 2s
lasts: 5s
settle: 4s
groups: { victim: n5 }
rules: [{ name: cut, between: [victim, rest], do: drop, at: 1s, for: 2s }]
checks: [linearizable, recovers]
recovers_within: 3s
";
    let scenario = read(text).expect("a scenario");
    assert_eq!(scenario.loads.len(), 2);
    assert!((scenario.loads[0].skew - 1.1).abs() < 1e-9);
    assert_eq!(scenario.loads[0].mix, [(Function::Read, 2), (Function::Cas, 1)]);
    assert_eq!(scenario.checks, [CheckWord::Linearizable, CheckWord::Recovers]);
    let compiled =
        scenario.compile(&scenario.imagined_cluster(None), Roles::imagined()).expect("rules");
    assert_eq!(compiled.table.rules.len(), 1);
    assert_eq!(compiled.table.seed, 9);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = "\
cluster: { adapter: embedded, nodes: 0, topology: moon }
load: { workload: registr, clients: 0, timeout: 0s }
lasts: 48h
checks: [linearisable]
extra: 1
rules: []
";
    let told = refused(text);
    for part in [
        "s.yaml:1:38",
        "`moon` is not valid here",
        "did you mean `register`?",
        "s.yaml:2:37",
        "every call would fail",
        "longer than a day",
        "did you mean `linearizable`?",
        "no key `extra`",
    ] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
}

#[test]
fn a_mix_that_never_calls_and_unknown_functions_are_refused() {
    let mix = |mix: &str| {
        refused(&format!("cluster: {{ adapter: e }}\nload: {{ workload: set, mix: {mix} }}\n"))
    };
    assert!(mix("{ add: 0 }").contains("nothing is ever called"));
    assert!(mix("{ ad: 1 }").contains("did you mean `add`?"));
    assert!(mix("{ cas: 1 }").contains("it has read, add"));
}

#[test]
fn rules_are_compiled_for_the_nodes_that_will_be_started() {
    let text = LEAST.replace("[]", "[{ from: n4, do: drop }]");
    let told = refused(&text);
    assert!(told.contains("n4"), "{told}");
    assert!(told.contains("s.yaml:3:"), "{told}");
    let five = text.replace("adapter: embedded", "adapter: embedded, nodes: 5");
    assert!(read(&five).is_ok());
}

#[test]
fn more_random_nodes_than_there_are_cannot_be_meant() {
    let told = |set: &str| refused(&LEAST.replace("[]", &format!("[{{ from: {set}, do: drop }}]")));
    assert!(told("random 4").contains("there are not so many nodes: `random 4`"));
    assert!(told("random 3 followers").contains("the cluster has 3"));
    assert!(told("random two").contains("`random two`"));
    assert!(read(&LEAST.replace("[]", "[{ from: random 2 followers, do: drop }]")).is_ok());
}

#[test]
fn a_rule_file_is_found_beside_the_scenario() {
    let scenario = Scenario::read(
        Source::new("s.yaml", LEAST.replace("[]", "rules/p.yaml")),
        Path::new("folder/s.yaml"),
        &Replacements::default(),
    );
    let scenario = scenario.expect("the file itself is right");
    assert_eq!(scenario.rules_file(), Some(&PathBuf::from("folder/rules/p.yaml")));
    let told = scenario
        .compile("cluster: { nodes: { n1: 10.0.0.1:1 } }", Roles::imagined())
        .expect_err("no file");
    assert!(told.render(false).contains("folder/rules/p.yaml"));
}

#[test]
fn rules_that_the_fault_phase_is_too_short_for_are_refused_at_its_line() {
    let with = |rule: &str| format!("{LEAST}lasts: 5s\n").replace("[]", &format!("[{rule}]"));
    let told = refused(&with("{ name: cut, from: n1, do: drop, at: 5s }"));
    assert!(told.contains("s.yaml:4:8") && told.contains("`cut` begins at 5s"), "{told}");
    let told = refused(&with("{ name: cut, from: n1, do: drop, at: 1s, for: 5s }"));
    assert!(told.contains("s.yaml:4:8") && told.contains("`cut` ends at 6s"), "{told}");
    let told = refused(&with("{ name: gone, node: n1, do: restart, at: 6s }"));
    assert!(told.contains("`gone` begins at 6s"), "{told}");
    for right in [
        "{ from: n1, do: drop, at: 1s, for: 4s }",
        "{ from: n1, do: drop, at: 1s }",
        "{ from: n1, do: drop, at: 1s, for: 1s, every: 2s }",
        "{ node: n1, do: restart, at: 4s }",
    ] {
        assert!(read(&with(right)).is_ok(), "{right}");
    }
}

#[test]
fn no_time_to_warm_up_is_fine_and_none_to_recover_is_not() {
    assert!(read(&format!("{LEAST}warm_up: 0s\nsettle: 0s\n")).is_ok());
    let told = refused(&format!("{LEAST}recovers_within: 0s\n"));
    assert!(told.contains("s.yaml:4:18") && told.contains("in no time at all"), "{told}");
}

#[test]
fn clients_are_counted_over_all_loads_and_there_is_one_at_least() {
    let loads = |loads: &str| LEAST.replace("{ workload: register }", loads);
    let told = refused(&loads("[]"));
    assert!(told.contains("s.yaml:2:7") && told.contains("this list is empty"), "{told}");
    let many = "[{ workload: set, clients: 3000 }, { workload: register, clients: 3000 }]";
    let told = refused(&loads(many));
    assert!(told.contains("s.yaml:2:7") && told.contains("6000 clients"), "{told}");
    let told = refused(&loads("{ workload: set, rate: 0, keys: 0 }"));
    assert!(told.contains("s.yaml:2:30") && told.contains("s.yaml:2:39"), "{told}");
}

#[test]
fn the_checked_in_schema_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/schema.json");
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == schema(),
        "tests/scenarios/schema.json is out of date: \
         cargo run -- lint --scenario-schema > tests/scenarios/schema.json"
    );
}
