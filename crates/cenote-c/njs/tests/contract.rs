//! njs's contract, driven from C: the cases in `tests/c`, each by itself and all of them under
//! valgrind and AddressSanitizer.

mod support;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use support::{asan_library, compile, has, has_asan, here, plain_library, skipped, succeed};

/// The files of the test program.
fn sources() -> Vec<PathBuf> {
    let files = ["main", "check", "configurations", "sizes", "blocks", "cleanups", "bad_frees"];
    files.iter().map(|file| here().join("tests/c").join(file).with_extension("c")).collect()
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compile("contract", &sources(), &[], plain_library()))
}

/// A program for whose pools no level is on (see `cenote::debug`), whatever there is for others.
fn plain(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("CENOTE_DEBUG");
    command
}

/// The cases that are about pages and clusters, of which there are none at any level; and one with
/// objects of 4 GiB, which would be filled and looked through.
const PLAIN: [&str; 7] = [
    "sizes_just_below_the_limit_are_had_or_refused_without_harm",
    "a_cluster_has_as_many_pages_as_its_size_says",
    "a_page_has_as_many_chunks_as_its_size_says",
    "an_object_above_a_page_is_a_block_of_its_own",
    "an_emptied_cluster_does_not_show",
    "a_page_that_empties_serves_other_sizes",
    "a_cleanup_keeps_its_pool_from_being_empty",
];

macro_rules! cases {
    ($($name:ident)*) => {
        const CASES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                let name = stringify!($name);
                let mut case = if PLAIN.contains(&name) {
                    plain(program())
                } else {
                    Command::new(program())
                };
                succeed(case.arg(name));
            }
        )*
    };
}

cases! {
    every_valid_configuration_is_accepted_and_works
    every_invalid_configuration_is_refused
    fast_create_makes_a_working_pool_of_any_sizes
    a_new_pool_is_empty_and_tells_its_sizes
    every_size_up_to_two_pages_and_one_can_be_had_and_freed_in_any_order
    every_alignment_up_to_4096_is_kept_at_every_size
    an_alignment_that_is_no_power_of_two_is_refused
    an_alignment_of_zero_is_any_alignment
    no_bytes_are_an_object_like_any_other
    zeroed_memory_is_zero_where_other_objects_were_before
    sizes_of_4_gib_less_one_and_more_are_refused
    sizes_just_below_the_limit_are_had_or_refused_without_harm
    alignments_that_no_memory_has_are_refused
    a_cluster_has_as_many_pages_as_its_size_says
    a_page_has_as_many_chunks_as_its_size_says
    an_object_above_a_page_is_a_block_of_its_own
    an_emptied_cluster_does_not_show
    a_page_that_empties_serves_other_sizes
    large_objects_come_and_go_in_any_order
    mixed_sizes_come_and_go_in_any_order
    objects_that_come_and_go_at_random_keep_their_content
    a_pool_destroyed_with_objects_in_it_leaves_nothing
    pools_on_several_threads_and_from_one_to_another
    cleanups_run_last_in_first_out
    a_cleanup_has_the_data_that_was_asked_for
    a_cleanup_without_a_handler_is_skipped
    cleanups_are_linked_from_the_newest_to_the_oldest
    a_cleanup_added_while_the_pool_is_destroyed_runs
    a_cleanup_may_use_the_pool
    a_handler_changed_or_cleared_before_the_end_counts
    a_pool_destroyed_by_its_own_cleanup_is_destroyed_once
    a_cleanup_whose_data_cannot_be_had_is_not_added
    a_cleanup_keeps_its_pool_from_being_empty
    freeing_null_is_fine
    a_foreign_free_is_counted_and_harmless
    a_free_inside_an_object_is_counted_and_harmless
    a_double_free_is_counted_and_harmless
    a_free_in_another_pool_is_counted_and_harmless
    a_free_in_an_emptied_page_is_counted_and_harmless
    a_free_of_a_cleanup_is_counted_and_harmless
    a_free_anywhere_in_and_around_a_cluster_is_counted_and_harmless
    wrong_frees_among_right_ones_change_nothing
    no_pool_is_met_everywhere
}

#[test]
fn every_case_of_the_c_program_is_a_test_here() {
    let listed = succeed(Command::new(program()).arg("--list"));
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().collect::<Vec<_>>(), CASES);
    assert!(PLAIN.iter().all(|case| CASES.contains(case)));
}

#[test]
fn the_library_exports_njs_s_eleven_functions() {
    if !has("nm") {
        return skipped("no nm, so what the library exports is not listed");
    }
    let symbols = succeed(Command::new("nm").args(["--defined-only", "-g"]).arg(plain_library()));
    let symbols = String::from_utf8_lossy(&symbols.stdout).into_owned();
    let mut names: Vec<_> = symbols
        .lines()
        .filter_map(|line| line.split(" T ").nth(1))
        .filter(|name| name.starts_with("njs_") || name.starts_with("cenote_"))
        .collect();
    names.sort_unstable();
    let expected = [
        "cenote_njs_bad_frees",
        "njs_mp_align",
        "njs_mp_alloc",
        "njs_mp_cleanup_add",
        "njs_mp_create",
        "njs_mp_destroy",
        "njs_mp_fast_create",
        "njs_mp_free",
        "njs_mp_is_empty",
        "njs_mp_stat",
        "njs_mp_zalign",
        "njs_mp_zalloc",
    ];
    assert_eq!(names, expected);
}

#[test]
fn wrong_frees_are_reported_the_first_ones_one_by_one() {
    let case = "a_free_inside_an_object_is_counted_and_harmless";
    let said = String::from_utf8(succeed(plain(program()).arg(case)).stderr).unwrap();
    let reports: Vec<_> = said.lines().filter(|line| line.starts_with("cenote: ")).collect();
    assert!(reports[0].starts_with("cenote: njs pool 0x"), "{}", reports[0]);
    assert!(
        reports[0].ends_with(" is not the start of an object (wrong free 1)"),
        "{}",
        reports[0]
    );
    assert!(reports[15].ends_with("(wrong free 16)"), "{}", reports[15]);
    assert!(reports[16].ends_with("(wrong free 32)"), "{}", reports[16]);
    assert!(reports.len() < 40, "{} reports", reports.len());
}

/// Whether levels are on: then what runs without them anyhow has run before.
fn watched() -> bool {
    std::env::var_os("CENOTE_DEBUG").is_some_and(|levels| !levels.is_empty())
}

#[test]
fn all_cases_are_clean_under_valgrind() {
    if watched() {
        return skipped("levels of checking are on, so the C tests do not run under valgrind");
    }
    if !has("valgrind") {
        return skipped("no valgrind, so the C tests do not run under it");
    }
    let checks = ["--error-exitcode=9", "--leak-check=full", "--quiet"];
    succeed(plain("valgrind").args(checks).arg(program()).env("UNDER_VALGRIND", "1"));
}

#[test]
fn all_cases_are_clean_under_address_sanitizer() {
    if watched() {
        return skipped("levels of checking are on, so the C tests do not run under ASan");
    }
    if !has_asan() {
        return skipped("no AddressSanitizer, so the C tests do not run under it");
    }
    let program = compile("contract-asan", &sources(), &["-fsanitize=address"], asan_library());
    // Sizes that nobody can have are asked for.
    succeed(plain(program).env("ASAN_OPTIONS", "allocator_may_return_null=1"));
}

#[test]
fn address_sanitizer_sees_what_is_done_to_a_freed_object() {
    if !has_asan() {
        return skipped("no AddressSanitizer, so it is not seen to find anything");
    }
    let source = here().join("tests/c/use_after_free.c");
    let program = compile("use-after-free", &[source], &["-fsanitize=address"], asan_library());
    succeed(plain(&program).arg("before"));
    let output = plain(&program).arg("after").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("use-after-poison"), "{said}");
}
