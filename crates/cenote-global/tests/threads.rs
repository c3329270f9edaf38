//! Threads that come and go, and what they leave.

mod common;

use cenote_global::{Global, raw, stats, trim};
use std::cell::RefCell;
use std::thread;

#[global_allocator]
static GLOBAL: Global = Global::new();

#[test]
fn ten_thousand_threads_leave_no_more_memory_than_a_hundred() {
    if !common::is_child("many") {
        common::well("ten_thousand_threads_leave_no_more_memory_than_a_hundred", "many");
        return;
    }
    let some = |count: usize| {
        for _ in 0..count / 4 {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    thread::spawn(|| {
                        let many: Vec<Vec<u8>> = (0..500).map(|size| vec![1; size]).collect();
                        many.len()
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 500));
        }
        common::resident()
    };
    let first = some(100);
    let last = some(10_000);
    assert!(last < first + (2 << 20), "{first} bytes after 100, {last} after 10,000");
}

/// Frees and allocates in its destructor.
struct Late(Vec<u8>);

impl Drop for Late {
    fn drop(&mut self) {
        self.0 = vec![7; 3000];
        drop(std::mem::take(&mut self.0));
    }
}

thread_local! {
    static LATE: RefCell<Late> = const { RefCell::new(Late(Vec::new())) };
}

/// Called by the C library after the heap of the thread went to others: in the last round.
extern "C" fn last(value: *mut libc::c_void) {
    // SAFETY: the number of rounds that there were.
    let rounds = unsafe { value.cast::<usize>().read() };
    let object = raw::alloc(3000);
    // SAFETY: an object of ours.
    unsafe { raw::free(object) };
    if rounds == 4 {
        // SAFETY: the thread's own object.
        unsafe { raw::free(value.cast()) };
        return;
    }
    // SAFETY: as above.
    unsafe { value.cast::<usize>().write(rounds + 1) };
    // SAFETY: a key that was made.
    unsafe { libc::pthread_setspecific(key(), value) };
}

fn key() -> libc::pthread_key_t {
    static KEY: std::sync::OnceLock<libc::pthread_key_t> = std::sync::OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: a place for the key.
        assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(last)) }, 0);
        key
    })
}

#[test]
fn threads_that_allocate_and_free_after_their_end_leave_no_memory() {
    if !common::is_child("late") {
        common::well("threads_that_allocate_and_free_after_their_end_leave_no_memory", "late");
        return;
    }
    let some = |count: usize| {
        for _ in 0..count {
            let thread = thread::spawn(|| {
                LATE.with(|late| late.borrow_mut().0 = vec![1; 100]);
                let rounds = raw::alloc(8);
                // SAFETY: an object of eight bytes.
                unsafe { rounds.cast::<usize>().write(1) };
                // SAFETY: a key that was made.
                unsafe { libc::pthread_setspecific(key(), rounds.cast::<libc::c_void>()) };
            });
            thread.join().unwrap();
        }
        common::resident()
    };
    let first = some(100);
    let last = some(2000);
    assert!(last < first + (1 << 20), "{first} bytes after 100, {last} after 2,000");
}

#[test]
fn what_a_thread_left_is_freed_by_others_and_used_by_the_next() {
    if !common::is_child("left") {
        common::well("what_a_thread_left_is_freed_by_others_and_used_by_the_next", "left");
        return;
    }
    let round = || {
        let boxes: Vec<Vec<u8>> =
            thread::spawn(|| (0..20_000).map(|_| vec![3; 500]).collect()).join().unwrap();
        assert!(boxes.iter().all(|bytes| bytes.iter().all(|byte| *byte == 3)));
        drop(boxes);
        common::resident()
    };
    let first = round();
    let last = (0..30).map(|_| round()).max().unwrap();
    assert!(last < first + (4 << 20), "{first} bytes after a round, {last} after thirty");
}

#[test]
fn frees_from_another_thread_of_as_much_again_cost_no_more_memory() {
    if !common::is_child("again") {
        common::well("frees_from_another_thread_of_as_much_again_cost_no_more_memory", "again");
        return;
    }
    // The first thread sleeps while another frees what it made; then somebody needs as much.
    let (send, receive) = std::sync::mpsc::channel::<Vec<Vec<u8>>>();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let sleeper = thread::spawn(move || {
        send.send((0..100_000).map(|_| vec![3; 600]).collect()).unwrap();
        wait.recv().unwrap();
    });
    let made = receive.recv().unwrap();
    let before = common::resident();
    thread::spawn(move || drop(made)).join().unwrap();
    let again: Vec<Vec<u8>> = (0..100_000).map(|_| vec![3; 600]).collect();
    let after = common::resident();
    assert!(after < before + (6 << 20), "{before} bytes, then {after}");
    drop(again);
    done.send(()).unwrap();
    sleeper.join().unwrap();
}

#[test]
fn objects_that_their_thread_and_another_free_at_once_are_all_free_afterwards() {
    const TEST: &str = "objects_that_their_thread_and_another_free_at_once_are_all_free_afterwards";
    if !common::is_child("at once") {
        common::well(TEST, "at once");
        return;
    }
    const OBJECTS: usize = 50_000;
    let mut objects: Vec<usize> = Vec::with_capacity(OBJECTS);
    for round in 0..10 {
        let before = stats().live;
        objects.extend((0..OBJECTS).map(|_| raw::alloc(48).expose_provenance()));
        // Neighbours, whose bits are in the same words.
        let free_every_second = |first: usize| {
            for start in objects.iter().skip(first).step_by(2) {
                // SAFETY: nobody uses it, and nobody else frees it.
                unsafe { raw::free(std::ptr::with_exposed_provenance_mut(*start)) };
            }
        };
        let both = std::sync::Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                both.wait();
                free_every_second(1);
            });
            both.wait();
            free_every_second(0);
        });
        objects.clear();
        trim();
        // What the threads themselves have may change.
        let after = stats().live;
        assert!(after < before + (64 << 10), "round {round}: {before} bytes before, {after} after");
    }
}
