//! What came of lines in a run that did not come to its end, for the very same sources: hours of
//! work that need not be done again.

use super::Plan;
use super::process::target;
use super::tree;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// What any line may depend on, documentation aside.
const SOURCES: [&str; 8] =
    ["crates", "tests", "xtask", "fuzz", ".ci", ".cargo", "Cargo.toml", "Cargo.lock"];

/// Lines that were good, each in a file, in a folder of their tree.
pub(super) struct Kept {
    tree: String,
    /// None where the tree has no name, or nothing was asked for.
    folder: Option<PathBuf>,
    resume: bool,
}

/// A line that was good.
pub(super) struct Known {
    pub(super) what: String,
    pub(super) took: Duration,
    pub(super) tables: String,
}

impl Kept {
    /// Those of the tree as it is now, to be read only if a run is to go on. A run of some lines
    /// that does not go on leaves them alone.
    pub(super) fn of_this_tree(plan: &Plan) -> Self {
        let tree = tree::id(&SOURCES).unwrap_or_default();
        let (extent, resume) = (if plan.extent.is_full() { "full" } else { "quick" }, plan.resume);
        let known = !tree.is_empty() && (resume || plan.only.is_empty() && plan.without.is_empty());
        let folder = known.then(|| target("trust").join(format!("{tree}-{extent}")));
        if let (Some(folder), false) = (&folder, resume) {
            let _ = std::fs::remove_dir_all(folder);
        }
        Self { tree, folder, resume }
    }

    /// The name of the tree.
    pub(super) fn tree(&self) -> &str {
        if self.tree.is_empty() { "not known to git" } else { &self.tree }
    }

    /// What chance began with in the run that goes on, or else `fresh`.
    pub(super) fn seed(&mut self, fresh: u64) -> u64 {
        let known = self.read("seed").and_then(|value| value.as_u64());
        if known.is_none() {
            self.write("seed", &json!(fresh));
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
        let seconds = took.as_secs_f64();
        self.write(name, &json!({ "what": what, "seconds": seconds, "tables": tables }));
    }

    fn read(&self, name: &str) -> Option<Value> {
        let file = self.folder.as_ref().filter(|_| self.resume)?.join(file_name(name));
        serde_json::from_slice(&std::fs::read(file).ok()?).ok()
    }

    /// What cannot be written down is tried again, no more than that.
    fn write(&self, name: &str, value: &Value) {
        let Some(folder) = &self.folder else { return };
        let _ = std::fs::create_dir_all(folder);
        let _ = std::fs::write(folder.join(file_name(name)), value.to_string());
    }
}

fn file_name(line: &str) -> String {
    line.replace(|c: char| !c.is_ascii_alphanumeric(), "-") + ".json"
}
