//! Blocks that threads keep and do not need go back although those threads do nothing: when
//! somebody asks for it, and by and by. Whatever else happens meanwhile: threads that end, and
//! forks.

#![cfg(all(feature = "std", not(miri)))]

use cenote::{BlockSource, Blocks};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The system's, in which a thread may look at what it keeps whenever it frees something.
struct Looking;

thread_local! {
    static LOOKS: Cell<bool> = const { Cell::new(false) };
    static TIMES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if LOOKS.get() {
            // Both take locks, of the thread's own shelf and of all.
            Blocks::cached_bytes();
            Blocks::cached_by_all();
            TIMES.set(TIMES.get() + 1);
        }
        // SAFETY: likewise.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static GLOBAL: Looking = Looking;

/// The blocks of all threads of the process are counted here: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Blocks::trim_all();
    guard
}

/// What no other thread can take of a thread's.
const PRIVATE: usize = 128 << 10;
const BURST: usize = 3 << 20;

const BLOCK: usize = 16 << 10;

/// The same of blocks that the process's allocator is asked for one by one: smaller ones come many
/// at a time.
const LARGE: usize = 80 << 10;

/// A block, as pools take them; not by way of a pool, which takes others where a level is on.
struct Block(NonNull<u8>, Layout);

impl Block {
    fn new(size: usize) -> Self {
        let layout = Layout::from_size_align(size, 16).unwrap();
        Self(Blocks.acquire(layout).unwrap(), layout)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: acquired so, and nobody's.
        unsafe { Blocks.release(self.0, self.1) };
    }
}

/// Has so many bytes of blocks, and gives them back.
fn work(bytes: usize) {
    blocks(bytes, BLOCK);
}

fn blocks(bytes: usize, size: usize) {
    drop((0..bytes.div_ceil(size)).map(|_| Block::new(size)).collect::<Vec<_>>());
}

/// Leaves so many bytes of blocks in what the calling thread keeps.
fn burst(bytes: usize) {
    work(bytes);
    let kept = Blocks::cached_bytes();
    assert!(kept >= bytes, "{kept} of {bytes}");
}

/// A thread that had much to do, and sleeps.
struct Asleep {
    wake: Sender<()>,
    /// What it keeps when it has woken, before it does anything.
    kept: Receiver<usize>,
    thread: JoinHandle<()>,
}

impl Asleep {
    fn new() -> Self {
        let (wake, woken) = channel();
        let (tell, kept) = channel();
        let thread = thread::spawn(move || {
            burst(BURST);
            tell.send(0).unwrap();
            while woken.recv().is_ok() {
                tell.send(Blocks::cached_bytes()).unwrap();
                burst(BURST);
                tell.send(0).unwrap();
            }
        });
        kept.recv().unwrap();
        Self { wake, kept, thread }
    }

    /// Wakes it for another burst; what it had before that.
    fn wake(&self) -> usize {
        self.wake.send(()).unwrap();
        let kept = self.kept.recv().unwrap();
        self.kept.recv().unwrap();
        kept
    }

    fn end(self) {
        drop(self.wake);
        self.thread.join().unwrap();
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(100), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

const THREADS: usize = 16;

#[test]
fn what_sleeping_threads_keep_can_be_trimmed_by_another_and_they_go_on_with_less() {
    let _alone = alone();
    let asleep: Vec<_> = (0..THREADS).map(|_| Asleep::new()).collect();
    for _ in 0..3 {
        assert!(Blocks::cached_by_all() >= THREADS * (BURST - PRIVATE));
        assert!(Blocks::trim_all() >= THREADS * (BURST - PRIVATE));
        assert!(Blocks::cached_by_all() <= THREADS * PRIVATE);
        for thread in &asleep {
            let kept = thread.wake();
            assert!(kept <= PRIVATE, "{kept}");
        }
    }
    asleep.into_iter().for_each(Asleep::end);
    let kept = Blocks::cached_by_all();
    assert_eq!(kept, Blocks::cached_bytes(), "what ended threads kept went back");
}

#[test]
fn what_sleeping_threads_keep_goes_back_by_and_by() {
    let _alone = alone();
    let asleep: Vec<_> = (0..THREADS).map(|_| Asleep::new()).collect();
    let before = Blocks::cached_by_all();
    let mut given = 0;
    until("they keep it", || {
        given += Blocks::decay();
        Blocks::cached_by_all() <= THREADS * PRIVATE
    });
    assert!(given >= before - THREADS * PRIVATE, "{given} of {before}");
    for thread in &asleep {
        assert!(thread.wake() <= PRIVATE);
    }
    asleep.into_iter().for_each(Asleep::end);
}

/// An allocator may use pools, and others are not to wait for it.
#[test]
fn what_goes_back_is_released_with_no_shelf_held() {
    let _alone = alone();
    // One whose blocks go back by way of the list.
    let asleep = Asleep::new();
    // Who waits for a lock of its own does for ever: that ends here.
    let (done, is_done) = channel::<()>();
    let thread = thread::spawn(move || {
        blocks(BURST, LARGE);
        LOOKS.set(true);
        let trimmed = Blocks::trim();
        let others = Blocks::trim_all();
        LOOKS.set(false);
        assert!(others >= BURST - PRIVATE, "{others}");
        drop(done);
        (trimmed, TIMES.get())
    });
    let late = is_done.recv_timeout(Duration::from_secs(60));
    assert_eq!(late, Err(RecvTimeoutError::Disconnected), "it waits for itself");
    let (trimmed, times) = thread.join().unwrap();
    assert!(trimmed >= BURST && times >= BURST / LARGE, "{trimmed} in {times}");
    asleep.end();
}

/// A thread at work is not slowed down by having to take everything from the system again.
#[test]
fn what_a_thread_takes_again_and_again_is_left_to_it() {
    let _alone = alone();
    burst(BURST);
    Blocks::decay();
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < Duration::from_secs(3) {
        burst(BURST);
        rounds += 1;
        Blocks::decay();
    }
    assert!(rounds > 1);
    // Half of what is not needed goes: it is all needed.
    assert!(Blocks::cached_bytes() >= BURST / 2, "{}", Blocks::cached_bytes());
}

#[test]
fn a_cap_is_for_what_a_thread_keeps_in_all() {
    let _alone = alone();
    thread::spawn(|| {
        burst(BURST);
        Blocks::set_cap(1 << 20);
        assert!(Blocks::cached_bytes() <= 1 << 20);
        drop((0..200).map(|_| Block::new(BLOCK)).collect::<Vec<_>>());
        let kept = Blocks::cached_bytes();
        assert!((1 << 20) - 2 * BLOCK < kept && kept <= 1 << 20, "{kept}");
        Blocks::set_cap(0);
        burst(0);
        assert_eq!((Blocks::cached_bytes(), Blocks::trim()), (0, 0));
    })
    .join()
    .unwrap();
}

#[cfg(all(target_os = "linux", not(cenote_tsan)))]
mod forks {
    use super::*;
    use std::ffi::c_int;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    unsafe extern "C" {
        fn fork() -> c_int;
        fn waitpid(child: c_int, status: *mut c_int, options: c_int) -> c_int;
        safe fn alarm(seconds: u32) -> u32;
        fn _exit(status: c_int) -> !;
    }

    /// Ends the threads that run until it is set, be it by a failure.
    struct Ends<'a>(&'a AtomicBool);

    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }

    #[test]
    fn in_the_child_of_a_fork_a_thread_has_what_it_kept_and_waits_for_nobody() {
        let _alone = alone();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _ends = Ends(&stop);
            for number in 0..3 {
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Relaxed) {
                        if number == 0 {
                            Blocks::trim_all();
                        }
                        work(1 << 20);
                    }
                });
            }
            for round in 0..200 {
                work(1 << 20);
                // SAFETY: the child uses blocks, and ends.
                let child = unsafe { fork() };
                if child == 0 {
                    // What hangs is ended by a signal, and that is seen.
                    alarm(60);
                    let kept = Blocks::cached_bytes();
                    let mine = Blocks::cached_by_all() <= kept + PRIVATE;
                    burst(2 << 20);
                    let trimmed = Blocks::trim_all() >= 1 << 20;
                    burst(1 << 20);
                    // SAFETY: ends the child at once.
                    unsafe { _exit(c_int::from(!mine) + 2 * c_int::from(!trimmed)) };
                }
                let mut status = -1;
                // SAFETY: waits for the child.
                let ended = unsafe { waitpid(child, &raw mut status, 0) };
                assert_eq!((ended, status), (child, 0), "child {round}");
            }
        });
    }
}
