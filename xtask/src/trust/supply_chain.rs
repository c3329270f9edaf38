//! What the library stands on, and what stands on it: dependencies, licences, and changes that
//! would break its users.

use super::process::{cargo, has, run};
use super::report::{End, Report};
use std::process::Command;

/// The library's own dependencies, which are to be counted on one hand.
const MOST: usize = 5;

pub(super) fn all(report: &mut Report) {
    report.line("dependencies of the library", |_| dependencies());
    report.line("licences, sources, bans", |_| licences());
    report.line("changes that would break users", |_| breaking());
    report.line("packages, built from what would be published", |report| {
        if report.extent.is_full() { packages() } else { End::Skipped("only in a full run".into()) }
    });
}

/// The crates that are for others. Those that they need come from one package to the next.
const PUBLISHED: [&str; 5] = ["cenote", "cenote-web", "cenote-cli", "cenote-c", "cenote-global"];

fn packages() -> End {
    let mut command = cargo("");
    command.args(["publish", "--dry-run", "--locked", "--allow-dirty"]);
    for name in PUBLISHED {
        command.args(["--package", name]);
    }
    let said = run(&mut command);
    if said.good { End::Good(PUBLISHED.join(", ")) } else { End::Bad(said.failures()) }
}

fn dependencies() -> End {
    let mut command = cargo("");
    command.args(["tree", "-p", "cenote", "-e", "normal", "--prefix", "none"]);
    let said = run(&mut command);
    let mut names: Vec<&str> =
        said.text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| *name != "cenote");
    let what = format!("{}: {}", names.len(), names.join(", "));
    if said.good && names.len() <= MOST { End::Good(what) } else { End::Bad(what) }
}

fn licences() -> End {
    if !has("cargo-deny") {
        return End::Skipped("cargo-deny is not installed".into());
    }
    let mut command = cargo("");
    let said = run(command.args(["deny", "--offline", "check", "bans", "sources", "licenses"]));
    let warnings = said.text.lines().filter(|line| line.starts_with("warning")).count();
    let last = said.text.lines().last().unwrap_or_default();
    let what = format!("{last}; {warnings} warnings");
    if said.good && warnings == 0 { End::Good(what) } else { End::Bad(what) }
}

/// What the public interface is compared with: the last release, by its tag, or while there is
/// none, the commit before.
enum Baseline {
    Release(String),
    Parent(String),
}

impl Baseline {
    fn find() -> Option<Self> {
        let git = |arguments: &[&str]| {
            let said = run(Command::new("git").args(arguments));
            let name = said.text.trim().to_owned();
            (said.good && !name.is_empty()).then_some(name)
        };
        // A tag on this very commit is the release that is being made.
        let tag = git(&["describe", "--tags", "--abbrev=0", "HEAD^"]);
        let parent = || git(&["rev-parse", "--verify", "--quiet", "HEAD^"]);
        tag.map(Self::Release).or_else(|| parent().map(Self::Parent))
    }
}

/// The public interface, item by item, against one in git.
fn breaking() -> End {
    if !has("cargo-semver-checks") {
        return End::Skipped("cargo-semver-checks is not installed".into());
    }
    let Some(baseline) = Baseline::find() else {
        return End::Skipped(
            "NOTHING TO COMPARE WITH: neither a release's tag nor a parent".into(),
        );
    };
    let (Baseline::Release(rev) | Baseline::Parent(rev)) = &baseline;
    let mut command = cargo("");
    command.args(["semver-checks", "--package", "cenote", "--baseline-rev", rev]);
    command.args(["--only-explicit-features", "--features", "std,allocator-api2,bytes,serde"]);
    let said = run(&mut command);
    let find = |word: &str| said.text.lines().find(|line| line.trim().starts_with(word));
    let (Some(checked), Some(summary)) = (find("Checked"), find("Summary")) else {
        return End::Bad(format!("compared with {rev}: {}", said.failures()));
    };
    let checked = checked.split_once(']').map_or(checked, |(_, rest)| rest).trim();
    let summary = summary.trim().trim_start_matches("Summary").trim();
    match baseline {
        Baseline::Release(tag) if said.good => {
            End::Good(format!("against release {tag}: {checked}"))
        }
        Baseline::Release(tag) => End::Bad(format!("against release {tag}: {summary}")),
        // Nobody was promised anything yet: told, and no mistake.
        Baseline::Parent(rev) => End::Good(format!(
            "NO RELEASE YET to be compatible with; against the commit before ({}): {checked}; {summary}",
            &rev[..rev.len().min(9)]
        )),
    }
}
