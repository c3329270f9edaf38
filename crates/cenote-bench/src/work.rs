//! What the cases share: the table of sizes, random numbers, and how an object is touched.

use std::alloc::Layout;
use std::hint::black_box;
use std::ptr::NonNull;

/// The sizes of a request's 40 objects: 8 to 512 B, 2,428 B in all.
static REQUEST: [u32; 40] = [
    24, 16, 40, 8, 64, 13, 27, 128, 48, 512, 32, 9, 80, 16, 35, 24, 256, 11, 56, 8, 96, 19, 40, 32,
    22, 160, 8, 48, 17, 64, 24, 100, 30, 16, 72, 8, 45, 88, 12, 120,
];

/// That table, of which the compiler knows the length and no entry.
pub(crate) fn request_sizes() -> &'static [u32; 40] {
    black_box(&REQUEST)
}

/// The layout of an object of `size` bytes: known only at run time, aligned for a word, which is
/// what nginx's `ngx_palloc` and every malloc give.
#[inline(always)]
pub(crate) fn layout(size: usize) -> Layout {
    // SAFETY: 8 is a power of two, and the sizes here are far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size, 8) }
}

/// Writes the first eight bytes and makes the compiler believe that somebody reads them.
#[inline(always)]
pub(crate) fn touch(start: *mut u8, value: u64) {
    // SAFETY: every object here has 8 bytes at least, aligned for them, and is the bench's own.
    unsafe { start.cast::<u64>().write(value) };
    seen(start);
}

/// Makes the compiler believe that somebody reads what `start` points at. `black_box` would store
/// the pointer to the stack first, which the C loops do not.
#[inline(always)]
pub(crate) fn seen<T: ?Sized>(start: *const T) {
    // SAFETY: no instruction at all; the pointer is only in a register.
    unsafe {
        std::arch::asm!("/* {0} */", in(reg) start.cast::<u8>(), options(nostack, preserves_flags))
    };
}

/// The same for a pointer that is not null.
#[inline(always)]
pub(crate) fn touch_at(start: NonNull<u8>, value: u64) {
    touch(start.as_ptr(), value);
}

/// Marsaglia's xorshift: the same numbers for every subject.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_forty_objects_of_8_to_512_bytes_and_2428_in_all() {
        assert_eq!(REQUEST.iter().sum::<u32>(), 2_428);
        assert!(REQUEST.iter().all(|size| (8..=512).contains(size)));
    }
}
