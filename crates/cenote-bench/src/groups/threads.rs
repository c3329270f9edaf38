//! Several threads: each with its own requests, and pools that end on another thread.

use std::sync::Barrier;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use crate::harness::{Case, Subject, processor_time};
use crate::peers::arenas::{Arena, BumpScope, CAPACITY};
use crate::peers::c;
use crate::peers::mallocs::{Malloc, Visit, general};
use crate::work::{layout, request_sizes, touch, touch_at};

pub(crate) const ONE: &str = "requests on 1 thread";
pub(crate) const TWO: &str = "requests on 2 threads";
pub(crate) const SCALING: &str = "cenote on 2 threads and on 1";
pub(crate) const ACROSS: &str = "made here, dropped there";
/// The same by the processor time of both threads: less a matter of who else is at work.
const ONE_USED: &str = "requests on 1 thread, processor time";
const TWO_USED: &str = "requests on 2 threads, processor time";
const ACROSS_USED: &str = "made here, dropped there, processor time of both";

/// Pools that are handed over at once.
const PARCEL: usize = 64;

pub(crate) fn cases() -> Vec<Case> {
    let scaling = || {
        vec![
            spread("cenote, 2 threads", 2, Clock::Wall, arena_life(cenote::Pool::new)),
            spread("cenote, 1 thread", 1, Clock::Wall, arena_life(cenote::Pool::new)),
        ]
    };
    let cases = [
        Case::new(ONE, "request", || side_by_side(1, Clock::Wall)),
        Case::new(ONE_USED, "request", || side_by_side(1, Clock::Used)),
        Case::new(TWO, "request", || side_by_side(2, Clock::Wall)),
        Case::new(TWO_USED, "request", || side_by_side(2, Clock::Used)),
        Case::new(SCALING, "request", scaling),
        Case::new(ACROSS, "pool", || across(Clock::Wall)),
        Case::new(ACROSS_USED, "pool", || across(Clock::Used)),
    ];
    cases.map(Case::uncounted).into()
}

/// What is told of several threads: the slowest one's time by the wall, or the processor time of all.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Clock {
    Wall,
    Used,
}

/// Both clocks of a thread, at one moment.
#[derive(Clone, Copy)]
struct Moment(Instant, Duration);

impl Moment {
    fn now() -> Self {
        Self(Instant::now(), processor_time())
    }

    /// What both have gone on since.
    fn elapsed(self) -> Took {
        Took { wall: self.0.elapsed(), used: processor_time().saturating_sub(self.1) }
    }
}

/// A thread's work, by both clocks.
struct Took {
    wall: Duration,
    used: Duration,
}

fn side_by_side(threads: usize, clock: Clock) -> Vec<Subject> {
    let mut all = vec![
        spread("cenote", threads, clock, arena_life(cenote::Pool::new)),
        spread(
            "bumpalo with_capacity(4096)",
            threads,
            clock,
            arena_life(|| bumpalo::Bump::with_capacity(CAPACITY)),
        ),
        spread(
            "bump-scope with_size(4096)",
            threads,
            clock,
            arena_life(|| BumpScope::with_size(CAPACITY)),
        ),
        spread("multitude", threads, clock, arena_life(multitude::Arena::new)),
        spread(
            "oxc_allocator with_capacity(4096)",
            threads,
            clock,
            arena_life(|| oxc_allocator::Allocator::with_capacity(CAPACITY)),
        ),
    ];
    all.extend(c::nginx_threads(threads, clock));
    all.extend(general(&Spread(threads, clock), ", one by one"));
    all
}

/// General allocators on so many threads.
struct Spread(usize, Clock);

impl Visit for Spread {
    fn subject<M: Malloc + Sync + 'static>(&self, name: &str, malloc: M) -> Subject {
        spread(name, self.0, self.1, malloc_life(malloc))
    }
}

/// So many requests on the calling thread.
pub(crate) trait Life: Fn(u64) + Sync + 'static {}
impl<F: Fn(u64) + Sync + 'static> Life for F {}

fn arena_life<A: Arena>(make: impl Fn() -> A + Sync + 'static) -> impl Life {
    move |times| {
        for turn in 0..times {
            let arena = make();
            for &size in request_sizes() {
                touch_at(arena.layout(layout(size as usize)), turn);
            }
        }
    }
}

fn malloc_life<M: Malloc + Sync + 'static>(malloc: M) -> impl Life {
    move |times| {
        for turn in 0..times {
            // SAFETY: taken from this malloc and freed once.
            unsafe { free_all(&malloc, &take_all(&malloc, turn)) };
        }
    }
}

/// A request's objects, one by one.
#[inline(always)]
fn take_all<M: Malloc>(malloc: &M, turn: u64) -> [*mut u8; 40] {
    std::array::from_fn(|at| {
        let start = malloc.get(layout(request_sizes()[at] as usize));
        touch(start, turn);
        start
    })
}

/// # Safety
/// `all` came from `take_all` of this malloc, and is freed once.
#[inline(always)]
unsafe fn free_all<M: Malloc>(malloc: &M, all: &[*mut u8; 40]) {
    for (&start, &size) in all.iter().zip(request_sizes()) {
        // SAFETY: the caller's promise.
        unsafe { malloc.put(start, layout(size as usize)) };
    }
}

/// `times` requests shared out to threads that begin at once; by the wall the slowest counts.
pub(crate) fn spread(name: &str, threads: usize, clock: Clock, life: impl Life) -> Subject {
    Subject::new(name, move |times| {
        let start = Barrier::new(threads);
        let share = times.div_ceil(threads as u64);
        let all: Vec<Took> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        life(64);
                        start.wait();
                        let begun = Moment::now();
                        life(share);
                        begun.elapsed()
                    })
                })
                .collect();
            all.into_iter().map(|one| one.join().expect("a thread")).collect()
        });
        let took = match clock {
            Clock::Wall => all.iter().map(|one| one.wall).max().unwrap_or_default(),
            Clock::Used => all.iter().map(|one| one.used).sum(),
        };
        took.mul_f64(times as f64 / (share * threads as u64) as f64)
    })
}

fn across(clock: Clock) -> Vec<Subject> {
    let mut all = vec![
        handed("cenote", clock, || arena_made(cenote::Pool::new())),
        handed("bumpalo with_capacity(4096)", clock, || {
            arena_made(bumpalo::Bump::with_capacity(CAPACITY))
        }),
        handed("bump-scope with_size(4096)", clock, || arena_made(BumpScope::with_size(CAPACITY))),
        handed("oxc_allocator with_capacity(4096)", clock, || {
            arena_made(oxc_allocator::Allocator::with_capacity(CAPACITY))
        }),
    ];
    all.extend(general(&Handed(clock), ", one by one"));
    all
}

/// General allocators whose objects end on another thread.
struct Handed(Clock);

impl Visit for Handed {
    fn subject<M: Malloc + Copy + Send + Sync + 'static>(&self, name: &str, malloc: M) -> Subject {
        handed(name, self.0, move || Objects(take_all(&malloc, 0), malloc))
    }
}

fn arena_made<A: Arena>(arena: A) -> A {
    for &size in request_sizes() {
        touch_at(arena.layout(layout(size as usize)), 1);
    }
    arena
}

/// A request's objects, freed wherever they are dropped.
struct Objects<M: Malloc>([*mut u8; 40], M);

// SAFETY: the objects are this value's alone, and every malloc here frees from any thread.
unsafe impl<M: Malloc + Send> Send for Objects<M> {}

impl<M: Malloc> Drop for Objects<M> {
    fn drop(&mut self) {
        // SAFETY: taken from this malloc, freed once.
        unsafe { free_all(&self.1, &self.0) };
    }
}

/// Made on one thread, dropped on another, which gets them in parcels.
fn handed<T: Send + 'static>(
    name: &str,
    clock: Clock,
    make: impl Fn() -> T + Sync + 'static,
) -> Subject {
    Subject::new(name, move |times| {
        let parcels = times.div_ceil(PARCEL as u64);
        let took: Duration = std::thread::scope(|scope| {
            let (give, take) = sync_channel::<Vec<T>>(4);
            let maker = scope.spawn(|| {
                let give = give;
                let begun = Moment::now();
                for _ in 0..parcels {
                    let mut parcel = Vec::with_capacity(PARCEL);
                    parcel.resize_with(PARCEL, &make);
                    if give.send(parcel).is_err() {
                        break;
                    }
                }
                (begun, begun.elapsed().used)
            });
            let dropping = Moment::now();
            while let Ok(parcel) = take.recv() {
                drop(parcel);
            }
            let over = Instant::now();
            let dropped = dropping.elapsed().used;
            let (begun, made) = maker.join().expect("the maker");
            match clock {
                Clock::Wall => over - begun.0,
                Clock::Used => made + dropped,
            }
        });
        took.mul_f64(times as f64 / (parcels * PARCEL as u64) as f64)
    })
}
