//! The C programs in `tests/c` and the example: compiled with every warning an error, run against
//! the static and the shared library, under valgrind and under AddressSanitizer.

mod support;

use std::process::Command;
use support::{Link, compile, compiler, crate_dir, has, library, output, plain, succeed};

/// Each passes where it exits with 0.
const PROGRAMS: [(&str, &[&str]); 11] = [
    ("tests/c/pool.c", &[]),
    ("tests/c/counted_and_chunk.c", &[]),
    ("tests/c/buddy.c", &[]),
    ("tests/c/account.c", &[]),
    ("tests/c/reservation.c", &[]),
    ("tests/c/sizes.c", &[]),
    ("tests/c/realloc.c", &[]),
    ("tests/c/report.c", &[]),
    ("tests/c/mp.c", &[]),
    ("tests/c/threads.c", &[]),
    ("tests/c/misuse.c", &["all", "return"]),
];

#[test]
fn c_programs_run_with_the_static_library() {
    for (source, arguments) in PROGRAMS {
        succeed(plain(compile(source, Link::Static, "static")).args(arguments));
    }
}

#[test]
fn small_objects_are_placed_without_a_call_and_all_else_is_left_to_the_library() {
    let wrapped = |variant: &str, more: &[&str]| {
        let program = output(&format!("inline-{variant}"));
        let mut build = compiler(false);
        build.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wl,--wrap=cenote_pool_alloc"]);
        build.args(more).arg("-I").arg(crate_dir().join("include"));
        build.arg(crate_dir().join("tests/c/inline.c")).arg(library("libcenote_c.a"));
        succeed(build.args(["-lpthread", "-ldl", "-lm", "-o"]).arg(&program));
        plain(program).output().expect("it runs")
    };
    if !cfg!(all(target_os = "linux", target_pointer_width = "64")) {
        eprintln!("SKIPPED: the header's short way is looked at on 64-bit Linux");
        return;
    }
    for (variant, more) in [("plain", &[][..]), ("optimised", &["-O2"])] {
        let out = wrapped(variant, more);
        assert!(out.status.success(), "{variant}: {out:?}");
    }
    // Without it every object is a call, so the test above can fail.
    let out = wrapped("calls", &["-DCENOTE_NO_INLINE"]);
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && told.contains("calls is 100, not 1"), "{out:?}");
}

#[test]
fn c_programs_run_by_calls_alone() {
    for (source, arguments) in PROGRAMS {
        succeed(plain(compile(source, Link::Calls, "calls")).args(arguments));
    }
}

#[test]
fn c_programs_run_with_the_shared_library() {
    for (source, arguments) in PROGRAMS {
        succeed(plain(compile(source, Link::Shared, "shared")).args(arguments));
    }
}

#[test]
fn valgrind_finds_no_error_and_no_leak_in_the_c_programs() {
    if !has("valgrind", "the C programs under valgrind") {
        return;
    }
    for (source, arguments) in PROGRAMS {
        let program = compile(source, Link::Static, "valgrind");
        let mut valgrind = plain("valgrind");
        valgrind.args(["-q", "--error-exitcode=99", "--leak-check=full", "--fair-sched=yes"]);
        succeed(valgrind.arg(program).args(arguments));
    }
}

#[test]
fn address_sanitizer_finds_nothing_in_the_c_programs() {
    let probe = output("probe.c");
    std::fs::write(&probe, "int main(void) { return 0; }").expect("the target folder is writable");
    let mut build = compiler(false);
    build.arg("-fsanitize=address").arg(&probe).arg("-o").arg(output("probe"));
    if !build.output().is_ok_and(|out| out.status.success()) {
        eprintln!("SKIPPED: no AddressSanitizer here: the C programs under it");
        return;
    }
    for (source, arguments) in PROGRAMS {
        let program = compile(source, Link::Sanitized, "asan");
        let mut run = plain(program);
        // Sizes that nobody can have are asked for, which is no mistake.
        run.env("ASAN_OPTIONS", "allocator_may_return_null=1:detect_leaks=1").args(arguments);
        let out = succeed(&mut run);
        // What is asked for in vain is told, as a warning.
        let told = String::from_utf8_lossy(&out.stderr);
        assert!(!told.contains("ERROR: "), "{source}: {told}");
    }
}

#[test]
fn sizes_and_threads_are_as_they_are_at_every_level_of_checking() {
    for source in ["tests/c/sizes.c", "tests/c/realloc.c", "tests/c/buddy.c", "tests/c/threads.c"] {
        let program = compile(source, Link::Static, "levels");
        for levels in
            ["poison", "canary", "passthrough", "guard", "quarantine", "poison,canary,guard"]
        {
            succeed(Command::new(&program).env("CENOTE_DEBUG", levels));
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn where_the_system_has_no_more_memory_calls_fail_and_pools_go_on() {
    // Not under the checkers, which need more address space than is left here.
    succeed(&mut plain(compile("tests/c/exhausted.c", Link::Static, "static")));
}

#[test]
fn the_example_shows_who_holds_what_and_refuses_what_is_too_much() {
    let out = succeed(&mut plain(compile("examples/requests.c", Link::Static, "static")));
    let text = String::from_utf8(out.stdout).expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "200 GET /small, 4096 bytes held", "{text}");
    assert_eq!(lines[1], "  end of GET /small", "{text}");
    assert!(
        lines[4].starts_with("503 GET /too-large: account process/worker-0 is at its limit of")
    );
    assert!(lines[7].trim_start().starts_with("worker-0"), "{text}");
}

#[test]
fn the_mp_scenario_prints_what_every_block_counts() {
    let out = succeed(&mut plain(compile("tests/c/mp.c", Link::Static, "printed")));
    let text = String::from_utf8(out.stdout).expect("text");
    let step = |title: &str| {
        let from =
            text.find(&format!("-- {title} --\n")).unwrap_or_else(|| panic!("{title}: {text}"));
        let rest = &text[from + title.len() + 7..];
        rest[..rest.find("-- ").unwrap_or(rest.len())].to_owned()
    };
    assert!(step("created").contains("0 blocks, 0 references"));
    let busy = step("512 bytes, 30 times");
    assert_eq!(busy.matches("refs    7").count() * 7 + busy.matches("refs    2").count() * 2, 30);
    assert_eq!(busy.matches("current").count(), 1);
    let freed = step("all 30 freed");
    assert!(freed.contains("0 references"), "{freed}");
    assert_eq!(freed.matches("refs    0").count(), freed.matches('[').count(), "{freed}");
    let large = step("5120 bytes, 10 times");
    // What each takes from the block cache, whose sizes are powers of two.
    let sizes = large.lines().last().expect("a line of sizes");
    assert!(large.contains("10 large") && sizes.matches(" 8192 B").count() == 10, "{large}");
    assert!(step("the 10 freed").contains("0 large"));
    assert!(step("reset").contains("0 references"));
    assert!(step("256 bytes, 100 times").contains("100 references"));
}

#[test]
fn the_headers_are_cpp_and_an_exception_in_a_cleanup_ends_the_process() {
    if !has("c++", "the headers in C++") {
        return;
    }
    let program = compile("tests/c/cxx.cpp", Link::Static, "cxx");
    succeed(&mut plain(&program));
    let thrown = plain(&program).arg("throw").output().expect("it runs");
    assert!(!thrown.status.success() && thrown.stdout.is_empty(), "{thrown:?}");
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(thrown.status.signal(), Some(6), "{thrown:?}");
    }
}
