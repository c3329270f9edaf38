//! Python opens the shared library and uses a pool, by cffi from the header as it stands.
//!
//! Where this Python has no cffi, it is installed into an environment of the test's own; where that
//! cannot be done either, ctypes stands in, loudly.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use support::{compiler, crate_dir, has, library, output, plain, succeed};

/// A Python, with cffi if that can be had.
fn python() -> Option<PathBuf> {
    if !has("python3", "the shared library from Python") {
        return None;
    }
    let imports = |python: &PathBuf| {
        let probe = Command::new(python).args(["-c", "import cffi"]).output();
        probe.is_ok_and(|out| out.status.success())
    };
    let system = PathBuf::from("python3");
    if imports(&system) {
        return Some(system);
    }
    let environment = output("python");
    let own = environment.join("bin/python");
    if !imports(&own) {
        let made = Command::new(&system).args(["-m", "venv"]).arg(&environment).output();
        let installed = made.is_ok_and(|out| out.status.success()) && {
            let mut pip = Command::new(&own);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "cffi"]);
            pip.args(["--timeout", "15", "--retries", "1"]);
            pip.output().is_ok_and(|out| out.status.success())
        };
        if !installed || !imports(&own) {
            eprintln!("SKIPPED: cffi cannot be installed here: ctypes instead of it");
            return Some(system);
        }
    }
    Some(own)
}

/// The header as cffi reads it: preprocessed, without the system's headers.
fn declarations() -> PathBuf {
    let header = fs::read_to_string(crate_dir().join("include/cenote.h")).expect("it is there");
    let own: Vec<&str> = header.lines().filter(|line| !line.starts_with("#include")).collect();
    let source = output("declarations.h");
    fs::write(&source, own.join("\n")).expect("the target folder is writable");
    let out = succeed(compiler(false).args(["-E", "-P", "-x", "c"]).arg(&source));
    let plain = output("declarations.i");
    fs::write(&plain, out.stdout).expect("the target folder is writable");
    plain
}

#[test]
fn python_uses_a_pool_of_the_shared_library() {
    let Some(python) = python() else { return };
    let script = crate_dir().join("tests/python/use_pool.py");
    let mut run = plain(python);
    let out = succeed(run.arg(script).arg(library("libcenote_c.so")).arg(declarations()));
    eprintln!("by {}", String::from_utf8_lossy(&out.stdout).trim());
}
