//! The table that is printed while the bench works.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::groups::{Group, months};
use crate::harness::Row;

/// A group's table, case by case, with a line of progress below where a terminal shows it.
pub(crate) struct Live {
    bar: ProgressBar,
}

impl Live {
    pub(crate) fn new(group: &Group, again: &str) -> Self {
        println!("\n== {}{again} ==", group.name);
        if again.is_empty() {
            println!("{}", group.about);
        }
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(1)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// Something other than a round.
    pub(crate) fn doing(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// A case of a process is over.
    pub(crate) fn step(&self, step: usize, steps: usize, case: &str) {
        self.bar.set_length(steps as u64);
        self.bar.set_position(step as u64);
        self.bar.set_message(case.to_owned());
    }

    /// A case is over.
    pub(crate) fn case(&self, rows: &[Row]) {
        self.bar.suspend(|| {
            if let Some(first) = rows.first() {
                println!("\n  {} (per {})", first.case, first.unit);
                println!(
                    "  {:<50} {:>12} {:>8} {:>8} {:>14} {:>12} {:>9}",
                    "", "ns", "±", "10 %", "/ first", "instructions", "held B"
                );
            }
            for row in rows {
                println!("  {:<50} {}", row.subject, figures(row));
            }
            if let Some([slow, rounds]) = rows.first().map(|first| first.slow)
                && slow > 0
            {
                println!("  the machine was slow in {slow} of {rounds} rounds");
            }
        });
    }
}

impl Live {
    /// Rows of bytes.
    pub(crate) fn bytes(&self, rows: &[Row]) {
        self.bar.suspend(|| {
            let mut case = "";
            for row in rows {
                if row.case != case {
                    case = &row.case;
                    let of = if row.ns.is_some() { "" } else { "B " };
                    println!("\n  {case} ({of}per {})", row.unit);
                }
                let figure = match (row.ns, row.held) {
                    (Some(ns), _) => format!("{} ns", digits(ns.median)),
                    (None, Some(held)) => held.to_string(),
                    (None, None) => String::new(),
                };
                let ratio =
                    months::ratio(row).map(|ratio| format!("{ratio:.3} times what it is for"));
                println!(
                    "  {:<50} {figure:>12} {}{}",
                    row.subject,
                    ratio.unwrap_or_default(),
                    row.note
                );
            }
        });
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn figures(row: &Row) -> String {
    let (Some(ns), Some(ratio)) = (row.ns, row.ratio) else {
        return format!("{:>12}", row.note);
    };
    format!(
        "{:>12} {:>8} {:>8} {:>8} ±{:>4.2} {:>12} {:>9}{}",
        digits(ns.median),
        digits(ns.mad),
        row.low.map_or(String::new(), digits),
        format!("{:.2}", ratio.median),
        ratio.mad,
        row.instructions.map_or(String::new(), digits),
        row.held.map_or(String::new(), |held| held.to_string()),
        twice(row).map_or(String::new(), |both| format!("  {both}")),
    )
}

/// Both medians, where the group was measured twice and they differ.
pub(crate) fn twice(row: &Row) -> Option<String> {
    let [first, second] = row.twice?;
    Some(format!("{}, then {}", digits(first), digits(second)))
}

/// Three digits that mean something.
pub(crate) fn digits(number: f64) -> String {
    if number >= 100.0 {
        format!("{number:.0}")
    } else if number >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    }
}
