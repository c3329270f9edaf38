//! The checkers, checked: each classic mistake in each pool, in a process of its own, under each
//! checker. Every one has to be found by one at least, and what is no mistake by none.

use super::process::{Said, cargo, has, host, run, sanitized, target};
use super::report::{End, Report};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// Those of the library, and those of the C ABI, which a program of their own uses.
const POOLS: [&str; 9] =
    ["pool", "counted", "chunk", "shared", "buddy", "c-pool", "c-counted", "c-chunk", "c-buddy"];
const MISTAKES: [&str; 11] = [
    "overflow",
    "overflow-into-free",
    "use-after-free",
    "use-after-reset",
    "use-after-destroy",
    "double-free",
    "foreign-free",
    "uninitialised",
    "leak",
    "handle-after-destroy",
    "none",
];
/// What these must find without each object being an allocation of its own.
const MUST: [(&str, [&str; 2]); 4] = [
    ("overflow", ["ASan", "valgrind"]),
    ("overflow-into-free", ["ASan", "valgrind"]),
    ("use-after-free", ["ASan", "valgrind"]),
    ("use-after-reset", ["ASan", "valgrind"]),
];
/// What the program exits with where a pool has no such mistake.
const NO_SUCH: i32 = 3;
/// What it exits with where it knows of no such mistake.
const UNKNOWN: i32 = 2;

/// A way to run the program.
struct Checker {
    name: &'static str,
    /// Where the programs are.
    programs: PathBuf,
    valgrind: bool,
    levels: &'static str,
}

impl Checker {
    fn run(&self, pool: &str, mistake: &str) -> Said {
        let name = if pool.starts_with("c-") { "c_mistake" } else { "mistake" };
        let program = self.programs.join(name);
        let mut command = if self.valgrind {
            let mut valgrind = Command::new("valgrind");
            valgrind.args(["-q", "--error-exitcode=99", "--leak-check=full"]).arg(program);
            valgrind
        } else {
            Command::new(program)
        };
        run(command.args([pool, mistake]).env("CENOTE_DEBUG", self.levels))
    }
}

/// What was said of a mistake, in a few words; `None`: nothing.
fn found(said: &Said) -> Option<String> {
    if said.good || is_none(said) {
        return None;
    }
    for line in said.text.lines() {
        if let Some(at) = line.find("Sanitizer: ") {
            let words = line[at + 11..].split([' ', ',']).take(1);
            return Some(words.collect::<Vec<_>>().join(" "));
        }
        if let Some(rest) = line.strip_prefix("cenote: pool ") {
            let what = rest.split_once(" is ").map_or(rest, |(_, what)| what);
            return Some(what.to_owned());
        }
        if line.starts_with("==")
            && let Some((_, text)) = line.split_once("== ")
            && !text.trim().is_empty()
        {
            return Some(text.trim().split(" (").next().unwrap_or_default().to_owned());
        }
    }
    match said.code {
        Some(99) => Some("an error".to_owned()),
        Some(code) => Some(format!("exit code {code}")),
        None => Some("a signal".to_owned()),
    }
}

/// Whether there is no such mistake to be made.
fn is_none(said: &Said) -> bool {
    said.code == Some(NO_SUCH) || said.code == Some(UNKNOWN)
}

fn build(mut command: Command, more: &[&str]) -> Result<(), String> {
    command.args(["build", "-p", "cenote", "-p", "cenote-c"]);
    command.args(["--example", "mistake", "--example", "c_mistake"]);
    let said = run(command.args(more));
    if said.good { Ok(()) } else { Err(said.failures()) }
}

/// Those that can be had here, and what was skipped.
fn checkers() -> Result<(Vec<Checker>, Vec<String>), String> {
    let (mut all, mut skipped) = (Vec::new(), Vec::new());
    build(cargo(""), &["--release"])?;
    let plain = target("").join("release/examples");
    all.push(Checker {
        name: "release build",
        programs: plain.clone(),
        valgrind: false,
        levels: "",
    });
    all.push(Checker { name: "all levels", programs: plain, valgrind: false, levels: "all" });
    if let Some(host) = host() {
        build(sanitized("asan"), &["--target", host])?;
        let programs = target("asan").join(host).join("debug/examples");
        for (name, levels) in [("ASan", ""), ("ASan, passthrough", "passthrough")] {
            all.push(Checker { name, programs: programs.clone(), valgrind: false, levels });
        }
    } else {
        skipped.push("no AddressSanitizer here".to_owned());
    }
    if has("valgrind") {
        build(cargo("valgrind"), &["--features", "cenote/valgrind"])?;
        let programs = target("valgrind").join("debug/examples");
        for (name, levels) in [("valgrind", ""), ("valgrind, passthrough", "passthrough")] {
            all.push(Checker { name, programs: programs.clone(), valgrind: true, levels });
        }
    } else {
        skipped.push("valgrind is not installed".to_owned());
    }
    Ok((all, skipped))
}

pub(super) fn all(report: &mut Report) {
    report.line("seeded mistakes", |report| {
        let (checkers, skipped) = match checkers() {
            Ok(checkers) => checkers,
            Err(error) => return End::Bad(error),
        };
        let mut text = String::from("| pool | mistake |");
        checkers.iter().for_each(|checker| {
            let _ = write!(text, " {} |", checker.name);
        });
        let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(checkers.len()));
        let (mut made, mut caught, mut wrong) = (0, 0, Vec::new());
        for pool in POOLS {
            for mistake in MISTAKES {
                let said: Vec<Said> =
                    checkers.iter().map(|checker| checker.run(pool, mistake)).collect();
                if said.iter().all(is_none) {
                    continue;
                }
                let answers: Vec<Option<String>> = said.iter().map(found).collect();
                let any = answers.iter().any(Option::is_some);
                if mistake == "none" {
                    if any {
                        wrong.push(format!("{pool}: something was found where nothing is wrong"));
                    }
                } else {
                    made += 1;
                    caught += usize::from(any);
                    if !any {
                        wrong.push(format!("{pool}: {mistake} was not found"));
                    }
                    for (checker, answer) in checkers.iter().zip(&answers) {
                        let must = MUST.iter().find(|(name, _)| *name == mistake);
                        let must = must.is_some_and(|(_, names)| names.contains(&checker.name));
                        if must && answer.is_none() {
                            wrong.push(format!("{pool}: {} missed {mistake}", checker.name));
                        }
                    }
                }
                let _ = write!(text, "| {pool} | {mistake} |");
                for answer in answers {
                    let _ = write!(text, " {} |", answer.unwrap_or_else(|| "-".to_owned()));
                }
                text.push('\n');
            }
        }
        report.table("Mistakes, and who found them", &text);
        let mut what = format!("{caught} of {made} found, {} checkers", checkers.len());
        if !skipped.is_empty() {
            what = format!("{what}; SKIPPED: {}", skipped.join(", "));
        }
        if wrong.is_empty() { End::Good(what) } else { End::Bad(format!("{what}; {wrong:?}")) }
    });
}
