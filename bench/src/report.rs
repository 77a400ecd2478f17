//! Samples to a table: medians per engine, ratios, and whether a target was met.

use crate::Fault;
use crate::engine::Engine;
use crate::stats::{Ratio, median, ratio};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Lines of a file between which figures stand.
#[derive(Clone, Copy)]
pub(crate) struct Markers {
    opening: &'static str,
    closing: &'static str,
}

/// Around the figures of `run`.
pub(crate) const FIGURES: Markers = Markers {
    opening: "<!-- figures: written by bench/run -->",
    closing: "<!-- end of figures -->",
};

/// Around those of `clients`.
pub(crate) const CLIENTS: Markers = Markers {
    opening: "<!-- clients: written by bench/clients -->",
    closing: "<!-- end of clients -->",
};

/// One line of the table, in the order they are printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    Rate,
    Cpu,
    OpenRate,
    OpenCpu,
    PingP50,
    PingP99,
    Bulk,
    LateP50,
    LateP99,
    DisturbedP50,
    DisturbedP99,
}

/// What a figure is held against.
enum Target {
    /// The ratio to an engine's median must be at least or at most this.
    AtLeast(Engine, f64),
    AtMost(Engine, f64),
    /// The median itself must be at most this.
    Below(f64),
    /// Shown beside an engine, promised nothing.
    Beside(Engine),
    Shown,
}

/// All samples of a run, warm-up excluded.
#[derive(Default)]
pub(crate) struct Samples {
    values: BTreeMap<(Figure, Engine), Vec<f64>>,
    /// Saturated floods through raftq in which the source was the limit after all.
    idle: usize,
}

/// What the table says of one target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Answer {
    Met,
    Missed,
    Undecided,
}

impl Figure {
    const ALL: [Self; 11] = [
        Self::Rate,
        Self::Cpu,
        Self::OpenRate,
        Self::OpenCpu,
        Self::PingP50,
        Self::PingP99,
        Self::Bulk,
        Self::LateP50,
        Self::LateP99,
        Self::DisturbedP50,
        Self::DisturbedP99,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Rate => "UDP 64 B, reader saturated, thousand packets/s",
            Self::Cpu => "reader's CPU a packet, saturated, us",
            Self::OpenRate => "UDP 64 B, a core each, thousand packets/s",
            Self::OpenCpu => "reader's CPU a packet, a core each, us",
            Self::PingP50 => "TCP round trip of 200 B, p50, us",
            Self::PingP99 => "TCP round trip of 200 B, p99, us",
            Self::Bulk => "one TCP stream over a bridge, Gbit/s",
            Self::LateP50 => "lateness of 10 ms at 20,000/s, p50, us",
            Self::LateP99 => "lateness of 10 ms at 20,000/s, p99, us",
            Self::DisturbedP50 => "the same beside a CPU hog, p50, us",
            Self::DisturbedP99 => "the same beside a CPU hog, p99, us",
        }
    }

    fn target(self) -> Target {
        match self {
            Self::Rate => Target::AtLeast(Engine::C, 1.5),
            Self::Cpu => Target::AtMost(Engine::C, 0.65),
            Self::OpenRate | Self::OpenCpu | Self::PingP99 => Target::Beside(Engine::C),
            Self::PingP50 => Target::AtMost(Engine::C, 1.05),
            Self::Bulk => Target::AtLeast(Engine::None, 0.80),
            Self::LateP50 => Target::Below(20.0),
            Self::LateP99 => Target::Below(250.0),
            Self::DisturbedP50 | Self::DisturbedP99 => Target::Shown,
        }
    }
}

impl Samples {
    /// Adds what one round gave.
    pub(crate) fn add(&mut self, figure: Figure, engine: Engine, value: f64) {
        self.values.entry((figure, engine)).or_default().push(value);
    }

    /// Notes a saturated flood through raftq that did not saturate it: its rate is the source's.
    pub(crate) fn idled(&mut self) {
        self.idle += 1;
    }

    /// Adds the samples of another round.
    pub(crate) fn merge(&mut self, other: Self) {
        for (key, values) in other.values {
            self.values.entry(key).or_default().extend(values);
        }
        self.idle += other.idle;
    }

    /// The table in Markdown, and for every target its title and what came out.
    pub(crate) fn table(&self) -> (String, Vec<(&'static str, Answer)>) {
        let mut text = String::from("| figure | no queue | C | C, FIFO | raftq | ratio (rounds) ");
        text += "| target | |\n|---|--:|--:|--:|--:|---|---|---|\n";
        let mut answers = Vec::new();
        for figure in Figure::ALL {
            if Engine::ALL.iter().all(|engine| self.of(figure, *engine).is_empty()) {
                continue;
            }
            let _ = write!(text, "| {} |", figure.title());
            for engine in Engine::ALL {
                let _ = write!(text, " {} |", show(median(self.of(figure, engine))));
            }
            let (ratio, target, met) = self.verdict(figure);
            let answer = met.map(|met| self.answer(figure, met));
            let word = match answer {
                Some(Answer::Met) => "met",
                Some(Answer::Missed) => "MISSED",
                Some(Answer::Undecided) => "undecided",
                None => "",
            };
            answers.extend(answer.map(|answer| (figure.title(), answer)));
            let _ = writeln!(text, " {ratio} | {target} | {word} |");
        }
        (text, answers)
    }

    /// A rate that was too low says nothing where the reader had nothing left to read.
    fn answer(&self, figure: Figure, met: bool) -> Answer {
        let source_bound = self.idle * 2 > self.of(figure, Engine::Raftq).len();
        match met {
            true => Answer::Met,
            false if figure == Figure::Rate && source_bound => Answer::Undecided,
            false => Answer::Missed,
        }
    }

    fn of(&self, figure: Figure, engine: Engine) -> &[f64] {
        self.values.get(&(figure, engine)).map_or(&[], Vec::as_slice)
    }

    fn verdict(&self, figure: Figure) -> (String, String, Option<bool>) {
        let raftq = self.of(figure, Engine::Raftq);
        let against = |engine| ratio(raftq, self.of(figure, engine));
        match figure.target() {
            Target::AtLeast(engine, least) => {
                let ratio = against(engine);
                let target = format!("at least {least} x {}", engine.title());
                (span(ratio, engine), target, ratio.map(|r| r.of_medians >= least))
            }
            Target::AtMost(engine, most) => {
                let ratio = against(engine);
                let target = format!("at most {most} x {}", engine.title());
                (span(ratio, engine), target, ratio.map(|r| r.of_medians <= most))
            }
            Target::Below(most) => {
                let met = median(raftq).map(|value| value <= most);
                (String::new(), format!("at most {most} us"), met)
            }
            Target::Beside(engine) => (span(against(engine), engine), String::new(), None),
            Target::Shown => Default::default(),
        }
    }
}

/// Replaces what stands between the two markers of a file.
pub(crate) fn write_into(path: &Path, markers: Markers, section: &str) -> Result<(), Fault> {
    let text = fs::read_to_string(path)?;
    let Markers { opening, closing } = markers;
    let new = between(&text, markers, section)
        .ok_or_else(|| format!("{} lacks the lines `{opening}` and `{closing}`", path.display()))?;
    Ok(fs::write(path, new)?)
}

fn between(text: &str, Markers { opening, closing }: Markers, section: &str) -> Option<String> {
    let (before, rest) = text.split_once(opening)?;
    let (_, after) = rest.split_once(closing)?;
    Some(format!("{before}{opening}\n\n{}\n\n{closing}{after}", section.trim()))
}

fn span(ratio: Option<Ratio>, engine: Engine) -> String {
    ratio.map_or_else(String::new, |r| {
        let Ratio { of_medians, least, greatest } = r;
        format!("{of_medians:.2} x {} ({least:.2}-{greatest:.2})", engine.title())
    })
}

pub(crate) fn show(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_named() {
        let mut samples = Samples::default();
        for value in [100.0, 101.0, 99.0] {
            samples.add(Figure::Rate, Engine::C, value);
            samples.add(Figure::Rate, Engine::Raftq, value * 1.4);
            samples.add(Figure::Cpu, Engine::C, 4.0);
            samples.add(Figure::Cpu, Engine::Raftq, 2.0);
        }
        let (text, answers) = samples.table();
        let [rate, cpu] = [Figure::Rate, Figure::Cpu].map(Figure::title);
        assert_eq!(answers, [(rate, Answer::Missed), (cpu, Answer::Met)]);
        assert!(text.contains("1.40 x C (1.40-1.40) | at least 1.5 x C | MISSED |"), "{text}");
        assert!(text.contains("0.50 x C (0.50-0.50) | at most 0.65 x C | met |"), "{text}");
    }

    #[test]
    fn a_low_rate_of_an_idle_reader_is_undecided() {
        let mut samples = Samples::default();
        samples.add(Figure::Rate, Engine::C, 100.0);
        samples.add(Figure::Rate, Engine::Raftq, 100.0);
        samples.idled();
        assert_eq!(samples.table().1, [(Figure::Rate.title(), Answer::Undecided)]);
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let Markers { opening, closing } = FIGURES;
        let text = format!("a\n{opening}\nold\n{closing}\nb\n");
        let new = format!("a\n{opening}\n\nnew\n\n{closing}\nb\n");
        assert_eq!(between(&text, FIGURES, "new\n"), Some(new));
        assert_eq!(between(&text, CLIENTS, "new"), None);
    }
}
