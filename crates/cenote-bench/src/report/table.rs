//! The table that is printed while the bench works.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::groups::Group;
use crate::harness::Row;

/// A group's table, case by case, with a line of progress below where a terminal shows it.
pub(crate) struct Live {
    bar: ProgressBar,
}

impl Live {
    pub(crate) fn new(group: &Group) -> Self {
        println!("\n== {} ==\n{}", group.name, group.about);
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
                    "  {:<50} {:>12} {:>8} {:>14} {:>12} {:>9}",
                    "", "ns", "±", "/ first", "instructions", "held B"
                );
            }
            for row in rows {
                println!("  {:<50} {}", row.subject, figures(row));
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
                    println!("\n  {case} (B per {})", row.unit);
                }
                println!(
                    "  {:<50} {:>12} {}",
                    row.subject,
                    row.held.map_or(String::new(), |held| held.to_string()),
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
        "{:>12} {:>8} {:>8} ±{:>4.2} {:>12} {:>9}",
        digits(ns.median),
        digits(ns.mad),
        format!("{:.2}", ratio.median),
        ratio.mad,
        row.instructions.map_or(String::new(), digits),
        row.held.map_or(String::new(), |held| held.to_string()),
    )
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
