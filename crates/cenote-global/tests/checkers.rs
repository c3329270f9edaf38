//! Under valgrind all goes to the system's allocator, so that it sees each object. And what a pair of
//! calls costs in instructions, which valgrind counts.

mod common;

use cenote_global::{Global, raw};
use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;
use std::process::Command;

#[global_allocator]
static GLOBAL: Global = Global::new();

/// This test program under valgrind, doing this; `None` where there is no valgrind.
fn valgrind(test: &str, what: &str, options: &[&str]) -> Option<Command> {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|out| out.status.success()) {
        eprintln!("SKIPPED: there is no valgrind here");
        return None;
    }
    let mut command = Command::new("valgrind");
    command.args(options).arg(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env("CENOTE_GLOBAL_CHILD", what);
    Some(command)
}

#[test]
fn valgrind_sees_each_object_that_is_lost() {
    const TEST: &str = "valgrind_sees_each_object_that_is_lost";
    if common::is_child("lost") {
        let start = raw::alloc(12_345);
        black_box(start);
        return;
    }
    let options = ["--leak-check=full", "--show-leak-kinds=definite"];
    let Some(mut command) = valgrind(TEST, "lost", &options) else { return };
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("12,345 bytes in 1 blocks"), "{said}");
}

/// Instructions of the whole process that frees and allocates so many times.
fn counted(test: &str, pairs: usize) -> Option<u64> {
    let mut command = valgrind(test, "pairs", &["--tool=none", "--trace-children=no"])?;
    // callgrind counts; its file is of no use here.
    command = {
        let mut counting = Command::new("valgrind");
        counting.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        counting.args(command.get_args().skip(2));
        counting.env("CENOTE_GLOBAL_CHILD", "pairs").env("CENOTE_MALLOC", "pass:0");
        counting.env("CENOTE_GLOBAL_PAIRS", pairs.to_string());
        counting
    };
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    let count = said.lines().find_map(|line| line.split("Collected : ").nth(1));
    Some(count.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("{said}")))
}

#[test]
fn freeing_and_allocating_16_to_256_bytes_is_at_most_so_many_instructions() {
    const TEST: &str = "freeing_and_allocating_16_to_256_bytes_is_at_most_so_many_instructions";
    if common::is_child("pairs") {
        let pairs = std::env::var("CENOTE_GLOBAL_PAIRS").unwrap().parse().unwrap();
        let mut random = common::Random(3);
        // SAFETY: a power of two, and sizes far from the largest.
        let layout = |size| unsafe { Layout::from_size_align_unchecked(size, 8) };
        let new = |size: usize| {
            // SAFETY: a layout with bytes.
            unsafe { alloc(layout(size)) }
        };
        let mut live: Vec<*mut u8> = (0..4096).map(|_| new(16 + random.below(241))).collect();
        for _ in 0..pairs {
            let bits = random.next() as usize;
            let place = &mut live[bits & 4095];
            // SAFETY: nobody uses it; this allocator needs no more than the address.
            unsafe { dealloc(*place, Layout::new::<u64>()) };
            *place = new(16 + (bits >> 12) % 241);
        }
        return;
    }
    // In a debug build nothing is inlined.
    if cfg!(debug_assertions) {
        return;
    }
    let (Some(few), Some(many)) = (counted(TEST, 100_000), counted(TEST, 600_000)) else { return };
    let each = (many - few) / 500_000;
    eprintln!("{each} instructions for a pair, the loop included");
    assert!(each <= MOST, "{each} instructions");
}

/// Some 25 of them are the loop's own.
const MOST: u64 = 102;
