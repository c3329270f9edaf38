//! Bars and lines as SVG, readable on light and on dark pages.

use std::fmt::Write;

/// A bar.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// Ours is drawn in colour.
    pub(crate) ours: bool,
}

const ROW: usize = 26;
const LEFT: usize = 300;
const WIDTH: usize = 820;
const ROOM: f64 = (WIDTH - LEFT - 110) as f64;

/// Horizontal bars, shortest first. Bars longer than `longest` times ours are cut and say so.
pub(crate) fn bars(title: &str, note: &str, unit: &str, mut bars: Vec<Bar>) -> String {
    bars.sort_by(|one, other| one.value.total_cmp(&other.value));
    let ours = bars.iter().find(|bar| bar.ours).map_or(1.0, |bar| bar.value);
    let longest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max).min(ours * LONGEST);
    let height = 62 + bars.len() * ROW + 14;
    let mut svg = begin(title, note, height);
    for (at, bar) in bars.iter().enumerate() {
        let y = 62 + at * ROW;
        let cut = bar.value > longest;
        let length = (bar.value.min(longest) / longest * ROOM).max(1.0);
        let (class, name) = if bar.ours { ("bar ours", "name") } else { ("bar", "") };
        let _ = writeln!(
            svg,
            r#"<text class="{name}" x="{}" y="{}" text-anchor="end">{}</text><rect class="{class}" x="{LEFT}" y="{y}" width="{length:.1}" height="18" rx="3"/>"#,
            LEFT - 10,
            y + 14,
            escape(&bar.label),
        );
        if cut {
            // Two slanted gaps say that the bar goes on.
            let x = LEFT as f64 + length - 24.0;
            let _ = writeln!(
                svg,
                r#"<path d="M{x:.1} {} l6 -22 M{:.1} {} l6 -22" stroke="Canvas" stroke-width="3"/>"#,
                y + 20,
                x + 8.0,
                y + 20,
            );
        }
        let _ = writeln!(
            svg,
            r#"<text class="{name}" x="{:.1}" y="{}">{}{unit}</text>"#,
            LEFT as f64 + length + 8.0,
            y + 14,
            super::table::digits(bar.value),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// How a chart begins.
fn begin(title: &str, note: &str, height: usize) -> String {
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">
<style>
:root {{ color-scheme: light dark; }}
text {{ font: 13px system-ui, sans-serif; fill: #1f2328; }}
.title {{ font-weight: 600; font-size: 16px; }}
.note {{ fill: #59636e; font-size: 12px; }}
.bar {{ fill: #aab4be; }}
.ours {{ fill: #0f8b8d; }}
.name {{ font-weight: 600; }}
.line {{ fill: none; stroke: #aab4be; stroke-width: 1.5; }}
.our {{ stroke: #0f8b8d; stroke-width: 3; }}
.grid {{ stroke: #8884; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #e6edf3; }}
  .note {{ fill: #9198a1; }}
  .bar {{ fill: #57606a; }}
  .ours {{ fill: #3dc9c0; }}
  .line {{ stroke: #57606a; }}
  .our {{ stroke: #3dc9c0; }}
}}
</style>
<text class="title" x="10" y="24">{}</text>
<text class="note" x="10" y="44">{}</text>
"#,
        escape(title),
        escape(title),
        escape(note)
    )
}

/// What one subject was at each of several moments.
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) values: Vec<f64>,
    /// Ours is drawn in colour.
    pub(crate) ours: bool,
}

/// Lines over the same moments, from 1 upwards, each named at its end.
pub(crate) fn lines(title: &str, note: &str, lines: &[Line]) -> String {
    let (top, height, right) = (62.0, 260.0, 270.0);
    let most = lines.iter().flat_map(|line| &line.values).fold(1.5_f64, |most, one| most.max(*one));
    let moments = lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
    let width = WIDTH as f64 - 60.0 - right;
    let x = |at: usize| 50.0 + width * at as f64 / moments.saturating_sub(1).max(1) as f64;
    let y = |value: f64| top + height * (1.0 - (value - 1.0) / (most - 1.0));
    let mut svg = begin(title, note, (top + height) as usize + 30);
    let step = if most > 3.0 { 1.0 } else { 0.5 };
    let mut mark = 1.0;
    while mark <= most {
        let _ = writeln!(
            svg,
            r#"<line class="grid" x1="50" x2="{:.1}" y1="{1:.1}" y2="{1:.1}"/><text class="note" x="42" y="{2:.1}" text-anchor="end">{mark}</text>"#,
            50.0 + width,
            y(mark),
            y(mark) + 4.0,
        );
        mark += step;
    }
    // Names at the ends, far enough from each other to be read.
    let mut ends: Vec<(&Line, f64)> =
        lines.iter().filter_map(|line| Some((line, y(*line.values.last()?)))).collect();
    ends.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut free = top;
    for (line, end) in ends {
        let points: Vec<String> = line
            .values
            .iter()
            .enumerate()
            .map(|(at, value)| format!("{:.1},{:.1}", x(at), y(*value)))
            .collect();
        let (class, name) = if line.ours { ("line our", "name") } else { ("line", "") };
        let place = end.max(free);
        free = place + 17.0;
        let _ = writeln!(
            svg,
            r#"<polyline class="{class}" points="{}"/><text class="{name}" x="{:.1}" y="{:.1}">{} {:.2}</text>"#,
            points.join(" "),
            50.0 + width + 8.0,
            place + 4.0,
            escape(&line.label),
            line.values.last().copied().unwrap_or_default(),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Bars are cut at so many times ours.
const LONGEST: f64 = 12.0;

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_far_longer_than_ours_is_cut_and_still_tells_its_value() {
        let bar = |label: &str, value, ours| Bar { label: label.into(), value, ours };
        let svg =
            bars("t", "n", " ns", vec![bar("far", 6_000.0, false), bar("cenote", 40.0, true)]);
        assert!(svg.contains("6000 ns") && svg.contains("stroke=\"Canvas\""));
        assert!(svg.find("cenote").unwrap() < svg.find(">far<").unwrap(), "shortest first");
    }

    #[test]
    fn each_line_is_drawn_from_one_upwards_and_named_at_its_end() {
        let line = |label: &str, values: &[f64], ours| Line {
            label: label.into(),
            values: values.into(),
            ours,
        };
        let svg =
            lines("t", "n", &[line("a&b", &[1.0, 3.0], false), line("us", &[1.0, 1.0], true)]);
        assert!(svg.contains("a&amp;b 3.00") && svg.contains("us 1.00"), "{svg}");
        // The highest is at the top, what is 1 at the bottom.
        assert!(svg.contains(",62.0") && svg.contains(",322.0"), "{svg}");
        assert_eq!(svg.matches("class=\"line our\"").count(), 1);
    }

    #[test]
    fn names_are_escaped() {
        assert!(bars("a<b", "", "", vec![]).contains("a&lt;b"));
    }
}
