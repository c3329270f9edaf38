//! The window's arithmetic, and the checked sums of sizes, against 128-bit integers.

#![no_main]

use arbitrary::Arbitrary;
use cenote::size;
use cenote::window::{
    Fit, LOWER_HALF, MIN_ALIGN, fit_down, fit_up, fit_up_any, padded, resize_newest,
};
use cenote_fuzz::input::{AnyLayout, Size};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    end: Size,
    length: Size,
    layout: AnyLayout,
    old: Size,
    start: Size,
    total: (Size, Size, Size, u8),
}

fn up(value: u128, to: u128) -> u128 {
    value.div_ceil(to) * to
}

fuzz_target!(|input: Input| {
    // A window as its users promise it.
    let top = if LOWER_HALF { isize::MAX as usize } else { usize::MAX };
    let end = input.end.bytes().min(top);
    let last = end.saturating_sub(input.length.bytes()) & !(MIN_ALIGN - 1);
    let layout = input.layout.layout();
    let (size, align) = (layout.size(), layout.align());

    let start = up(last as u128, align.max(MIN_ALIGN) as u128);
    let next = start + up(size as u128, MIN_ALIGN as u128);
    let fits = next <= end as u128;
    let expected = fits.then_some(Fit { start: start as usize, last: next as usize });
    assert_eq!(fit_up(last, end, size, align), expected);
    assert_eq!(fit_up_any(last, end, size, align), expected);

    let below = (size <= end - last).then(|| end - size);
    assert_eq!(fit_down(last, end, size), below);
    if let Some(below) = below {
        assert!(last <= below && below <= end);
    }

    // The object whose end is `last`, and others.
    let old = input.old.bytes().min(isize::MAX as usize);
    for start in [last.wrapping_sub(padded(old)), input.start.bytes() & !(MIN_ALIGN - 1)] {
        let newest = start as u128 + up(old as u128, MIN_ALIGN as u128) == last as u128;
        let next = start as u128 + up(size as u128, MIN_ALIGN as u128);
        let expected = (newest && start <= last && next <= end as u128).then_some(next as usize);
        if start <= last {
            assert_eq!(resize_newest(last, end, start, old, size), expected);
        }
    }

    let (base, count, each, align) = input.total;
    let (base, count, each) = (base.bytes(), count.bytes(), each.bytes());
    let align = 1_usize << (align % 64);
    let sum = (count as u128)
        .checked_mul(each as u128)
        .and_then(|all| all.checked_add(base as u128))
        .map(|sum| up(sum, align as u128))
        .filter(|&sum| sum <= (isize::MAX as usize - (align - 1)) as u128);
    assert_eq!(size::total(base, count, each, align).map(|total| total as u128), sum);
});
