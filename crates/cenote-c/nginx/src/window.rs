//! Where an object goes in a block: integers only.
//!
//! nginx's window, to the letter: an object begins at `last`, aligned, and `last` moves to
//! where the object ends, not further, since nginx's arrays grow in place where they end there.
//! (cenote's own window keeps `last` aligned and cannot be used for that.)

#![forbid(unsafe_code)]

/// Where an object of `size` bytes begins, or `None` where it does not fit. `align` is a power
/// of two; `size` is at most `isize::MAX`.
///
/// Also right where `last`, aligned, is beyond `end`: the difference is negative then, and
/// less than any size.
#[inline(always)]
pub(crate) const fn place(last: usize, end: usize, size: usize, align: usize) -> Option<usize> {
    let start = last.wrapping_add(align - 1) & align.wrapping_neg();
    if end.wrapping_sub(start) as isize >= size as isize { Some(start) } else { None }
}

/// How much a block may hold that is taken as the `nth` of its pool (the first is the 0th), whose
/// first block holds `first` bytes: eight of one size, then eight of twice that, up to `most`.
///
/// So `current` moves on as in nginx, after six failures, before blocks grow; and a larger one is
/// at most a quarter of what the pool has.
pub(crate) fn grown(first: usize, nth: u32, most: usize) -> usize {
    // Beyond so many doublings anything is `most`.
    let doublings = (nth / 8).min(usize::BITS - 1);
    first.saturating_mul(1 << doublings).min(most).max(first)
}
