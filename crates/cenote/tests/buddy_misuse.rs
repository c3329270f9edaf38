//! Bad frees of a `Buddy`: each is told by its exact kind, and leaves everything as it was.

mod common;

use cenote::misuse::{BadFreeKind, Misuse, OnBadFree, on_misuse};
use cenote::{BlockSource, Buddy};
use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Mutex;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// An address as someone might have it by mistake.
fn address(at: usize) -> NonNull<u8> {
    NonNull::new(std::ptr::without_provenance_mut(at)).unwrap()
}

/// One mistake at a time: what is freed, and what must be said about it.
fn table<S: BlockSource>(buddy: &Buddy<'_, S>) -> Vec<(&'static str, usize, BadFreeKind)> {
    let page = buddy.page();
    // A used block of four pages, and one of one page, among free ones.
    let four = buddy.acquire(layout(4 * page)).unwrap().addr().get();
    let one = buddy.acquire(layout(1)).unwrap().addr().get();
    let map = buddy.snapshot().blocks;
    let first = four - map.iter().find(|b| !b.free && b.bytes == 4 * page).unwrap().offset;
    let gone = buddy.acquire(layout(page)).unwrap();
    // SAFETY: just acquired.
    unsafe { buddy.free(gone) }.unwrap();
    // Freed, and merged with what lay below it by now.
    let pair = [(); 2].map(|()| buddy.acquire(layout(2 * page)).unwrap());
    for block in pair {
        // SAFETY: just acquired.
        unsafe { buddy.release(block, layout(2 * page)) };
    }
    let free = map.iter().filter(|block| block.free).max_by_key(|block| block.bytes).unwrap();
    let stack = 0_u64;
    vec![
        ("the stack", (&raw const stack).addr(), BadFreeKind::Foreign),
        ("one", 1, BadFreeKind::Foreign),
        ("the top of memory", usize::MAX, BadFreeKind::Foreign),
        ("inside a used block, at a page", four + page, BadFreeKind::Interior),
        ("inside a used block, at its half", four + 2 * page, BadFreeKind::Interior),
        ("inside a used block, at no page", four + 8, BadFreeKind::Interior),
        ("the last byte of a used block", four + 4 * page - 1, BadFreeKind::Interior),
        ("a byte behind a used page", one + 1, BadFreeKind::Interior),
        ("freed before", gone.addr().get(), BadFreeKind::Double),
        ("freed and merged, lower", pair[0].addr().get(), BadFreeKind::Double),
        ("freed and merged, upper", pair[1].addr().get(), BadFreeKind::Double),
        (
            "the last page of a free block",
            first + free.offset + free.bytes - page,
            BadFreeKind::Double,
        ),
        ("inside free memory", gone.addr().get() + 8, BadFreeKind::Empty),
    ]
}

fn check_table<S: BlockSource>(buddy: &Buddy<'_, S>, more: &[(&'static str, usize, BadFreeKind)]) {
    for (what, at, kind) in table(buddy).into_iter().chain(more.iter().copied()) {
        let before = buddy.snapshot();
        // SAFETY: no block in use begins at any of these addresses.
        let error = unsafe { buddy.free(address(at)) }.unwrap_err();
        assert_eq!((error.kind(), error.address()), (kind, at), "{what}");
        for size in [1, 4 * buddy.page(), 1 << 40] {
            // SAFETY: likewise.
            unsafe { buddy.release(address(at), layout(size)) };
        }
        assert_eq!(buddy.snapshot(), before, "{what} changed something");
    }
    // Both blocks of the table can still be freed, and the region is whole then.
    let map = buddy.snapshot();
    assert_eq!(map.orders.iter().map(|order| order.used).sum::<usize>(), 2);
}

#[test]
fn each_kind_of_bad_free_is_told_and_changes_nothing() {
    common::at_once();
    for page in [64, 4096, 64 << 10] {
        let buddy =
            Buddy::builder().page(page).on_bad_free(OnBadFree::Return).heap(64 * page).unwrap();
        // The bookkeeping of a heap region lies behind the pages.
        let start = buddy.acquire(layout(1)).unwrap();
        let first = start.addr().get();
        // SAFETY: just acquired.
        unsafe { buddy.free(start) }.unwrap();
        let (end, books) = (first + buddy.bytes(), buddy.bookkeeping_bytes());
        check_table(
            &buddy,
            &[
                ("a page below the region", first - page, BadFreeKind::Foreign),
                ("the bookkeeping", end, BadFreeKind::Header),
                ("inside the bookkeeping", end + 17, BadFreeKind::Header),
                ("its last byte", end + books - 1, BadFreeKind::Header),
                ("behind the region", end + books + page, BadFreeKind::Foreign),
            ],
        );
    }
}

#[test]
fn edges_of_a_lent_region_are_told_apart() {
    common::at_once();
    #[repr(align(4096))]
    struct Aligned([MaybeUninit<u8>; 80 << 10]);
    let mut memory = Box::new(Aligned([MaybeUninit::uninit(); 80 << 10]));
    let start = memory.0.as_ptr().addr();
    // The first begins in the middle of a page, the second ends in one: there the bookkeeping
    // costs nothing.
    for (from, to, books, first, last) in
        [(1, 80 << 10, 4000, 4096, 80 << 10), (0, (80 << 10) - 1, 76 << 10, 0, 76 << 10)]
    {
        let buddy =
            Buddy::builder().on_bad_free(OnBadFree::Return).over(&mut memory.0[from..to]).unwrap();
        assert_eq!(buddy.bytes(), last - first);
        check_table(
            &buddy,
            &[
                ("below the region", start - 1, BadFreeKind::Foreign),
                ("the bookkeeping", start + books + 1, BadFreeKind::Header),
                ("behind the region", start + (80 << 10), BadFreeKind::Foreign),
            ],
        );
    }
}

#[test]
fn another_regions_block_is_foreign() {
    common::at_once();
    let [ours, theirs] =
        [(); 2].map(|()| Buddy::builder().on_bad_free(OnBadFree::Return).heap(1 << 20).unwrap());
    let block = theirs.acquire(layout(1)).unwrap();
    // SAFETY: no block of `ours` begins there.
    let error = unsafe { ours.free(block) }.unwrap_err();
    assert_eq!(error.kind(), BadFreeKind::Foreign);
    assert_eq!(ours.used_bytes(), 0);
    // SAFETY: it is `theirs`.
    assert_eq!(unsafe { theirs.free(block) }, Ok(4096));
}

static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn tell(misuse: &Misuse<'_>) {
    TOLD.lock().unwrap().push(misuse.to_string());
}

#[test]
fn a_release_with_a_layout_of_another_order_is_reported() {
    common::at_once();
    on_misuse(tell);
    let buddy = Buddy::builder().name("told").on_bad_free(OnBadFree::Report).heap(1 << 20).unwrap();
    let block = buddy.acquire(layout(10_000)).unwrap();
    let before = buddy.snapshot();
    for wrong in [1, 4096, 8192, 16385, 1 << 20, 1 << 50] {
        // SAFETY: not the block's layout, which is told and does nothing.
        unsafe { buddy.release(block, layout(wrong)) };
    }
    assert_eq!(buddy.snapshot(), before);
    // The same order is the same block.
    // SAFETY: just acquired; 16384 bytes are the same four pages.
    unsafe { buddy.release(block, layout(16384)) };
    assert_eq!(buddy.used_bytes(), 0);
    // SAFETY: no block begins there any more.
    unsafe { buddy.free(block) }.unwrap_err();

    let mut told = TOLD.lock().unwrap().clone();
    told.retain(|line| line.contains("told"));
    let at = block.addr();
    let wrong = format!("cenote: pool told: bad free: {at:#x} is an object of another layout");
    let double = format!("cenote: pool told: bad free: {at:#x} is an object that is free already");
    assert_eq!(told, [vec![wrong; 6], vec![double]].concat());
}

/// Set in a process that is to make a mistake and die of it.
const DOOMED: &str = "CENOTE_TEST_DOOMED";

/// Runs one test of this file in a process of its own, as the doomed one.
fn doom(test: &str) -> std::process::Output {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(DOOMED, "1")
        .output()
        .unwrap()
}

#[test]
fn the_default_policy_says_what_it_was_and_aborts() {
    common::at_once();
    if std::env::var_os(DOOMED).is_some() {
        let buddy = Buddy::builder().name("doomed").heap(1 << 20).unwrap();
        let block = buddy.acquire(layout(1)).unwrap();
        // SAFETY: just acquired.
        unsafe { buddy.free(block) }.unwrap();
        // SAFETY: no block begins there any more.
        let _ = unsafe { buddy.free(block) };
        unreachable!("a double free went on");
    }
    let output = doom("the_default_policy_says_what_it_was_and_aborts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.starts_with("cenote: pool doomed: bad free: 0x"));
    assert!(
        line.is_some_and(|line| line.ends_with(" is an object that is free already")),
        "{said}"
    );
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(output.status.signal(), Some(6));
    }
}

#[cfg(cenote_asan)]
#[test]
fn a_sanitizer_sees_the_use_of_a_freed_block() {
    common::at_once();
    if std::env::var_os(DOOMED).is_some() {
        let buddy = Buddy::heap(1 << 20).unwrap();
        let blocks = [(); 2].map(|()| buddy.acquire(layout(4096)).unwrap());
        // SAFETY: just acquired.
        unsafe { buddy.free(blocks[0]) }.unwrap();
        // SAFETY: it is not safe: the block is free. The sanitizer must say so.
        unsafe { blocks[0].write_volatile(1) };
        unreachable!("a write to a freed block went on");
    }
    let output = doom("a_sanitizer_sees_the_use_of_a_freed_block");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("use-after-poison"), "{said}");
}
