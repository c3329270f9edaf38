//! How far apart objects lie: the window's arithmetic, as pools call it.
//!
//! For checkers there is a gap behind each object, which nobody may touch: or one that is written
//! beyond its end would be written to its neighbour, and no checker could tell. The gap exists in
//! builds that a checker is told by (`--cfg cenote_asan`, the feature `valgrind`) alone. In all
//! others the names below are those of [`window`], so that nothing of this is in any code.

#[cfg(not(any(cenote_asan, feature = "valgrind")))]
mod plain {
    pub(crate) use crate::window::{fit_down, fit_up, fit_up_any, padded as taken, resize_newest};

    /// Bytes behind each object; none with `--cfg cenote_no_gaps`, for tests that are exact to the byte.
    #[inline(always)]
    pub(crate) const fn gap() -> usize {
        0
    }

    /// Where bytes of this size at the top of a window end.
    #[inline(always)]
    pub(crate) const fn top_after(start: usize, size: usize) -> usize {
        start + size
    }

    /// The bytes that an object of this size and the gap behind it have.
    #[inline(always)]
    pub(crate) const fn with_gap(size: usize) -> usize {
        size
    }
}
#[cfg(not(any(cenote_asan, feature = "valgrind")))]
pub(crate) use plain::*;

#[cfg(any(cenote_asan, feature = "valgrind"))]
pub(crate) use gaps::*;

#[cfg(any(cenote_asan, feature = "valgrind"))]
mod gaps {
    use crate::window::{self, Fit};

    /// Bytes behind each object that has any, a multiple of 16: what comes next is aligned as it
    /// would be without, and sanitizers, which see 8 bytes as one, have some that are all gap.
    const GAP: usize = 16;

    /// Bytes behind each object; none with `--cfg cenote_no_gaps`, for tests that are exact to the byte.
    #[inline(always)]
    pub(crate) fn gap() -> usize {
        if cfg!(cenote_no_gaps) || super::without::gaps_are_off() { 0 } else { GAP }
    }

    /// The bytes that an object of this size and the gap behind it have, without padding.
    #[inline(always)]
    pub(crate) fn with_gap(size: usize) -> usize {
        size.saturating_add(gap())
    }

    /// [`window::padded`], and the gap behind.
    #[inline(always)]
    pub(crate) fn taken(size: usize) -> usize {
        if size == 0 { 0 } else { window::padded(size) + gap() }
    }

    /// The end of a window without a gap's bytes; `None` where it has not so many.
    #[inline(always)]
    fn without_gap(last: usize, end: usize, size: usize) -> Option<(usize, usize)> {
        let gap = if size == 0 { 0 } else { gap() };
        if end - last < gap { None } else { Some((end - gap, gap)) }
    }

    #[inline(always)]
    pub(crate) fn fit_up(last: usize, end: usize, size: usize, align: usize) -> Option<Fit> {
        let (end, gap) = without_gap(last, end, size)?;
        let fit = window::fit_up(last, end, size, align)?;
        Some(Fit { last: fit.last + gap, ..fit })
    }

    #[inline(always)]
    pub(crate) fn fit_up_any(last: usize, end: usize, size: usize, align: usize) -> Option<Fit> {
        let (end, gap) = without_gap(last, end, size)?;
        let fit = window::fit_up_any(last, end, size, align)?;
        Some(Fit { last: fit.last + gap, ..fit })
    }

    #[inline(always)]
    pub(crate) fn fit_down(last: usize, end: usize, size: usize) -> Option<usize> {
        let (end, _) = without_gap(last, end, size)?;
        window::fit_down(last, end, size)
    }

    /// Where bytes of this size at the top of a window end.
    #[inline(always)]
    pub(crate) fn top_after(start: usize, size: usize) -> usize {
        start + if size == 0 { 0 } else { size + gap() }
    }

    #[inline(always)]
    pub(crate) fn resize_newest(
        last: usize,
        end: usize,
        start: usize,
        old: usize,
        new: usize,
    ) -> Option<usize> {
        let before = if old == 0 { 0 } else { gap() };
        let after = if new == 0 { 0 } else { gap() };
        if start.wrapping_add(window::padded(old)).wrapping_add(before) != last {
            return None;
        }
        // So the window's end is not below the object's gap, and nothing wraps.
        let next = window::resize_newest(last - before, end - after, start, old, new)?;
        Some(next + after)
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use alloc::vec::Vec;

        #[test]
        fn there_is_a_gap_behind_each_object_and_the_window_after_it() {
            assert_eq!(fit_up(64, 128, 20, 4), Some(Fit { start: 64, last: 88 + GAP }));
            assert_eq!(fit_up_any(72, 256, 8, 128), Some(Fit { start: 128, last: 136 + GAP }));
            assert_eq!(fit_up(64, 128, 64 - GAP, 8).map(|fit| fit.last), Some(128));
            assert_eq!(fit_up(64, 128, 65 - GAP, 8), None);
            assert_eq!(fit_up(64, 64, 0, 8), Some(Fit { start: 64, last: 64 }));
            assert_eq!(fit_up_any(64, 64, isize::MAX as usize, 1), None);
        }

        #[test]
        fn bytes_at_the_top_have_their_gap_above_them() {
            assert_eq!(fit_down(64, 128, 3), Some(125 - GAP));
            assert_eq!(top_after(125 - GAP, 3), 128);
            assert_eq!(fit_down(64, 128, 64 - GAP), Some(64));
            assert_eq!(fit_down(64, 128, 65 - GAP), None);
            assert_eq!(fit_down(64, 64, 0), Some(64));
        }

        #[test]
        fn the_newest_object_changes_size_with_its_gap() {
            let last = 88 + GAP;
            assert_eq!(resize_newest(last, 128, 64, 20, 64 - GAP), Some(128));
            assert_eq!(resize_newest(last, 128, 64, 20, 65 - GAP), None);
            assert_eq!(resize_newest(last, 128, 64, 20, 0), Some(64));
            assert_eq!(resize_newest(last, last, 64, 20, 20), Some(last));
            assert_eq!(resize_newest(last, last, 64, 20, 25), None);
            assert_eq!(resize_newest(88, 128, 64, 20, 24), None, "that is where the gap begins");
        }

        /// Of these objects, each with its bytes, none begins less than a gap behind another's end.
        fn are_apart(what: &str, mut objects: Vec<&[u8]>) {
            objects.sort_unstable_by_key(|object| object.as_ptr());
            for two in objects.windows(2) {
                let end = two[0].as_ptr().addr() + two[0].len();
                assert!(end + gap() <= two[1].as_ptr().addr(), "{what}: {} bytes", two[0].len());
            }
        }

        macro_rules! objects_of {
            ($pool:expr) => {{
                let pool = $pool;
                let mut objects: Vec<&[u8]> = Vec::new();
                for n in 1..60_usize {
                    objects.push(pool.alloc([7_u8; 20]));
                    objects.push(pool.alloc([7_u8; 64]));
                    objects.push(pool.alloc_slice_copy(&[7_u8; 60][..n]));
                    objects.push(pool.alloc_slice_fill_with(n, |_| 7_u8));
                    objects.push(pool.alloc_str("a text of some bytes").as_bytes());
                    objects.push(pool.alloc_fmt(format_args!("{n:n$}")).as_bytes());
                    objects.push(pool.alloc_zeroed_bytes(n));
                }
                are_apart(pool.name(), objects);
            }};
        }

        #[test]
        fn objects_lie_a_gap_apart_whichever_call_has_placed_them() {
            assert_eq!(gap(), GAP);
            objects_of!(&crate::Pool::new());
            objects_of!(&crate::SharedPool::new());
        }
    }
}

/// Objects without gaps on one thread, for tests that assert where plain pools place them.
#[cfg(all(any(cenote_asan, feature = "valgrind"), feature = "std"))]
pub(super) mod without {
    use core::cell::Cell;

    std::thread_local! {
        static OFF: Cell<bool> = const { Cell::new(false) };
    }

    #[inline(always)]
    pub(super) fn gaps_are_off() -> bool {
        OFF.with(Cell::get)
    }

    pub(in crate::debug) fn set(off: bool) {
        OFF.with(|cell| cell.set(off));
    }
}

#[cfg(all(any(cenote_asan, feature = "valgrind"), not(feature = "std")))]
mod without {
    #[inline(always)]
    pub(super) fn gaps_are_off() -> bool {
        false
    }
}
