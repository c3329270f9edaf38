//! The bump window: where the next object of a block goes. Integers only.
//!
//! A window is the free middle of a block: aligned objects grow up from `last`, bytes that
//! need no alignment grow down from `end`, and the block is full when the two meet.
//!
//! ```text
//!   block   | header | aligned objects ...| last   free   end |... unaligned bytes |
//! ```
//!
//! `last` is kept a multiple of [`MIN_ALIGN`]. So for the usual alignments the start of the
//! next object is `last` itself, and the rounding falls on the size, which is not on the
//! chain of dependent instructions from one allocation to the next.
//!
//! What callers promise: `last <= end`, `last` is a multiple of [`MIN_ALIGN`], and size and
//! alignment are those of a valid [`Layout`](core::alloc::Layout). On 64-bit targets with an
//! operating system they promise as well that `end` is at most `isize::MAX` (see
//! [`LOWER_HALF`]); then no sum below can wrap and one compare decides. `Supply` refuses
//! blocks elsewhere.

#![forbid(unsafe_code)]

/// The alignment in bytes that every aligned object has at least.
pub const MIN_ALIGN: usize = 8;

/// Whether windows lie in the lower half of the address space, as user memory does on every
/// 64-bit system. Then `last + align + size` cannot wrap and needs no check.
pub const LOWER_HALF: bool = cfg!(all(target_pointer_width = "64", not(target_os = "none")));

/// Where an object goes, and where the window begins after it.
///
/// ```
/// use cenote::window::{Fit, fit_up};
/// // A window from 64 to 128: 20 bytes, aligned to 4, go to its bottom.
/// assert_eq!(fit_up(64, 128, 20, 4), Some(Fit { start: 64, last: 88 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Address of the object.
    pub start: usize,
    /// The window's new `last`.
    pub last: usize,
}

/// `size` rounded up to [`MIN_ALIGN`]. A valid layout's size cannot wrap here.
///
/// ```
/// assert_eq!([0, 1, 8, 9].map(cenote::window::padded), [0, 8, 8, 16]);
/// ```
#[inline(always)]
#[must_use]
pub const fn padded(size: usize) -> usize {
    size.wrapping_add(MIN_ALIGN - 1) & !(MIN_ALIGN - 1)
}

/// Places an object at the bottom of the window. Meant for an alignment known when compiling:
/// at most [`MIN_ALIGN`] it costs five instructions and one branch.
///
/// ```
/// use cenote::window::fit_up;
/// assert_eq!(fit_up(64, 128, 64, 8).map(|fit| fit.last), Some(128));
/// assert_eq!(fit_up(64, 128, 65, 8), None);
/// ```
#[inline(always)]
#[must_use]
pub const fn fit_up(last: usize, end: usize, size: usize, align: usize) -> Option<Fit> {
    if align <= MIN_ALIGN {
        if LOWER_HALF {
            let next = last.wrapping_add(padded(size));
            if next <= end { Some(Fit { start: last, last: next }) } else { None }
        } else {
            fit_up_anywhere(last, end, size, align)
        }
    } else {
        fit_up_any(last, end, size, align)
    }
}

/// Places an object at the bottom of the window, at an alignment known only at run time: the
/// same sum for small and large alignments, so that one branch is left.
///
/// ```
/// use cenote::window::{Fit, fit_up_any};
/// assert_eq!(fit_up_any(72, 256, 8, 128), Some(Fit { start: 128, last: 136 }));
/// assert_eq!(fit_up_any(72, 130, 8, 128), None);
/// ```
#[inline(always)]
#[must_use]
pub const fn fit_up_any(last: usize, end: usize, size: usize, align: usize) -> Option<Fit> {
    if LOWER_HALF {
        fit_up_lower_half(last, end, size, align)
    } else {
        fit_up_anywhere(last, end, size, align)
    }
}

/// [`fit_up_any`] where `end <= isize::MAX`: `last + align - 1` is below `2^64`, and the
/// rounded start is at most `2^63`, to which a size of at most `2^63 - align` can be added.
#[inline(always)]
const fn fit_up_lower_half(last: usize, end: usize, size: usize, align: usize) -> Option<Fit> {
    let start = last.wrapping_add(align - 1) & align.wrapping_neg();
    let next = start.wrapping_add(padded(size));
    if next <= end { Some(Fit { start, last: next }) } else { None }
}

/// [`fit_up_any`] for windows anywhere: compares lengths, which cannot wrap, not addresses.
#[inline(always)]
const fn fit_up_anywhere(last: usize, end: usize, size: usize, align: usize) -> Option<Fit> {
    let pad = last.wrapping_neg() & (align - 1);
    // Both are below 2^(bits-1): pad < align, padded(size) <= isize::MAX - (align - 1) + 7.
    let need = pad + padded(size);
    if need <= end - last { Some(Fit { start: last + pad, last: last + need }) } else { None }
}

/// Places `size` bytes of any alignment at the top of the window: the new `end`, which is
/// also their address. A subtraction, a compare and one branch.
///
/// ```
/// use cenote::window::fit_down;
/// assert_eq!(fit_down(64, 128, 3), Some(125));
/// assert_eq!(fit_down(64, 128, 65), None);
/// ```
#[inline(always)]
#[must_use]
pub const fn fit_down(last: usize, end: usize, size: usize) -> Option<usize> {
    if LOWER_HALF {
        fit_down_lower_half(last, end, size)
    } else {
        fit_down_anywhere(last, end, size)
    }
}

/// [`fit_down`] where `end <= isize::MAX`: as signed numbers none of the three is below 0, so
/// that their difference does not wrap, and is below `last` where there is no room.
#[inline(always)]
const fn fit_down_lower_half(last: usize, end: usize, size: usize) -> Option<usize> {
    let start = end.wrapping_sub(size);
    if start.cast_signed() >= last.cast_signed() { Some(start) } else { None }
}

/// [`fit_down`] for windows anywhere, and any size.
#[inline(always)]
const fn fit_down_anywhere(last: usize, end: usize, size: usize) -> Option<usize> {
    if size <= end - last { Some(end - size) } else { None }
}

/// The `last` after the newest object, at `start`, changes its size from `old` to `new`;
/// `None` where it is not the newest object, or there is no room.
///
/// ```
/// use cenote::window::resize_newest;
/// // 20 bytes at 64 end at 88, so they are the newest object of a window that begins there.
/// assert_eq!(resize_newest(88, 128, 64, 20, 64), Some(128));
/// assert_eq!(resize_newest(88, 128, 64, 20, 65), None);  // no room
/// assert_eq!(resize_newest(96, 128, 64, 20, 24), None);  // not the newest
/// ```
#[inline(always)]
#[must_use]
pub const fn resize_newest(
    last: usize,
    end: usize,
    start: usize,
    old: usize,
    new: usize,
) -> Option<usize> {
    if start.wrapping_add(padded(old)) != last {
        return None;
    }
    if padded(new) <= end - start { Some(start + padded(new)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same with 128-bit integers and no cleverness.
    fn model(last: usize, end: usize, size: usize, align: usize) -> Option<Fit> {
        let (wide_align, wide_min) = (align as u128, MIN_ALIGN as u128);
        let start = (last as u128).div_ceil(wide_align) * wide_align;
        let next = start + (size as u128).div_ceil(wide_min) * wide_min;
        (next <= end as u128).then_some(Fit { start: start as usize, last: next as usize })
    }

    /// Any valid layout: sizes from nothing to the largest, alignments to 2 MiB.
    fn layouts() -> impl Strategy<Value = (usize, usize)> {
        let edges = prop_oneof![
            0usize..64,
            any::<usize>(),
            (0u32..63, 0usize..3).prop_map(|(k, d)| (1usize << k).wrapping_add(d).wrapping_sub(1)),
            (0usize..64).prop_map(|d| isize::MAX as usize - d),
        ];
        (edges, 0u32..=21).prop_map(|(size, shift)| {
            let align = 1usize << shift;
            (size.min(isize::MAX as usize - (align - 1)), align)
        })
    }

    /// A window below `top`: small ones, huge ones, ones that touch the top.
    fn windows(top: usize) -> impl Strategy<Value = (usize, usize)> {
        (any::<usize>(), prop_oneof![0usize..10_000, any::<usize>()], any::<bool>()).prop_map(
            move |(at, length, touch)| {
                let end = if touch { top - at % 64 } else { at % top };
                let last = end.saturating_sub(length) & !(MIN_ALIGN - 1);
                (last, end)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn windows_in_the_lower_half_fit_as_the_model_says(
            (last, end) in windows(isize::MAX as usize), (size, align) in layouts(),
        ) {
            let expected = model(last, end, size, align);
            prop_assert_eq!(fit_up_lower_half(last, end, size, align), expected);
            prop_assert_eq!(fit_up_anywhere(last, end, size, align), expected);
            prop_assert_eq!(fit_up(last, end, size, align), expected);
        }

        #[test]
        fn windows_anywhere_fit_as_the_model_says(
            (last, end) in windows(usize::MAX), (size, align) in layouts(),
        ) {
            prop_assert_eq!(fit_up_anywhere(last, end, size, align), model(last, end, size, align));
        }

        #[test]
        fn an_object_lies_inside_the_window_aligned_and_before_what_is_left(
            (last, end) in windows(isize::MAX as usize), (size, align) in layouts(),
        ) {
            if let Some(fit) = fit_up_any(last, end, size, align) {
                prop_assert!(fit.start >= last && fit.start.is_multiple_of(align));
                prop_assert!(fit.start + size <= fit.last && fit.last <= end);
                prop_assert!(fit.last.is_multiple_of(MIN_ALIGN));
            }
        }

        #[test]
        fn bytes_at_the_top_leave_the_rest_of_the_window(
            (last, end) in windows(usize::MAX), size in any::<usize>(),
        ) {
            match fit_down_anywhere(last, end, size) {
                Some(start) => prop_assert!(start >= last && start + size == end),
                None => prop_assert!((last as u128) + size as u128 > end as u128),
            }
        }

        #[test]
        fn bytes_at_the_top_of_the_lower_half_go_where_they_go_anywhere(
            (last, end) in windows(isize::MAX as usize), (size, _) in layouts(),
        ) {
            let expected = fit_down_anywhere(last, end, size);
            prop_assert_eq!(fit_down_lower_half(last, end, size), expected);
            prop_assert_eq!(fit_down(last, end, size), expected);
        }

        #[test]
        fn only_the_newest_object_changes_size_in_place(
            (last, end) in windows(isize::MAX as usize), (old, _) in layouts(), (new, _) in layouts(),
            off in 0usize..32,
        ) {
            if let Some(fit) = fit_up(last, end, old, 1) {
                let resized = resize_newest(fit.last, end, fit.start, old, new);
                let room = (end - fit.start) as u128;
                let rounded = (new as u128).div_ceil(8) * 8;
                prop_assert_eq!(resized.is_some(), rounded <= room);
                if let Some(moved) = resized {
                    prop_assert_eq!(moved, fit.start + padded(new));
                }
                // An object that does not end at `last` is not the newest.
                let back = padded(old) + MIN_ALIGN * (off + 1);
                if let Some(other) = fit.last.checked_sub(back) {
                    prop_assert_eq!(resize_newest(fit.last, end, other, old, new), None);
                }
            }
        }
    }

    #[test]
    fn nothing_fits_into_an_empty_window_but_nothing() {
        assert_eq!(fit_up(64, 64, 0, 8), Some(Fit { start: 64, last: 64 }));
        assert_eq!(fit_up(64, 64, 1, 1), None);
        assert_eq!(fit_down(64, 64, 0), Some(64));
        assert_eq!(fit_down(64, 64, 1), None);
        assert_eq!(fit_down(64, 64, isize::MAX as usize), None);
        assert_eq!(fit_down(0, isize::MAX as usize, isize::MAX as usize), Some(0));
        assert_eq!(fit_up_any(64, 64, isize::MAX as usize, 1), None);
    }
}
