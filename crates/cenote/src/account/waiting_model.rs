//! What loom checks of waiting for room: that whoever waits is woken, whatever the threads' order,
//! and that one who gives up leaves nothing. A wake-up that is lost is a model that never ends,
//! which loom tells as a deadlock.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p cenote --lib account::waiting_model`

use super::model::{check_to, give, pool_on, spawn, take};
use super::{Account, Reservation, Reserve};
use crate::AllocError;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use loom::sync::Notify;

struct Task(Notify);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

fn task() -> (Arc<Task>, Waker) {
    let task = Arc::new(Task(Notify::new()));
    (task.clone(), Waker::from(task))
}

/// Waits until there is an answer.
fn wait(future: Reserve) -> Result<Reservation, AllocError> {
    let (task, waker) = task();
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => task.0.wait(),
        }
    }
}

fn poll(future: &mut Reserve, waker: &Waker) -> Poll<Result<Reservation, AllocError>> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn who_waits_for_a_shared_account_is_woken_by_a_block_that_goes() {
    check_to(3, || {
        let root = Account::root("root").with_limit(Some(5000));
        let charged = root.clone();
        let other = spawn(move || {
            let pool = pool_on(&charged);
            if let Some(block) = take(&pool, 3000) {
                give(&pool, block);
            }
        });
        let reserved = wait(root.reserve(4000)).unwrap();
        other.join().unwrap();
        assert_eq!((root.held(), reserved.bytes(), root.waiting()), (4000, 4000, 0));
        drop(reserved);
        assert_eq!((root.held(), root.reserved()), (0, 0));
    });
}

#[test]
fn who_waits_for_an_account_is_woken_by_its_owner_who_credits_by_plain_stores() {
    // With three interruptions it takes minutes.
    check_to(2, || {
        let root = Account::root("root");
        let child = root.child("child").with_limit(Some(5000));
        let charged = child.clone();
        let other = spawn(move || {
            let pool = pool_on(&charged);
            if let Some(block) = take(&pool, 3000) {
                give(&pool, block);
            }
            drop(pool);
        });
        let reserved = wait(child.reserve(4000)).unwrap();
        other.join().unwrap();
        assert_eq!((child.held(), reserved.bytes()), (4000, 4000));
    });
}

#[test]
fn what_a_thread_would_keep_in_reserve_goes_to_who_waits() {
    check_to(2, || {
        // So large a limit has quanta, which threads would keep.
        const LIMIT: usize = 64 << 20;
        let root = Account::root("root").with_limit(Some(LIMIT));
        let charged = root.clone();
        let other = spawn(move || {
            let pool = pool_on(&charged);
            if let Some(block) = take(&pool, 4096) {
                give(&pool, block);
            }
        });
        let reserved = wait(root.reserve(LIMIT)).unwrap();
        other.join().unwrap();
        assert_eq!((root.held(), reserved.bytes()), (LIMIT, LIMIT));
    });
}

#[test]
fn a_higher_limit_is_room_too() {
    check_to(3, || {
        let root = Account::root("root").with_limit(Some(5000));
        let first = root.try_reserve(3000).unwrap();
        let limited = root.clone();
        let other = spawn(move || limited.set_limit(Some(7000)));
        let second = wait(root.reserve(4000)).unwrap();
        other.join().unwrap();
        assert_eq!((first.bytes(), second.bytes(), root.held()), (3000, 4000, 7000));
    });
}

#[test]
fn a_lower_limit_is_told_to_who_can_never_have_as_much() {
    check_to(3, || {
        let root = Account::root("root").with_limit(Some(5000));
        let _first = root.try_reserve(3000).unwrap();
        let limited = root.clone();
        let other = spawn(move || limited.set_limit(Some(3500)));
        let error = wait(root.reserve(4000)).unwrap_err();
        other.join().unwrap();
        assert_eq!((error.account(), root.held(), root.waiting()), (Some(&root), 3000, 0));
    });
}

#[test]
fn who_gives_up_while_he_is_granted_leaves_nothing_and_the_next_is_served() {
    check_to(2, || {
        let root = Account::root("root").with_limit(Some(5000));
        let first = root.try_reserve(3000).unwrap();
        let (_, waker) = task();
        let mut impatient = root.reserve(4000);
        assert!(poll(&mut impatient, &waker).is_pending());
        let mut next = root.reserve(4500);
        let (task, waker) = task();
        assert!(poll(&mut next, &waker).is_pending(), "it stands behind the other");
        let other = spawn(move || drop(first));
        drop(impatient);
        let next = loop {
            match poll(&mut next, &waker) {
                Poll::Ready(answer) => break answer.unwrap(),
                Poll::Pending => task.0.wait(),
            }
        };
        other.join().unwrap();
        assert_eq!((root.held(), root.reserved(), root.waiting()), (4500, 4500, 0));
        drop(next);
        assert_eq!(root.held(), 0);
    });
}

#[test]
fn two_who_wait_at_once_are_both_served() {
    check_to(2, || {
        let root = Account::root("root").with_limit(Some(5000));
        let (account, first) = (root.clone(), root.try_reserve(5000).unwrap());
        let other = spawn(move || drop(wait(account.reserve(3000)).unwrap()));
        drop(first);
        drop(wait(root.reserve(4000)).unwrap());
        other.join().unwrap();
        assert_eq!((root.held(), root.reserved(), root.waiting()), (0, 0, 0));
    });
}

#[test]
fn an_attempt_that_is_refused_above_does_not_keep_another_waiting() {
    check_to(2, || {
        let root = Account::root("root").with_limit(Some(5000));
        let child = root.shared_child("child").with_limit(Some(4000));
        let first = child.try_reserve(2000).unwrap();
        let (account, above) = (child.clone(), root.try_reserve(2000).unwrap());
        // It stands in the child for a moment, before the root refuses it.
        let other = spawn(move || drop(account.try_reserve(2000)));
        drop(first);
        let reserved = wait(child.reserve(3000)).unwrap();
        other.join().unwrap();
        drop((reserved, above));
        assert_eq!((root.held(), child.held()), (0, 0));
    });
}
