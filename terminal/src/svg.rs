//! A screen as a picture: text stays text, frames are drawn as lines, so that they meet whatever
//! font a reader has.

use std::fmt::Write as _;
use vt100::{Cell, Color, Screen};

/// A cell, px.
const WIDE: f32 = 8.4;
const HIGH: f32 = 18.0;

/// Around the screen, px.
const EDGE: f32 = 14.0;

const PAPER: &str = "#14161b";
const INK: &str = "#d6d9de";

/// The sixteen colours of a terminal.
const COLORS: [&str; 16] = [
    "#14161b", "#e5666b", "#7fc66b", "#e2b84f", "#6a9fe0", "#b98ae0", "#58bcc4", "#d6d9de",
    "#7a808b", "#ff8a8f", "#a0e38c", "#f6d27a", "#93bdf2", "#d3aff2", "#83dbe2", "#ffffff",
];

/// How a cell looks.
#[derive(Clone, PartialEq)]
struct Look {
    ink: String,
    paper: Option<String>,
    bold: bool,
}

fn color(color: Color) -> Option<String> {
    match color {
        Color::Default => None,
        Color::Idx(i @ 0..16) => Some(COLORS[usize::from(i)].to_owned()),
        // The cube of 6x6x6, and the greys behind it.
        Color::Idx(i @ 16..232) => {
            let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let i = i - 16;
            Some(format!("#{:02x}{:02x}{:02x}", level(i / 36), level(i / 6 % 6), level(i % 6)))
        }
        Color::Idx(i) => Some(format!("#{0:02x}{0:02x}{0:02x}", 8 + 10 * (i - 232))),
        Color::Rgb(r, g, b) => Some(format!("#{r:02x}{g:02x}{b:02x}")),
    }
}

fn look(cell: &Cell) -> Look {
    let (ink, paper) = (color(cell.fgcolor()), color(cell.bgcolor()));
    let bold = cell.bold();
    if cell.inverse() {
        let paper = Some(ink.unwrap_or_else(|| INK.into()));
        return Look { ink: PAPER.into(), paper, bold };
    }
    Look { ink: ink.unwrap_or_else(|| INK.into()), paper, bold }
}

/// The ways that lead from the middle of a frame's character: up, right, down, left.
fn arms(symbol: &str) -> Option<[bool; 4]> {
    Some(match symbol {
        "\u{2500}" => [false, true, false, true],
        "\u{2502}" => [true, false, true, false],
        "\u{250c}" => [false, true, true, false],
        "\u{2510}" => [false, false, true, true],
        "\u{2514}" => [true, true, false, false],
        "\u{2518}" => [true, false, false, true],
        "\u{251c}" => [true, true, true, false],
        "\u{2524}" => [true, false, true, true],
        "\u{252c}" => [false, true, true, true],
        "\u{2534}" => [true, true, false, true],
        "\u{253c}" => [true; 4],
        _ => return None,
    })
}

/// A screen as SVG; `title` is what it is called for those who do not see it.
#[must_use]
pub fn picture(screen: &Screen, title: &str) -> String {
    let (rows, columns) = screen.size();
    let (width, height) =
        (f32::from(columns) * WIDE + 2.0 * EDGE, f32::from(rows) * HIGH + 2.0 * EDGE);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
         font-size=\"14\">\n",
        escaped(title)
    );
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            column = run(&mut out, screen, row, column);
        }
    }
    out + "</g>\n</svg>\n"
}

/// Draws what looks alike from a cell on; gives the column behind it.
fn run(out: &mut String, screen: &Screen, row: u16, from: u16) -> u16 {
    let Some(first) = screen.cell(row, from) else { return from + 1 };
    let style = look(first);
    let (x, y) = (EDGE + f32::from(from) * WIDE, EDGE + f32::from(row) * HIGH);
    if let Some(arms) = arms(first.contents()) {
        frame(out, (x, y), arms, &style.ink);
        return from + 1;
    }
    let (mut words, mut behind) = (String::new(), from);
    while let Some(cell) = screen.cell(row, behind)
        && look(cell) == style
        && arms(cell.contents()).is_none()
    {
        words += if cell.has_contents() { cell.contents() } else { " " };
        behind += 1;
    }
    let wide = f32::from(behind - from) * WIDE;
    if let Some(paper) = &style.paper {
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{HIGH}\" \
             fill=\"{paper}\"/>"
        );
    }
    let blank = words.len() - words.trim_start().len();
    let shown = words.trim();
    if !shown.is_empty() {
        let x = x + blank as f32 * WIDE;
        let long = shown.chars().count() as f32 * WIDE;
        let weight = if style.bold { " font-weight=\"bold\"" } else { "" };
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{long:.1}\" \
             lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\" fill=\"{}\"{weight}>\
             {}</text>",
            y + HIGH * 0.75,
            style.ink,
            escaped(shown)
        );
    }
    behind.max(from + 1)
}

fn frame(out: &mut String, (x, y): (f32, f32), arms: [bool; 4], ink: &str) {
    let (cx, cy) = (x + WIDE / 2.0, y + HIGH / 2.0);
    let ends = [(cx, y), (x + WIDE, cy), (cx, y + HIGH), (x, cy)];
    let mut path = String::new();
    for (x, y) in ends.iter().zip(arms).filter_map(|(end, there)| there.then_some(end)) {
        let _ = write!(path, "M{cx:.1} {cy:.1}L{x:.1} {y:.1}");
    }
    let _ = writeln!(out, "<path d=\"{path}\" stroke=\"{ink}\" fill=\"none\"/>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_colours_and_frames_are_where_they_stand() {
        let mut parser = vt100::Parser::new(3, 12, 0);
        parser.process("a \x1b[1;31m<b>\x1b[0m\r\n\u{250c}\u{2500}\x1b[7mx\x1b[0m".as_bytes());
        let svg = picture(parser.screen(), "a & b");
        assert!(svg.contains("<title>a &amp; b</title>"), "{svg}");
        let red = COLORS[1];
        assert!(svg.contains(&format!("fill=\"{red}\" font-weight=\"bold\">&lt;b&gt;<")), "{svg}");
        // Two columns to the right of the first word, both on the first row.
        let x = |words: &str| {
            let line = svg.lines().find(|line| line.contains(&format!(">{words}<"))).expect(words);
            line.split('"').nth(1).and_then(|x| x.parse::<f32>().ok()).expect("a place")
        };
        assert!((x("&lt;b&gt;") - x("a") - 2.0 * WIDE).abs() < 0.2, "{svg}");
        assert_eq!(svg.matches("<path").count(), 2);
        assert!(svg.contains(&format!("fill=\"{INK}\"/>")), "reversed: {svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
