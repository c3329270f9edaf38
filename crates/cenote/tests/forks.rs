//! Pools in the child of a fork, while other threads of the parent were in the middle of theirs.

#![cfg(all(target_os = "linux", not(miri), not(cenote_tsan)))]

use cenote::{Blocks, ChunkPool, CountedPool};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

unsafe extern "C" {
    fn fork() -> c_int;
    fn waitpid(child: c_int, status: *mut c_int, options: c_int) -> c_int;
    safe fn alarm(seconds: u32) -> u32;
    fn _exit(status: c_int) -> !;
}

/// Takes blocks past the thread's cache, and gives them back.
fn pools() {
    Blocks::set_cap(0);
    let counted: Vec<_> = (0..20).map(|_| CountedPool::new()).collect();
    for pool in &counted {
        assert_eq!(*pool.alloc(7), 7);
    }
    let chunks = ChunkPool::config().cluster_size(8192).build().unwrap();
    chunks.alloc_layout(std::alloc::Layout::new::<u64>());
    drop((counted, chunks));
    Blocks::trim();
}

#[test]
fn pools_in_the_child_of_a_fork_wait_for_nobody() {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    pools();
                }
            });
        }
        for round in 0..300 {
            // SAFETY: the child uses pools, and ends.
            let child = unsafe { fork() };
            if child == 0 {
                // What hangs is ended by a signal, and that is seen.
                alarm(60);
                pools();
                // SAFETY: ends the child at once.
                unsafe { _exit(0) };
            }
            let mut status = -1;
            // SAFETY: waits for the child.
            assert_eq!(unsafe { waitpid(child, &raw mut status, 0) }, child);
            if status != 0 {
                stop.store(true, Relaxed);
            }
            assert_eq!(status, 0, "child {round}");
        }
        stop.store(true, Relaxed);
    });
}
