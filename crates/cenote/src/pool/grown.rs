//! [`Grown`]: what objects that outgrew their blocks grew to, for the next ones to have room.
//!
//! A vector that grows by doubling moves each time that it is not the newest object or its
//! block has no room; beyond the large threshold that would be every time. A pool that is used
//! again and again has seen how far they go: the next one that outgrows its block gets so much
//! at once. It is a guess, so it is bounded, forgotten by an eighth with each reset that did
//! not see its like, and never what an allocation fails for.

use core::cell::Cell;

/// More than this is not taken on a guess: what the thread's cache of blocks has room for.
pub(super) const LARGEST: usize = crate::Blocks::LARGEST;

/// The most bytes that an object had which outgrew its block; in the lowest bit, whether one
/// came near that since the last reset.
pub(super) struct Grown(Cell<u32>);

const LATELY: u32 = 1;

impl Grown {
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self(Cell::new(0))
    }

    /// An object outgrew its block, and now needs so many bytes: how many it should have room
    /// for.
    pub(super) fn room_for(&self, size: usize) -> usize {
        let known = (self.0.get() & !LATELY) as usize;
        let rounded = size.checked_next_multiple_of(2).unwrap_or(LARGEST).min(LARGEST);
        if rounded > known / 2 {
            self.0.set(rounded.max(known) as u32 | LATELY);
        }
        size.max(known)
    }

    /// What was noted since the last reset; older notes fade.
    pub(super) fn next_round(&self) -> usize {
        let noted = self.0.get();
        if noted & LATELY == 0 {
            self.0.set((noted - noted / 8) & !LATELY);
            return 0;
        }
        self.0.set(noted & !LATELY);
        (noted & !LATELY) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_object_gets_room_for_what_the_last_one_grew_to() {
        let grown = Grown::new();
        assert_eq!(grown.room_for(20_000), 20_000);
        assert_eq!(grown.room_for(40_000), 40_000);
        assert_eq!(grown.next_round(), 40_000);
        assert_eq!(grown.room_for(20_000), 40_000);
        assert_eq!(grown.next_round(), 0);
    }

    #[test]
    fn what_was_not_seen_again_is_forgotten() {
        let grown = Grown::new();
        grown.room_for(100_000);
        assert_eq!(grown.next_round(), 100_000);
        let mut last = 100_000;
        for _ in 0..200 {
            assert_eq!(grown.next_round(), 0);
            let room = grown.room_for(0);
            assert!(room < last || room < 16);
            last = room;
        }
        assert!(last < 16, "{last}");
    }

    #[test]
    fn guesses_are_bounded() {
        let grown = Grown::new();
        assert_eq!(grown.room_for(usize::MAX), usize::MAX);
        assert_eq!(grown.room_for(1), LARGEST);
        assert_eq!(grown.next_round(), LARGEST);
    }
}
