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
use rows::{Change, ROWS, Row};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Seconds after which a test that still runs has noticed, since it ends in less when all is right.
const PATIENCE: &str = "900";

pub(super) fn all(report: &mut Report) {
    report.line("invariants broken on purpose", |report| {
        let named = invariants();
        let without_row = named.iter().filter(|name| !has_row(name)).count();
        let mut wrong: Vec<String> = ROWS.iter().filter_map(Row::stale).collect();
        let unknown = ROWS.iter().filter(|row| !named.contains(row.invariant));
        wrong.extend(unknown.map(|row| format!("invariant {} is in no table", row.invariant)));
        let rows: Vec<&Row> =
            ROWS.iter().filter(|row| row.is_change() && row.stale().is_none()).collect();
        let (all, unbroken) = (rows.len(), ROWS.iter().filter(|row| !row.is_change()).count());
        let mut what = format!(
            "{all} changes that break them and {unbroken} reasons why none does fit the sources and \
             the tables; applied in a full run"
        );
        if report.extent.is_full() {
            let mut reasons = String::new();
            for row in ROWS {
                if let Change::Cannot(why) = row.change {
                    let _ = writeln!(reasons, "- {}: {why}", row.invariant);
                }
            }
            report.table("Invariants that no small change breaks", &reasons);
            match unnoticed(&rows) {
                Err(error) => wrong.push(error),
                Ok(unnoticed) => {
                    let noticed = all - unnoticed.len();
                    what = format!("{noticed} of {all} noticed; no small change breaks {unbroken}");
                    wrong.extend(unnoticed);
                }
            }
        }
        if without_row > 0 {
            what = format!("{what}; {without_row} of {} have no row yet", named.len());
        }
        if wrong.is_empty() { End::Good(what) } else { End::Bad(format!("{what}; {}", wrong.join("; "))) }
    });
}

fn has_row(invariant: &str) -> bool {
    ROWS.iter().any(|row| row.invariant == invariant)
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
            in_table = line.starts_with('|') && (in_table || line.starts_with("| # | invariant"));
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
    fn is_noticed(&self, tree: &Path) -> Result<bool, String> {
        let Change::Break { file, text, by, tests } = &self.change else { return Ok(true) };
        let path = tree.join(file);
        let whole = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        std::fs::write(&path, whole.replacen(text, by, 1)).map_err(|error| error.to_string())?;
        let said = tests.iter().map(|tests| test(tree, tests)).find(|said| !said.good);
        std::fs::write(&path, whole).map_err(|error| error.to_string())?;
        let Some(said) = said else { return Ok(false) };
        let built =
            !said.text.contains("error: could not compile") && said.text.contains("Running ");
        if built {
            return Ok(true);
        }
        Err(format!("invariant {}: {tests:?}: {}", self.invariant, said.failures()))
    }
}

/// Runs the tests of a row in a copy of the tree. `tests` is what follows `cargo test`, behind the
/// name of the build if that is a checker's: `loom`, `asan`.
fn test(tree: &Path, tests: &str) -> Said {
    let mut command = Command::new("timeout");
    command.args(["--kill-after", "5", PATIENCE, "cargo", "test", "--locked"]);
    // `run` goes to the repository, so the copy is named.
    command.arg("--manifest-path").arg(tree.join("Cargo.toml"));
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
    command.env("CARGO_TARGET_DIR", target("broken").join(built));
    command.env("CARGO_TERM_COLOR", "never").env("CARGO_INCREMENTAL", "0");
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env_remove("CENOTE_DEBUG");
    run(&mut command)
}

/// The rows that no test noticed; an error, if the tests are red without any change.
fn unnoticed(rows: &[&Row]) -> Result<Vec<String>, String> {
    let tree = target("broken").join("tree");
    tree::copy(&tree)?;
    let mut kinds = BTreeSet::new();
    for row in rows {
        if let Change::Break { tests, .. } = &row.change {
            kinds.extend(tests.iter().copied());
        }
    }
    for tests in kinds {
        let said = test(&tree, tests);
        if !said.good {
            return Err(format!("{tests} is red without a change: {}", said.failures()));
        }
        if said.passed() == 0 {
            return Err(format!("{tests} runs no test"));
        }
    }
    let mut unnoticed = Vec::new();
    for (done, row) in rows.iter().enumerate() {
        eprintln!("         {} of {}: invariant {}", done + 1, rows.len(), row.invariant);
        if !row.is_noticed(&tree)? {
            unnoticed.push(format!("nobody notices that invariant {} is broken", row.invariant));
        }
    }
    Ok(unnoticed)
}
