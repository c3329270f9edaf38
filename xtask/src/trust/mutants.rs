//! Mutation testing: whether the tests notice when the library's arithmetic, windows, pages,
//! supply, accounts and tables are wrong. cargo-mutants makes each small change there is to make;
//! tests that go on passing have a gap, or the change makes no difference.
//!
//! What is changed is a copy of the tree, by as many workers as there are cores. The work is cut
//! into shards, and what came of each is kept in `docs/trust`: one that was finished for the very
//! same sources is not run again, here or elsewhere. All of it takes hours.

use super::process::{Said, cargo, has, root, run, target};
use super::report::{End, Report};
use super::tree;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
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

/// Files, and the tests that are to notice what is wrong in them.
struct Area {
    name: &'static str,
    /// What the page calls it.
    line: &'static str,
    files: &'static [&'static str],
    /// The library's own tests, by parts of their names: what they catch, they catch at once.
    own: &'static [&'static str],
    /// The test programs that are tried on what is left: those that are done in a second.
    quick: &'static [&'static str],
    /// Those that are tried on what is left then, along with all of the library's own tests.
    more: &'static [&'static str],
}

const AREAS: [Area; 3] = [
    Area {
        name: "sizes",
        line: "mutants in sizes, windows and pages",
        files: &["size", "window", "chunk/page", "chunk/geometry"],
        own: &["size::", "window::", "chunk::"],
        quick: &["sizes", "chunk_contract", "chunk_misuse"],
        more: &[],
    },
    Area {
        name: "accounts",
        line: "mutants in supply and accounts",
        files: &["supply", "gate", "told", "container", "account/*"],
        own: &["supply::", "gate::", "container::", "account::"],
        quick: &[
            "accounts",
            "account_walk",
            "reservations",
            "waiting",
            "told",
            "snapshots",
            "memory",
            "outgrown",
        ],
        more: &["account_threads", "account_limits", "account_fork", "regressions", "levels"],
    },
    Area {
        name: "tables",
        line: "mutants in tables",
        files: &["table"],
        own: &["table::"],
        quick: &["memory", "accounts", "shared_look"],
        more: &["out_of_memory"],
    },
];

/// A part of an area's mutants, `number` of `count`.
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
    /// The full names of those that nothing has noticed yet.
    open: Vec<String>,
}

pub(super) fn all(report: &mut Report) {
    for area in &AREAS {
        report.line(area.line, |report| {
            if !report.extent.is_full() {
                return End::Skipped("only in a full run".into());
            }
            if !has("cargo-mutants") {
                return End::Skipped("cargo-mutants is not installed".into());
            }
            match test(area) {
                Ok(sum) => judge(report, area, &sum),
                Err(error) => End::Bad(error),
            }
        });
    }
}

fn judge(report: &mut Report, area: &Area, sum: &Sum) -> End {
    let explained = std::fs::read_to_string(root().join(EXPLAINED)).unwrap_or_default();
    let mut names: Vec<&str> = sum.missed.iter().map(String::as_str).collect();
    names.dedup();
    let is_explained = |name: &str| explained.contains(&format!("`{name}`"));
    let unexplained: Vec<&str> = names.iter().copied().filter(|name| !is_explained(name)).collect();
    let (caught, missed) = (sum.caught + sum.late, sum.missed.len() as u64);
    let all = caught + missed;
    let percent = if all == 0 { 0.0 } else { caught as f64 * 100.0 / all as f64 };
    let mut what = format!(
        "{all} mutants: {caught} caught ({} of them by running on), {missed} not: {percent:.1} %; \
         {} more do not compile",
        sum.late, sum.unviable
    );
    if !names.is_empty() {
        let mut table = format!("What is to be said of each: {EXPLAINED}.\n\n");
        for name in &names {
            let _ = writeln!(table, "- `{name}`");
        }
        report.table(&format!("Not caught: {}", area.line), &table);
    }
    if !unexplained.is_empty() {
        let _ = write!(what, "; not explained: {}", unexplained.join(", "));
        return End::Bad(what);
    }
    if caught * 100 >= all * WANTED && all > 0 { End::Good(what) } else { End::Bad(what) }
}

/// Tests all mutants of an area, or reads what came of them before.
fn test(area: &'static Area) -> Result<Sum, String> {
    let known = Known::read(area)?;
    let listed = run(arguments(cargo(""), area).args(["--list"]));
    let mutants = listed.text.lines().filter(|line| line.contains(".rs:")).count();
    if !listed.good || mutants == 0 {
        return Err(format!("no mutants in {}: {}", area.name, listed.failures()));
    }
    let count = mutants.div_ceil(SHARD);
    let shards: Vec<Shard> = (0..count).map(|number| Shard { area, number, count }).collect();
    let (total, queue) = (shards.len(), Mutex::new(shards.iter()));
    let next = || queue.lock().unwrap().next();
    let (known, sums) = (Mutex::new(known), Mutex::new(Vec::new()));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for worker in 0..workers {
            let (next, known, sums) = (&next, &known, &sums);
            scope.spawn(move || {
                while let Some(shard) = next() {
                    let before = known.lock().unwrap().sum(shard);
                    let sum = before.map_or_else(|| shard.run(worker), Ok);
                    let failed = sum.is_err();
                    if let Ok(sum) = &sum {
                        known.lock().unwrap().keep(shard, sum);
                    }
                    let mut sums = sums.lock().unwrap();
                    sums.push(sum);
                    eprintln!("         {}: {} of {total} parts done", area.line, sums.len());
                    if failed {
                        return;
                    }
                }
            });
        }
    });
    let mut all = Sum::default();
    for sum in sums.into_inner().unwrap() {
        let sum = sum?;
        all.caught += sum.caught;
        all.late += sum.late;
        all.unviable += sum.unviable;
        all.missed.extend(sum.missed);
    }
    all.missed.sort();
    Ok(all)
}

/// What came of the shards of an area before, for the same sources.
struct Known {
    file: PathBuf,
    value: Value,
}

impl Known {
    fn read(area: &Area) -> Result<Self, String> {
        let sources = tree::id(&["crates/cenote", ".cargo", "Cargo.lock"])?;
        let file = root().join(format!("docs/trust/shards-{}.json", area.name));
        let text = std::fs::read(&file).unwrap_or_default();
        let value = serde_json::from_slice(&text).unwrap_or(Value::Null);
        let value = match value["sources"] == *sources {
            true => value,
            false => json!({ "sources": sources, "shards": {} }),
        };
        Ok(Self { file, value })
    }

    fn sum(&self, shard: &Shard) -> Option<Sum> {
        Sum::read(self.value["shards"].get(shard.name())?)
    }

    /// What cannot be written down is tried again, no more than that.
    fn keep(&mut self, shard: &Shard, sum: &Sum) {
        self.value["shards"][shard.name()] = sum.to_json();
        let text = serde_json::to_string_pretty(&self.value).unwrap_or_default() + "\n";
        let _ = self.file.parent().map(std::fs::create_dir_all);
        let _ = std::fs::write(&self.file, text);
    }
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
    /// Its place, and among how many: other numbers cut the mutants otherwise.
    fn name(&self) -> String {
        format!("{:03} of {:03}", self.number, self.count)
    }

    /// Tries it, and says what came of it.
    fn run(&self, worker: usize) -> Result<Sum, String> {
        let folder = target("mutants").join(format!("of-{worker}"));
        let error = |error: std::io::Error| format!("{}: {error}", folder.display());
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(error)?;
        let tree = target("mutants").join(format!("tree-{worker}"));
        tree::copy(&tree)?;
        let mut sum = Sum::default();
        for round in [Round::Own, Round::Quick, Round::More] {
            let mut command = self.command(worker);
            command.arg("--output").arg(&folder);
            if let Round::Own = round {
                command.arg("--shard").arg(format!("{}/{}", self.number, self.count));
                command.args(["--sharding", "round-robin"]);
            }
            for name in &sum.open {
                command.arg("--re").arg(exactly(name));
            }
            command.args(round.tests(self.area));
            let output = command.current_dir(&tree).output().map_err(error)?;
            // 0: all were caught; 2: some were not; 3: some ran on.
            if !matches!(output.status.code(), Some(0 | 2 | 3)) {
                let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
                text.push_str(&String::from_utf8_lossy(&output.stderr));
                let said = Said { text, code: output.status.code(), good: false };
                return Err(format!("mutants in {}: {}", self.area.name, said.failures()));
            }
            let outcomes = std::fs::read(folder.join("mutants.out/outcomes.json"));
            let outcomes = serde_json::from_slice(&outcomes.map_err(error)?);
            sum.add(&outcomes.map_err(|error| error.to_string())?);
            if sum.open.is_empty() {
                break;
            }
        }
        Ok(sum)
    }

    fn command(&self, worker: usize) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v $0; exec \"$@\"", MEMORY]);
        command.arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let mut command = arguments(command, self.area);
        command.args(["--in-place", "--minimum-test-timeout", "12"]);
        // Without what a debugger wants to know, each is built in half the time.
        let built = target("mutants").join(format!("built-{worker}"));
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_TARGET_DIR", built);
        command.env("CARGO_TERM_COLOR", "never").env_remove("CENOTE_DEBUG");
        command
    }
}

/// Each mutant is tried with what is quick first; what that does not catch, with more.
#[derive(Clone, Copy)]
enum Round {
    Own,
    Quick,
    More,
}

impl Round {
    fn tests(self, area: &Area) -> Vec<String> {
        let programs = |programs: &[&str]| {
            programs.iter().map(|test| format!("--cargo-arg=--test={test}")).collect::<Vec<_>>()
        };
        let mut tests = vec!["--cargo-arg=--lib".to_owned()];
        match self {
            Round::Own => {
                tests.extend(["--", "--"].map(str::to_owned));
                tests.extend(area.own.iter().copied().map(str::to_owned));
                tests
            }
            Round::Quick => programs(area.quick),
            Round::More => {
                tests.extend(programs(area.more));
                tests
            }
        }
    }
}

impl Sum {
    /// Adds what came of a round; what an earlier one did not catch was tried again in it, and
    /// maybe more than that.
    fn add(&mut self, outcomes: &Value) {
        let before = std::mem::take(&mut self.open);
        self.missed.clear();
        for outcome in outcomes["outcomes"].as_array().into_iter().flatten() {
            let name = outcome["scenario"]["Mutant"]["name"].as_str().unwrap_or_default();
            if !before.is_empty() && !before.iter().any(|known| known == name) {
                continue;
            }
            match outcome["summary"].as_str().unwrap_or_default() {
                "CaughtMutant" => self.caught += 1,
                "Unviable" => self.unviable += 1,
                "Timeout" => self.late += 1,
                "MissedMutant" => {
                    self.missed.push(without_place(name));
                    self.open.push(name.to_owned());
                }
                _ => {}
            }
        }
    }

    fn to_json(&self) -> Value {
        let Self { caught, late, unviable, missed, .. } = self;
        json!({ "caught": caught, "late": late, "unviable": unviable, "missed": missed })
    }

    fn read(sum: &Value) -> Option<Self> {
        let missed = sum["missed"].as_array()?.iter();
        Some(Self {
            caught: sum["caught"].as_u64()?,
            late: sum["late"].as_u64()?,
            unviable: sum["unviable"].as_u64()?,
            missed: missed.map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>()?,
            open: Vec::new(),
        })
    }
}

/// A regular expression for this name and no other.
fn exactly(name: &str) -> String {
    let mut pattern = String::from("^");
    for c in name.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "$"
}

/// A mutant's name without line and column, which any edit changes:
/// `account/node.rs: replace == with != in Node::held`.
fn without_place(name: &str) -> String {
    let name = name.strip_prefix("crates/cenote/src/").unwrap_or(name);
    let mut parts = name.splitn(4, ':');
    match (parts.next(), parts.nth(2)) {
        (Some(file), Some(what)) => format!("{file}:{what}"),
        _ => name.to_owned(),
    }
}
