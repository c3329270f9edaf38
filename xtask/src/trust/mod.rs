//! `cargo xtask trust`: everything that tells whether the library is to be trusted, in one run,
//! and `docs/TRUST.md`, which says what was tried, how much, with which seed, how long, and what
//! came of it. It fails if any line fails; what cannot be tried here is shown as skipped.

mod cost;
mod lines;
mod listing;
mod mistakes;
mod process;
mod report;
mod soak;

use report::Report;
use std::process::ExitCode;

/// How much is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
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

/// Tries everything, and writes the page.
pub(crate) fn run(extent: Extent) -> ExitCode {
    let mut report = Report::new(extent);
    lines::tests(&mut report);
    lines::levels(&mut report);
    cost::levels(&mut report);
    mistakes::all(&mut report);
    lines::address_sanitizer(&mut report);
    lines::thread_sanitizer(&mut report);
    lines::named(&mut report);
    lines::models(&mut report);
    lines::fork(&mut report);
    soak::server(&mut report);
    lines::provenance(&mut report);
    listing::check(&mut report);
    lines::supply_chain(&mut report);
    lines::optional_tools(&mut report);
    report.finish()
}

/// Writes the listing of the public interface anew.
pub(crate) fn write_api() -> ExitCode {
    listing::write()
}
