//! The lines of the report, and the page that is made of them.

use super::kept::Kept;
use super::process;
use super::{Extent, Plan};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
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
    /// Whether it was tried in a run before this one.
    before: bool,
}

/// Everything that was tried.
pub(super) struct Report {
    pub(super) extent: Extent,
    pub(super) plan: Plan,
    /// What chance begins with, everywhere.
    pub(super) seed: u64,
    lines: Vec<Line>,
    /// Tables for the page, behind the lines.
    tables: String,
    /// What came of lines on the very same tree.
    kept: Kept,
}

impl Report {
    pub(super) fn new(plan: Plan) -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().map_or(1, |now| now.as_secs());
        let seed = std::env::var("CENOTE_SEED").ok().and_then(|seed| seed.parse().ok());
        let mut kept = Kept::of_this_tree(&plan);
        let seed = kept.seed(seed.unwrap_or(now));
        eprintln!("CENOTE_SEED={seed}");
        let (lines, tables) = (Vec::new(), String::new());
        Self { extent: plan.extent, plan, seed, lines, tables, kept }
    }

    /// Tries something, and notes how it ended.
    pub(super) fn line(&mut self, name: &'static str, attempt: impl FnOnce(&mut Self) -> End) {
        if !self.wanted(name) {
            return;
        }
        if let Some(known) = self.kept.line(name) {
            eprintln!("      ok before: {name}: {}", known.what);
            let end = End::Good(known.what);
            self.lines.push(Line { name, took: known.took, end, before: true });
            self.tables.push_str(&known.tables);
            return;
        }
        eprintln!("     ... {name}");
        let (began, tables) = (Instant::now(), self.tables.len());
        // Whatever goes wrong with one line, the others are tried.
        let end = catch_unwind(AssertUnwindSafe(|| attempt(self)));
        let end = end.unwrap_or_else(|_| End::Bad("the attempt itself panicked".into()));
        let took = began.elapsed();
        let (word, what) = match &end {
            End::Good(what) => ("ok", what),
            End::Bad(what) => ("FAILED", what),
            End::Skipped(what) => ("SKIPPED", what),
        };
        eprintln!("{word:>8} {name}: {what} ({:.1} s)", took.as_secs_f64());
        if let End::Good(what) = &end {
            self.kept.keep(name, what, took, &self.tables[tables..]);
        }
        self.lines.push(Line { name, took, end, before: false });
        // As far as it has come, should it not come to its end.
        let _ = std::fs::write(process::target("").join("TRUST-so-far.md"), self.page());
    }

    /// Whether a line is to be tried: all are, unless some were asked for by a part of their names.
    fn wanted(&self, name: &str) -> bool {
        let named = |parts: &[String]| parts.iter().any(|part| name.contains(&**part));
        (self.plan.only.is_empty() || named(&self.plan.only)) && !named(&self.plan.without)
    }

    /// Adds a table to the page.
    pub(super) fn table(&mut self, title: &str, text: &str) {
        let _ = write!(self.tables, "\n## {title}\n\n{text}");
    }

    fn failed(&self) -> usize {
        self.lines.iter().filter(|line| matches!(line.end, End::Bad(_))).count()
    }

    /// The page about all that was tried so far.
    fn page(&self) -> String {
        let skipped = self.lines.iter().filter(|line| matches!(line.end, End::Skipped(_))).count();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut page = format!(
            "# What was tried\n\n\
             Written by `cargo xtask trust{}`; do not edit. {}, {cores} cores, seed {}, {:.0} s in \
             all: {} lines, {} failed, {skipped} skipped{}. The sources that were tried: {}.\n\n\
             | what | how much | result | time |\n|---|---|---|---|\n",
            if self.extent.is_full() { "" } else { " --quick" },
            self.kept.compiler(),
            self.seed,
            self.lines.iter().map(|line| line.took).sum::<Duration>().as_secs_f64(),
            self.lines.len(),
            self.failed(),
            match self.lines.iter().filter(|line| line.before).count() {
                0 => String::new(),
                lines => format!("; {lines} of them were tried before, on the same sources"),
            },
            self.kept.tree(),
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
        page
    }

    /// Writes the page, and says whether all is well.
    pub(super) fn finish(self) -> ExitCode {
        if !self.plan.only.is_empty() || !self.plan.without.is_empty() {
            // A part of it is no page.
            let well = self.failed() == 0 && !self.lines.is_empty();
            return if well { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        self.kept.retain(self.lines.iter().map(|line| line.name));
        let full = self.extent.is_full();
        // A quick run must not replace the page of a full one.
        let path = process::root().join("docs/TRUST.md");
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let path = match full || !written.contains("cargo xtask trust`") {
            true => path,
            false => process::target("").join("TRUST-quick.md"),
        };
        if let Err(error) = std::fs::write(&path, self.page()) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        eprintln!("written: {}", path.display());
        if self.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
