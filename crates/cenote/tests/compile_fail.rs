//! Proves that the compiler refuses what would be wrong, and takes what is right: each program
//! in `compile_fail` for the reason that its second line gives, each in `compile_pass` without
//! complaint.
//!
//! The texts of errors change from one compiler to the next, and must not stop anybody from
//! using another one. So they are compared, as they stand in `.stderr`, on one version only; on
//! another this says that it was skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiler whose words stand in the `.stderr` files. To take another's: change this, and
/// run `TRYBUILD=overwrite cargo test --test compile_fail`.
const WORDS_OF: &str = "rustc 1.95.";

fn compiler() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// The programs that are to fail, by name.
fn programs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension() == Some("rs".as_ref())).collect();
    paths.sort();
    assert!(paths.len() >= 15, "{} programs", paths.len());
    paths
}

/// Whether errors show lines of the standard library, which is where its source is installed.
fn shows_sources_of_std() -> bool {
    let output = compiler().args(["--print", "sysroot"]).output().expect("there is a compiler");
    let root = String::from_utf8_lossy(&output.stdout);
    Path::new(root.trim()).join("lib/rustlib/src/rust/library").exists()
}

#[test]
fn what_is_right_compiles_and_what_is_wrong_does_not_in_the_words_of_one_compiler() {
    let version = compiler().arg("--version").output().expect("there is a compiler");
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile_pass/*.rs");
    if !String::from_utf8_lossy(&version.stdout).starts_with(WORDS_OF) || shows_sources_of_std() {
        println!("SKIPPED: the words of errors are those of {WORDS_OF} without its sources");
        return;
    }
    for program in programs() {
        // Its error lists the allocators that there are.
        let lists_allocators = program.ends_with("owned_pool_as_allocator.rs");
        if lists_allocators && cfg!(any(feature = "allocator-api2-04", cenote_allocator)) {
            continue;
        }
        if program.ends_with("shared_chain_frozen_with_a_loan.rs") && !cfg!(feature = "bytes") {
            println!("SKIPPED: {} needs the feature bytes", program.display());
            continue;
        }
        cases.compile_fail(program);
    }
}
