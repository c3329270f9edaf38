//! `cargo xtask trust`: everything that tells whether the library is to be trusted, in one run,
//! and `docs/TRUST.md`, which says what was tried, how much, with which seed, how long, and what
//! came of it. It fails if any line fails; what cannot be tried here is shown as skipped.

mod broken;
mod cost;
mod kept;
mod lines;
mod listing;
mod mistakes;
mod mutants;
mod process;
mod report;
mod soak;
mod supply_chain;
mod tree;

use report::Report;
use std::process::ExitCode;
use std::time::Duration;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What takes less than ten minutes on two cores.
    Quick,
    /// All there is.
    Full,
}

impl Extent {
    fn is_full(self) -> bool {
        self == Extent::Full
    }

    /// One number for a quick run, another for a full one.
    fn pick(self, quick: u64, full: u64) -> u64 {
        if self.is_full() { full } else { quick }
    }
}

/// What is to be tried.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    extent: Extent,
    /// How long the server is under its crowd at least.
    soak: Duration,
    /// Parts of the names of those lines that are tried; all, if there are none.
    only: Vec<String>,
    /// Parts of the names of those that are not: where they were tried just before.
    without: Vec<String>,
    /// Whether what was good before, in a run on the very same tree, is not tried again.
    resume: bool,
}

impl Plan {
    /// From `[--quick] [--resume] [--soak MINUTES] [--only PART]... [--without PART]...`.
    pub(crate) fn new(arguments: &[&str]) -> Option<Self> {
        let mut plan = Self {
            extent: Extent::Full,
            soak: Duration::ZERO,
            only: Vec::new(),
            without: Vec::new(),
            resume: false,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--quick" => plan.extent = Extent::Quick,
                "--resume" => plan.resume = true,
                "--soak" => {
                    plan.soak = Duration::from_secs(60 * arguments.next()?.parse::<u64>().ok()?)
                }
                "--only" => plan.only.push((*arguments.next()?).to_owned()),
                "--without" => plan.without.push((*arguments.next()?).to_owned()),
                _ => return None,
            }
        }
        Some(plan)
    }
}

/// Tries everything, and writes the page.
pub(crate) fn run(plan: Plan) -> ExitCode {
    let mut report = Report::new(plan);
    lines::tests(&mut report);
    lines::levels(&mut report);
    cost::levels(&mut report);
    mistakes::all(&mut report);
    lines::address_sanitizer(&mut report);
    lines::valgrind(&mut report);
    lines::thread_sanitizer(&mut report);
    lines::named(&mut report);
    lines::models(&mut report);
    lines::hostile(&mut report);
    lines::parking(&mut report);
    lines::fork(&mut report);
    soak::server(&mut report);
    lines::provenance(&mut report);
    listing::check(&mut report);
    supply_chain::all(&mut report);
    lines::fuzz(&mut report);
    mutants::all(&mut report);
    broken::all(&mut report);
    report.finish()
}

/// Writes the listing of the public interface anew.
pub(crate) fn write_api() -> ExitCode {
    listing::write()
}

/// Breaks invariants on purpose, those that are named or all, and says who noticed.
pub(crate) fn break_invariants(names: &[&str]) -> ExitCode {
    broken::run_rows(names)
}
