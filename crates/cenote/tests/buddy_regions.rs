//! The regions that a `Buddy` can be over, and those that it refuses.

mod common;

use cenote::{Account, BlockSource, Buddy, Faulty, RegionError, System};
use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T, RegionError>) -> (&'static str, usize) {
    match result.unwrap_err() {
        RegionError::Config(error) => (error.field(), error.value()),
        other => panic!("{other}"),
    }
}

#[test]
fn impossible_configurations_are_refused_by_field_and_value() {
    common::at_once();
    for page in [0, 1, 3, 32, 63, 100, 4095, usize::MAX] {
        assert_eq!(refused(Buddy::builder().page(page).heap(1 << 20)), ("page", page));
    }
    for largest in [0, 1, 2048, 4097, 12288, usize::MAX] {
        let builder = Buddy::builder().largest_block(largest);
        assert_eq!(refused(builder.heap(1 << 20)), ("largest_block", largest));
    }
    for bytes in [0, 1, 4095] {
        assert_eq!(refused(Buddy::heap(bytes)), ("bytes", bytes));
    }
    for bytes in [usize::MAX, isize::MAX as usize, 1 << 63, (1 << 63) - 4096, 1 << 62] {
        assert_eq!(refused(Buddy::heap(bytes)), ("bytes", bytes));
    }
    let page = 1 << 62;
    assert_eq!(refused(Buddy::builder().page(page).heap(1 << 20)), ("bytes", 1 << 20));
    // Possible, but not to be had; a sanitizer ends the process instead of saying so.
    if !cfg!(cenote_asan) {
        assert!(matches!(Buddy::heap(1 << 60), Err(RegionError::Alloc(_))));
    }
}

#[test]
fn regions_of_every_length_and_offset_are_trimmed_or_refused() {
    common::at_once();
    #[repr(align(4096))]
    struct Aligned([MaybeUninit<u8>; 3 << 12]);
    let mut memory = Box::new(Aligned([MaybeUninit::uninit(); 3 << 12]));
    let (mut made, mut not) = (0, 0);
    for page in [64, 128, 1024, 4096] {
        for start in [0, 1, 8, 63, 64, 65, 100, 1000, 4095] {
            for length in (0..300).chain([511, 512, 1023, 1150, 4096, 4160, 4200, 8000, 8191, 8192])
            {
                let region = &mut memory.0[start..start + length];
                match Buddy::builder().page(page).over(region) {
                    Ok(buddy) => {
                        made += 1;
                        assert!(buddy.bytes() >= page);
                        assert!(buddy.bytes() + buddy.bookkeeping_bytes() <= length);
                        let one = layout(page, page);
                        let blocks: Vec<_> =
                            std::iter::from_fn(|| buddy.acquire(one).ok()).collect();
                        assert_eq!(blocks.len() * page, buddy.bytes());
                        for block in blocks {
                            assert!(block.addr().get().is_multiple_of(page));
                            // SAFETY: the block is ours, and a page.
                            unsafe { block.write_bytes(0xa5, page) };
                            // SAFETY: acquired with this layout, and released once.
                            unsafe { buddy.release(block, one) };
                        }
                        assert_eq!(buddy.free_bytes(), buddy.bytes());
                    }
                    Err(error) => {
                        not += 1;
                        assert_eq!((error.field(), error.value()), ("region", length));
                        assert!(length < 2 * page + 60, "{length} bytes are enough");
                    }
                }
            }
        }
    }
    assert!(made > 1000 && not > 1000);
    // SAFETY: the length is refused before anything else is looked at.
    let error = unsafe { Buddy::mapped(NonNull::dangling(), usize::MAX) }.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("region is {}: it must be at most isize::MAX bytes long", usize::MAX)
    );
    let error = Buddy::over(&mut []).unwrap_err();
    assert_eq!(
        error.to_string(),
        "region is 0: it must be long enough for one aligned page and its bookkeeping"
    );
}

#[test]
fn a_static_region_serves_as_long_as_the_process() {
    common::at_once();
    const LENGTH: usize = 256 << 10;
    static mut REGION: [MaybeUninit<u8>; LENGTH] = [MaybeUninit::uninit(); LENGTH];
    let region = &raw mut REGION;
    // SAFETY: the only use of this static, in a test that runs once.
    let region: &'static mut [MaybeUninit<u8>; LENGTH] = unsafe { &mut *region };
    let buddy: Buddy<'static> = Buddy::over(region).unwrap();
    // It may be sent, and what owns it needs no lifetime.
    std::thread::spawn(move || {
        let block = buddy.acquire(layout(100_000, 1)).unwrap();
        assert_eq!(buddy.capacity(block), Some(128 << 10));
        // SAFETY: just acquired.
        unsafe { buddy.free(block) }.unwrap();
    })
    .join()
    .unwrap();

    // A pool may own it, region and all.
    static mut OTHER: [MaybeUninit<u8>; 65536] = [MaybeUninit::uninit(); 65536];
    let other = &raw mut OTHER;
    // SAFETY: the only use of this static, in a test that runs once.
    let other: &'static mut [MaybeUninit<u8>; 65536] = unsafe { &mut *other };
    let pool = cenote::Pool::builder().source(Buddy::over(other).unwrap()).build().unwrap();
    assert_eq!(*pool.alloc(7), 7);
}

#[test]
fn lent_memory_can_be_used_again_afterwards() {
    common::at_once();
    let mut memory = vec![MaybeUninit::new(1_u8); 50_000];
    for _ in 0..3 {
        let buddy = Buddy::over(&mut memory).unwrap();
        let block = buddy.acquire(layout(4096, 4096)).unwrap();
        // SAFETY: the block is ours.
        unsafe { block.write_bytes(2, 4096) };
        // Dropped with the block out: nothing is borrowed from it any more.
    }
    memory.fill(MaybeUninit::new(3));
    // SAFETY: all were just written.
    assert!(memory.iter().all(|byte| unsafe { byte.assume_init() } == 3));
}

#[test]
fn alignments_up_to_the_block_size_hold_and_larger_ones_are_refused() {
    common::at_once();
    let buddy = Buddy::heap(8 << 20).unwrap();
    for shift in 0..=23 {
        let asked = layout(1, 1 << shift);
        let block = buddy.acquire(asked).unwrap();
        assert!(block.addr().get().is_multiple_of(1 << shift));
        assert_eq!(buddy.capacity(block), Some(4096.max(1 << shift)));
        // SAFETY: acquired with this layout.
        unsafe { buddy.release(block, asked) };
    }
    for (size, align) in [
        (1, 16 << 20),
        ((8 << 20) + 1, 1),
        (isize::MAX as usize, 1),
        (isize::MAX as usize - 4095, 4096),
        (1, 1 << 62),
        (0, 1 << 63),
    ] {
        let asked = layout(size, align);
        assert_eq!(buddy.acquire(asked).unwrap_err().size(), size);
        assert_eq!(buddy.fit(asked), size);
    }
    // No source is asked for nothing, but one may be.
    let nothing = layout(0, 1);
    let block = buddy.acquire(nothing).unwrap();
    assert_eq!((buddy.fit(nothing), buddy.used_bytes()), (4096, 4096));
    // SAFETY: acquired with this layout.
    unsafe { buddy.release(block, nothing) };
    assert_eq!(buddy.largest_free(), 8 << 20);
}

#[test]
fn what_fits_is_a_fixed_point() {
    common::at_once();
    let buddy = Buddy::builder().page(256).heap(1 << 20).unwrap();
    for size in (1..5000).chain([65535, 65536, 65537, 1 << 20, (1 << 20) + 1]) {
        for shift in [0, 3, 9, 12, 21] {
            let fit = buddy.fit(layout(size, 1 << shift));
            assert!(fit >= size);
            assert_eq!(buddy.fit(layout(fit, 1 << shift)), fit);
        }
    }
}

#[test]
fn a_heap_region_is_charged_as_a_whole_and_given_back() {
    common::at_once();
    let account = Account::root("pages").with_limit(Some(3 << 20));
    let source = Faulty::new(System);
    let make = || Buddy::builder().account(&account).source(&source).heap(2 << 20);
    let first = make().unwrap();
    assert_eq!(account.held(), first.bytes() + first.bookkeeping_bytes());
    let error = make().unwrap_err();
    assert!(matches!(&error, RegionError::Alloc(e) if e.account() == Some(&account)), "{error}");
    drop(first);
    assert_eq!(account.held(), 0);

    source.fail_after(0, false);
    assert!(matches!(make(), Err(RegionError::Alloc(_))));
    assert_eq!((account.held(), source.faults()), (0, 1));
    assert_eq!(make().unwrap().bytes(), 2 << 20);
    assert_eq!(account.held(), 0);
}
