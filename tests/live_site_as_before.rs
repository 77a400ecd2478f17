//! Installing and removing leaves the firewall as it was, whoever else has rules there and
//! whatever they do meanwhile: saves and the nft ruleset compare equal, both flavours.

mod live_site_lab;

use live_site_lab::{FLAVOURS, Lab, node, tables};
use raftq::kernel::chains::Spec;
use raftq::kernel::iptables::{self, Flavour, Installed, Removal};
use raftq::kernel::topology::{self, Family};
use raftq::rules::table::{Node, Place};

/// Rules for both families in a namespace with two nodes.
fn install(lab: &Lab, chain: &str, flavour: Flavour) -> Vec<Installed> {
    try_install(lab, chain, flavour).unwrap_or_else(|e| panic!("{flavour}: {e}"))
}

fn try_install(
    lab: &Lab,
    chain: &str,
    flavour: Flavour,
) -> Result<Vec<Installed>, raftq::kernel::trouble::Trouble> {
    let nodes: Vec<Node> = vec![
        node("n1", &["127.0.0.1:2381", "[::1]:2381"], Place::Netns(lab.name.clone())),
        node("n2", &["127.0.0.1:2382", "[::1]:2382"], Place::Netns(lab.name.clone())),
    ];
    let plan = topology::plan(&nodes).expect("a plan");
    let spec = Spec { site: &plan.sites[0], nodes: &nodes, chain, queue: 4242 };
    let prepared = iptables::prepare(&spec, flavour)?;
    iptables::install_all(&prepared)?;
    let installed: Vec<_> = prepared.into_iter().map(|p| p.installed).collect();
    // What comes out of the record is all that a later process knows.
    let text = serde_json::to_string(&installed).expect("written");
    Ok(serde_json::from_str(&text).expect("read back"))
}

fn remove(installed: &[Installed]) -> Vec<Removal> {
    let results = iptables::remove_all(installed);
    results.into_iter().map(|r| r.expect("removed")).collect()
}

#[test]
fn a_fresh_namespace_has_no_table_afterwards() {
    for flavour in FLAVOURS {
        let lab = Lab::new("fresh");
        let before = lab.firewall();
        assert_eq!(before.trim(), "");
        let installed = install(&lab, "RAFTQ-a", flavour);
        assert_ne!(lab.firewall(), before, "the rules are seen in the comparison");
        for i in &installed {
            assert!(i.stands().expect("asked"));
        }
        assert_eq!(remove(&installed), [Removal::Removed; 2]);
        assert_eq!(lab.firewall(), before, "{flavour}");
        assert_eq!(remove(&installed), [Removal::WasGone; 2], "again does nothing");
        assert!(!installed[0].stands().expect("asked"));
    }
}

#[test]
fn rules_of_the_user_stay_as_they_were() {
    for flavour in FLAVOURS {
        let lab = Lab::new("user");
        for family in [Family::V4, Family::V6] {
            let rules = "*mangle\\n:MINE - [0:0]\\n-A INPUT -p tcp --dport 22 -j MINE\\n\
                         -A MINE -j MARK --set-mark 7\\nCOMMIT\\n*filter\\n\
                         -A INPUT -p udp --dport 53 -j DROP\\nCOMMIT\\n";
            lab.restore(flavour, family, rules);
        }
        let before = lab.firewall();
        let installed = install(&lab, "RAFTQ-a", flavour);
        assert_eq!(remove(&installed), [Removal::Removed; 2]);
        assert_eq!(lab.firewall(), before, "{flavour}");
    }
}

#[test]
fn an_empty_base_chain_and_a_policy_of_the_user_stay() {
    let lab = Lab::new("empty");
    lab.run(
        "nft 'add table ip mangle; add chain ip mangle INPUT { type filter hook input \
             priority mangle; policy accept; }'",
    );
    lab.run("ip6tables-nft -t mangle -P INPUT DROP");
    let before = lab.firewall();
    let installed = install(&lab, "RAFTQ-a", Flavour::Nft);
    remove(&installed);
    assert_eq!(lab.firewall(), before);
}

#[test]
fn rules_that_come_during_the_run_stay() {
    for flavour in FLAVOURS {
        let lab = Lab::new("during");
        let installed = install(&lab, "RAFTQ-a", flavour);
        lab.run(&format!("iptables-{flavour} -t mangle -A INPUT -p tcp --dport 23 -j DROP"));
        lab.run(&format!("ip6tables-{flavour} -t mangle -A OUTPUT -p tcp --dport 23 -j DROP"));
        remove(&installed);
        let expected = Lab::new("expected");
        expected.run(&format!("iptables-{flavour} -t mangle -A INPUT -p tcp --dport 23 -j DROP"));
        expected.run(&format!("ip6tables-{flavour} -t mangle -A OUTPUT -p tcp --dport 23 -j DROP"));
        assert_eq!(lab.firewall(), expected.firewall(), "{flavour}");
    }
}

#[test]
fn a_policy_that_comes_during_the_run_stays() {
    let lab = Lab::new("policy");
    let installed = install(&lab, "RAFTQ-a", Flavour::Nft);
    lab.run("iptables-nft -t mangle -P INPUT DROP");
    remove(&installed);
    assert!(lab.firewall().contains("policy drop"), "{}", lab.firewall());
}

#[test]
fn what_somebody_else_removed_is_no_obstacle() {
    let spoils: [&[&str]; 4] =
        [&["-D INPUT -j RAFTQ-a"], &["-F INPUT"], &["-F RAFTQ-a"], &["-F", "-X"]];
    for flavour in FLAVOURS {
        for spoil in spoils {
            let lab = Lab::new("spoil");
            let installed = install(&lab, "RAFTQ-a", flavour);
            for step in spoil {
                lab.run(&format!("iptables-{flavour} -t mangle {step}"));
            }
            assert!(!installed[0].stands().expect("asked"), "{flavour} {spoil:?}");
            assert!(installed[1].stands().expect("asked"), "IPv6 was left alone");
            remove(&installed);
            assert_eq!(lab.firewall().trim(), "", "{flavour} {spoil:?}");
        }
    }
}

#[test]
fn jumps_that_somebody_added_to_our_chain_go_with_it() {
    for flavour in FLAVOURS {
        let lab = Lab::new("jumps");
        let installed = install(&lab, "RAFTQ-a", flavour);
        lab.run(&format!("iptables-{flavour} -t mangle -I INPUT -p udp -j RAFTQ-a"));
        assert_eq!(remove(&installed), [Removal::RestRemoved, Removal::Removed]);
        assert_eq!(lab.firewall().trim(), "", "{flavour}");
    }
}

#[test]
fn a_chain_that_exists_is_refused_and_left_alone() {
    for flavour in FLAVOURS {
        let lab = Lab::new("twice");
        for family in [Family::V4, Family::V6] {
            lab.run(&format!("{}-{flavour} -t mangle -N RAFTQ-a", tables(family)));
        }
        let before = lab.firewall();
        let error = try_install(&lab, "RAFTQ-a", flavour).expect_err("refused");
        assert!(!error.way_out.is_empty(), "{error}");
        assert_eq!(lab.firewall(), before, "{flavour}: {error}");
    }
}

#[test]
fn one_family_that_fails_takes_the_other_back() {
    for flavour in FLAVOURS {
        let lab = Lab::new("half");
        lab.run(&format!("ip6tables-{flavour} -t mangle -N RAFTQ-a"));
        let before = lab.firewall();
        try_install(&lab, "RAFTQ-a", flavour).expect_err("refused");
        assert_eq!(lab.firewall(), before, "{flavour}");
    }
}

#[test]
fn two_runs_in_one_namespace_leave_in_either_order() {
    for flavour in FLAVOURS {
        for first_leaves_first in [true, false] {
            let lab = Lab::new("two");
            let a = install(&lab, "RAFTQ-a", flavour);
            let mut b = install(&lab, "RAFTQ-b", flavour);
            for i in &mut b {
                i.inherit(&a);
            }
            let (early, late) = if first_leaves_first { (&a, &b) } else { (&b, &a) };
            remove(early);
            assert!(late.iter().all(|i| i.stands().expect("asked")), "the other one stands");
            remove(late);
            assert_eq!(lab.firewall().trim(), "", "{flavour} {first_leaves_first}");
        }
    }
}

#[test]
fn a_namespace_that_is_gone_took_its_rules_along() {
    let lab = Lab::new("gone");
    let installed = install(&lab, "RAFTQ-a", Flavour::Nft);
    drop(lab);
    assert_eq!(remove(&installed), [Removal::NamespaceGone; 2]);
}
