//! Wrong frees of a chunk pool: each kind is told by its own error, and nothing changes by it.

mod common;

use cenote::misuse::{BadFreeKind, Misuse, OnBadFree, on_misuse};
use cenote::{BlockSource, ChunkPool};
use common::Ledger;
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

fn quiet() -> ChunkPool {
    ChunkPool::config().on_bad_free(OnBadFree::Return).build().unwrap()
}

fn kind<S: BlockSource>(pool: &ChunkPool<S>, address: usize) -> BadFreeKind {
    let before = pool.snapshot();
    // SAFETY: addresses at which no object begins; the pool must notice.
    let error = unsafe { pool.free(stray(address)) }.unwrap_err();
    assert_eq!(error.address(), address);
    assert_eq!(pool.snapshot(), before, "a bad free changed something");
    error.kind()
}

#[test]
fn what_is_in_no_memory_of_the_pool_is_foreign() {
    common::plain();
    let (pool, other) = (quiet(), quiet());
    pool.alloc_layout(layout(100));
    let large = pool.alloc_layout(layout(100_000));
    let theirs = [other.alloc_layout(layout(100)), other.alloc_layout(layout(100_000))];
    let (local, heap) = (7_u64, Box::new(7_u64));
    for address in [
        1,
        8,
        4096,
        65536,
        usize::MAX,
        usize::MAX - 65535,
        (&raw const local).addr(),
        (&raw const *heap).addr(),
        (&raw const pool).addr(),
        theirs[0].addr().get(),
        theirs[1].addr().get(),
    ] {
        assert_eq!(kind(&pool, address), BadFreeKind::Foreign, "{address:#x}");
    }
    // SAFETY: of this pool, and not used any more.
    unsafe { pool.free(large) }.unwrap();
    assert_eq!(kind(&pool, large.addr().get()), BadFreeKind::Foreign);
    // The others' objects are where they were.
    // SAFETY: of the other pool, and not used any more.
    assert!(theirs.into_iter().all(|object| unsafe { other.free(object) }.is_ok()));
}

#[test]
fn the_inside_of_an_object_is_interior() {
    let pool = quiet();
    for size in [100, 700, 100_000] {
        let object = pool.alloc_layout(layout(size)).addr().get();
        for offset in [1, 8, size / 2, size - 1] {
            assert_eq!(kind(&pool, object + offset), BadFreeKind::Interior, "{size} {offset}");
        }
    }
}

#[test]
fn the_end_of_a_page_that_is_no_chunk_is_interior() {
    common::plain();
    let config = ChunkPool::config().on_bad_free(OnBadFree::Return).classes_between(1);
    let pool = config.build().unwrap();
    let object = pool.alloc_layout(layout(48)).addr().get();
    let page = object & !1023;
    assert_eq!(kind(&pool, page + 21 * 48), BadFreeKind::Interior);
}

#[test]
fn what_is_free_is_double_or_its_page_is_empty() {
    common::plain();
    for depth in [0, 24] {
        let config = ChunkPool::config().on_bad_free(OnBadFree::Return).newest_frees(depth);
        let pool = config.build().unwrap();
        let objects: Vec<_> = (0..3).map(|_| pool.alloc_layout(layout(100))).collect();
        let page = pool.alloc_layout(layout(1000));
        for object in [objects[0], page] {
            // SAFETY: of this pool, and not used any more.
            unsafe { pool.free(object) }.unwrap();
        }
        assert_eq!(kind(&pool, objects[0].addr().get()), BadFreeKind::Double);
        assert_eq!(kind(&pool, objects[0].addr().get() + 8), BadFreeKind::Interior);
        assert_eq!(kind(&pool, page.addr().get()), BadFreeKind::Empty);
        // Never given out, in the same page.
        let never = objects.iter().max().unwrap().addr().get() + 128;
        assert_eq!(kind(&pool, never), BadFreeKind::Double);
        for object in &objects[1..] {
            // SAFETY: of this pool, and not used any more.
            unsafe { pool.free(*object) }.unwrap();
        }
        // The cluster is kept back.
        assert_eq!(kind(&pool, objects[1].addr().get()), BadFreeKind::Empty);
    }
}

#[test]
fn what_is_remembered_is_double_wherever_it_stands_among_the_newest_frees() {
    common::plain();
    // As many as fill a class's stack, so that its older half is put back, and several times more.
    for freed in 1..=60 {
        for again in 0..freed {
            let pool = quiet();
            let objects: Vec<_> = (0..61).map(|_| pool.alloc_layout(layout(60))).collect();
            for object in &objects[..freed] {
                // SAFETY: of this pool, and not used any more.
                unsafe { pool.free(*object) }.unwrap();
            }
            // SAFETY: no object begins there any more; the pool must notice.
            let error = unsafe { pool.free(objects[again]) }.expect_err("it is free already");
            let kind = error.kind();
            assert!(
                matches!(kind, BadFreeKind::Double | BadFreeKind::Empty),
                "{again} of {freed}: {kind:?}"
            );
        }
    }
}

#[test]
fn the_descriptors_are_a_header() {
    common::plain();
    let config = ChunkPool::config().on_bad_free(OnBadFree::Return).cluster_size(8192);
    let pool = config.build().unwrap();
    let cluster = pool.alloc_layout(layout(100)).addr().get() & !8191;
    let pages = pool.snapshot().clusters[0].pages.len();
    for offset in [0, 8, 100] {
        assert_eq!(kind(&pool, cluster + pages * 1024 + offset), BadFreeKind::Header);
    }
}

#[test]
fn descriptors_apart_are_a_header_and_the_pages_fill_their_block() {
    common::plain();
    let source = Ledger::new();
    let config = ChunkPool::config().on_bad_free(OnBadFree::Return).cluster_size(8192);
    let pool = config.descriptors_on_top(true).source(&source).build().unwrap();
    let cluster = pool.alloc_layout(layout(100)).addr().get() & !8191;
    assert_eq!(pool.snapshot().clusters[0].pages.len(), 8);
    assert_eq!(source.blocks(), 2);
    assert_eq!(source.blocks_of(Layout::from_size_align(8192, 8192).unwrap()), [cluster]);
    let beside = Layout::from_size_align(source.bytes() - 8192, 8).unwrap();
    for header in source.blocks_of(beside) {
        for offset in [0, 8, 100] {
            assert_eq!(kind(&pool, header + offset), BadFreeKind::Header);
        }
    }
    assert_eq!(pool.held_bytes(), source.bytes());
    drop(pool);
    assert_eq!(source.blocks(), 0);
}

#[test]
fn a_cluster_that_went_back_is_foreign() {
    common::plain();
    let config = ChunkPool::config().on_bad_free(OnBadFree::Return).keep_clusters(0);
    let pool = config.build().unwrap();
    let object = pool.alloc_layout(layout(100));
    // SAFETY: of this pool, and not used any more.
    unsafe { pool.free(object) }.unwrap();
    assert_eq!(kind(&pool, object.addr().get()), BadFreeKind::Foreign);
}

static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What was told about one pool: tests run side by side, and there is one hook.
fn told(name: &str) -> Vec<String> {
    let told = TOLD.lock().unwrap();
    told.iter().filter(|text| text.contains(name)).cloned().collect()
}

fn listen() {
    on_misuse(|misuse: &Misuse<'_>| TOLD.lock().unwrap().push(misuse.to_string()));
}

#[test]
fn a_report_names_the_pool_and_the_error() {
    listen();
    let config = ChunkPool::config().name("reporting").on_bad_free(OnBadFree::Report);
    let pool = config.build().unwrap();
    // SAFETY: no object of this pool.
    let error = unsafe { pool.free(stray(4096)) }.unwrap_err();
    assert_eq!(told("reporting"), [format!("cenote: pool reporting: {error}")]);
}

#[test]
fn a_wrong_layout_is_noticed_at_the_latest_when_the_chunk_goes_to_its_page() {
    common::plain();
    listen();
    let config = ChunkPool::config().name("layouts").on_bad_free(OnBadFree::Report);
    let pool = config.build().unwrap();
    let object = pool.alloc_layout(layout(100));
    let other = pool.alloc_layout(layout(30));
    let _ = other;
    // SAFETY: it is not: this is what the test is about. Nothing uses the object.
    unsafe { pool.dealloc(object, layout(30)) };
    pool.settle();
    let told = told("layouts");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("another layout"), "{told:?}");
    // It is as it was.
    // SAFETY: of this pool, and not used any more.
    unsafe { pool.free(object) }.unwrap();
    let large = pool.alloc_layout(layout(5000));
    // SAFETY: not its layout, as above.
    unsafe { pool.dealloc(large, layout(100)) };
    // SAFETY: likewise: a small object's, and it is no large one.
    unsafe { pool.dealloc(other, layout(5000)) };
    assert_eq!(self::told("layouts").len(), 3);
    assert_eq!(pool.stat().blocks, 2);
}

#[test]
fn a_pool_goes_on_after_any_number_of_wrong_frees() {
    let pool = quiet();
    let mut live = Vec::new();
    for round in 0..20_000_usize {
        let size = round * 7 % 1500;
        let object = pool.alloc_zeroed(layout(size));
        // SAFETY: no object begins there.
        assert!(unsafe { pool.free(stray(object.addr().get() + 1)) }.is_err());
        live.push((object, size));
        if live.len() > 100 {
            let (object, size) = live.swap_remove(round % 100);
            // SAFETY: of this pool and layout, and not used any more.
            unsafe { pool.dealloc(object, layout(size)) };
            // SAFETY: no object is there any more.
            assert!(unsafe { pool.free(object) }.is_err());
        }
    }
    for (object, _) in live {
        // SAFETY: of this pool, and not used any more.
        unsafe { pool.free(object) }.unwrap();
    }
    assert!(pool.is_empty());
}

/// The process ends by an abort: seen from another process.
#[test]
fn unless_told_otherwise_a_wrong_free_aborts() {
    const CHILD: &str = "CENOTE_TEST_ABORT_CHUNK";
    if std::env::var_os(CHILD).is_some() {
        let pool = ChunkPool::new();
        pool.alloc_layout(layout(8));
        // SAFETY: no object of this pool.
        let _ = unsafe { pool.free(stray(4096)) };
        std::process::exit(0);
    }
    let this = std::env::current_exe().unwrap();
    let name = "unless_told_otherwise_a_wrong_free_aborts";
    let mut run = std::process::Command::new(this);
    run.args([name, "--exact", "--nocapture"]).env(CHILD, "1");
    let output = run.output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("chunk pool: bad free: 0x1000 is in no memory of this pool"), "{text}");
}
