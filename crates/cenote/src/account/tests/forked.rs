//! What the child of a fork may find locked, and does without.

use crate::{Account, Pool, System};
use alloc::vec::Vec;
use std::sync::Barrier;
use std::thread;

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(child: i32, status: *mut i32, options: i32) -> i32;
    safe fn alarm(seconds: u32) -> u32;
    safe fn _exit(status: i32) -> !;
}

#[test]
fn a_charge_in_the_child_waits_for_no_list_that_was_locked_at_the_fork() {
    let root = Account::root("root");
    let use_pool = |account: &Account| {
        let pool = Pool::builder().source(System).account(account).build().unwrap();
        pool.try_alloc([0_u64; 100]).is_ok()
    };
    let other = root.shared_child("other");
    // Nobody else has it but the thread's reserve.
    assert!(use_pool(&root.shared_child("elsewhere")));
    let (locked, forked) = (Barrier::new(2), Barrier::new(2));
    let status = thread::scope(|scope| {
        scope.spawn(|| {
            let _list = root.node().family.lock();
            locked.wait();
            forked.wait();
        });
        locked.wait();
        // SAFETY: the child uses nothing but a pool on an account that was there, and the allocator,
        // which is made for that, and leaves by `_exit`.
        let child = unsafe { fork() };
        if child == 0 {
            alarm(20);
            // The reserve moves on to the other account.
            _exit(i32::from(!use_pool(&other)));
        }
        let mut status = 0;
        // SAFETY: a child of this process, and a place for its status.
        unsafe { waitpid(child, &raw mut status, 0) };
        forked.wait();
        status
    });
    assert_eq!(status, 0, "it waits for ever");
    // Where nobody had the lock, the account ends with its reserve.
    assert!(use_pool(&other));
    let names: Vec<_> = root.snapshot().children.iter().map(|child| child.name.clone()).collect();
    assert_eq!(names, ["other"]);
}
