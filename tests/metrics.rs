//! Metrics as documents, and the dashboard that is made for them.

mod metrics_lab;

use metrics_lab::{Exposition, dashboard, must_please_promtool, queries, read};
use raftq::engine::lateness::BOUNDS;
use raftq::run::metrics::{Format, Metrics};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;

/// A name that nobody should give a rule.
const NASTY: &str = "cut \"it\"\\ off\nnow, {really} = 1 \u{1F980}";

fn some() -> Metrics {
    let mut metrics = Metrics::default();
    metrics.info("raftq_build", "The raftq that runs.", [("version", "1.2.3")]);
    metrics.seconds("raftq_run_age", "Since the start.", 1.5);
    metrics.gauge("raftq_term", "Not known yet.").all::<0>([]);
    metrics.counter("raftq_packets", "Packets.").is(7);
    let series = [([("rule", NASTY)], 3), ([("rule", "plain")], 0)];
    metrics.counter("raftq_rule_matched", "Matched.").all(series);
    let mut buckets = [0; BOUNDS.len() + 1];
    (buckets[0], buckets[3], buckets[BOUNDS.len()]) = (5, 2, 1);
    metrics.lateness("raftq_lateness", "How late.", (buckets, 12_000_400_000));
    metrics
}

#[test]
fn the_text_format_is_what_prometheus_reads() {
    let text = some().document(Format::Text);
    must_please_promtool(&["check", "metrics"], &text);
    let all = Exposition::read(&text);
    assert_eq!(all.get("raftq_build_info", &[("version", "1.2.3")]), Some(1.0), "{text}");
    assert_eq!(all.get("raftq_run_age_seconds", &[]), Some(1.5), "{text}");
    assert_eq!(all.get("raftq_packets_total", &[]), Some(7.0), "{text}");
    assert_eq!(all.get("raftq_rule_matched_total", &[("rule", NASTY)]), Some(3.0), "{text}");
    assert_eq!(all.types["raftq_rule_matched_total"], "counter");
    assert!(!text.contains("raftq_term"), "what is not known is left out: {text}");
    // Buckets are cumulative, and the last has no bound.
    let bucket = |le: &str| all.get("raftq_lateness_seconds_bucket", &[("le", le)]);
    assert_eq!((bucket("1e-05"), bucket("0.00025")), (Some(5.0), Some(7.0)), "{text}");
    assert_eq!((bucket("10"), bucket("+Inf")), (Some(7.0), Some(8.0)), "{text}");
    assert_eq!(all.get("raftq_lateness_seconds_count", &[]), Some(8.0));
    assert_eq!(all.get("raftq_lateness_seconds_sum", &[]), Some(12.0004));
}

#[test]
fn openmetrics_is_there_for_whoever_asks() {
    let text = some().document(Format::OpenMetrics);
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("# TYPE raftq_packets counter\n") && text.contains("_total 7\n"));
    assert!(text.contains("# UNIT raftq_run_age_seconds seconds\n"), "{text}");
    // What Prometheus itself sends, an older one, curl, a browser, and whoever wants no such thing.
    for (accept, format) in [
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::OpenMetrics,
        ),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format::Text),
        ("*/*", Format::Text),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", Format::Text),
        ("application/openmetrics-text;q=0, text/plain", Format::Text),
        ("Application/OpenMetrics-Text", Format::OpenMetrics),
        ("text/plain;q=0.9, application/openmetrics-text; q=0.4", Format::Text),
        (";;q=,,", Format::Text),
    ] {
        assert_eq!(Format::accepted(Some(accept)), format, "{accept}");
    }
    assert_eq!(Format::accepted(None), Format::Text);
}

/// Labels that whoever scrapes adds.
const SCRAPED: &str = "instance";

/// The names of metrics in a query, each with the labels that the query and its legend ask of it.
fn asked((query, legend): &(String, String)) -> Vec<(String, BTreeSet<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut shared: BTreeSet<String> = legend
        .split("{{")
        .skip(1)
        .map(|rest| rest.split("}}").next().expect("an end").trim().to_owned())
        .collect();
    for by in query.split(" by (").skip(1) {
        let inside = by.split(')').next().expect("an end");
        shared.extend(inside.split(',').map(|label| label.trim().to_owned()));
    }
    let mut all = Vec::new();
    for (at, _) in query.match_indices("raftq_") {
        let rest = &query[at..];
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        let mut labels = shared.clone();
        if let Some(inside) = rest[name.len()..].strip_prefix('{') {
            let inside = inside.split('}').next().expect("an end");
            let keys = inside.split(',').filter_map(|one| one.split(['=', '!']).next());
            labels.extend(keys.map(|key| key.trim().to_owned()));
        }
        all.push((name.to_owned(), labels));
    }
    all
}

#[test]
fn the_dashboard_asks_for_what_there_is_and_for_all_of_it() {
    let stored = Exposition::read(&read("tests/metrics/run.prom"));
    let there = stored.families();
    let mut shown = BTreeSet::new();
    let queries = queries();
    assert!(queries.len() > 20, "{queries:?}");
    for query in &queries {
        let names = asked(query);
        assert!(!names.is_empty(), "{query:?} is about nothing of raftq's");
        for (name, labels) in names {
            let known = there.get(&name).unwrap_or_else(|| panic!("there is no {name}: {query:?}"));
            for label in labels.iter().filter(|label| *label != SCRAPED) {
                assert!(known.contains(label), "{name} has no label {label}: {query:?}");
            }
            shown.insert(name);
        }
    }
    let missing: Vec<&String> = there.keys().filter(|name| !shown.contains(*name)).collect();
    assert!(missing.is_empty(), "on no panel: {missing:?}");
    // Choices that stand above the panels come from there as well.
    for one in dashboard()["templating"]["list"].as_array().expect("a list") {
        if let Some(query) = one["query"]["query"].as_str() {
            assert!(
                asked(&(query.into(), String::new())).iter().all(|(n, _)| there.contains_key(n))
            );
        }
    }
}

#[test]
fn prometheus_can_read_each_query_of_the_dashboard() {
    let rules = queries().into_iter().enumerate().map(|(i, (query, _))| {
        let expr = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
        json!({ "record": format!("raftq:query_{i}"), "expr": expr })
    });
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules.collect::<Vec<_>>() }] });
    // JSON is YAML, too.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.yml");
    fs::write(&path, groups.to_string()).expect("a file");
    must_please_promtool(&["check", "rules", &path.display().to_string()], "");
}

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let board = dashboard();
    let panels = board["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{} twice", panel["id"]);
        // No data source of somebody's own.
        let sources = panel["targets"].as_array().into_iter().flatten().chain([panel]);
        for source in sources.filter_map(|one| one.get("datasource")) {
            assert_eq!(source["uid"], "${datasource}", "{panel}");
        }
        let of = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        for x in of("x")..of("x") + of("w") {
            for y in of("y")..of("y") + of("h") {
                assert!(x < 24 && taken.insert((x, y)), "{} lies on another", panel["title"]);
            }
        }
    }
    assert_eq!(board["templating"]["list"][0]["type"], "datasource");
    assert!(board["id"].is_null() && board["uid"] == "raftq");
}
