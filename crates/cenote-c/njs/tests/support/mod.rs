//! What the test programs share: the static library built, C programs compiled against it.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What a Rust static library needs of the system.
const SYSTEM: [&str; 5] = ["-lgcc_s", "-lpthread", "-ldl", "-lm", "-lc"];

pub(crate) fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder for what this test run makes.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("njs").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a command; its output where it succeeds, otherwise the test fails with all it said.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    output
}

/// Says that a check was left out, past the test runner, which keeps what passing tests print.
pub(crate) fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Whether there is such a program.
pub(crate) fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The static library, built as a user would, but for the compiler's flags.
fn library(name: &str, flags: &str) -> PathBuf {
    let target = scratch(name);
    // The flags of a run under a sanitizer are not for what C programs are linked with.
    succeed(
        Command::new(env!("CARGO"))
            .args(["build", "--package", "cenote-njs", "--target-dir"])
            .arg(&target)
            .current_dir(here())
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET")
            .env("RUSTFLAGS", flags),
    );
    target.join("debug/libcenote_njs.a")
}

pub(crate) fn plain_library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| library("plain", ""))
}

/// The library whose pools tell AddressSanitizer what is free in them.
pub(crate) fn asan_library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    // Without gaps behind objects: njs's counts of blocks are exact.
    LIBRARY.get_or_init(|| library("asan", "--cfg cenote_asan --cfg cenote_no_gaps"))
}

/// The C compiler, warnings being errors.
fn compiler() -> Command {
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-pthread"]);
    cc
}

/// Compiles and links C files.
pub(crate) fn compile(name: &str, sources: &[PathBuf], flags: &[&str], library: &Path) -> PathBuf {
    let program = scratch("bin").join(name);
    succeed(compiler().args(flags).args(sources).arg("-o").arg(&program).arg(library).args(SYSTEM));
    program
}

/// A shared library with njs's functions, to be loaded before another one that has them.
pub(crate) fn shared(name: &str, library: &Path) -> PathBuf {
    let shared = scratch("bin").join(name);
    succeed(
        compiler()
            .args(["-shared", "-o"])
            .arg(&shared)
            .arg("-Wl,--whole-archive")
            .arg(library)
            .arg("-Wl,--no-whole-archive")
            .args(SYSTEM),
    );
    shared
}

/// Whether the C compiler can link programs with AddressSanitizer.
pub(crate) fn has_asan() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(probe_asan)
}

fn probe_asan() -> bool {
    let source = scratch("bin").join("empty.c");
    std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let program = scratch("bin").join("empty");
    let linked = compiler().arg("-fsanitize=address").arg(source).arg("-o").arg(&program).output();
    linked.is_ok_and(|output| output.status.success())
        && Command::new(program).output().is_ok_and(|output| output.status.success())
}
