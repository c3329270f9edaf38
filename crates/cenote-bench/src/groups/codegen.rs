//! The request in the shapes that programs give it: what is fast in one of them only is luck.
//!
//! The same group is measured once more in a build of the bench with link-time optimisation.

use std::rc::Rc;

use crate::harness::{Case, Subject, timed};
use crate::peers::arenas::{Arena, BumpScope, CAPACITY};
use crate::work::{layout, request_sizes, touch_at};

pub(crate) const INLINED: &str = "inlined";
pub(crate) const APART: &str = "behind a function that is not inlined";
pub(crate) const STRUCT: &str = "in a struct that a function returns";
pub(crate) const BOXED: &str = "in a `Box`";
pub(crate) const RC: &str = "in an `Rc`";

/// Where a request's arena lies, and who allocates from it.
trait Shape: Copy + 'static {
    fn request<A: Arena>(make: &impl Fn() -> A, sizes: &[u32; 40], turn: u64);
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(INLINED, "request", || all(Inlined)),
        Case::new(APART, "request", || all(Apart)),
        Case::new(STRUCT, "request", || all(InStruct)),
        Case::new(BOXED, "request", || all(Boxed)),
        Case::new(RC, "request", || all(InRc)),
    ]
}

fn all(shape: impl Shape) -> Vec<Subject> {
    vec![
        subject("cenote", shape, cenote::Pool::new),
        subject("bumpalo with_capacity(4096)", shape, || bumpalo::Bump::with_capacity(CAPACITY)),
        subject("bump-scope with_size(4096)", shape, || BumpScope::with_size(CAPACITY)),
        subject("oxc_allocator with_capacity(4096)", shape, || {
            oxc_allocator::Allocator::with_capacity(CAPACITY)
        }),
    ]
}

fn subject<A: Arena + 'static, S: Shape>(
    name: &str,
    _: S,
    make: impl Fn() -> A + 'static,
) -> Subject {
    Subject::new(name, move |times| timed(|| requests::<A, S>(&make, request_sizes(), times)))
}

#[inline(never)]
fn requests<A: Arena, S: Shape>(make: &impl Fn() -> A, sizes: &[u32; 40], times: u64) {
    for turn in 0..times {
        S::request(make, sizes, turn);
    }
}

#[inline(always)]
fn fill<A: Arena>(arena: &A, sizes: &[u32; 40], turn: u64) {
    for &size in sizes {
        touch_at(arena.layout(layout(size as usize)), turn);
    }
}

/// As a handler that takes the arena by reference has it.
#[inline(never)]
fn fill_apart<A: Arena>(arena: &A, sizes: &[u32; 40], turn: u64) {
    fill(arena, sizes, turn);
}

#[derive(Clone, Copy)]
struct Inlined;
impl Shape for Inlined {
    #[inline(always)]
    fn request<A: Arena>(make: &impl Fn() -> A, sizes: &[u32; 40], turn: u64) {
        fill(&make(), sizes, turn);
    }
}

#[derive(Clone, Copy)]
struct Apart;
impl Shape for Apart {
    #[inline(always)]
    fn request<A: Arena>(make: &impl Fn() -> A, sizes: &[u32; 40], turn: u64) {
        fill_apart(&make(), sizes, turn);
    }
}

/// A request's record, as a server has it.
struct Record<A> {
    number: u64,
    arena: A,
    answered: [u64; 4],
}

/// What makes a record moves the arena into its place.
#[inline(never)]
fn record<A: Arena>(make: &impl Fn() -> A, number: u64) -> Record<A> {
    let arena = make();
    Record { number, arena, answered: [number; 4] }
}

#[derive(Clone, Copy)]
struct InStruct;
impl Shape for InStruct {
    #[inline(always)]
    fn request<A: Arena>(make: &impl Fn() -> A, sizes: &[u32; 40], turn: u64) {
        let record = record(make, turn);
        fill_apart(&record.arena, sizes, record.number + record.answered[3]);
    }
}

#[derive(Clone, Copy)]
struct Boxed;
impl Shape for Boxed {
    #[inline(always)]
    fn request<A: Arena>(make: &impl Fn() -> A, sizes: &[u32; 40], turn: u64) {
        let arena = Box::new(make());
        fill_apart(&*arena, sizes, turn);
    }
}

#[derive(Clone, Copy)]
struct InRc;
impl Shape for InRc {
    #[inline(always)]
    fn request<A: Arena>(make: &impl Fn() -> A, sizes: &[u32; 40], turn: u64) {
        let arena = Rc::new(make());
        fill_apart(&*arena, sizes, turn);
    }
}
