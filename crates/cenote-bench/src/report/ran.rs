//! When a group was measured, of what, and how busy the machine was.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::probe::Probe;
use crate::stats::median;

/// One group's run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Ran {
    pub(crate) group: String,
    /// When it was measured, most groups twice.
    pub(crate) times: Vec<Time>,
    /// The commit, and whether files were changed since; empty where git does not know.
    pub(crate) commit: String,
    pub(crate) quick: bool,
    /// The machine's own speed in the rounds, their medians; none where it was not looked at.
    pub(crate) probe: Option<Probe>,
    /// Rounds in which the machine was slow, and how many there were.
    pub(crate) slow: [usize; 2],
}

/// One time that a group was measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Time {
    /// UTC, as HTTP has it.
    pub(crate) when: String,
    /// The load average of the last minute, before and after.
    pub(crate) load: [String; 2],
}

impl Time {
    /// It begins.
    pub(crate) fn begun() -> Self {
        let when = httpdate::fmt_http_date(SystemTime::now());
        Self { when, load: [load(), String::new()] }
    }

    /// It is over.
    pub(crate) fn ended(mut self) -> Self {
        self.load[1] = load();
        self
    }
}

impl Ran {
    pub(crate) fn new(group: &str, quick: bool) -> Self {
        Self {
            group: group.into(),
            times: Vec::new(),
            commit: commit(),
            quick,
            probe: None,
            slow: [0, 0],
        }
    }

    /// What the probes say, by the fastest that there was.
    pub(crate) fn probed<'a>(
        mut self,
        probes: impl Iterator<Item = &'a Probe> + Clone,
        fastest: Probe,
    ) -> Self {
        let middle = |of: fn(&Probe) -> f64| median(&probes.clone().map(of).collect::<Vec<_>>());
        let (add, forward) = (middle(|probe| probe.add), middle(|probe| probe.forward));
        self.probe = add.zip(forward).map(|(add, forward)| Probe { add, forward });
        let slow = probes.clone().filter(|probe| probe.is_slow(fastest)).count();
        self.slow = [slow, probes.count()];
        self
    }
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The repository that the bench was built from.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let out = Command::new("git").arg("-C").arg(root()).args(arguments).output().ok()?;
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short", "HEAD"]) else { return String::new() };
    match git(&["status", "--porcelain"]) {
        Some(changes) if changes.is_empty() => head,
        _ => head + ", changed",
    }
}

/// What is measured: the sources of all that the bench runs but the words about it, as one number.
/// Rows of other sources are not put beside these.
pub(crate) fn sources() -> String {
    let mut files = Vec::new();
    for name in ["cenote", "cenote-bench", "cenote-c", "cenote-cli", "cenote-global", "cenote-web"]
    {
        collect(&root().join("crates").join(name), &mut files);
    }
    files.push(root().join("Cargo.toml"));
    files.push(root().join("Cargo.lock"));
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for file in files {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        // Wherever the repository lies.
        let place = file.strip_prefix(root()).unwrap_or(&file);
        add(place.to_string_lossy().as_bytes());
        add(&bytes);
    }
    format!("{hash:016x}")
}

/// Sources below a folder: not tests, examples and words.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if !["tests", "examples", "fuzz", "report", "target"].iter().any(|skip| name == *skip) {
                collect(&path, files);
            }
        } else if path.extension().is_none_or(|end| end != "md") {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_are_found_and_the_same_each_time() {
        let mut files = Vec::new();
        collect(&root().join("crates/cenote-bench"), &mut files);
        let named = |end: &str| files.iter().any(|file| file.ends_with(end));
        assert!(named("src/harness.rs") && named("csrc/capi.c") && named("Cargo.toml"));
        assert!(!named("src/report/notes.rs"), "words about figures change no figure");
        assert_eq!(sources(), sources());
    }
}
