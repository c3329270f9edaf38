//! Bad frees of a counted pool: each kind that a block can notice gives its exact error, is
//! met as the policy says, and leaves the pool as it was.

mod common;

use cenote::misuse::{BadFreeKind, Misuse, OnBadFree, on_misuse};
use cenote::{BlockSource, CountedPool};
use common::{Dice, Ledger};
use std::alloc::Layout;
use std::ptr::{NonNull, without_provenance_mut};
use std::sync::Mutex;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// An address as someone might have it by mistake: nothing may be done with it but to free it.
fn stray(address: usize) -> NonNull<u8> {
    NonNull::new(without_provenance_mut(address)).unwrap()
}

fn kind<S: BlockSource>(pool: &CountedPool<S>, address: usize) -> Option<BadFreeKind> {
    let before = pool.snapshot();
    // SAFETY: addresses that are no live object's; the pool must notice.
    let error = unsafe { pool.free(stray(address)) }.err()?;
    assert_eq!(error.address(), address);
    assert_eq!(pool.snapshot(), before, "a bad free changed something");
    Some(error.kind())
}

fn quiet() -> CountedPool {
    CountedPool::builder().on_bad_free(OnBadFree::Return).build().unwrap()
}

#[test]
fn what_lies_in_no_block_is_foreign() {
    common::plain();
    let (mut pool, other) = (quiet(), quiet());
    let object = pool.alloc_layout(layout(100));
    let large = pool.alloc_layout(layout(20_000));
    let theirs = [other.alloc_layout(layout(100)), other.alloc_layout(layout(20_000))];
    let (stack, heap) = (7_u64, Box::new(7_u64));
    let owned = std::ptr::from_mut(pool.own(String::from("owned"))).addr();
    let nothing = pool.alloc_layout(layout(0));
    for address in [
        1,
        64,
        4096,
        usize::MAX,
        (&raw const stack).addr(),
        (&raw const *heap).addr(),
        (&raw const pool).addr(),
        theirs[0].addr().get(),
        theirs[1].addr().get(),
        large.addr().get() + 8,
        large.addr().get() + 4096,
        large.addr().get() + 20_000,
        owned,
        nothing.addr().get(),
    ] {
        assert_eq!(kind(&pool, address), Some(BadFreeKind::Foreign), "{address:#x}");
    }
    for live in [large, object] {
        // SAFETY: live, and nothing refers to it.
        unsafe { pool.free(live) }.unwrap();
    }
    assert_eq!(kind(&pool, large.addr().get()), Some(BadFreeKind::Foreign), "freed before");
    pool.reset();
}

#[test]
fn a_header_the_free_middle_and_odd_addresses_are_told_apart() {
    common::plain();
    let pool = quiet();
    let objects = [24, 100, 8].map(|size| pool.alloc_layout(layout(size)).addr().get());
    let packed = pool.alloc_packed(5).addr().get();
    let base = objects[0] & !4095;
    assert_eq!(objects[0], base + 48);
    for offset in [0, 1, 8, 47] {
        assert_eq!(kind(&pool, base + offset), Some(BadFreeKind::Header), "{offset}");
    }
    for inside in [objects[0] + 1, objects[1] + 4, objects[1] + 99, objects[2] + 7] {
        assert_eq!(kind(&pool, inside), Some(BadFreeKind::Interior));
    }
    let last = objects[2] + 8;
    for free in [last, last + 1, last + 8, packed - 8, packed - 1] {
        assert_eq!(kind(&pool, free), Some(BadFreeKind::Interior), "{free:#x}");
    }
    assert_eq!(kind(&pool, base + 4096).unwrap(), BadFreeKind::Foreign);
    assert_eq!(kind(&pool, base - 1).unwrap(), BadFreeKind::Foreign);
}

#[test]
fn a_double_free_is_noticed_when_its_block_is_empty_or_it_was_the_newest() {
    common::plain();
    let pool = quiet();
    let (first, newest) = (pool.alloc_layout(layout(40)), pool.alloc_layout(layout(40)));
    // SAFETY: live, and nothing refers to it.
    unsafe { pool.free(newest) }.unwrap();
    assert_eq!(kind(&pool, newest.addr().get()), Some(BadFreeKind::Interior));
    // SAFETY: likewise.
    unsafe { pool.free(first) }.unwrap();
    assert_eq!(kind(&pool, first.addr().get()), Some(BadFreeKind::Empty));
    assert_eq!(kind(&pool, newest.addr().get()), Some(BadFreeKind::Empty));

    // In a block that waits, empty, as well.
    let many = [(); 40].map(|()| pool.alloc_layout(layout(400)));
    for object in many {
        // SAFETY: likewise.
        unsafe { pool.free(object) }.unwrap();
    }
    for object in many {
        assert_eq!(kind(&pool, object.addr().get()), Some(BadFreeKind::Empty));
    }
}

#[test]
fn after_a_block_went_back_its_addresses_are_foreign() {
    common::plain();
    let ledger = Ledger::new();
    let pool =
        CountedPool::builder().source(&ledger).on_bad_free(OnBadFree::Return).build().unwrap();
    let object = pool.alloc_layout(layout(40));
    // SAFETY: live, and nothing refers to it.
    unsafe { pool.free(object) }.unwrap();
    assert_eq!(pool.trim(), 4096);
    assert_eq!(ledger.blocks(), 0);
    assert_eq!(kind(&pool, object.addr().get()), Some(BadFreeKind::Foreign));
}

#[test]
fn random_mistakes_are_noticed_and_the_pool_goes_on() {
    common::plain();
    let ledger = Ledger::new();
    let pool =
        CountedPool::builder().source(&ledger).on_bad_free(OnBadFree::Return).build().unwrap();
    let mut dice = Dice::new(5);
    let mut live: Vec<(NonNull<u8>, usize)> = Vec::new();
    let (mut noticed, mut not) = (0, 0);
    for _ in 0..30_000 {
        if live.len() < 100 || dice.once_in(2) {
            let size = 1 + dice.below(300);
            live.push((pool.alloc_layout(layout(size)), size));
        } else {
            let place = dice.below(live.len());
            // SAFETY: live, and nothing refers to it.
            unsafe { pool.free(live.swap_remove(place).0) }.unwrap();
        }
        let Some(&(start, size)) = live.get(dice.below(live.len().max(1))) else { continue };
        let start = start.addr().get();
        let wrong = match dice.below(4) {
            0 => start + 1 + dice.below(7),
            1 => (start & !4095) + dice.below(48),
            2 => dice.next() as usize,
            _ => (start & !4095).wrapping_add(dice.below(1 << 24)),
        };
        // Only addresses that no block could take for an object's.
        let inside = ledger.covers(wrong & !4095, 4096) && wrong & 4095 >= 48;
        if inside && wrong.is_multiple_of(8) || wrong == 0 {
            not += 1;
            continue;
        }
        assert!(kind(&pool, wrong).is_some(), "{wrong:#x} near {start:#x} of {size}");
        noticed += 1;
    }
    assert!(noticed > 20_000, "{noticed}, {not} left out");
    assert_eq!(pool.live(), live.len());
    for (start, _) in live {
        // SAFETY: live, and nothing refers to it.
        unsafe { pool.free(start) }.unwrap();
    }
    assert_eq!(pool.live(), 0);
}

static REPORTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn the_policy_says_whether_a_bad_free_is_reported() {
    on_misuse(|misuse: &Misuse<'_>| REPORTS.lock().unwrap().push(misuse.to_string()));
    for (policy, name) in [(OnBadFree::Return, "silent"), (OnBadFree::Report, "loud")] {
        let pool = CountedPool::builder().name(name).on_bad_free(policy).build().unwrap();
        // SAFETY: an address of nothing, which the pool must notice.
        let error = unsafe { pool.free(stray(48)) }.unwrap_err();
        assert_eq!(error.kind(), BadFreeKind::Foreign);
    }
    let reports = REPORTS.lock().unwrap();
    assert_eq!(*reports, ["cenote: pool loud: bad free: 0x30 is in no memory of this pool"]);
}

const FLAG: &str = "CENOTE_TEST_DIES";

/// Runs a test of this program in a process of its own, which is to die; what it says.
fn dies(test: &str, how: &str) -> String {
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FLAG, how)
        .output()
        .unwrap();
    assert!(!out.status.success(), "{test} {how} lives");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Aborting ends the process, so another one does it.
#[test]
fn a_bad_free_aborts_unless_another_policy_is_set() {
    if std::env::var_os(FLAG).is_some() {
        let pool = CountedPool::new();
        // SAFETY: an address of nothing, which the pool must notice.
        let _ = unsafe { pool.free(stray(48)) };
        return;
    }
    let told = dies("a_bad_free_aborts_unless_another_policy_is_set", "1");
    assert!(told.contains("pool counted: bad free: 0x30 is in no memory"), "{told}");
}

/// With AddressSanitizer, memory that was freed is not to be touched, wherever it lies.
#[cfg(cenote_asan)]
#[test]
fn a_sanitizer_sees_what_is_freed_and_what_was_never_allocated() {
    let Some(how) = std::env::var_os(FLAG) else {
        for how in ["inside", "newest", "emptied", "by pointer", "middle", "cached"] {
            let told = dies("a_sanitizer_sees_what_is_freed_and_what_was_never_allocated", how);
            assert!(told.contains("use-after-poison"), "{how}: {told}");
        }
        return;
    };
    let pool = CountedPool::new();
    let size = layout(64);
    let [first, second, third] = [(); 3].map(|()| pool.alloc_layout(size));
    let touched = match how.to_str().unwrap() {
        "inside" => {
            // SAFETY: live, of this layout.
            unsafe { pool.dealloc(second, size) };
            second
        }
        "newest" => {
            // SAFETY: likewise.
            unsafe { pool.free(third) }.unwrap();
            third
        }
        "emptied" | "by pointer" | "cached" => {
            for object in [first, second, third] {
                // SAFETY: likewise.
                unsafe { pool.free(object) }.unwrap();
            }
            if how == "cached" {
                pool.trim();
            }
            second
        }
        // SAFETY: still in the block.
        _ => unsafe { third.add(200) },
    };
    // SAFETY: none; the sanitizer is to say so.
    std::hint::black_box(unsafe { touched.read_volatile() });
}
