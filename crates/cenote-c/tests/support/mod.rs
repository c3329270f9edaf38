//! What the tests share: the built libraries, a C compiler, and tools that may be missing.

#![allow(dead_code, reason = "each test uses a part")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The crate's folder.
pub(crate) fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A library of this crate as cargo has just built it: next to the test's own executable.
pub(crate) fn library(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let library = test.with_file_name(name);
    assert!(library.is_file(), "cargo has built no {}", library.display());
    library
}

/// A place for what a test makes.
pub(crate) fn output(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The output of a command that must succeed.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// A compiled program, to be run without any level of checking, whatever cargo is run with: how
/// objects lie is asserted.
pub(crate) fn plain(program: impl AsRef<OsStr>) -> Command {
    let mut run = Command::new(program);
    run.env_remove("CENOTE_DEBUG");
    run
}

/// How a program is linked.
#[derive(Clone, Copy)]
pub(crate) enum Link {
    Static,
    /// The same without the header's short ways.
    Calls,
    Shared,
    /// With AddressSanitizer, and the static library.
    Sanitized,
}

/// Compiles a program of this crate, with every warning an error; `variant` makes its name.
pub(crate) fn compile(source: &str, link: Link, variant: &str) -> PathBuf {
    let source = crate_dir().join(source);
    let is_cpp = source.extension() == Some(OsStr::new("cpp"));
    let stem = source.file_stem().and_then(OsStr::to_str).expect("a name");
    let program = output(&format!("{stem}-{variant}"));
    let mut compiler = compiler(is_cpp);
    compiler.args(["-Wall", "-Wextra", "-Werror", "-g"]);
    compiler.arg(if is_cpp { "-std=c++11" } else { "-std=c11" });
    compiler.arg("-I").arg(crate_dir().join("include")).arg(&source);
    match link {
        Link::Static => compiler.arg("-O2").arg(library("libcenote_c.a")),
        Link::Calls => compiler.arg("-DCENOTE_NO_INLINE").arg(library("libcenote_c.a")),
        Link::Sanitized => {
            compiler.args(["-fsanitize=address", "-fno-omit-frame-pointer"]);
            compiler.arg(library("libcenote_c.a"))
        }
        Link::Shared => {
            let shared = library("libcenote_c.so");
            let folder = shared.parent().expect("it is in a folder").display().to_string();
            compiler.arg(&shared).arg(format!("-Wl,-rpath,{folder}"))
        }
    };
    succeed(compiler.args(["-lpthread", "-ldl", "-lm"]).arg("-o").arg(&program));
    program
}

pub(crate) fn compiler(is_cpp: bool) -> Command {
    let (variable, default) = if is_cpp { ("CXX", "c++") } else { ("CC", "cc") };
    Command::new(std::env::var_os(variable).unwrap_or(default.into()))
}

/// Whether a tool is there; if not, says what is skipped for it.
pub(crate) fn has(tool: &str, skipped: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success());
    if !found {
        eprintln!("SKIPPED: no {tool} here: {skipped}");
    }
    found
}
