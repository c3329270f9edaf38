//! The classes of sizes. Integers only; nothing here touches memory.
//!
//! Multiples of 16 up to 128, then four for each doubling up to 32 KiB. Objects of a class lie side
//! by side in runs of pages of 64 KiB: of one up to 4 KiB, of four above, so that little is left
//! over behind the last.

#![forbid(unsafe_code)]

/// Bytes of a page of a segment.
pub(crate) const PAGE: usize = 64 << 10;

/// Pages of a segment, the first of which holds what is known of the others.
pub(crate) const PAGES: usize = 64;

pub(crate) const COUNT: usize = 40;

/// Objects of more bytes than this are runs of pages of their own, or mappings.
pub(crate) const MAX_SMALL: usize = 32 << 10;

/// Objects of more bytes than this are mappings of their own.
pub(crate) const MAX_RUN: usize = 1 << 20;

/// What every object is aligned to.
pub(crate) const ALIGN: usize = 16;

/// As many chunks of the smallest class fit in a page: one bit for each.
pub(crate) const MAX_CHUNKS: usize = PAGE / 16;

/// Frees that a thread remembers of a class, at most.
pub(crate) const DEPTH: usize = 32;

#[derive(Clone, Copy)]
pub(crate) struct Class {
    pub(crate) size: u32,
    /// Chunks of a run.
    pub(crate) chunks: u16,
    /// Pages of a run.
    pub(crate) pages: u8,
    /// How many frees of it a thread remembers: 64 KiB, and at least four.
    pub(crate) depth: u8,
    /// 2^64 divided by the size, rounded up: an offset is a multiple of the size if and only if its
    /// product with this, modulo 2^64, is below this; and the number of times is the product's upper
    /// half. Exact for offsets and sizes below 2^32.
    pub(crate) reciprocal: u64,
}

const fn class(number: usize) -> Class {
    let size = if number < 8 {
        (number + 1) * 16
    } else {
        let (doubling, quarter) = ((number - 8) / 4, (number - 8) % 4);
        (128 << doubling) / 4 * (5 + quarter)
    };
    let pages = if size <= 4096 { 1 } else { 4 };
    let depth = (64 << 10) / size;
    Class {
        size: size as u32,
        chunks: (pages * PAGE / size) as u16,
        pages: pages as u8,
        depth: if depth < 4 {
            4
        } else if depth > DEPTH {
            DEPTH as u8
        } else {
            depth as u8
        },
        reciprocal: u64::MAX / size as u64 + 1,
    }
}

pub(crate) static CLASSES: [Class; COUNT] = {
    let mut classes = [class(0); COUNT];
    let mut number = 0;
    while number < COUNT {
        classes[number] = class(number);
        number += 1;
    }
    classes
};

/// The bytes of each class's chunks.
pub(crate) const fn sizes() -> [usize; COUNT] {
    let mut sizes = [0; COUNT];
    let mut number = 0;
    while number < COUNT {
        sizes[number] = class(number).size as usize;
        number += 1;
    }
    sizes
}

const STEPS: usize = MAX_SMALL / 16 + 1;

/// The class of so many times 16 bytes.
static TABLE: [u8; STEPS] = {
    let mut table = [0; STEPS];
    let (mut step, mut number) = (0, 0);
    while step < STEPS {
        if step * 16 > class(number).size as usize {
            number += 1;
        }
        table[step] = number as u8;
        step += 1;
    }
    table
};

/// The class of objects of so many bytes, which are at most [`MAX_SMALL`].
#[inline(always)]
pub(crate) fn class_of(size: usize) -> usize {
    TABLE.get(size.div_ceil(16)).map_or(COUNT - 1, |class| usize::from(*class))
}

/// The class of objects of this size and alignment: one whose chunks all lie at multiples of it.
pub(crate) fn class_of_aligned(size: usize, align: usize) -> Option<usize> {
    if align <= ALIGN && size <= MAX_SMALL {
        return Some(class_of(size));
    }
    if size > MAX_SMALL || align > MAX_SMALL {
        return None;
    }
    let fits = |class: &usize| (CLASSES[*class].size as usize).is_multiple_of(align);
    (class_of(size.max(align))..COUNT).find(fits)
}

/// Which multiple of the class's size this offset is, if it is one.
#[inline(always)]
pub(crate) fn divide(offset: usize, reciprocal: u64) -> Option<usize> {
    let product = offset as u128 * u128::from(reciprocal);
    ((product as u64) < reciprocal).then_some((product >> 64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        for size in 0..=MAX_SMALL {
            let class = class_of(size);
            assert!(CLASSES[class].size as usize >= size);
            assert!(class == 0 || (CLASSES[class - 1].size as usize) < size, "{size}");
        }
        assert_eq!(CLASSES[COUNT - 1].size as usize, MAX_SMALL);
    }

    #[test]
    fn every_size_and_alignment_has_a_class_at_multiples_of_it_that_wastes_little() {
        for size in 0..=MAX_SMALL {
            for shift in 0..=15 {
                let class = CLASSES[class_of_aligned(size, 1 << shift).unwrap()];
                assert!(class.size as usize >= size);
                assert!((class.size as usize).is_multiple_of(1 << shift));
                assert!(class.size as usize <= (2 * size.max(1 << shift)).max(16));
            }
        }
        assert!(class_of_aligned(MAX_SMALL + 1, 1).is_none());
        assert!(class_of_aligned(1, 2 * MAX_SMALL).is_none());
    }

    #[test]
    fn division_finds_the_multiples_of_each_size_and_no_other_offset() {
        for class in &CLASSES {
            let size = class.size as usize;
            assert_eq!(class.chunks as usize, usize::from(class.pages) * PAGE / size);
            assert!(usize::from(class.chunks) <= MAX_CHUNKS);
            for offset in 0..usize::from(class.pages) * PAGE {
                let exact = offset.is_multiple_of(size).then_some(offset / size);
                assert_eq!(divide(offset, class.reciprocal), exact, "{offset} by {size}");
            }
        }
    }

    #[test]
    fn what_is_left_over_behind_the_last_chunk_is_less_than_a_sixteenth() {
        for class in &CLASSES {
            let run = usize::from(class.pages) * PAGE;
            let over = run - usize::from(class.chunks) * class.size as usize;
            assert!(over * 16 <= run, "{}", class.size);
        }
    }
}
