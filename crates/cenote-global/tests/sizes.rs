//! Every size and alignment, by the calls of `GlobalAlloc`.

mod common;

use cenote_global::{Global, raw};
use std::alloc::{GlobalAlloc, Layout};

#[global_allocator]
static GLOBAL: Global = Global::new();

/// Sizes around everything at which something changes, and some between.
fn sizes() -> Vec<usize> {
    let step = if cfg!(debug_assertions) { 5 } else { 1 };
    let mut sizes: Vec<usize> = (0..=1100).step_by(step).collect();
    for shift in 7..=22 {
        for quarter in 4..8 {
            let size = (1_usize << shift) / 4 * quarter;
            sizes.extend([size - 1, size, size + 1]);
        }
    }
    sizes
}

fn fill(start: *mut u8, size: usize, value: u8) {
    // SAFETY: an object of so many bytes.
    unsafe { start.write_bytes(value, size) };
}

fn all(start: *const u8, size: usize, value: u8) -> bool {
    // SAFETY: an object of so many bytes, which were written.
    let bytes = unsafe { std::slice::from_raw_parts(start, size) };
    // As a comparison of slices, which is fast in a debug build, too.
    let pattern = [value; 4096];
    bytes.chunks(4096).all(|part| *part == pattern[..part.len()])
}

#[test]
fn every_size_and_alignment_up_to_4_mib_is_aligned_apart_and_there_to_its_last_byte() {
    for shift in 0..=22 {
        let align = 1 << shift;
        let step = if shift > 12 { 37 } else { 1 };
        let mut objects = Vec::new();
        for size in sizes().into_iter().step_by(step) {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: a layout; sizes of 0 are allowed here.
            let start = unsafe { GLOBAL.alloc(layout) };
            assert!(!start.is_null() && start.addr().is_multiple_of(align), "{size} at {align}");
            let ends = size.min(4096);
            fill(start, ends, objects.len() as u8);
            fill(start.wrapping_add(size - ends), ends, objects.len() as u8);
            objects.push((start, layout));
        }
        for (number, (start, layout)) in objects.into_iter().enumerate() {
            let ends = layout.size().min(4096);
            assert!(all(start, ends, number as u8), "{layout:?}");
            assert!(all(start.wrapping_add(layout.size() - ends), ends, number as u8));
            // SAFETY: the object's own layout.
            unsafe { GLOBAL.dealloc(start, layout) };
        }
    }
}

#[test]
fn zeroed_memory_is_zeros_though_it_was_used_before() {
    for round in 0..3_u8 {
        for align in [1, 16, 64, 4096, 128 << 10] {
            for size in sizes().into_iter().filter(|size| *size > 0).step_by(7) {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: a layout with bytes.
                let start = unsafe { GLOBAL.alloc_zeroed(layout) };
                assert!(start.addr().is_multiple_of(align));
                assert!(all(start, size, 0), "{layout:?} in round {round}");
                fill(start, size, 0xa5);
                // SAFETY: the object's own layout.
                unsafe { GLOBAL.dealloc(start, layout) };
            }
        }
    }
}

#[test]
fn objects_keep_their_bytes_when_they_grow_and_shrink_at_every_alignment() {
    let mut random = common::Random(7);
    for align in [1, 16, 32, 4096, 64 << 10, 256 << 10, 8 << 20] {
        let mut layout = Layout::from_size_align(1, align).unwrap();
        // SAFETY: a layout with bytes.
        let mut start = unsafe { GLOBAL.alloc(layout) };
        fill(start, 1, 0x77);
        for _ in 0..100 {
            let shift = 1 + random.below(22);
            let size = 1 + random.below(1 << shift);
            // SAFETY: the object's own layout.
            let moved = unsafe { GLOBAL.realloc(start, layout, size) };
            assert!(!moved.is_null() && moved.addr().is_multiple_of(align));
            assert!(all(moved, size.min(layout.size()), 0x77), "{layout:?} to {size}");
            fill(moved, size, 0x77);
            (start, layout) = (moved, Layout::from_size_align(size, align).unwrap());
        }
        // SAFETY: the object's own layout.
        unsafe { GLOBAL.dealloc(start, layout) };
    }
}

#[test]
fn objects_without_bytes_have_addresses_of_their_own() {
    let objects: Vec<_> = (0..100).map(|_| raw::alloc(0)).collect();
    let mut sorted = objects.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 100);
    for start in objects {
        // SAFETY: nobody uses it.
        unsafe { raw::free(start) };
    }
}

#[test]
fn what_nobody_can_have_is_null_and_leaves_the_old_object_as_it_was() {
    for size in [isize::MAX as usize, isize::MAX as usize - 4095, usize::MAX, usize::MAX - 15] {
        assert!(raw::alloc(size).is_null());
        assert!(raw::alloc_zeroed(size).is_null());
        assert!(raw::alloc_aligned(size, 1 << 20).is_null());
        for have in [10, 100 << 10, 3 << 20] {
            let start = raw::alloc(have);
            fill(start, have, 3);
            // SAFETY: an object, which stays.
            assert!(unsafe { raw::realloc(start, size) }.is_null());
            assert!(all(start, have, 3));
            // SAFETY: nobody uses it.
            unsafe { raw::free(start) };
        }
    }
}

#[test]
fn an_object_may_use_all_the_bytes_that_it_is_said_to_have() {
    for size in sizes() {
        let start = raw::alloc(size);
        // SAFETY: an object.
        let usable = unsafe { raw::usable_size(start) };
        assert!(usable >= size && usable <= (size + size / 4 + 16).next_multiple_of(64 << 10));
        fill(start, usable, 9);
        // SAFETY: nobody uses it.
        unsafe { raw::free(start) };
    }
}
