//! Bar charts as SVG, readable on light and on dark pages.

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
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">
<style>
:root {{ color-scheme: light dark; }}
text {{ font: 13px system-ui, sans-serif; fill: #1f2328; }}
.title {{ font-weight: 600; font-size: 16px; }}
.note {{ fill: #59636e; font-size: 12px; }}
.bar {{ fill: #aab4be; }}
.ours {{ fill: #0f8b8d; }}
.name {{ font-weight: 600; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #e6edf3; }}
  .note {{ fill: #9198a1; }}
  .bar {{ fill: #57606a; }}
  .ours {{ fill: #3dc9c0; }}
}}
</style>
<text class="title" x="10" y="24">{}</text>
<text class="note" x="10" y="44">{}</text>
"#,
        escape(title),
        escape(title),
        escape(note)
    );
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
    fn names_are_escaped() {
        assert!(bars("a<b", "", "", vec![]).contains("a&lt;b"));
    }
}
