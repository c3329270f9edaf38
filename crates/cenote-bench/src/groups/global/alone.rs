//! One thread's work.

use std::alloc::Layout;
use std::hint::black_box;

use super::object::{Array, Object, random, small};
use super::{Took, took};
use crate::groups::chunk::{Churn, Mix};
use crate::peers::mallocs::Malloc;
use crate::work::layout;

/// Free one of the live objects and allocate another, after which none of the first is left.
pub(super) fn churn<M: Malloc + Copy>(malloc: M, mix: Mix, units: u64) -> Took {
    let mut churn = Churn::new(malloc, mix);
    took(|| churn.run(units))
}

/// Objects that end in the opposite order, sixteen at a time.
const SIXTEEN: usize = 16;
/// Sizes that are drawn beforehand.
const SIZES: usize = 1 << 12;

fn sizes(mut size: impl FnMut() -> usize) -> Vec<u32> {
    (0..SIZES).map(|_| size() as u32).collect()
}

pub(super) fn newest<M: Malloc + Copy>(malloc: M, units: u64) -> Took {
    let mut random = random(0);
    let sizes = sizes(|| small(&mut random));
    // Others live in the same pages.
    let _kept = Array::new(malloc, 256, || small(&mut random));
    let mut all = [Object { start: std::ptr::null_mut(), size: 0 }; SIXTEEN];
    took(|| {
        for turn in 0..units.div_ceil(SIXTEEN as u64) as usize {
            let from = turn * SIXTEEN % SIZES;
            for (object, &size) in all.iter_mut().zip(&sizes[from..from + SIXTEEN]) {
                *object = Object::new(&malloc, size as usize);
            }
            for object in all.iter().rev() {
                // SAFETY: allocated above, freed once.
                unsafe { object.free(&malloc) };
            }
        }
    })
}

/// Numbers of many digits, of which few live: each step makes three of 8 to 64 B, frees two in
/// the opposite order, and lets the third take the place of an older one.
pub(super) fn cfrac<M: Malloc + Copy>(malloc: M, units: u64) -> Took {
    const LIVE: usize = 32;
    const STEP: u64 = 3;
    let mut random = random(0);
    // Most are a few words; one in sixteen is a product of two.
    let sizes = sizes(|| match random.next() >> 33 {
        number if number.is_multiple_of(16) => 8 * (8 + number as usize / 16 % 8),
        number => 8 * (1 + number as usize / 16 % 6),
    });
    let mut live = Array::new(malloc, LIVE, || 16);
    took(|| {
        for turn in 0..units.div_ceil(STEP) as usize {
            let size = |at: usize| sizes[(turn * 3 + at) % SIZES] as usize;
            let quotient = Object::new(&malloc, size(0));
            let rest = Object::new(&malloc, size(1));
            live.replace(turn % LIVE, size(2));
            for object in [rest, quotient] {
                // SAFETY: allocated above, freed once.
                unsafe { object.free(&malloc) };
            }
        }
    })
}

/// Eight vectors grow in turn, each by doubling from 64 B to a length of its own of up to 512 KiB,
/// and what they grew by is written.
pub(super) fn vectors<M: Malloc + Copy>(malloc: M, units: u64) -> Took {
    const FIRST: usize = 64;
    let mut random = random(0);
    let mut longest = move || FIRST << ((random.next() >> 33) % 14);
    let fresh =
        || Object { size: FIRST as u32, start: filled(malloc.get(layout(FIRST)), 0, FIRST) };
    let mut vectors: Vec<(Object, usize)> = (0..8).map(|_| (fresh(), longest())).collect();
    let done = took(|| {
        for turn in 0..units as usize {
            let (vector, most) = &mut vectors[turn % 8];
            let size = vector.size as usize;
            if size >= *most {
                // SAFETY: of this malloc and this size, and replaced.
                unsafe { vector.free(&malloc) };
                (*vector, *most) = (fresh(), longest());
                continue;
            }
            // SAFETY: of this malloc and this size, and replaced by what is returned.
            let start = unsafe { malloc.resize(vector.start, layout(size), size * 2) };
            *vector = Object { start: filled(start, size, size * 2), size: size as u32 * 2 };
        }
    });
    for (vector, _) in vectors {
        // SAFETY: of this malloc and this size, and gone.
        unsafe { vector.free(&malloc) };
    }
    done
}

/// Writes what a vector grew by.
#[inline(always)]
fn filled(start: *mut u8, from: usize, to: usize) -> *mut u8 {
    assert!(!start.is_null(), "memory");
    // SAFETY: the object has `to` bytes.
    let grown = unsafe { start.add(from) };
    // SAFETY: as above.
    unsafe { grown.write_bytes(1, to - from) };
    black_box(start)
}

/// No allocator: everybody has the same bytes. What is left is the loop.
#[derive(Clone, Copy)]
pub(super) struct Nothing;

impl Malloc for Nothing {
    #[inline(always)]
    fn get(&self, _: Layout) -> *mut u8 {
        static BYTES: [std::sync::atomic::AtomicU64; 2048] =
            [const { std::sync::atomic::AtomicU64::new(0) }; 2048];
        BYTES.as_ptr().cast::<u8>().cast_mut()
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, _: Layout) {
        crate::work::seen(start);
    }
}
