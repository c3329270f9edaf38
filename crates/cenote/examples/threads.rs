//! Pools and accounts on many threads, and across `fork`: what ThreadSanitizer and
//! `cargo xtask trust` run.
//!
//! ```sh
//! cargo run --example threads accounts 200     # rounds
//! cargo run --example threads hand-over 2000   # pools that end on another thread
//! cargo run --example threads come-and-go 3000 # threads
//! cargo run --example threads looks 500        # shared pools, that others look into
//! cargo run --example threads fork 1000        # children, while other threads allocate
//! ```

use cenote::{Account, ChunkPool, CountedPool, Pool, SharedPool, WeakSharedPool};
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::thread;

const THREADS: usize = 8;
const LIMIT: usize = 8 << 20;

/// Lends a value to threads, which are joined before `lent` ends; it is not given back.
fn lend<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// Runs so many threads to their ends. Not scoped ones: ThreadSanitizer sees what a `join` orders,
/// not what the standard library's own counters do.
fn all<F: FnOnce() + Send + 'static>(threads: impl IntoIterator<Item = F>) {
    let threads: Vec<_> = threads.into_iter().map(thread::spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
}

/// Uses a pool of each kind on an account.
fn work(account: &Account, number: usize) -> usize {
    let (pool, counted, chunks) =
        (Pool::on(account), CountedPool::on(account), ChunkPool::on(account));
    let mut made = 0;
    for n in 0..20 {
        made += usize::from(pool.try_alloc_zeroed_bytes(100 * n + number % 7).is_ok());
        made += usize::from(counted.try_alloc([n; 20]).is_ok());
        let layout = std::alloc::Layout::new::<[u64; 9]>();
        if let Ok(object) = chunks.try_alloc_layout(layout) {
            made += 1;
            // SAFETY: from this pool with this layout, and not used any more.
            unsafe { chunks.dealloc(object, layout) };
        }
    }
    made
}

/// Threads that share accounts, make their own under them, and read all of them.
fn accounts(rounds: usize) -> bool {
    let root = lend(Account::root("process").with_limit(Some(LIMIT)));
    let (shared, made) = (lend(root.shared_child("shared")), lend(AtomicUsize::new(0)));
    all((0..THREADS).map(|number| {
        move || {
            for round in 0..rounds {
                let own = root.child("worker");
                let request = own.child("request");
                made.fetch_add(work(&request, number), SeqCst);
                made.fetch_add(work(shared, number), SeqCst);
                assert!(root.held() <= LIMIT && shared.peak() <= LIMIT);
                if round % 16 == number {
                    assert!(root.snapshot().to_string().contains("process"));
                }
            }
            Account::settle();
        }
    }));
    made.load(SeqCst) > 0 && (root.held(), root.live()) == (0, 0)
}

/// What goes from one thread to another.
type Parcel = (Pool, CountedPool, ChunkPool);

/// Pools made and filled on one thread, used and dropped on another.
fn hand_over(pools: usize) -> bool {
    let root = lend(Account::root("process"));
    let counters: &'static [AtomicPtr<Parcel>] =
        Vec::leak((0..THREADS / 2).map(|_| AtomicPtr::new(ptr::null_mut())).collect());
    let ended = lend(AtomicUsize::new(0));
    let maker = move |number: usize| {
        let mine = root.child("maker");
        for n in 0..pools {
            let (pool, counted, chunks) =
                (Pool::on(&mine), CountedPool::on(&mine), ChunkPool::on(&mine));
            pool.own(vec![n; 10]);
            pool.alloc_zeroed_bytes(n % 9000);
            cenote::CountedBox::leak(counted.alloc([n; 30]));
            chunks.own(String::from("kept"));
            let parcel = Box::into_raw(Box::new((pool, counted, chunks)));
            let place = &counters[number];
            while place.compare_exchange(ptr::null_mut(), parcel, SeqCst, SeqCst).is_err() {
                thread::yield_now();
            }
        }
    };
    let taker = move |number: usize| {
        for _ in 0..pools {
            let parcel = loop {
                let parcel = counters[number].swap(ptr::null_mut(), SeqCst);
                if !parcel.is_null() {
                    break parcel;
                }
                thread::yield_now();
            };
            // SAFETY: a maker's box, taken by this thread alone.
            let (pool, counted, chunks) = *unsafe { Box::from_raw(parcel) };
            pool.alloc([1_u64; 100]);
            drop((pool, counted, chunks));
            ended.fetch_add(1, SeqCst);
        }
        Account::settle();
    };
    all((0..THREADS).map(|n| move || if n % 2 == 0 { maker(n / 2) } else { taker(n / 2) }));
    ended.load(SeqCst) == pools * THREADS / 2 && (root.held(), root.live()) == (0, 0)
}

std::thread_local! {
    /// Ends after the thread's cache of blocks may have ended.
    static LAST: std::cell::RefCell<Option<Pool>> = const { std::cell::RefCell::new(None) };
}

/// Threads that come and go, each with pools in its last destructors.
fn come_and_go(threads: usize) -> bool {
    let root = lend(Account::root("process").with_limit(Some(LIMIT)));
    let made = lend(AtomicUsize::new(0));
    for _ in 0..threads / THREADS {
        all((0..THREADS).map(|number| {
            move || {
                let last = Pool::on(root);
                last.alloc_str("used in the thread's last destructors");
                last.defer(|| assert_eq!(Pool::new().alloc_zeroed_bytes(5000).len(), 5000));
                LAST.with_borrow_mut(|place| *place = Some(last));
                made.fetch_add(work(root, number), SeqCst);
            }
        }));
    }
    made.load(SeqCst) > 0 && (root.held(), root.live()) == (0, 0)
}

/// Shared pools that threads use and end, while others look into them, and use them too.
fn looks(pools: usize) -> bool {
    let all_pools = pools * THREADS / 2;
    let root = lend(Account::root("process"));
    let place: &'static AtomicPtr<WeakSharedPool> = lend(AtomicPtr::new(ptr::null_mut()));
    let (ended, seen) = (lend(AtomicUsize::new(0)), lend(AtomicUsize::new(0)));
    let user = move |number: usize| {
        for n in 0..pools {
            let pool = SharedPool::try_on(root).expect("memory");
            let old = place.swap(Box::into_raw(Box::new(pool.downgrade())), SeqCst);
            if !old.is_null() {
                // SAFETY: a user's box, taken out by this thread alone.
                drop(unsafe { Box::from_raw(old) });
            }
            pool.own(vec![n; 10]);
            for size in 0..40 {
                pool.alloc_zeroed_bytes(100 * size + number);
            }
            let other = pool.clone();
            let helper = thread::spawn(move || {
                other.alloc([n; 30]);
                other.alloc_zeroed_bytes(30_000);
            });
            drop(pool);
            helper.join().expect("no thread panics");
            ended.fetch_add(1, SeqCst);
        }
    };
    let looker = move || {
        while ended.load(SeqCst) < all_pools {
            let taken = place.swap(ptr::null_mut(), SeqCst);
            if taken.is_null() {
                thread::yield_now();
                continue;
            }
            // SAFETY: a user's box, taken out by this thread alone.
            let weak = *unsafe { Box::from_raw(taken) };
            for _ in 0..20 {
                let whole = weak.look(|look| {
                    let figures = look.figures();
                    figures.used_bytes <= figures.held_bytes && !look.snapshot().blocks.is_empty()
                });
                assert!(whole != Some(false));
                seen.fetch_add(usize::from(whole.is_some()), SeqCst);
            }
            if let Some(handle) = weak.upgrade() {
                handle.alloc([7_u64; 9]);
            }
        }
        Account::settle();
    };
    all((0..THREADS).map(|n| move || if n % 2 == 0 { user(n) } else { looker() }));
    let last = place.swap(ptr::null_mut(), SeqCst);
    if !last.is_null() {
        // SAFETY: as above; all threads have ended.
        drop(unsafe { Box::from_raw(last) });
    }
    Account::settle();
    println!("{} looks at {all_pools} pools", seen.load(SeqCst));
    ended.load(SeqCst) == all_pools && (root.held(), root.live()) == (0, 0)
}

#[cfg(unix)]
unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(child: i32, status: *mut i32, options: i32) -> i32;
    safe fn alarm(seconds: u32) -> u32;
    safe fn _exit(status: i32) -> !;
}

/// Children of a process whose other threads allocate meanwhile. A child has one thread, and
/// uses pools on accounts that were there before: whatever lock another thread held at the
/// fork stays held in it.
#[cfg(unix)]
fn forks(children: usize) -> bool {
    let root = Account::root("process");
    let mine = root.child("worker");
    work(&mine, 1);
    let done = AtomicBool::new(false);
    let (mut good, mut hung) = (0, 0);
    thread::scope(|scope| {
        for number in 0..3 {
            let (root, done) = (&root, &done);
            scope.spawn(move || {
                let own = root.child("load");
                while !done.load(SeqCst) {
                    work(&own, number);
                    thread::yield_now();
                }
            });
        }
        for _ in 0..children {
            // SAFETY: the child uses nothing but this thread's pools and the allocator, which
            // is made for that, and leaves by `_exit`.
            let child = unsafe { fork() };
            if child == 0 {
                alarm(20);
                let made = (0..5).map(|n| work(&mine, n)).sum::<usize>();
                assert_eq!(Pool::new().alloc_zeroed_bytes(100_000).len(), 100_000);
                _exit(i32::from(made != 5 * 60));
            }
            let mut status = 0;
            // SAFETY: a child of this process, and a place for its status.
            unsafe { waitpid(child, &raw mut status, 0) };
            good += usize::from(status == 0);
            hung += usize::from(status & 0x7f == 14);
        }
        done.store(true, SeqCst);
    });
    println!("{children} children: {good} good, {hung} hung");
    good == children
}

#[cfg(not(unix))]
fn forks(_children: usize) -> bool {
    println!("no fork here");
    true
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(100);
    let good = match &*what {
        "accounts" => accounts(count),
        "hand-over" => hand_over(count),
        "come-and-go" => come_and_go(count),
        "looks" => looks(count),
        "fork" => forks(count),
        _ => {
            eprintln!("usage: threads accounts|hand-over|come-and-go|looks|fork COUNT");
            return ExitCode::from(2);
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
