//! [`Stack`]: the newest frees of one class of chunks.
//!
//! Pointers, in the pool's value: so neither a free nor the allocation after it touches a
//! page's descriptor, or the chunk, or looks for the cluster. A pointer that came with a layout
//! is the freed object's own: the next object of the class gets it as it came. What lies
//! outside of the chunk, the descriptor above all, is reached through the cluster's pointer
//! alone.

use core::cell::Cell;
use core::ptr::{self, NonNull};

/// How many frees of a class are remembered at most. Where objects of random sizes come and go,
/// some thousand pass until a stack of so many is full or empty; with half as many places it
/// would be a quarter of that.
pub(super) const DEPTH: usize = 31;

/// With its two counts it fills whole cache lines. They come last, which is never at a multiple
/// of 16 bytes: see the order of [`ChunkPool`](super::ChunkPool)'s fields.
#[repr(C, align(16))]
pub(super) struct Stack<const PLACES: usize> {
    frees: [Cell<*mut u8>; PLACES],
    /// How many there are; never above `PLACES`.
    count: Cell<u32>,
    /// How many there may be before something else is to be done than to push; likewise.
    limit: Cell<u32>,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Stack<DEPTH>>() == 256);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(core::mem::offset_of!(Stack<DEPTH>, count) % 16 == 8);

impl<const PLACES: usize> Stack<PLACES> {
    pub(super) const fn new() -> Self {
        Self {
            frees: [const { Cell::new(ptr::null_mut()) }; PLACES],
            count: Cell::new(0),
            limit: Cell::new(0),
        }
    }

    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count.get() as usize
    }

    /// The newest free, which is none any more.
    #[inline(always)]
    pub(super) fn pop(&self) -> Option<NonNull<u8>> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        self.count.set(count as u32 - 1);
        // SAFETY: `count` is at most the number of places.
        let place = unsafe { self.frees.get_unchecked(count - 1) };
        let chunk = place.get();
        // Or valgrind would take it for what refers to the object, and see no leak.
        #[cfg(feature = "valgrind")]
        place.set(ptr::null_mut());
        // SAFETY: the places below `count` were filled by a push, with what is not null.
        Some(unsafe { NonNull::new_unchecked(chunk) })
    }

    /// Remembers a free; `false` where there is more to be done.
    #[inline(always)]
    pub(super) fn try_push(&self, chunk: NonNull<u8>) -> bool {
        let count = self.count();
        if count >= self.limit.get() as usize {
            return false;
        }
        // SAFETY: `count` is below the limit, which is at most the number of places.
        unsafe { self.frees.get_unchecked(count) }.set(chunk.as_ptr());
        self.count.set(count as u32 + 1);
        true
    }

    /// Remembers a free, whatever the limit; `false` where there is no room.
    pub(super) fn push(&self, chunk: NonNull<u8>) -> bool {
        let Some(place) = self.frees.get(self.count()) else { return false };
        place.set(chunk.as_ptr());
        self.count.set(self.count.get() + 1);
        true
    }

    /// The free at this place, the oldest being at 0.
    #[inline(always)]
    pub(super) fn at(&self, place: usize) -> *mut u8 {
        self.frees.get(place).map_or(ptr::null_mut(), Cell::get)
    }

    /// Takes the oldest off.
    pub(super) fn drop_oldest(&self, number: usize) {
        let left = self.count().saturating_sub(number);
        for place in 0..left {
            self.frees[place].set(self.at(place + number));
        }
        self.count.set(left as u32);
    }

    /// Whether this address is among them. Looks at eight places at a time, also those that are
    /// not in use, since a loop that is now longer, now shorter by one is foreseen by nobody.
    #[inline(always)]
    pub(super) fn has(&self, address: usize) -> bool {
        const TOGETHER: usize = 8;
        for (group, places) in self.frees.chunks(TOGETHER).enumerate() {
            let before = group * TOGETHER;
            if before >= self.count() {
                break;
            }
            for (place, free) in places.iter().enumerate() {
                if free.get().addr() == address {
                    // The lowest; what is left of an earlier free may be above those in use.
                    return before + place < self.count();
                }
            }
        }
        false
    }

    #[inline(always)]
    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.set(limit.min(PLACES) as u32);
    }

    pub(super) fn clear(&self) {
        self.count.set(0);
        self.limit.set(0);
    }
}
