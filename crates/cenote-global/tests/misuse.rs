//! Wrong frees end the process with words that name them, in release builds, too; and so does an
//! allocation in a signal handler that came in the middle of one.

mod common;

use cenote_global::{Global, raw};
use common::{aborts, is_child};
use std::hint::black_box;

#[global_allocator]
static GLOBAL: Global = Global::new();

/// As the program that this is tested on does it.
fn free(start: *mut u8) {
    // SAFETY: wrong on purpose, in a child that is to be aborted.
    unsafe { raw::free(black_box(start)) };
}

#[test]
fn a_second_free_of_an_object_is_named() {
    const TEST: &str = "a_second_free_of_an_object_is_named";
    for size in [1, 16, 100, 1000, 5000, 32 << 10] {
        for others in [0, 1, 5, 1000] {
            let what = format!("double {size} {others}");
            if is_child(&what) {
                let start = raw::alloc(size);
                let more: Vec<_> = (0..others).map(|_| raw::alloc(size)).collect();
                free(start);
                more.into_iter().for_each(free);
                free(start);
            }
        }
    }
    let sizes = if cfg!(debug_assertions) { vec![16, 5000] } else { vec![1, 100, 1000, 32 << 10] };
    for size in sizes {
        for others in [0, 1, 5, 1000] {
            // After a thousand others, the run that it was in may be gone.
            let words = "free of 0x";
            aborts(TEST, &format!("double {size} {others}"), words);
        }
        aborts(TEST, &format!("double {size} 0"), "double free of 0x");
    }
}

#[test]
fn a_second_free_of_what_has_its_pages_for_itself_is_named() {
    const TEST: &str = "a_second_free_of_what_has_its_pages_for_itself_is_named";
    for (what, size) in [("large", 100 << 10), ("huge", 3 << 20)] {
        if is_child(what) {
            let start = raw::alloc(size);
            free(start);
            free(start);
        }
    }
    aborts(TEST, "large", "it was freed before, or never handed out");
    aborts(TEST, "huge", "freed before and given back");
}

#[test]
fn a_second_free_by_another_thread_is_named() {
    const TEST: &str = "a_second_free_by_another_thread_is_named";
    for (what, here_first) in [("here first", true), ("there first", false)] {
        if is_child(what) {
            let start = raw::alloc(64).expose_provenance();
            let kept: Vec<_> = (0..10).map(|_| raw::alloc(64)).collect();
            let there = move || {
                std::thread::spawn(move || free(std::ptr::with_exposed_provenance_mut(start)))
                    .join()
                    .unwrap();
            };
            let here = || free(std::ptr::with_exposed_provenance_mut(start));
            if here_first {
                here();
                there();
            } else {
                there();
                here();
            }
            black_box(kept);
        }
    }
    aborts(TEST, "here first", "double free of 0x");
    aborts(TEST, "there first", "double free of 0x");
}

#[test]
fn a_free_inside_of_an_object_is_named() {
    const TEST: &str = "a_free_inside_of_an_object_is_named";
    for size in [100, 1000, 5000, 100 << 10, 3 << 20] {
        for inside in [1, 8, 16, 96] {
            if is_child(&format!("inside {size} {inside}")) {
                let start = raw::alloc(size);
                let object = raw::alloc(size);
                free(object.wrapping_add(inside));
                black_box((start, object));
            }
        }
        for inside in if size == 100 { vec![8, 96] } else { vec![1, 16] } {
            aborts(TEST, &format!("inside {size} {inside}"), "inside of an object");
        }
    }
}

#[test]
fn a_free_of_the_c_librarys_memory_and_of_the_stack_is_named() {
    const TEST: &str = "a_free_of_the_c_librarys_memory_and_of_the_stack_is_named";
    if is_child("theirs") {
        // SAFETY: the C library's own allocator.
        free(unsafe { libc::malloc(100) }.cast());
    }
    if is_child("stack") {
        let mut local = [0_u8; 64];
        free(local.as_mut_ptr());
    }
    if is_child("nowhere") {
        free(std::ptr::without_provenance_mut(usize::MAX - 63));
    }
    for what in ["theirs", "stack", "nowhere"] {
        aborts(TEST, what, "of another allocator in the process (the C library's own");
    }
}

#[test]
fn a_change_of_the_size_of_what_is_no_object_is_named() {
    const TEST: &str = "a_change_of_the_size_of_what_is_no_object_is_named";
    if is_child("resize") {
        let mut local = [0_u8; 64];
        // SAFETY: wrong on purpose.
        let _ = black_box(unsafe { raw::realloc(local.as_mut_ptr(), 100) });
    }
    aborts(TEST, "resize", "free of 0x");
}

#[test]
fn an_object_of_a_freed_ones_bytes_is_freed_as_any_other() {
    // What is copied from freed memory by a program that does so has a mark of another place.
    let (a, b) = (raw::alloc(64), raw::alloc(64));
    free(a);
    let again = raw::alloc(64);
    assert_eq!(again, a);
    // SAFETY: two objects.
    unsafe { std::ptr::copy_nonoverlapping(again, b, 64) };
    free(b);
    free(again);
}

/// Allocates whenever the timer's signal comes.
extern "C" fn handler(_: libc::c_int) {
    for size in [16, 100, 1000, 40_000] {
        free(raw::alloc(size));
    }
}

#[test]
fn a_signal_handler_that_allocates_in_the_middle_of_an_allocation_aborts_and_breaks_nothing() {
    const TEST: &str =
        "a_signal_handler_that_allocates_in_the_middle_of_an_allocation_aborts_and_breaks_nothing";
    if is_child("signals") {
        let every = libc::timeval { tv_sec: 0, tv_usec: 50 };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        let handler: extern "C" fn(libc::c_int) = handler;
        // SAFETY: a handler of the right kind.
        unsafe { libc::signal(libc::SIGALRM, handler as *const () as libc::sighandler_t) };
        // SAFETY: a timer that is there.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
        // Never an object that somebody else has: each has its own number until it goes.
        let mut objects: Vec<(*mut u64, u64)> = Vec::new();
        for number in 0.. {
            let start = raw::alloc(64).cast::<u64>();
            // SAFETY: 64 bytes of ours.
            unsafe { start.write(number) };
            objects.push((start, number));
            if objects.len() == 100 {
                for (start, number) in objects.drain(..) {
                    // SAFETY: as above.
                    assert_eq!(unsafe { start.read() }, number);
                    free(start.cast());
                }
            }
        }
    }
    aborts(TEST, "signals", "in a signal handler that came in the middle of one");
}
