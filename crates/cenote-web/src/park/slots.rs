//! [`Slots`]: places of parked connections, by number.

/// So many bytes are asked for at a time.
const PIECE: usize = 64 << 10;

/// Places that are numbered, and used again. In pieces that stay where they are: a `Vec` that grows
/// leaves half of itself behind, and a crowd of connections is parked while memory that was just
/// used is at hand, so that all of the new one would be resident.
pub(super) struct Slots<T> {
    pieces: Vec<Vec<Slot<T>>>,
    /// The first free one; as many as there are if none is.
    free: u32,
    taken: usize,
}

enum Slot<T> {
    Free { next: u32 },
    Taken(T),
}

impl<T> Slots<T> {
    const EACH: usize = if size_of::<Slot<T>>() < PIECE { PIECE / size_of::<Slot<T>>() } else { 1 };

    pub(super) const fn new() -> Self {
        Self { pieces: Vec::new(), free: 0, taken: 0 }
    }

    /// How many are taken.
    pub(super) fn len(&self) -> usize {
        self.taken
    }

    /// Which one will be taken next.
    pub(super) fn next(&self) -> u32 {
        self.free
    }

    fn slot(&mut self, index: usize) -> Option<&mut Slot<T>> {
        self.pieces.get_mut(index / Self::EACH)?.get_mut(index % Self::EACH)
    }

    /// Takes [`next`](Slots::next).
    pub(super) fn put(&mut self, value: T) {
        let free = self.free;
        let taken = Slot::Taken(value);
        if let Some(slot) = self.slot(free as usize) {
            if let Slot::Free { next } = std::mem::replace(slot, taken) {
                self.free = next;
            }
        } else {
            match self.pieces.last_mut().filter(|piece| piece.len() < Self::EACH) {
                Some(piece) => piece.push(taken),
                None => {
                    let mut piece = Vec::with_capacity(Self::EACH);
                    piece.push(taken);
                    self.pieces.push(piece);
                }
            }
            self.free += 1;
        }
        self.taken += 1;
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        match self.pieces.get(index / Self::EACH)?.get(index % Self::EACH)? {
            Slot::Taken(value) => Some(value),
            Slot::Free { .. } => None,
        }
    }

    /// Makes one free; all memory goes once all are.
    pub(super) fn take(&mut self, index: usize) -> Option<T> {
        let next = self.free;
        let slot = self.slot(index)?;
        match std::mem::replace(slot, Slot::Free { next }) {
            Slot::Taken(value) => {
                self.free = index as u32;
                self.taken -= 1;
                if self.taken == 0 {
                    *self = Self::new();
                }
                Some(value)
            }
            free => {
                *slot = free;
                None
            }
        }
    }

    /// All that are taken, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let all = self.pieces.iter().flatten().enumerate();
        all.filter_map(|(index, slot)| match slot {
            Slot::Taken(value) => Some((index, value)),
            Slot::Free { .. } => None,
        })
    }

    /// A number above all that are taken.
    pub(super) fn end(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_keep_their_numbers_and_are_used_again() {
        let mut slots = Slots::new();
        let many = 3 * Slots::<Box<usize>>::EACH + 7;
        for number in 0..many {
            assert_eq!(slots.next() as usize, number);
            slots.put(Box::new(number));
        }
        assert_eq!((slots.len(), slots.end()), (many, many));
        for number in (0..many).step_by(3) {
            assert_eq!(slots.take(number).as_deref(), Some(&number));
            assert!(slots.take(number).is_none() && slots.get(number).is_none());
        }
        assert!(slots.iter().all(|(index, value)| index == **value && index % 3 != 0));
        assert_eq!(slots.iter().count(), slots.len());
        // Those that became free last come first.
        let free = slots.next() as usize;
        assert_eq!(free, (many - 1) / 3 * 3);
        while slots.len() < many {
            let next = slots.next() as usize;
            assert!(next < many, "none is made while one is free");
            slots.put(Box::new(next));
        }
        assert_eq!((slots.next() as usize, slots.end()), (many, many));
        assert!((0..many).all(|number| slots.get(number).is_some_and(|value| **value == number)));
        assert!(slots.take(many).is_none() && slots.take(usize::MAX).is_none());
        for number in 0..many {
            assert!(slots.take(number).is_some());
        }
        assert_eq!((slots.len(), slots.end(), slots.next(), slots.pieces.capacity()), (0, 0, 0, 0));
    }
}
