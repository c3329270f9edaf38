//! What can be asked for.

use std::path::PathBuf;

use clap::Parser;

/// cenote's pools and everything that one would pick instead, side by side in one run.
///
/// Prints a table while it works. A run of all groups writes docs/PERFORMANCE.md and its charts.
#[derive(Debug, Parser)]
#[command(name = "cenote-bench", version)]
pub(crate) struct Cli {
    /// Fewer and shorter rounds: a look, not a measurement.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only this group (may be given several times). The page is not written then, unless --keep has
    /// the other groups.
    #[arg(long, value_name = "GROUP")]
    pub(crate) only: Vec<String>,
    /// Also write the rows to a file, as JSON, those kept included.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Keep the rows of a former run's --json for groups that this one does not measure. Refused where
    /// machine, compilers, versions or sources differ.
    #[arg(long, value_name = "FILE")]
    pub(crate) keep: Option<PathBuf>,
    /// Where PERFORMANCE.md and charts/ go; by default the repository's docs/.
    #[arg(long, value_name = "DIR")]
    pub(crate) docs: Option<PathBuf>,
    /// Do not count instructions, even where valgrind is installed.
    #[arg(long)]
    pub(crate) no_count: bool,
    /// A `cenote` program of another build, to be measured beside this one's `cenote serve` in
    /// `end-to-end` and `parked`.
    #[arg(long, value_name = "FILE")]
    pub(crate) former: Option<PathBuf>,
    /// The names of the groups, and no more.
    #[arg(long)]
    pub(crate) list: bool,
    /// Do each subject's work once under callgrind; the bench calls itself so.
    #[arg(long, hide = true, value_name = "GROUP")]
    pub(crate) count_group: Option<String>,
    /// Measure a group in this process, a line of JSON for each case; the bench calls itself so.
    #[arg(long, hide = true, value_name = "GROUP")]
    pub(crate) measure_group: Option<String>,
    /// Hold idle connections and tell; the bench calls itself so.
    #[arg(long, hide = true, value_name = "SUBJECT")]
    pub(crate) idle_subject: Option<String>,
    /// Live a server's months and tell; the bench calls itself so.
    #[arg(long, hide = true, value_name = "SUBJECT")]
    pub(crate) months_subject: Option<String>,
    /// Do one sample of a case by one allocator, and tell; the bench calls itself so.
    #[arg(long, hide = true, num_args = 2, value_names = ["CASE", "SUBJECT"])]
    pub(crate) global_sample: Vec<String>,
}
