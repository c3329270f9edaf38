//! Collections that grow from nothing.

use std::convert::identity;
use std::hint::black_box;

use allocator_api2::alloc::{Allocator, Global};
use allocator_api2::vec::Vec as VecIn;
use hashbrown::HashMap;

use super::request_full::Text;
use crate::harness::{Case, Subject, timed};
use crate::peers::arenas::{Arena, Blink, BumpScope};
use crate::work::seen;

pub(crate) const ONE: &str = "a vector to 10,000";
pub(crate) const TWO: &str = "two vectors in turn to 10,000";
pub(crate) const TEXT: &str = "a vector of bytes, 1,000 pieces of 10 B";
pub(crate) const OWN: &str = "a string of its own kind, 1,000 pieces of 10 B";
pub(crate) const MAP: &str = "a map of 1,000";

/// A piece of work over an allocator.
trait Work: Copy + 'static {
    fn run<A: Allocator + Clone>(self, handle: A);
}

#[derive(Clone, Copy)]
struct One;
impl Work for One {
    #[inline(always)]
    fn run<A: Allocator + Clone>(self, handle: A) {
        let mut vector = VecIn::new_in(handle);
        for number in 0..10_000_u64 {
            vector.push(number);
        }
        seen(vector.as_ptr());
    }
}

#[derive(Clone, Copy)]
struct Two;
impl Work for Two {
    #[inline(always)]
    fn run<A: Allocator + Clone>(self, handle: A) {
        let (mut one, mut two) = (VecIn::new_in(handle.clone()), VecIn::new_in(handle));
        for number in 0..10_000_u64 {
            one.push(number);
            two.push(number);
        }
        seen(one.as_ptr());
        seen(two.as_ptr());
    }
}

#[derive(Clone, Copy)]
struct Pieces;
impl Work for Pieces {
    #[inline(always)]
    fn run<A: Allocator + Clone>(self, handle: A) {
        use std::fmt::Write;
        let piece = black_box("0123456789");
        let mut text = Text(VecIn::new_in(handle));
        for _ in 0..1_000 {
            let _ = text.write_str(piece);
        }
        seen(text.0.as_ptr());
    }
}

/// Arenas with a type for text that grows.
trait Texts: Arena {
    /// A text of so many pieces.
    fn grow_text(&self, piece: &str, pieces: usize);
}

/// A text of a type of its own, by its own call for adding a piece.
macro_rules! texts {
    ($($arena:ty, $self:ident: $new:expr, $push:ident of $piece:expr;)*) => {$(
        impl Texts for $arena {
            #[inline(always)]
            fn grow_text(&$self, piece: &str, pieces: usize) {
                let mut text = $new;
                for _ in 0..pieces {
                    text.$push($piece(piece));
                }
                seen(text.as_ptr());
            }
        }
    )*};
}

texts! {
    cenote::Pool, self: cenote::Buffer::new(self), extend_from_slice of str::as_bytes;
    bumpalo::Bump, self: bumpalo::collections::String::new_in(self), push_str of identity;
    BumpScope, self: bump_scope::BumpString::new_in(self), push_str of identity;
    multitude::Arena, self: self.alloc_string(), push_str of identity;
    oxc_allocator::Allocator, self: oxc_allocator::StringBuilder::new_in(self), push_str of identity;
}

impl<A: Texts> Placed for (A, &'static str) {
    #[inline(always)]
    fn run(&mut self) {
        let (arena, piece) = self;
        arena.grow_text(black_box(piece), 1_000);
        arena.reset();
    }
}

fn texts<A: Texts + 'static>(name: &str, arena: A) -> Subject {
    subject(name, (arena, "0123456789"))
}

fn texts_of_all() -> Vec<Subject> {
    vec![
        texts("cenote", cenote::Pool::new()),
        texts("bumpalo", bumpalo::Bump::new()),
        texts("bump-scope", BumpScope::new()),
        texts("multitude", multitude::Arena::new()),
        texts("oxc_allocator", oxc_allocator::Allocator::new()),
        subject("glibc (global allocator)", || {
            let (piece, mut text) = (black_box("0123456789"), String::new());
            for _ in 0..1_000 {
                text.push_str(piece);
            }
            seen(text.as_ptr());
        }),
    ]
}

#[derive(Clone, Copy)]
struct Map;
impl Work for Map {
    #[inline(always)]
    fn run<A: Allocator + Clone>(self, handle: A) {
        // A fixed hash: random seeds would give every subject another map.
        let mut map = HashMap::with_hasher_in(Fixed, handle);
        for number in 0..1_000_u64 {
            map.insert(number, number);
        }
        black_box(map.len());
    }
}

/// hashbrown's hash with a fixed seed.
#[derive(Clone, Copy)]
struct Fixed;
impl std::hash::BuildHasher for Fixed {
    type Hasher = Mix;
    fn build_hasher(&self) -> Mix {
        Mix(0)
    }
}

/// One multiplication and a fold.
struct Mix(u64);
impl std::hash::Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, number: u64) {
        let wide =
            u128::from(self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.0 = (wide >> 64) as u64 ^ wide as u64;
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(ONE, "vector", || with(One)).heavy(16),
        Case::new(TWO, "pair", || with(Two)).heavy(16),
        Case::new(TEXT, "bytes", || with(Pieces)).heavy(16),
        Case::new(OWN, "string", texts_of_all).heavy(16),
        Case::new(MAP, "map", || with(Map)).heavy(16),
    ]
}

fn with<W: Work>(work: W) -> Vec<Subject> {
    vec![
        subject("cenote", On(work, cenote::Pool::new())),
        subject("bumpalo", On(work, bumpalo::Bump::new())),
        subject("bump-scope", On(work, BumpScope::new())),
        subject("multitude", On(work, multitude::Arena::new())),
        subject("oxc_allocator", On(work, oxc_allocator::Allocator::new())),
        subject("blink-alloc", On(work, Blink::default())),
        subject("glibc (global allocator)", OnNone(work)),
    ]
}

/// Work on an arena, which is reset after it.
struct On<W, A>(W, A);

impl<W: Work, A: Arena> Placed for On<W, A> {
    #[inline(always)]
    fn run(&mut self) {
        self.0.run(self.1.handle());
        self.1.reset();
    }
}

/// Work on the global allocator.
struct OnNone<W>(W);

impl<W: Work> Placed for OnNone<W> {
    #[inline(always)]
    fn run(&mut self) {
        self.0.run(Global);
    }
}

/// A unit of work, run in loops that lie at four places.
trait Placed {
    fn run(&mut self);
}

impl<F: FnMut()> Placed for F {
    #[inline(always)]
    fn run(&mut self) {
        self();
    }
}

fn subject(name: &str, mut work: impl Placed + 'static) -> Subject {
    everywhere(&mut work, 4);
    Subject::new(name, move |times| timed(|| everywhere(&mut work, times)))
}

/// A quarter of the work at each place.
fn everywhere(work: &mut impl Placed, times: u64) {
    let quarter = times / 4;
    here::<0>(work, quarter);
    here::<1>(work, quarter);
    here::<2>(work, quarter);
    here::<3>(work, times - 3 * quarter);
}

/// The work at a place of its own: so many sixteen bytes behind the beginning of a line of the
/// instruction cache. A loop of thirty bytes may lie in one line, or across two, and take half the
/// time or all of it; which of them is chance, and another for each subject in each build.
#[inline(never)]
fn here<const PLACE: usize>(work: &mut impl Placed, times: u64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: instructions that do nothing.
    unsafe {
        std::arch::asm!(
            ".p2align 6",
            ".rept {bytes}",
            "nop",
            ".endr",
            bytes = const 16 * PLACE,
            options(nomem, nostack, preserves_flags),
        );
    }
    for _ in 0..times {
        work.run();
    }
}
