//! Mutation testing: whether the tests notice when the library's arithmetic, windows, supply,
//! accounts, pages, tables, blocks and cache are wrong. cargo-mutants makes each small change there
//! is to make; tests that go on passing have a gap, or the change makes no difference.
//!
//! What is changed is a copy of the tree, by as many workers as there are cores. The work is cut
//! into shards, and a shard that was finished for the very same tree is not run again: a run that
//! was interrupted goes on where it was.

use super::process::{Said, cargo, has, root, run, target};
use super::report::{End, Report};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

/// How many of a hundred mutants have to be caught.
const WANTED: u64 = 95;
/// Mutants in a shard, about.
const SHARD: usize = 40;
/// Kilobytes of address space for whatever runs: some mutants would take all there is.
const MEMORY: &str = "8000000";
/// Where those are explained that no test can catch.
const EXPLAINED: &str = "docs/design/mutants.md";

/// Files, and the tests that are to notice what is wrong in them: those that are strong and
/// quick, since they run once for each mutant.
struct Area {
    name: &'static str,
    files: &'static [&'static str],
    tests: &'static [&'static str],
    /// Tests of the library's own that have nothing to do with it, and take long.
    skip: &'static [&'static str],
}

const AREAS: [Area; 4] = [
    Area {
        name: "sizes",
        files: &["size", "window", "chunk/page", "chunk/geometry"],
        tests: &[],
        skip: &["source::", "account::", "table::"],
    },
    Area {
        name: "accounts",
        files: &["supply", "account/*"],
        tests: &["accounts", "account_threads", "snapshots", "regressions", "memory"],
        skip: &["source::", "window::", "chunk::", "size::"],
    },
    Area {
        name: "tables",
        files: &["table"],
        tests: &[],
        skip: &["source::", "window::", "chunk::", "size::", "account::"],
    },
    Area {
        name: "blocks",
        files: &["counted/block", "source/blocks"],
        tests: &["counted_pool", "counted_misuse", "cached"],
        skip: &["source::buddy", "window::", "chunk::", "size::", "account::"],
    },
];

/// One worker's share of an area, `number` of `count`.
struct Shard {
    area: &'static Area,
    number: usize,
    count: usize,
}

/// What came of all mutants.
#[derive(Default)]
struct Sum {
    caught: u64,
    /// Caught by never ending, or by taking far too long.
    late: u64,
    unviable: u64,
    missed: Vec<String>,
}

pub(super) fn all(report: &mut Report) {
    report.line("mutants in arithmetic, windows, supply, accounts, pages", |report| {
        if !report.extent.is_full() {
            return End::Skipped("only in a full run".into());
        }
        if !has("cargo-mutants") {
            return End::Skipped("cargo-mutants is not installed".into());
        }
        match test() {
            Ok(sum) => judge(report, &sum),
            Err(error) => End::Bad(error),
        }
    });
}

fn judge(report: &mut Report, sum: &Sum) -> End {
    let explained = std::fs::read_to_string(root().join(EXPLAINED)).unwrap_or_default();
    let unexplained: Vec<&str> =
        sum.missed.iter().filter(|name| !explained.contains(*name)).map(String::as_str).collect();
    let (caught, missed) = (sum.caught + sum.late, sum.missed.len() as u64);
    let all = caught + missed;
    let percent = if all == 0 { 0.0 } else { caught as f64 * 100.0 / all as f64 };
    let mut what = format!(
        "{all} mutants: {caught} caught ({} of them by running on), {missed} not: {percent:.1} %; \
         {} more do not compile",
        sum.late, sum.unviable
    );
    if !sum.missed.is_empty() {
        let mut table = format!("What is to be said of each: {EXPLAINED}.\n\n");
        for name in &sum.missed {
            let _ = writeln!(table, "- `{name}`");
        }
        report.table("Mutants that no test catches", &table);
    }
    if !unexplained.is_empty() {
        let _ = write!(what, "; not explained: {}", unexplained.join(", "));
        return End::Bad(what);
    }
    if caught * 100 >= all * WANTED && all > 0 { End::Good(what) } else { End::Bad(what) }
}

/// Tests all mutants, or reads what came of them before.
fn test() -> Result<Sum, String> {
    let results = target("mutants").join(tree_id()?);
    let mut shards = Vec::new();
    for area in &AREAS {
        let listed = run(arguments(cargo(""), area).args(["--list"]));
        let mutants = listed.text.lines().filter(|line| line.contains(".rs:")).count();
        if !listed.good || mutants == 0 {
            return Err(format!("no mutants in {}: {}", area.name, listed.failures()));
        }
        let count = mutants.div_ceil(SHARD);
        shards.extend((0..count).map(|number| Shard { area, number, count }));
    }
    let total = shards.len();
    let (queue, done) = (Mutex::new(shards.iter()), Mutex::new(0));
    let next = || queue.lock().unwrap().next();
    let failed = Mutex::new(None);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for worker in 0..workers {
            let (next, results, done, failed) = (&next, &results, &done, &failed);
            scope.spawn(move || {
                while let Some(shard) = next() {
                    if let Err(error) = shard.run(results, worker) {
                        *failed.lock().unwrap() = Some(error);
                        return;
                    }
                    let mut done = done.lock().unwrap();
                    *done += 1;
                    eprintln!("         mutants: {done} of {total} parts done");
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap() {
        return Err(error);
    }
    let mut sum = Sum::default();
    for shard in &shards {
        let outcomes = shard.finished(&results).ok_or("a part's results cannot be read")?;
        sum.add(&outcomes);
    }
    sum.missed.sort();
    sum.missed.dedup();
    Ok(sum)
}

/// Adds the arguments that choose an area's mutants.
fn arguments(mut command: Command, area: &Area) -> Command {
    command.args(["mutants", "--package", "cenote", "--no-shuffle"]);
    for file in area.files {
        command.arg("--file").arg(format!("crates/cenote/src/{file}.rs"));
    }
    command
}

impl Shard {
    fn folder(&self, results: &Path) -> PathBuf {
        results.join(format!("{}-{}-of-{}", self.area.name, self.number, self.count))
    }

    /// What came of it, if it ran to its end.
    fn finished(&self, results: &Path) -> Option<Value> {
        let path = self.folder(results).join("mutants.out/outcomes.json");
        let outcomes: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (!outcomes["end_time"].is_null()).then_some(outcomes)
    }

    fn run(&self, results: &Path, worker: usize) -> Result<(), String> {
        if self.finished(results).is_some() {
            return Ok(());
        }
        let folder = self.folder(results);
        let error = |error: std::io::Error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(&folder).map_err(error)?;
        let tree = target("mutants").join(format!("tree-{worker}"));
        copy(&tree)?;
        let built = target("mutants").join(format!("built-{worker}"));
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v $0; exec \"$@\"", MEMORY]);
        command.arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let mut command = arguments(command, self.area);
        command.args(["--in-place", "--minimum-test-timeout", "20", "--sharding", "round-robin"]);
        command.arg("--shard").arg(format!("{}/{}", self.number, self.count));
        command.arg("--output").arg(&folder).arg("--cargo-arg=--lib");
        for test in self.area.tests {
            command.arg(format!("--cargo-arg=--test={test}"));
        }
        command.args(["--", "--"]);
        for test in self.area.skip {
            command.args(["--skip", test]);
        }
        // Without what a debugger wants to know, each is built in half the time.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_TARGET_DIR", built);
        command.env("CARGO_TERM_COLOR", "never").env_remove("CENOTE_DEBUG");
        let output = command.current_dir(&tree).output().map_err(error)?;
        if self.finished(results).is_some() {
            return Ok(());
        }
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        let said = Said { text, code: output.status.code(), good: false };
        Err(format!("mutants in {}: {}", self.area.name, said.failures()))
    }
}

impl Sum {
    fn add(&mut self, outcomes: &Value) {
        for outcome in outcomes["outcomes"].as_array().into_iter().flatten() {
            let name = outcome["scenario"]["Mutant"]["name"].as_str().unwrap_or_default();
            match outcome["summary"].as_str().unwrap_or_default() {
                "CaughtMutant" => self.caught += 1,
                "Timeout" => self.late += 1,
                "Unviable" => self.unviable += 1,
                "MissedMutant" => self.missed.push(without_place(name)),
                _ => {}
            }
        }
    }
}

/// A mutant's name without line and column, which any edit changes:
/// `account/node.rs: replace > with >= in Node::notice_peak`.
fn without_place(name: &str) -> String {
    let name = name.strip_prefix("crates/cenote/src/").unwrap_or(name);
    let mut parts = name.splitn(4, ':');
    match (parts.next(), parts.nth(2)) {
        (Some(file), Some(what)) => format!("{file}:{what}"),
        _ => name.to_owned(),
    }
}

/// What tells the library's sources, as they are now, from any others.
fn tree_id() -> Result<String, String> {
    let index = target("mutants").join("index");
    std::fs::create_dir_all(target("mutants")).map_err(|error| error.to_string())?;
    let _ = std::fs::remove_file(&index);
    let git = |arguments: &[&str]| {
        let said = run(Command::new("git").args(arguments).env("GIT_INDEX_FILE", &index));
        if said.good { Ok(said.text.trim().to_owned()) } else { Err(said.failures()) }
    };
    git(&["add", "--all", "crates/cenote", ".cargo", "Cargo.lock"])?;
    git(&["write-tree"])
}

/// Makes a folder hold the tree as it is now. Files that are the same already are left alone, so
/// that they are not built again.
fn copy(to: &Path) -> Result<(), String> {
    let listed = run(Command::new("git").args(["ls-files", "-co", "--exclude-standard"]));
    if !listed.good {
        return Err(listed.failures());
    }
    let files: Vec<&str> = listed.text.lines().collect();
    for file in &files {
        // One that is deleted, or a link.
        let Ok(now) = std::fs::read(root().join(file)) else { continue };
        let copy = to.join(file);
        if std::fs::read(&copy).is_ok_and(|old| old == now) {
            continue;
        }
        let error = |error: std::io::Error| format!("{}: {error}", copy.display());
        std::fs::create_dir_all(copy.parent().unwrap_or(to)).map_err(error)?;
        std::fs::write(&copy, now).map_err(error)?;
    }
    // What is gone would be built along.
    let tests = std::fs::read_dir(to.join("crates/cenote/tests")).into_iter().flatten().flatten();
    for test in tests.filter(|entry| entry.path().is_file()) {
        let name = format!("crates/cenote/tests/{}", test.file_name().to_string_lossy());
        if !files.contains(&&*name) {
            let _ = std::fs::remove_file(test.path());
        }
    }
    Ok(())
}
