//! The arithmetic of the small path, against the same with wide integers.

#[allow(unreachable_pub, dead_code)]
#[path = "../../../crates/cenote-c/nginx/src/window.rs"]
mod window;

use window::{grown, place};

/// The same with 128-bit integers and no cleverness.
fn model(last: usize, end: usize, size: usize, align: usize) -> Option<usize> {
    let start = (last as u128).div_ceil(align as u128) * align as u128;
    (start + size as u128 <= end as u128).then_some(start as usize)
}

#[test]
fn an_object_lies_where_nginx_would_put_it_or_nowhere() {
    let bases = [0x1000_usize, 0x7fff_ffff_f000, isize::MAX as usize - 4096];
    for base in bases {
        for offset in 0..70 {
            for room in 0..90 {
                for size in (0..100).chain([4095, 1 << 20, isize::MAX as usize]) {
                    for align in [1, 8, 16] {
                        let (last, end) = (base + offset, base + room);
                        let expected = model(last, end, size, align);
                        assert_eq!(place(last, end, size, align), expected, "{last} {end} {size}");
                    }
                }
            }
        }
    }
}

#[test]
fn blocks_grow_by_doubling_after_each_eight_up_to_the_most() {
    let sizes: Vec<usize> = (0..64).map(|nth| grown(4096, nth, 65536)).collect();
    assert!(sizes[..8].iter().all(|size| *size == 4096));
    assert!(sizes[8..16].iter().all(|size| *size == 8192));
    assert!(sizes[32..].iter().all(|size| *size == 65536));
    // A new one is at most a quarter of what there is, from the fourth on.
    let mut held = 0;
    for (nth, size) in sizes.iter().enumerate() {
        assert!(nth < 4 || size * 4 <= held, "block {nth}");
        held += size;
    }
    // Larger pools do not grow, and nothing wraps.
    assert_eq!(grown(1 << 20, 100, 65536), 1 << 20);
    assert_eq!(grown(256, u32::MAX, 65536), 65536);
    assert_eq!(grown(usize::MAX / 2, u32::MAX, 65536), usize::MAX / 2);
}
