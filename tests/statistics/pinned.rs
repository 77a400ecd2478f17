//! A few draws of each kind, bit by bit: what differs here on a machine would make a recording
//! repeat differently there. The delays are so long that every bit of a calculation shows.

use crate::{SEED, draws, share};
use raftq::engine::dice::{correlated, delay, lost};
use raftq::rules::table::{Delay, DistTable, Distribution, Loss, Order};
use raftq::time::Nanos;

/// The first of each as one text, for one comparison.
fn pinned() -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let mut line = |name: &str, values: &mut dyn Iterator<Item = u64>| {
        write!(text, "{name}").expect("a text takes all");
        values.for_each(|value| write!(text, " {value:x}").expect("a text takes all"));
        text.push('\n');
    };
    line("bits", &mut draws(3).map(|draw| draw.bits(SEED)));
    line("part 7", &mut draws(3).map(|draw| draw.and(7).bits(SEED)));
    let mut memory = 0;
    line("correlated", &mut draws(6).map(|d| correlated(d, SEED, share(0.5), &mut memory)));
    let table = DistTable::parse("-30000 -5 0 77 8192 12345 32767").expect("a table");
    for (name, distribution) in [
        ("uniform", Distribution::Uniform),
        ("normal", Distribution::Normal),
        ("pareto", Distribution::Pareto),
        ("paretonormal", Distribution::ParetoNormal),
        ("table", table.distribution(0)),
    ] {
        let (by, jitter) = (Nanos(1 << 52), Nanos((1 << 49) + 1));
        let shape = Delay { by, jitter, distribution, order: Order::Flow, correlation: 0 };
        let tables = std::slice::from_ref(&table);
        line(name, &mut draws(5).map(|d| delay(&shape, tables, d.bits(SEED)).0));
        // A sum over many, so that a rare way through a function shows, too.
        let many = draws(10_000).map(|d| delay(&shape, tables, d.bits(SEED)).0);
        line("  of 10000", &mut std::iter::once(many.fold(0, u64::wrapping_add)));
    }
    let half = Some(share(0.5));
    for (name, model) in [
        ("gemodel", Loss::gilbert_elliott(share(0.2), half, half, Some(share(0.1)))),
        ("state", Loss::markov(share(0.2), half, Some(share(0.25)), half, Some(share(0.1)))),
    ] {
        let mut state = 0;
        let mut word =
            || draws(64).fold(0, |w, d| w << 1 | u64::from(lost(&model, &mut state, SEED, d)));
        line(name, &mut [word(), word()].into_iter());
    }
    text
}

#[test]
fn the_same_bits_on_every_machine() {
    let wanted = "\
bits f606ae975e6b2f60 7446fc67f844d9cb ea656a6381453dd7
part 7 58ac8d464d743726 d83a04e5a7b1f199 55d2f28932329e79
correlated f606ae975e6b2f61 f606ae975e6b2f61 ea656a6381453dd7 a960b075acfd1725 a960b075acfd1725 \
17bf326bc08ec797
uniform 11d81aba5d79ae fd11bf19fe113 11a995a98e0516 10a582c1d6b3f5 e829fffdd9d9e
  of 10000 70cbc180ed440eac
normal f9df884471db9 1277b3e686c497 f291b812a442b f2ea7ba7b2536 ca8989f6cedec
  of 10000 6f0a06b2343671e3
pareto ee047bdfac78c f8a4c7238c113 eea076e11dd7c f2faa431b3d4d 111fa11445ae8c
  of 10000 7078f49ab42839d6
paretonormal f6353d66d6bf1 11a6143d45be84 f2dc3ab31b4a8 f302b98bae3a5 e53ae38e47cd9
  of 10000 6f057bd9e79f67c9
table 17fff000000004 1004d000000000 17fff000000004 12000000000001 8acfffffffffc
  of 10000 8ff249b000001035
gemodel 80ec12981358e222 c0ec12981358e222
state 9a4283ba0cacc67 89a4283ba0cacc67
";
    let found = pinned();
    assert_eq!(found, wanted, "\n{found}");
}
