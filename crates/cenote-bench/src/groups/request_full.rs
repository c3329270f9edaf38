//! A fuller request: large objects, cleanups, growing vectors and a formatted text.

use std::cell::Cell;
use std::hint::black_box;

use allocator_api2::vec::Vec as VecIn;

use crate::harness::{Case, Subject, timed};
use crate::peers::arenas::{Arena, Blink, BumpScope, CAPACITY};
use crate::peers::c::{self, NginxWork};
use crate::work::{layout, request_sizes, seen, touch_at};

/// Bytes of each of the two large objects.
const LARGE: usize = 20_000;
/// Numbers pushed to each of the two vectors.
const PUSHES: usize = 64;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("make, fill, drop", "request", subjects)]
}

fn subjects() -> Vec<Subject> {
    let mut all = vec![
        Subject::new("cenote", |times| timed(|| cenote_requests(times))),
        full("bumpalo with_capacity(4096), own list of cleanups", || {
            bumpalo::Bump::with_capacity(CAPACITY)
        }),
        full("bump-scope with_size(4096), own list of cleanups", || BumpScope::with_size(CAPACITY)),
        full("multitude, own list of cleanups", multitude::Arena::new),
        full("oxc_allocator with_capacity(4096), own list of cleanups", || {
            oxc_allocator::Allocator::with_capacity(CAPACITY)
        }),
        full("blink-alloc, own list of cleanups", Blink::default),
    ];
    all.extend(c::nginx(NginxWork::Full { large: LARGE, pushes: PUSHES }, request_sizes()));
    all.push(Subject::new("Vec, String and Box under glibc", |times| {
        timed(|| std_requests(times))
    }));
    all
}

thread_local! {
    static CLEANED: Cell<u64> = const { Cell::new(0) };
}

fn add_one() {
    CLEANED.with(|cleaned| cleaned.set(cleaned.get() + 1));
}

/// The two vectors, pushed to in turn.
#[inline(always)]
fn vectors<A: allocator_api2::alloc::Allocator + Clone>(handle: A) {
    let (mut one, mut two) = (VecIn::new_in(handle.clone()), VecIn::new_in(handle));
    for number in 0..PUSHES as u64 {
        one.push(number);
        two.push(number);
    }
    seen(one.as_ptr());
    seen(two.as_ptr());
}

#[inline(never)]
fn cenote_requests(times: u64) {
    let sizes = request_sizes();
    for turn in 0..times {
        let pool = cenote::Pool::new();
        for &size in sizes {
            touch_at(pool.alloc_layout(layout(size as usize)), turn);
        }
        for _ in 0..2 {
            touch_at(pool.alloc_layout(layout(black_box(LARGE))), turn);
        }
        for _ in 0..3 {
            pool.defer(add_one);
        }
        vectors(&pool);
        seen(&raw const *pool.alloc_fmt(format_args!(
            "GET {} HTTP/1.{} from {turn}",
            black_box("/index.html"),
            black_box(1)
        )));
    }
}

/// What a user of an arena without cleanups writes: a list of what to call, in the arena.
struct Cleanups<A: allocator_api2::alloc::Allocator>(VecIn<fn(), A>);

impl<A: allocator_api2::alloc::Allocator> Drop for Cleanups<A> {
    fn drop(&mut self) {
        while let Some(cleanup) = self.0.pop() {
            cleanup();
        }
    }
}

#[inline(never)]
fn arena_requests<A: Arena>(make: &impl Fn() -> A, times: u64) {
    use std::fmt::Write;
    let sizes = request_sizes();
    for turn in 0..times {
        let arena = make();
        let mut cleanups = Cleanups(VecIn::new_in(arena.handle()));
        for &size in sizes {
            touch_at(arena.layout(layout(size as usize)), turn);
        }
        for _ in 0..2 {
            touch_at(arena.layout(layout(black_box(LARGE))), turn);
        }
        for _ in 0..3 {
            cleanups.0.push(add_one);
        }
        vectors(arena.handle());
        let mut text = Text(VecIn::new_in(arena.handle()));
        let _ =
            write!(text, "GET {} HTTP/1.{} from {turn}", black_box("/index.html"), black_box(1));
        seen(text.0.as_ptr());
    }
}

/// A text that grows in an arena.
pub(crate) struct Text<A: allocator_api2::alloc::Allocator>(pub(crate) VecIn<u8, A>);

impl<A: allocator_api2::alloc::Allocator> std::fmt::Write for Text<A> {
    #[inline(always)]
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn full<A: Arena + 'static>(name: &str, make: impl Fn() -> A + 'static) -> Subject {
    Subject::new(name, move |times| timed(|| arena_requests(&make, times)))
}

#[inline(never)]
fn std_requests(times: u64) {
    let sizes = request_sizes();
    for turn in 0..times {
        let objects: [Vec<u64>; 40] = std::array::from_fn(|at| {
            let mut object = Vec::with_capacity((sizes[at] as usize).div_ceil(8));
            object.push(turn);
            object
        });
        black_box(&objects);
        let large: [Vec<u8>; 2] = std::array::from_fn(|_| {
            let mut object = Vec::with_capacity(black_box(LARGE));
            object.push(turn as u8);
            object
        });
        black_box(&large);
        for _ in 0..3 {
            black_box(Box::new(add_one as fn()))();
        }
        vectors(allocator_api2::alloc::Global);
        black_box(format!("GET {} HTTP/1.{} from {turn}", black_box("/index.html"), black_box(1)));
    }
}
