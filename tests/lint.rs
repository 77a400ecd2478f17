//! Each file in `tests/lint/` is one claim about what lint says, and each is a test of its
//! own. The comments of a file say what is expected, all of it and nothing else:
//!
//! ```text
//! # set: victim=n2                     an argument, as for --set
//! # expect: error 7:11: there is no    severity, line:column (- for none), begin of the message
//! ```

use raftq::rules::{self, Diagnostic, Report, SetArg, Severity};
use std::fs;
use std::path::{Path, PathBuf};

macro_rules! fixtures {
    ($($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )+

        #[test]
        fn every_file_is_a_test() {
            let known = [$(stringify!($name)),+];
            for entry in fs::read_dir(folder()).expect("tests/lint can be listed") {
                let path = entry.expect("tests/lint can be listed").path();
                let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                assert!(known.contains(&name), "add {name} to the list in tests/lint.rs");
            }
        }
    };
}

fixtures! {
    payloads_that_are_too_short,
    a_bottleneck_that_nothing_passes,
    rules_that_come_back_at_once,
    a_bottleneck_is_held_to_the_queue,
    a_reorder_needs_something_to_overtake,
    a_table_of_delays_must_be_there,
    bad_mark,
    bad_rate,
    bad_slot,
    conditions_on_packets,
    copies_and_damage_have_bounds,
    holds_that_nothing_ends,
    loss_says_what_is_lost_once,
    udp_has_no_rst,
    a_group_may_be_a_role,
    phases_that_clash,
    ranges_of_time,
    rules_outside_their_phase,
    a_dropped_message_comes_again,
    a_group_needs_a_protocol_that_has_some,
    a_transfer_of_hashicorp_has_no_term,
    names_of_groups_are_cut,
    terms_that_no_message_bears,
    bad_comparison,
    counts_that_count_nothing,
    events_that_clash,
    faults_that_cannot_follow_an_event,
    messages_need_a_protocol,
    messages_that_cannot_be,
    only_tcp_is_reset_or_stalled,
    protocol_tells_who_leads,
    sets_that_no_event_tells,
    unknown_protocol,
    what_is_only_at_times_pre_empts_nothing,
    a_switch_has_no_times,
    a_switched_delay_is_held_to_the_queue,
    action_after_the_end,
    alias_inside_itself,
    bad_address,
    bad_chance,
    bad_delay,
    bad_duration,
    bad_name,
    bomb_of_aliases,
    bomb_of_nesting,
    broken_side,
    delay_over_the_queue,
    errors_without_a_cluster,
    delays_over_the_queue_together,
    delays_that_never_meet,
    drop_that_says_nothing,
    duplicate_address,
    duplicate_key,
    duplicate_name,
    duplicate_rule_name,
    empty,
    empty_set,
    every_error_at_once,
    fault_by_a_packet,
    group_inside_itself,
    max_rate_allows,
    never_matches,
    no_action,
    no_cluster,
    no_nodes,
    no_rules,
    node_without_address,
    not_a_map,
    not_yaml,
    one_way_drop,
    pre_empted,
    rest_in_group,
    random_needs_roles,
    roles_come_later,
    rules_without_value,
    second_document,
    senseless_set,
    set_defines_a_group,
    set_given_twice,
    set_that_names_a_node,
    set_with_unknown_node,
    set_without_use,
    tab_indent,
    tags_and_merge_keys,
    times_that_clash,
    times_too_short,
    too_many_nodes,
    two_actions_in_one_map,
    two_places,
    unknown_action,
    unknown_key,
    unknown_key_in_action,
    unknown_node,
    unknown_node_in_group,
    unknown_word,
    victim_not_given,
    wrong_type,
    wrong_type_in_rule,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint")
}

fn check(name: &str) {
    let path = folder().join(format!("{name}.yaml"));
    let text = fs::read_to_string(&path).expect("the fixture can be read");
    let said = |key: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(key)).map(str::to_owned).collect()
    };
    let sets: Vec<SetArg> = said("# set: ")
        .iter()
        .map(|arg| SetArg::parse(arg).expect("the fixture's set is well-formed"))
        .collect();
    let expected = said("# expect: ");
    let result = rules::load(&path, &sets);
    let wrong = expected.iter().any(|line| line.starts_with("error"));
    assert_eq!(result.is_err(), wrong, "{result:#?}");
    let report = match result {
        Ok(compiled) => compiled.warnings,
        Err(report) => report,
    };
    let got: Vec<String> = report.diagnostics().iter().map(|d| line(&report, d)).collect();
    let fits = |(got, expected): (&String, &String)| {
        let (place, message) = expected.split_once(": ").expect("severity place: message");
        match place.strip_suffix(":?") {
            Some(line) => got.starts_with(&format!("{line}:")) && got.contains(message),
            None => got.starts_with(expected),
        }
    };
    let all = got.len() == expected.len() && got.iter().zip(&expected).all(fits);
    assert!(all, "said:\n{}\nexpected:\n{}", got.join("\n"), expected.join("\n"));
    assert!(!report.render(false).contains('\u{1b}'), "plain means without escapes");
}

fn line(report: &Report, diagnostic: &Diagnostic) -> String {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let place = report.place(diagnostic);
    let place = place.map_or("-".to_owned(), |place| format!("{}:{}", place.line, place.column));
    format!("{severity} {place}: {}", diagnostic.message)
}
