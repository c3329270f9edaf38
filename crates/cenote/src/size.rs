//! Checked size arithmetic: the one place where sizes are added, multiplied and rounded.
//!
//! Every sum that depends on what a caller asked for goes through [`total`]. It never wraps,
//! in any build, and what it returns is always a size that a [`Layout`] may have. Nothing
//! here touches memory.

#![forbid(unsafe_code)]

use core::alloc::Layout;

/// The largest size that one object may have, in bytes, at alignment 1.
pub const MAX: usize = isize::MAX as usize;

/// `base + count * each` bytes, rounded up to a multiple of `align`.
///
/// `None` where the sum is not a size that an object of that alignment may have (at most
/// [`MAX`]` - (align - 1)` after rounding), or where `align` is no power of two.
///
/// ```
/// use cenote::size::{MAX, total};
/// assert_eq!(total(32, 10, 24, 64), Some(320));   // 272, rounded up
/// assert_eq!(total(0, usize::MAX / 2, 4, 8), None);
/// assert_eq!(total(MAX, 0, 0, 8), None);           // no room to round
/// ```
#[inline]
#[must_use]
pub const fn total(base: usize, count: usize, each: usize, align: usize) -> Option<usize> {
    if !align.is_power_of_two() {
        return None;
    }
    let Some(product) = count.checked_mul(each) else {
        return None;
    };
    let Some(sum) = base.checked_add(product) else {
        return None;
    };
    let mask = align - 1;
    let Some(raised) = sum.checked_add(mask) else {
        return None;
    };
    let rounded = raised & !mask;
    if rounded > MAX - mask {
        return None;
    }
    Some(rounded)
}

/// The layout of `count` objects of `each` bytes behind a prefix of `base` bytes.
///
/// `None` under the same conditions as [`total`].
///
/// ```
/// let layout = cenote::size::layout(0, 3, 8, 16).expect("it is small");
/// assert_eq!((layout.size(), layout.align()), (32, 16));
/// ```
#[inline]
#[must_use]
pub const fn layout(base: usize, count: usize, each: usize, align: usize) -> Option<Layout> {
    let Some(size) = total(base, count, each, align) else {
        return None;
    };
    match Layout::from_size_align(size, align) {
        Ok(layout) => Some(layout),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rounding_stops_exactly_at_the_largest_size() {
        for shift in 0..=21 {
            let align = 1usize << shift;
            let largest = MAX - (align - 1);
            let largest = largest & !(align - 1);
            assert_eq!(total(largest, 0, 0, align), Some(largest), "align {align}");
            assert_eq!(total(largest + 1, 0, 0, align), None, "align {align}");
            assert_eq!(total(largest, 1, 1, align), None, "align {align}");
            assert_eq!(total(0, usize::MAX, 1, align), None);
            assert_eq!(total(usize::MAX, 0, 0, align), None);
            assert_eq!(total(0, 0, 0, align), Some(0));
        }
    }

    #[test]
    fn an_alignment_that_is_no_power_of_two_is_refused() {
        for align in [0, 3, 6, 12, usize::MAX] {
            assert_eq!(total(8, 1, 1, align), None);
        }
    }

    proptest! {
        #[test]
        fn total_agrees_with_wide_arithmetic(
            base in any::<usize>(), count in any::<usize>(), each in any::<usize>(),
            narrow in any::<u8>(), shift in 0u32..=21,
        ) {
            // Full-range integers nearly always overflow; shifted ones mostly do not.
            let cut = u32::from(narrow % 62);
            let (base, count, each) = (base >> cut, count >> (cut / 2 + 31), each >> (cut / 2 + 31));
            let align = 1usize << shift;
            let sum = base as u128 + count as u128 * each as u128;
            let rounded = sum.div_ceil(align as u128) * align as u128;
            let expected = (rounded <= (MAX - (align - 1)) as u128).then_some(rounded as usize);
            prop_assert_eq!(total(base, count, each, align), expected);
            prop_assert_eq!(
                layout(base, count, each, align).map(|l| (l.size(), l.align())),
                expected.map(|size| (size, align))
            );
        }
    }
}
