//! What came of lines before, for the very same sources and compiler: hours of work that need not
//! be done again. What a full run finds is kept in `docs/trust`, so that it can be put together
//! from what was tried on several machines.

use super::Plan;
use super::process::{root, run, target};
use super::tree;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What any line may depend on: documentation and the bench aside.
const SOURCES: [&str; 9] = [
    "crates",
    ":!crates/cenote-bench",
    "tests",
    "xtask",
    "fuzz",
    ".ci",
    ".cargo",
    "Cargo.toml",
    "Cargo.lock",
];
/// What a mutant depends on, and who judges it.
const OF_MUTANTS: [&str; 4] =
    ["crates/cenote", ".cargo", "Cargo.lock", "xtask/src/trust/mutants.rs"];

/// Lines that were good, each in a file that says of what sources it speaks.
pub(super) struct Kept {
    /// The sources, by git's name for them; none where git has none.
    all: String,
    of_mutants: String,
    compiler: String,
    folder: PathBuf,
    resume: bool,
}

/// A line that was good.
pub(super) struct Known {
    pub(super) what: String,
    pub(super) took: Duration,
    pub(super) tables: String,
}

impl Kept {
    /// Those of the tree as it is now, to be read only if a run is to go on.
    pub(super) fn of_this_tree(plan: &Plan) -> Self {
        let id = |parts: &[&str]| tree::id(parts).unwrap_or_default();
        let compiler = run(Command::new("rustc").arg("--version")).text.trim().to_owned();
        let folder = match plan.extent.is_full() {
            true => root().join("docs/trust"),
            false => target("trust").join("quick"),
        };
        let (all, of_mutants) = (id(&SOURCES), id(&OF_MUTANTS));
        Self { all, of_mutants, compiler, folder, resume: plan.resume }
    }

    /// The name of the tree.
    pub(super) fn tree(&self) -> &str {
        if self.all.is_empty() { "not known to git" } else { &self.all }
    }

    pub(super) fn compiler(&self) -> &str {
        &self.compiler
    }

    /// What chance began with in the run that goes on, or else `fresh`.
    pub(super) fn seed(&mut self, fresh: u64) -> u64 {
        let known = self.read("seed").and_then(|value| value["seed"].as_u64());
        if known.is_none() {
            self.write("seed", json!({ "seed": fresh }));
        }
        known.unwrap_or(fresh)
    }

    pub(super) fn line(&self, name: &str) -> Option<Known> {
        let value = self.read(name)?;
        Some(Known {
            what: value["what"].as_str()?.to_owned(),
            took: Duration::from_secs_f64(value["seconds"].as_f64()?),
            tables: value["tables"].as_str()?.to_owned(),
        })
    }

    pub(super) fn keep(&self, name: &str, what: &str, took: Duration, tables: &str) {
        let seconds = (took.as_secs_f64() * 10.0).round() / 10.0;
        self.write(name, json!({ "what": what, "seconds": seconds, "tables": tables }));
    }

    /// Takes away what is of none of these lines: they are all there are.
    pub(super) fn retain<'a>(&self, lines: impl Iterator<Item = &'a str>) {
        let files: Vec<String> = lines.chain(["seed"]).map(file_name).collect();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            // Parts of a line, as it keeps them itself.
            let part = name.to_string_lossy().starts_with("shards-");
            if !part && !files.iter().any(|file| name == **file) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn sources(&self, name: &str) -> &str {
        if name.starts_with("mutants ") { &self.of_mutants } else { &self.all }
    }

    /// What is known, if it speaks of these sources and this compiler.
    fn read(&self, name: &str) -> Option<Value> {
        let sources = self.sources(name);
        if !self.resume || sources.is_empty() {
            return None;
        }
        let text = std::fs::read(self.folder.join(file_name(name))).ok()?;
        let value: Value = serde_json::from_slice(&text).ok()?;
        (value["sources"] == sources && value["compiler"] == *self.compiler).then_some(value)
    }

    /// What cannot be written down is tried again, no more than that.
    fn write(&self, name: &str, mut value: Value) {
        if self.sources(name).is_empty() {
            return;
        }
        value["sources"] = self.sources(name).into();
        value["compiler"] = (*self.compiler).into();
        let _ = std::fs::create_dir_all(&self.folder);
        let text = serde_json::to_string_pretty(&value).unwrap_or_default() + "\n";
        let _ = std::fs::write(self.folder.join(file_name(name)), text);
    }
}

fn file_name(line: &str) -> String {
    line.replace(|c: char| !c.is_ascii_alphanumeric(), "-") + ".json"
}
