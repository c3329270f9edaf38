//! A request's life: a pool, forty objects, the end.

use std::hint::black_box;

use crate::harness::{Case, Subject, timed};
use crate::peers::arenas::{Arena, Blink, BumpScope, CAPACITY};
use crate::peers::c::{self, NginxWork};
#[cfg(has_mimalloc2)]
use crate::peers::mallocs::Two;
use crate::peers::mallocs::{Malloc, MimallocHeap, Three, Version, Visit, general};
use crate::work::{layout, request_sizes, touch, touch_at};

pub(crate) const MAKE: &str = "make, 40 allocations, drop";
pub(crate) const RESET: &str = "40 allocations, reset";

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new(MAKE, "request", make), Case::new(RESET, "request", reset)]
}

fn make() -> Vec<Subject> {
    let mut all = vec![
        fresh("cenote", cenote::Pool::new),
        fresh("bumpalo", bumpalo::Bump::new),
        fresh("bumpalo with_capacity(4096)", || bumpalo::Bump::with_capacity(CAPACITY)),
        fresh("bump-scope", BumpScope::new),
        fresh("bump-scope with_size(4096)", || BumpScope::with_size(CAPACITY)),
        fresh("multitude", multitude::Arena::new),
        fresh("oxc_allocator", oxc_allocator::Allocator::new),
        fresh("oxc_allocator with_capacity(4096)", || {
            oxc_allocator::Allocator::with_capacity(CAPACITY)
        }),
        fresh("blink-alloc", Blink::default),
    ];
    all.extend(c::nginx(NginxWork::Request, request_sizes()));
    all.extend(c::others_request(request_sizes()));
    all.push(heap("mimalloc 3 heap", Three));
    #[cfg(has_mimalloc2)]
    all.push(heap("mimalloc 2 heap", Two));
    all.extend(general(&OneByOne, ", one by one"));
    all
}

fn reset() -> Vec<Subject> {
    let mut all = vec![
        kept("cenote", cenote::Pool::new()),
        kept("bumpalo", bumpalo::Bump::with_capacity(CAPACITY)),
        kept("bump-scope", BumpScope::with_size(CAPACITY)),
        kept("multitude", multitude::Arena::new()),
        kept("oxc_allocator", oxc_allocator::Allocator::with_capacity(CAPACITY)),
        kept("blink-alloc", Blink::default()),
    ];
    all.extend(c::nginx(NginxWork::Reset, request_sizes()));
    all.extend(c::others_reset(request_sizes()));
    all
}

/// One request in a pool of its own.
#[inline(never)]
fn request<A: Arena>(make: &impl Fn() -> A, sizes: &[u32; 40], times: u64) {
    for turn in 0..times {
        let arena = make();
        for &size in sizes {
            touch_at(arena.layout(layout(size as usize)), turn);
        }
    }
}

pub(crate) fn fresh<A: Arena + 'static>(name: &str, make: impl Fn() -> A + 'static) -> Subject {
    let held = {
        let arena = make();
        for &size in request_sizes() {
            touch_at(arena.layout(layout(size as usize)), 0);
        }
        arena.held()
    };
    Subject::new(name, move |times| timed(|| request(&make, request_sizes(), times))).holding(held)
}

#[inline(never)]
fn request_in<A: Arena>(arena: &mut A, sizes: &[u32; 40], times: u64) {
    for turn in 0..times {
        for &size in sizes {
            touch_at(arena.layout(layout(size as usize)), turn);
        }
        arena.reset();
    }
}

fn kept<A: Arena + 'static>(name: &str, mut arena: A) -> Subject {
    request_in(&mut arena, request_sizes(), 2);
    let held = arena.held();
    Subject::new(name, move |times| timed(|| request_in(&mut arena, request_sizes(), times)))
        .holding(held)
}

#[inline(never)]
fn request_one_by_one<M: Malloc>(malloc: &M, sizes: &[u32; 40], times: u64) {
    for turn in 0..times {
        let mut all = [std::ptr::null_mut(); 40];
        for (place, &size) in all.iter_mut().zip(sizes) {
            *place = malloc.get(layout(size as usize));
            touch(*place, turn);
        }
        for (&start, &size) in black_box(&all).iter().zip(sizes) {
            // SAFETY: allocated above with this size, and freed once.
            unsafe { malloc.put(start, layout(size as usize)) };
        }
    }
}

/// General allocators, object by object.
struct OneByOne;

impl Visit for OneByOne {
    fn subject<M: Malloc + 'static>(&self, name: &str, malloc: M) -> Subject {
        let held = request_sizes()
            .iter()
            .map(|&size| {
                let start = malloc.get(layout(size as usize));
                // SAFETY: allocated above.
                let usable = unsafe { malloc.usable(start) };
                // SAFETY: allocated above, freed once.
                unsafe { malloc.put(start, layout(size as usize)) };
                usable
            })
            .sum::<Option<usize>>();
        Subject::new(name, move |times| {
            timed(|| request_one_by_one(&malloc, request_sizes(), times))
        })
        .holding(held)
    }
}

#[inline(never)]
fn request_on_heap<V: Version>(version: V, sizes: &[u32; 40], times: u64) {
    for turn in 0..times {
        let heap = MimallocHeap::new(version);
        for &size in sizes {
            touch(heap.get(layout(size as usize)), turn);
        }
    }
}

fn heap(name: &str, version: impl Version) -> Subject {
    Subject::new(name, move |times| timed(|| request_on_heap(version, request_sizes(), times)))
}
