//! The free middle of a block that several threads allocate from: one atomic word.
//!
//! The word holds both ends of the window as offsets from the block's beginning: `last` in its
//! lower half, `end` in its upper one. Each operation computes what the window would be after
//! it, and puts that in the place of what it saw; where another thread was faster, it looks
//! again. So a thread never waits, and one that retries does so because another got on.
//!
//! The word says all there is to know of the window: equal words are equal states, so it does
//! no harm if the word has changed and changed back meanwhile. Memory that is freed is given to
//! the next by `Release` and `Acquire` on the word: all changes are read-modify-writes, so
//! those in between hand on what they found.

use super::sync::{AtomicU64, Ordering::*};
use crate::debug as window;

/// Both ends of the window of one block. The arithmetic is that of [`crate::window`].
pub(super) struct Window(AtomicU64);

/// Offsets are those of a block of at most 1 GiB.
#[inline(always)]
const fn word(last: usize, end: usize) -> u64 {
    last as u64 | (end as u64) << 32
}

#[inline(always)]
const fn ends(word: u64) -> (usize, usize) {
    ((word & u32::MAX as u64) as usize, (word >> 32) as usize)
}

impl Window {
    pub(super) fn new(last: usize, end: usize) -> Self {
        Self(AtomicU64::new(word(last, end)))
    }

    /// Leaves no room.
    pub(super) fn shut(&self) {
        let (last, _) = self.ends();
        self.0.store(word(last, last), Relaxed);
    }

    /// The offsets of both ends, at this moment.
    pub(super) fn ends(&self) -> (usize, usize) {
        ends(self.0.load(Relaxed))
    }

    /// Bytes between them, at this moment.
    pub(super) fn room(&self) -> usize {
        let (last, end) = self.ends();
        end - last
    }

    /// Places an object at the bottom: its offset. `base` is the block's address.
    ///
    /// Uncontended: a load, some arithmetic, one compare-and-swap.
    #[inline(always)]
    pub(super) fn place_up(&self, base: usize, size: usize, align: usize) -> Option<usize> {
        let mut seen = self.0.load(Relaxed);
        loop {
            let (last, end) = ends(seen);
            let fit = window::fit_up(base + last, base + end, size, align)?;
            match self.swap(seen, word(fit.last - base, end)) {
                Ok(()) => return Some(fit.start - base),
                Err(now) => seen = now,
            }
        }
    }

    /// Places bytes at the top: their offset.
    #[inline(always)]
    pub(super) fn place_down(&self, size: usize) -> Option<usize> {
        let mut seen = self.0.load(Relaxed);
        loop {
            let (last, end) = ends(seen);
            let start = window::fit_down(last, end, size)?;
            match self.swap(seen, word(last, start)) {
                Ok(()) => return Some(start),
                Err(now) => seen = now,
            }
        }
    }

    /// Whether an object of `size` bytes, not 0, at offset `start` is the newest at the bottom
    /// now. It may cease to be at any time, but not become so: only its owner may ask.
    #[inline]
    pub(super) fn is_newest(&self, start: usize, size: usize) -> bool {
        start.wrapping_add(window::taken(size)) == self.ends().0
    }

    /// The newest object at the bottom changes its size in place; `false` where it is not the
    /// newest, or there is no room. To size 0 it is freed.
    #[inline]
    pub(super) fn resize(&self, start: usize, old: usize, new: usize) -> bool {
        let mut seen = self.0.load(Relaxed);
        loop {
            let (last, end) = ends(seen);
            let Some(next) = window::resize_newest(last, end, start, old, new) else {
                return false;
            };
            match self.swap(seen, word(next, end)) {
                Ok(()) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Frees the newest bytes at the top, of a block of `block` bytes; `false` where they are
    /// not the newest, or not of this block.
    #[inline]
    pub(super) fn free_down(&self, start: usize, size: usize, block: usize) -> bool {
        let mut seen = self.0.load(Relaxed);
        loop {
            let (last, end) = ends(seen);
            if start != end || window::top_after(0, size) > block - end {
                return false;
            }
            match self.swap(seen, word(last, window::top_after(end, size))) {
                Ok(()) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// `Acquire`: what the window gives away, whoever had it before is done with. `Release`:
    /// what goes back to it, the caller is done with.
    #[inline(always)]
    fn swap(&self, seen: u64, next: u64) -> Result<(), u64> {
        self.0.compare_exchange_weak(seen, next, AcqRel, Relaxed).map(|_| ())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_begins_right_behind_a_block_is_not_the_newest_of_its_packed_bytes() {
        for size in [1, 8, 16, 4096, 1 << 20] {
            let window = Window::new(32, 128);
            assert!(!window.free_down(128, size, 128), "{size} bytes behind a block of 128");
            assert_eq!(window.ends(), (32, 128));
        }
        let window = Window::new(32, 128);
        let (first, second) = (window.place_down(5).unwrap(), window.place_down(7).unwrap());
        assert!(!window.free_down(first, 5, 128), "it is not the newest");
        assert!(!window.free_down(second, 100, 128), "it would reach beyond the block");
        assert!(window.free_down(second, 7, 128));
        assert!(window.free_down(first, 5, 128));
        assert_eq!(window.ends(), (32, 128));
    }
}
