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
/// hundreds pass until a stack of so many is full or empty; with half as many places it would be
/// a quarter of that.
pub(super) const DEPTH: usize = 24;

/// The counts are never at a multiple of 16 bytes: see the order of
/// [`ChunkPool`](super::ChunkPool)'s fields.
#[repr(C, align(16))]
pub(super) struct Stack<const PLACES: usize> {
    frees: [Cell<*mut u8>; PLACES],
    /// Of each free a part of its address, by which all can be looked at in few instructions.
    marks: [Cell<i16>; PLACES],
    /// Keeps the counts where they are to be.
    apart: [u32; 2],
    /// How many there are; never above `PLACES`.
    count: Cell<u32>,
    /// How many there may be before something else is to be done than to push; likewise.
    limit: Cell<u32>,
}

/// The part of an address that is its mark: no two within 64 KiB have the same. (More of it, by
/// leaving out the bits that are always 0, would be another instruction for each free.)
#[inline(always)]
fn mark(address: usize) -> i16 {
    address as i16
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Stack<DEPTH>>() == 256);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(core::mem::offset_of!(Stack<DEPTH>, count) % 16 == 8);

impl<const PLACES: usize> Stack<PLACES> {
    pub(super) const fn new() -> Self {
        Self {
            frees: [const { Cell::new(ptr::null_mut()) }; PLACES],
            marks: [const { Cell::new(0) }; PLACES],
            apart: [0; 2],
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
        // SAFETY: likewise; there are as many marks.
        unsafe { self.marks.get_unchecked(count) }.set(mark(chunk.addr().get()));
        self.count.set(count as u32 + 1);
        true
    }

    /// Remembers a free, whatever the limit; `false` where there is no room.
    pub(super) fn push(&self, chunk: NonNull<u8>) -> bool {
        let count = self.count();
        let (Some(place), Some(marked)) = (self.frees.get(count), self.marks.get(count)) else {
            return false;
        };
        place.set(chunk.as_ptr());
        marked.set(mark(chunk.addr().get()));
        self.count.set(count as u32 + 1);
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
        for (to, from) in self.frees.iter().zip(self.frees.iter().skip(number)) {
            to.set(from.get());
        }
        for (to, from) in self.marks.iter().zip(self.marks.iter().skip(number)) {
            to.set(from.get());
        }
        self.count.set(left as u32);
    }

    /// Whether this address is among them. Looks at the mark of every place, since a loop of
    /// random length is foreseen by nobody.
    #[inline(always)]
    pub(super) fn has(&self, address: usize) -> bool {
        let (wanted, count) = (mark(address), self.count.get() as i16);
        let mut maybe = false;
        for (place, marked) in self.marks.iter().enumerate() {
            maybe |= (marked.get() == wanted) & ((place as i16) < count);
        }
        maybe && self.surely_has(address)
    }

    #[cold]
    #[inline(never)]
    fn surely_has(&self, address: usize) -> bool {
        self.frees.iter().take(self.count()).any(|free| free.get().addr() == address)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The chunks of a page of memory; their addresses have the same lowest 16 bits as those of
    /// the same number 64 KiB further on.
    fn chunk(number: usize) -> NonNull<u8> {
        NonNull::without_provenance(core::num::NonZero::new(64 * (number + 1)).unwrap())
    }

    #[test]
    fn a_stack_has_what_was_pushed_and_neither_popped_nor_dropped() {
        for limit in 0..=DEPTH {
            let stack = Stack::<DEPTH>::new();
            stack.set_limit(limit);
            let count = (0..DEPTH + 1).take_while(|number| stack.try_push(chunk(*number))).count();
            assert_eq!(count, limit);
            for popped in 0..=limit {
                for number in 0..=DEPTH {
                    let there = number < limit - popped;
                    assert_eq!(stack.has(chunk(number).addr().get()), there);
                    // Their marks are the same.
                    assert!(!stack.has(chunk(number).addr().get() + (64 << 10)));
                }
                assert_eq!(stack.pop(), (limit - popped).checked_sub(1).map(chunk));
            }
            for dropped in 0..=limit {
                stack.clear();
                assert!((0..limit).all(|number| stack.push(chunk(number))));
                stack.drop_oldest(dropped);
                for number in 0..=DEPTH {
                    let there = (dropped..limit).contains(&number);
                    assert_eq!(stack.has(chunk(number).addr().get()), there, "{number}");
                }
            }
        }
    }
}
