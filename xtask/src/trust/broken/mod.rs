//! Invariants broken on purpose: whether the tests that the documentation names notice.
//!
//! An invariant of the tables in `docs/DESIGN.md` and `docs/design/*.md` has a row here: the
//! change that breaks it, and the tests that have to go red; or the reason why no small change
//! does. How many have none yet is said. Each change is made in a copy of the tree, and taken back
//! before the next one. A quick run looks only whether each row's text still stands in its file, and
//! its invariant in a table.

mod rows;

use super::process::{self, Said, host, root, run, target};
use super::report::{End, Report};
use super::tree;
use rows::{Change, Row};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;

/// Seconds after which a test that still runs has noticed, since it ends in less when all is right.
const PATIENCE: &str = "900";

pub(super) fn all(report: &mut Report) {
    report.line("invariants broken on purpose", |report| {
        let named = invariants();
        let without_row = named.iter().filter(|name| !has_row(name)).count();
        let mut wrong: Vec<String> = rows::all().filter_map(Row::stale).collect();
        let unknown = rows::all().filter(|row| !named.contains(row.invariant));
        wrong.extend(unknown.map(|row| format!("invariant {} is in no table", row.invariant)));
        let rows: Vec<&Row> =
            rows::all().filter(|row| row.is_change() && row.stale().is_none()).collect();
        let (all, unbroken) = (rows.len(), rows::all().filter(|row| !row.is_change()).count());
        let mut what = format!(
            "{all} changes that break them and {unbroken} reasons why none does fit the sources and \
             the tables; applied in a full run"
        );
        if report.extent.is_full() {
            let mut reasons = String::new();
            for row in rows::all() {
                if let Change::Cannot(why) = row.change {
                    let _ = writeln!(reasons, "- {}: {why}", row.invariant);
                }
            }
            report.table("Invariants that no small change breaks", &reasons);
            let mut noticed = 0;
            for (row, said) in apply(&rows) {
                match said {
                    Ok(true) => noticed += 1,
                    Ok(false) => wrong.push(format!("nobody notices that {} is broken", row.invariant)),
                    Err(error) => wrong.push(error),
                }
            }
            what = format!("{noticed} of {all} noticed; no small change breaks {unbroken}");
        }
        if without_row > 0 {
            what = format!("{what}; {without_row} of {} have no row yet", named.len());
        }
        if wrong.is_empty() { End::Good(what) } else { End::Bad(format!("{what}; {}", wrong.join("; "))) }
    });
}

fn has_row(invariant: &str) -> bool {
    rows::all().any(|row| row.invariant == invariant)
}

/// The numbers in the first columns of the tables of invariants.
fn invariants() -> BTreeSet<String> {
    let docs = root().join("docs");
    let pages = std::fs::read_dir(docs.join("design")).into_iter().flatten().flatten();
    let mut pages: Vec<_> = pages.map(|entry| entry.path()).collect();
    pages.push(docs.join("DESIGN.md"));
    let mut found = BTreeSet::new();
    for page in pages {
        let text = std::fs::read_to_string(page).unwrap_or_default();
        let mut in_table = false;
        for line in text.lines() {
            in_table = line.starts_with('|') && (in_table || line.starts_with("| # | "));
            let first = line.split('|').nth(1).unwrap_or_default().trim();
            if in_table && first.bytes().any(|byte| byte.is_ascii_digit()) {
                found.insert(first.to_owned());
            }
        }
    }
    found
}

impl Row {
    fn is_change(&self) -> bool {
        matches!(self.change, Change::Break { .. })
    }

    /// What is wrong with the row, if it does not fit the sources.
    fn stale(&self) -> Option<String> {
        let Change::Break { file, text, by, .. } = &self.change else { return None };
        let source = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        let times = source.matches(text).count();
        let name = self.invariant;
        if text == by {
            return Some(format!("the row of invariant {name} changes nothing"));
        }
        (times != 1).then(|| {
            format!("the text of invariant {name} stands {times} times in {file}, not once")
        })
    }

    /// Makes the change in a copy of the tree, runs the tests, and takes it back. Whether they
    /// noticed, or what went wrong besides.
    fn is_noticed(&self, copy: &Copy) -> Result<bool, String> {
        let Change::Break { file, text, by, tests } = &self.change else { return Ok(true) };
        let path = copy.tree.join(file);
        let whole = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        std::fs::write(&path, whole.replacen(text, by, 1)).map_err(|error| error.to_string())?;
        let said = tests.iter().map(|tests| copy.test(tests)).find(|said| !said.good);
        std::fs::write(&path, whole).map_err(|error| error.to_string())?;
        let Some(said) = said else { return Ok(false) };
        let built =
            !said.text.contains("error: could not compile") && said.text.contains("Running ");
        if built {
            return Ok(true);
        }
        Err(format!("invariant {}: {tests:?}: {}", self.invariant, said.failures()))
    }

    fn tests(&self) -> &'static [&'static str] {
        match self.change {
            Change::Break { tests, .. } => tests,
            Change::Cannot(_) => &[],
        }
    }
}

/// A copy of the tree that one worker changes, and what is built of it.
struct Copy {
    tree: PathBuf,
    built: PathBuf,
}

impl Copy {
    fn new(worker: usize) -> Result<Self, String> {
        let tree = target("broken").join(format!("tree-{worker}"));
        tree::copy(&tree)?;
        Ok(Self { tree, built: target("broken").join(format!("built-{worker}")) })
    }

    /// Runs the tests of a row. `tests` is what follows `cargo test`, behind the name of the build
    /// if that is a checker's: `loom`, `asan`.
    fn test(&self, tests: &str) -> Said {
        let mut command = Command::new("timeout");
        command.args(["--kill-after", "5", PATIENCE, "cargo", "test", "--locked"]);
        // `run` goes to the repository, so the copy is named.
        command.arg("--manifest-path").arg(self.tree.join("Cargo.toml"));
        let (built, rest) = match tests.split_once(' ') {
            Some((built @ ("loom" | "asan"), rest)) => (built, rest),
            _ => ("plain", tests),
        };
        match built {
            "loom" => {
                command.env("RUSTFLAGS", "--cfg loom").arg("--release");
            }
            "asan" => {
                let like = process::sanitized("asan");
                command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
                command.args(["--target", host().unwrap_or_default()]);
            }
            _ => {}
        }
        command.args(rest.split_whitespace());
        command.env("CARGO_TARGET_DIR", self.built.join(built));
        // Each change is a small one.
        command.env("CARGO_TERM_COLOR", "never").env("CARGO_INCREMENTAL", "1");
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env_remove("CENOTE_DEBUG");
        run(&mut command)
    }

    /// Whether the tests of these rows are green without any change, and are there.
    fn is_well(&self, rows: &[&Row]) -> Result<(), String> {
        let kinds: BTreeSet<_> = rows.iter().flat_map(|row| row.tests()).collect();
        for tests in kinds {
            let said = self.test(tests);
            if !said.good {
                return Err(format!("{tests} is red without a change: {}", said.failures()));
            }
            if said.passed() == 0 {
                return Err(format!("{tests} runs no test"));
            }
        }
        Ok(())
    }
}

/// What came of each row, by as many workers as there are cores: whether its tests noticed. An
/// error, if they are red without any change.
fn apply(rows: &[&'static Row]) -> Vec<(&'static Row, Result<bool, String>)> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    // Neighbours have tests in common, which are built once.
    let shares = rows.chunks(rows.len().div_ceil(workers).max(1));
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (worker, share) in shares.enumerate() {
            let done = &done;
            scope.spawn(move || {
                let copy = Copy::new(worker).and_then(|copy| copy.is_well(share).map(|()| copy));
                for row in share {
                    let said = match &copy {
                        Ok(copy) => row.is_noticed(copy),
                        Err(error) => Err(error.clone()),
                    };
                    let mut done = done.lock().unwrap();
                    done.push((*row, said.clone()));
                    let what = match said {
                        Ok(true) => "noticed".to_owned(),
                        Ok(false) => "NOT NOTICED".to_owned(),
                        Err(error) => error,
                    };
                    let (name, count) = (row.invariant, done.len());
                    eprintln!("         {count} of {}: invariant {name}: {what}", rows.len());
                    if copy.is_err() {
                        return;
                    }
                }
            });
        }
    });
    done.into_inner().unwrap()
}

/// Applies the rows of some invariants, or of all, and says what came of each.
pub(super) fn run_rows(names: &[&str]) -> ExitCode {
    let wanted = |row: &&Row| names.is_empty() || names.contains(&row.invariant);
    let stale: Vec<String> = rows::all().filter(wanted).filter_map(Row::stale).collect();
    for wrong in &stale {
        eprintln!("{wrong}");
    }
    let rows: Vec<&Row> = rows::all().filter(wanted).filter(|row| row.is_change()).collect();
    let well = stale.is_empty()
        && !rows.is_empty()
        && apply(&rows).iter().all(|(_, said)| matches!(said, Ok(true)));
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
