//! [`Bin`]: what a thread has at hand of one class: its newest frees, and a window of fresh memory.
//!
//! Used by the heap's own thread alone; others read figures. So all is atomic, and nothing is more
//! than a plain load or store.

use crate::classes::{Class, DEPTH};
use core::ptr::{self, NonNull};
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed,
};

#[repr(C, align(32))]
pub(crate) struct Bin {
    /// How many frees are remembered, and how many may be before there is more to do than that; both
    /// are at most [`DEPTH`].
    count: AtomicU32,
    limit: AtomicU32,
    size: AtomicUsize,
    /// The window: chunks that nobody had yet since the run was taken.
    at: AtomicPtr<u8>,
    end: AtomicUsize,
    /// Whether the window is zeros.
    clean: AtomicBool,
    /// How many frees may be remembered.
    depth: AtomicU8,
    frees: [AtomicPtr<u8>; DEPTH],
}

impl Bin {
    pub(crate) fn prepare(&self, class: &Class) {
        self.size.store(class.size as usize, Relaxed);
        self.depth.store(class.depth, Relaxed);
        self.limit.store(u32::from(class.depth), Relaxed);
    }

    /// From now on each free takes the slow path.
    pub(crate) fn slow_frees(&self) {
        self.limit.store(0, Relaxed);
    }

    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed) as usize
    }

    pub(crate) fn depth(&self) -> usize {
        usize::from(self.depth.load(Relaxed)).min(DEPTH)
    }

    /// The newest free; or the next chunk of the window, if there is any.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<NonNull<u8>> {
        let count = self.count();
        let chunk = if count == 0 {
            self.bump()?
        } else {
            self.count.store(count as u32 - 1, Relaxed);
            // SAFETY: the count is at most the number of places.
            unsafe { self.frees.get_unchecked(count - 1) }.load(Relaxed)
        };
        // SAFETY: places below the count have a chunk that was freed, and windows are of chunks.
        Some(unsafe { NonNull::new_unchecked(chunk) })
    }

    /// The next chunk of the window.
    #[inline(always)]
    fn bump(&self) -> Option<*mut u8> {
        let at = self.at.load(Relaxed);
        let next = at.wrapping_add(self.size.load(Relaxed));
        // Without a window both are 0.
        if next.addr() > self.end.load(Relaxed) {
            return None;
        }
        self.at.store(next, Relaxed);
        Some(at)
    }

    /// Whether the next chunk taken is zeros but for its first word.
    #[inline(always)]
    pub(crate) fn next_is_clean(&self) -> bool {
        self.count() == 0 && self.clean.load(Relaxed)
    }

    /// Remembers a free, up to the depth and whatever the limit; `false` if there is no room.
    pub(crate) fn push_slow(&self, chunk: *mut u8) -> bool {
        let count = self.count();
        let Some(place) = self.frees.get(count).filter(|_| count < self.depth()) else {
            return false;
        };
        place.store(chunk, Relaxed);
        self.count.store(count as u32 + 1, Relaxed);
        true
    }

    /// Remembers a free; `false` if there is more to do.
    #[inline(always)]
    pub(crate) fn push(&self, chunk: *mut u8) -> bool {
        let count = self.count.load(Relaxed);
        if count >= self.limit.load(Relaxed) {
            return false;
        }
        // SAFETY: below the limit, which is at most the number of places.
        unsafe { self.frees.get_unchecked(count as usize) }.store(chunk, Relaxed);
        self.count.store(count + 1, Relaxed);
        true
    }

    /// The free at this place, the oldest being at 0.
    pub(crate) fn get(&self, place: usize) -> *mut u8 {
        self.frees.get(place).map_or(ptr::null_mut(), |free| free.load(Relaxed))
    }

    /// Forgets the oldest.
    pub(crate) fn forget_oldest(&self, number: usize) {
        for (to, from) in self.frees.iter().zip(self.frees.iter().skip(number)) {
            to.store(from.load(Relaxed), Relaxed);
        }
        self.count.store(self.count().saturating_sub(number) as u32, Relaxed);
    }

    /// The bytes of the window.
    pub(crate) fn window(&self) -> (*mut u8, usize) {
        let at = self.at.load(Relaxed);
        (at, self.end.load(Relaxed).saturating_sub(at.addr()))
    }

    /// Makes this the window, which was empty.
    pub(crate) fn open(&self, start: *mut u8, bytes: usize, clean: bool) {
        self.clean.store(clean, Relaxed);
        self.at.store(start, Relaxed);
        self.end.store(start.addr() + bytes, Relaxed);
    }

    /// Leaves the window without anything.
    pub(crate) fn close(&self) {
        self.end.store(0, Relaxed);
        self.at.store(ptr::null_mut(), Relaxed);
    }

    /// Forgets all that it has, which stays taken in the pages for good.
    pub(crate) fn give_up(&self) {
        self.close();
        self.count.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::CLASSES;
    use core::mem::zeroed;

    fn bin(class: usize) -> Bin {
        // SAFETY: zeros are values of each of its fields.
        let bin: Bin = unsafe { zeroed() };
        bin.prepare(&CLASSES[class]);
        bin
    }

    fn chunk(number: usize) -> *mut u8 {
        ptr::without_provenance_mut(16 * (number + 1))
    }

    #[test]
    fn the_newest_free_comes_first_and_the_window_after_the_last() {
        for (number, class) in CLASSES.iter().enumerate() {
            let (bin, depth) = (bin(number), usize::from(class.depth));
            let size = class.size as usize;
            bin.open(chunk(1000), 2 * size + size / 2, true);
            assert!((0..depth).all(|number| bin.push(chunk(number))));
            assert!(!bin.push(chunk(depth)));
            assert!(!bin.next_is_clean());
            for number in (0..depth).rev() {
                assert_eq!(bin.take(), NonNull::new(chunk(number)));
            }
            assert!(bin.next_is_clean());
            assert_eq!(bin.take(), NonNull::new(chunk(1000)));
            assert_eq!(bin.take(), NonNull::new(chunk(1000).wrapping_add(size)));
            assert!(bin.take().is_none());
        }
    }

    #[test]
    fn the_oldest_frees_are_forgotten_and_the_others_stay_in_their_order() {
        for forgotten in 0..=DEPTH {
            let bin = bin(0);
            assert!((0..DEPTH).all(|number| bin.push(chunk(number))));
            bin.forget_oldest(forgotten);
            assert_eq!(bin.count(), DEPTH - forgotten);
            for number in (forgotten..DEPTH).rev() {
                assert_eq!(bin.take(), NonNull::new(chunk(number)));
            }
            assert!(bin.take().is_none());
        }
    }
}
