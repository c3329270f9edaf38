//! The lines of the report, and the page that is made of them.

use super::Extent;
use super::process;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How a line ended.
pub(super) enum End {
    /// All was as it should be; what there was of it.
    Good(String),
    /// Something was not.
    Bad(String),
    /// It could not be tried here, and why.
    Skipped(String),
}

struct Line {
    name: &'static str,
    took: Duration,
    end: End,
}

/// Everything that was tried.
pub(super) struct Report {
    pub(super) extent: Extent,
    /// What chance begins with, everywhere.
    pub(super) seed: u64,
    lines: Vec<Line>,
    /// Tables for the page, behind the lines.
    tables: String,
    began: Instant,
}

impl Report {
    pub(super) fn new(extent: Extent) -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().map_or(1, |now| now.as_secs());
        let seed = std::env::var("CENOTE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(now);
        eprintln!("CENOTE_SEED={seed}");
        let (lines, tables) = (Vec::new(), String::new());
        Self { extent, seed, lines, tables, began: Instant::now() }
    }

    /// Tries something, and notes how it ended.
    pub(super) fn line(&mut self, name: &'static str, attempt: impl FnOnce(&mut Self) -> End) {
        let began = Instant::now();
        let end = attempt(self);
        let took = began.elapsed();
        let (word, what) = match &end {
            End::Good(what) => ("ok", what),
            End::Bad(what) => ("FAILED", what),
            End::Skipped(what) => ("SKIPPED", what),
        };
        eprintln!("{word:>8} {name}: {what} ({:.1} s)", took.as_secs_f64());
        self.lines.push(Line { name, took, end });
    }

    /// Adds a table to the page.
    pub(super) fn table(&mut self, title: &str, text: &str) {
        let _ = write!(self.tables, "\n## {title}\n\n{text}");
    }

    /// Writes the page, and says whether all is well.
    pub(super) fn finish(self) -> ExitCode {
        let full = self.extent.is_full();
        let failed = self.lines.iter().filter(|line| matches!(line.end, End::Bad(_))).count();
        let skipped = self.lines.iter().filter(|line| matches!(line.end, End::Skipped(_))).count();
        let compiler = process::run(Command::new("rustc").arg("--version")).text;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut page = format!(
            "# What was tried\n\n\
             Written by `cargo xtask trust{}`; do not edit. {}, {cores} cores, seed {}, {:.0} s in \
             all: {} lines, {failed} failed, {skipped} skipped.\n\n\
             | what | how much | result | time |\n|---|---|---|---|\n",
            if full { "" } else { " --quick" },
            compiler.trim(),
            self.seed,
            self.began.elapsed().as_secs_f64(),
            self.lines.len(),
        );
        for line in &self.lines {
            let (what, result) = match &line.end {
                End::Good(what) => (what, "ok"),
                End::Bad(what) => (what, "**FAILED**"),
                End::Skipped(what) => (what, "**SKIPPED**"),
            };
            let what = what.replace('|', "\\|").replace('\n', " ");
            let (name, took) = (line.name, line.took.as_secs_f64());
            let _ = writeln!(page, "| {name} | {what} | {result} | {took:.1} s |");
        }
        page.push_str(&self.tables);
        // A quick run must not replace the page of a full one.
        let path = process::root().join("docs/TRUST.md");
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let path = match full || !written.contains("cargo xtask trust`") {
            true => path,
            false => process::target("").join("TRUST-quick.md"),
        };
        if let Err(error) = std::fs::write(&path, &page) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        eprintln!("written: {}", path.display());
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
