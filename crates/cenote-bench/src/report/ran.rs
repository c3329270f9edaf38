//! When a group was measured, of what, and how busy the machine was.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// One group's run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Ran {
    pub(crate) group: String,
    /// UTC, as HTTP has it.
    pub(crate) when: String,
    /// The commit, and whether files were changed since; empty where git does not know.
    pub(crate) commit: String,
    /// The load average of the last minute, before and after.
    pub(crate) load: [String; 2],
    pub(crate) quick: bool,
}

impl Ran {
    /// A group's run begins.
    pub(crate) fn begun(group: &str, quick: bool) -> Self {
        Self {
            group: group.into(),
            when: httpdate::fmt_http_date(SystemTime::now()),
            commit: commit(),
            load: [load(), String::new()],
            quick,
        }
    }

    /// It is over.
    pub(crate) fn ended(mut self) -> Self {
        self.load[1] = load();
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
    for crate_name in ["cenote", "cenote-bench", "cenote-c", "cenote-cli", "cenote-web"] {
        collect(&root().join("crates").join(crate_name), &mut files);
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
