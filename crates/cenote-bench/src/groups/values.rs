//! Values of known types, a thousand of a kind.

use std::hint::black_box;

use crate::harness::{Case, Subject, timed};
use crate::peers::arenas::{Arena, Blink, BumpScope};
use crate::work::seen;

/// Values before each reset.
const MANY: u64 = 1_000;

pub(crate) const U64: &str = "u64";
pub(crate) const STRUCT: &str = "struct of 48 B";
pub(crate) const TEXT: &str = "text of 24 B";
pub(crate) const SLICE: &str = "slice of 100 B";

/// Six words.
#[derive(Clone, Copy)]
struct Record {
    _words: [u64; 6],
}

/// What is put into an arena.
trait Kind: Copy + 'static {
    fn put<A: Arena>(self, arena: &A, turn: u64);
}

#[derive(Clone, Copy)]
struct Number;
impl Kind for Number {
    #[inline(always)]
    fn put<A: Arena>(self, arena: &A, turn: u64) {
        seen(&raw const *arena.value(turn));
    }
}

#[derive(Clone, Copy)]
struct Records;
impl Kind for Records {
    #[inline(always)]
    fn put<A: Arena>(self, arena: &A, turn: u64) {
        seen(&raw const *arena.value(Record { _words: [turn, 1, 2, 3, 4, turn] }));
    }
}

#[derive(Clone, Copy)]
struct Text(&'static str);
impl Kind for Text {
    #[inline(always)]
    fn put<A: Arena>(self, arena: &A, _: u64) {
        seen(&raw const *arena.text(self.0));
    }
}

#[derive(Clone, Copy)]
struct Slice(&'static [u8]);
impl Kind for Slice {
    #[inline(always)]
    fn put<A: Arena>(self, arena: &A, _: u64) {
        seen(&raw const *arena.slice(self.0));
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(U64, "value", || with(Number, |all| all.push(typed("typed-arena", |turn| turn)))),
        Case::new(STRUCT, "value", || {
            with(Records, |all| {
                all.push(typed("typed-arena", |turn| Record { _words: [turn, 1, 2, 3, 4, turn] }));
            })
        }),
        Case::new(TEXT, "text", || {
            with(Text(black_box("GET /index.html HTTP/1.1")), |all| {
                all.push(typed_text(black_box("GET /index.html HTTP/1.1")))
            })
        }),
        Case::new(SLICE, "slice", || {
            with(Slice(black_box(&[7; 100])), |all| all.push(typed_slice(black_box(&[7; 100]))))
        }),
    ]
}

fn with<K: Kind>(kind: K, more: impl FnOnce(&mut Vec<Subject>)) -> Vec<Subject> {
    let mut all = vec![
        subject("cenote", kind, pool()),
        subject("bumpalo", kind, bumpalo::Bump::new()),
        subject("bump-scope", kind, BumpScope::new()),
        subject("multitude", kind, multitude::Arena::new()),
        subject("oxc_allocator", kind, oxc_allocator::Allocator::new()),
        subject("blink-alloc", kind, Blink::default()),
    ];
    more(&mut all);
    all
}

fn pool() -> cenote::Pool {
    cenote::Pool::new()
}

#[inline(never)]
fn fill<A: Arena, K: Kind>(arena: &mut A, kind: K, times: u64) {
    let mut left = times;
    while left > 0 {
        let now = left.min(MANY);
        for turn in 0..now {
            kind.put(arena, turn);
        }
        arena.reset();
        left -= now;
    }
}

fn subject<A: Arena + 'static, K: Kind>(name: &str, kind: K, mut arena: A) -> Subject {
    fill(&mut arena, kind, 4 * MANY);
    Subject::new(name, move |times| timed(|| fill(&mut arena, black_box(kind), times)))
}

/// typed-arena has no reset: a new one of the right capacity for every thousand.
fn typed<T: 'static>(name: &str, make: impl Fn(u64) -> T + 'static) -> Subject {
    Subject::new(name, move |times| {
        timed(|| {
            let mut left = times;
            while left > 0 {
                let now = left.min(MANY);
                let arena = typed_arena::Arena::with_capacity(MANY as usize);
                for turn in 0..now {
                    seen(&raw const *arena.alloc(make(turn)));
                }
                left -= now;
            }
        })
    })
}

fn typed_text(text: &'static str) -> Subject {
    Subject::new("typed-arena", move |times| {
        timed(|| {
            let mut left = times;
            while left > 0 {
                let now = left.min(MANY);
                let arena = typed_arena::Arena::with_capacity(MANY as usize * text.len());
                for _ in 0..now {
                    seen(&raw const *arena.alloc_str(text));
                }
                left -= now;
            }
        })
    })
}

fn typed_slice(slice: &'static [u8]) -> Subject {
    Subject::new("typed-arena", move |times| {
        timed(|| {
            let mut left = times;
            while left > 0 {
                let now = left.min(MANY);
                let arena = typed_arena::Arena::with_capacity(MANY as usize * slice.len());
                for _ in 0..now {
                    seen(&raw const *arena.alloc_extend(slice.iter().copied()));
                }
                left -= now;
            }
        })
    })
}
