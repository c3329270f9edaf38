//! Copies of the tree, to be changed and built apart from it.

use super::process::{root, run, target};
use std::path::Path;
use std::process::Command;

/// Makes a folder hold the tree as it is now. Files that are the same already are left alone, so
/// that they are not built again.
pub(super) fn copy(to: &Path) -> Result<(), String> {
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

/// What tells these parts of the tree, as they are now, from any others.
pub(super) fn id(parts: &[&str]) -> Result<String, String> {
    let index = target("").join(format!("index-of-{}", std::process::id()));
    let git = |arguments: &[&str]| {
        let said = run(Command::new("git").args(arguments).env("GIT_INDEX_FILE", &index));
        if said.good { Ok(said.text.trim().to_owned()) } else { Err(said.failures()) }
    };
    std::fs::create_dir_all(target("")).map_err(|error| error.to_string())?;
    let added = git(&[&["add", "--all"], parts].concat());
    let id = added.and_then(|_| git(&["write-tree"]));
    let _ = std::fs::remove_file(&index);
    id
}
