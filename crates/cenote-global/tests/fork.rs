//! Processes that fork while their threads are at work.

mod common;

use cenote_global::{Global, raw};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[global_allocator]
static GLOBAL: Global = Global::new();

fn some_work(rounds: usize) -> bool {
    let mut random = common::Random(rounds as u64 + 1);
    let mut objects: Vec<Vec<u8>> = Vec::new();
    for _ in 0..rounds {
        if objects.len() < 100 {
            let shift = random.below(16);
            objects.push(vec![5; random.below(1 << shift)]);
        } else {
            let place = random.below(100);
            let object = objects.swap_remove(place);
            let ends = object.len().min(32);
            if object[..ends].iter().chain(&object[object.len() - ends..]).any(|byte| *byte != 5) {
                return false;
            }
        }
    }
    true
}

/// Forks; the child does this, and ends well if it says so, without the test program's own end.
fn forked(body: impl FnOnce() -> bool) -> libc::pid_t {
    // SAFETY: the child uses what it has of this program alone, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // What hangs is ended.
        // SAFETY: a timer.
        unsafe { libc::alarm(60) };
        let well = body();
        // SAFETY: ends the child.
        unsafe { libc::_exit(if well { 0 } else { 1 }) };
    }
    child
}

fn ends_well(child: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: a place for the status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

#[test]
fn a_thousand_children_of_a_process_with_busy_threads_all_work_and_none_hangs() {
    if !common::is_child("busy") {
        common::well(
            "a_thousand_children_of_a_process_with_busy_threads_all_work_and_none_hangs",
            "busy",
        );
        return;
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(some_work(200));
                }
            });
        }
        for number in 0..1000 {
            // Nor does this process hang.
            // SAFETY: a timer.
            unsafe { libc::alarm(30) };
            let child = forked(|| {
                let mut well = some_work(200);
                if number % 10 == 0 {
                    // Threads in the child, and a child of its own.
                    let threads: Vec<_> =
                        (0..2).map(|_| thread::spawn(|| some_work(200))).collect();
                    well &= ends_well(forked(|| some_work(200)));
                    well &= threads.into_iter().all(|thread| thread.join().unwrap());
                }
                well
            });
            assert!(ends_well(child), "child {number}");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn objects_of_every_thread_are_whole_in_the_child_and_can_be_freed_there() {
    if !common::is_child("whole") {
        common::well(
            "objects_of_every_thread_are_whole_in_the_child_and_can_be_freed_there",
            "whole",
        );
        return;
    }
    let made = thread::spawn(|| (0..5000).map(|size| vec![9_u8; size]).collect::<Vec<_>>());
    let mut made = made.join().unwrap();
    let child = forked(|| {
        let well = made.drain(..).all(|bytes| bytes.iter().all(|byte| *byte == 9));
        well && some_work(10_000)
    });
    assert!(ends_well(child));
    assert!(made.iter().all(|bytes| bytes.iter().all(|byte| *byte == 9)));
}

extern "C" fn allocating() {
    let objects: Vec<_> = (0..100).map(|size| raw::alloc(size * 100)).collect();
    for start in objects {
        // SAFETY: nobody uses it.
        unsafe { raw::free(start) };
    }
}

#[test]
fn handlers_of_fork_may_allocate_wherever_they_come() {
    if !common::is_child("handlers") {
        common::well("handlers_of_fork_may_allocate_wherever_they_come", "handlers");
        return;
    }
    // SAFETY: functions of this program.
    unsafe { libc::pthread_atfork(Some(allocating), Some(allocating), Some(allocating)) };
    for _ in 0..50 {
        assert!(ends_well(forked(|| some_work(200))));
        assert!(some_work(200));
    }
}
