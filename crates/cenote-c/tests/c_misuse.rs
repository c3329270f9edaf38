//! The table of misuse in `tests/c/misuse.c`: each case in a process of its own, under each policy.

#![cfg(unix)]

mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use support::{Link, compile, plain, succeed};

const SIGABRT: i32 = 6;

/// The cases, and whether each is misuse.
fn cases(program: &PathBuf) -> Vec<(String, bool)> {
    let out = succeed(plain(program).arg("list"));
    let cases: Vec<_> = String::from_utf8(out.stdout)
        .expect("text")
        .lines()
        .map(|line| line.split_once(' ').expect("a name and what it is"))
        .map(|(name, what)| (name.to_owned(), what == "misuse"))
        .collect();
    assert!(cases.len() > 70, "only {} cases", cases.len());
    cases
}

fn run(program: &PathBuf, case: &str, policy: &str) -> (Output, String) {
    let out = plain(program).args([case, policy]).output().expect("it runs");
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    (out, told)
}

#[test]
fn by_default_misuse_is_reported_and_ends_the_process() {
    let program = compile("tests/c/misuse.c", Link::Static, "abort");
    for (case, misuse) in cases(&program) {
        let (out, told) = run(&program, &case, "abort");
        if misuse {
            assert_eq!(out.status.signal(), Some(SIGABRT), "{case}: {out:?}");
            assert!(told.starts_with("cenote: ") && told.lines().count() == 1, "{case}: {told}");
        } else {
            assert!(out.status.success() && told.is_empty(), "{case}: {out:?}");
        }
    }
}

#[test]
fn under_the_other_policies_it_has_a_code_and_changes_nothing() {
    let program = compile("tests/c/misuse.c", Link::Static, "survive");
    for (case, misuse) in cases(&program) {
        let (out, told) = run(&program, &case, "return");
        assert!(out.status.success() && told.is_empty(), "{case}: {out:?}");
        let (out, told) = run(&program, &case, "report");
        assert!(out.status.success(), "{case}: {out:?}");
        assert_eq!(!told.is_empty(), misuse, "{case}: {told}");
        assert!(told.lines().all(|line| line.starts_with("cenote: ")), "{case}: {told}");
    }
}

#[test]
fn the_first_byte_behind_an_object_of_any_size_is_looked_at_by_the_canary_in_every_pool() {
    let program = compile("tests/c/exact.c", Link::Static, "canary");
    succeed(plain(&program).env("CENOTE_DEBUG", "canary").arg("canary"));
    // Nothing is behind objects without it, so the test above can fail.
    let out = plain(&program).arg("canary").output().expect("it runs");
    assert_eq!(out.status.code(), Some(1), "{out:?}");
}

#[test]
fn what_a_level_of_checking_finds_is_misuse() {
    let program = compile("tests/c/levels.c", Link::Static, "levels");
    for (level, wrong) in [("canary", "overrun"), ("quarantine", "written")] {
        for pool in ["pool", "counted", "chunk"] {
            let run = |policy| {
                let mut run = Command::new(&program);
                run.env("CENOTE_DEBUG", level).args([wrong, pool, policy]);
                run.output().expect("it runs")
            };
            let out = run("report");
            assert!(out.status.success() && out.stderr.is_empty(), "{level} {pool}: {out:?}");
            let out = run("abort");
            let told = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.signal(), Some(SIGABRT), "{level} {pool}: {out:?}");
            assert!(
                told.starts_with("cenote: pool of C") && told.contains(": bad write: "),
                "{level} {pool}: {told}"
            );
        }
    }
}
