//! What the contract of the chunk pool says, sentence by sentence.

mod common;

use cenote::misuse::OnBadFree;
use cenote::{Account, ChunkPool, ChunkPoolConfig, CleanupKey, Faulty, Pool, System};
use common::Ledger;
use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

fn sizes(cluster: usize, alignment: usize, page: usize, min: usize) -> ChunkPoolConfig<'static> {
    ChunkPool::config()
        .cluster_size(cluster)
        .page_alignment(alignment)
        .page_size(page)
        .min_chunk_size(min)
        .on_bad_free(OnBadFree::Return)
}

/// As every caller in njs has it, with pages of 4096 bytes.
fn njs() -> ChunkPoolConfig<'static> {
    sizes(8192, 128, 512, 16).descriptors_on_top(true)
}

fn refusal(config: ChunkPoolConfig<'static>) -> (&'static str, usize, &'static str) {
    let error = config.build().unwrap_err();
    (error.field(), error.value(), error.rule())
}

#[test]
fn pages_of_4096_and_chunks_of_512_have_three_slots() {
    let pool = sizes(64 << 10, 128, 4096, 512).build().unwrap();
    assert_eq!(pool.chunk_sizes().collect::<Vec<_>>(), [512, 1024, 2048]);
    let njs = njs().build().unwrap();
    assert_eq!(njs.chunk_sizes().collect::<Vec<_>>(), [16, 32, 64, 128, 256]);
}

#[test]
fn each_configuration_that_cannot_be_is_refused_with_field_value_and_rule() {
    let power = "a power of two";
    for wrong in [0, 3, 96, 1000] {
        assert_eq!(refusal(sizes(8192, wrong, 512, 16)), ("page_alignment", wrong, power));
        assert_eq!(refusal(sizes(8192, 128, wrong, 16)), ("page_size", wrong, power));
        assert_eq!(refusal(sizes(8192, 128, 512, wrong)), ("min_chunk_size", wrong, power));
    }
    let least = ("page_size", 32, "at least 64 bytes");
    assert_eq!(refusal(sizes(8192, 16, 32, 16)), least);
    let alignment = ("page_alignment", 1024, "at most page_size");
    assert_eq!(refusal(sizes(8192, 1024, 512, 16)), alignment);
    let chunks = ("page_size", 512, "at most 32 times min_chunk_size");
    assert_eq!(refusal(sizes(8192, 128, 512, 8)), chunks);
    assert_eq!(refusal(sizes(8192, 128, 512, 1024)), ("min_chunk_size", 1024, "at most page_size"));
    assert_eq!(refusal(sizes(8192, 128, 512, 512)), ("min_chunk_size", 512, "less than page_size"));
    assert_eq!(refusal(sizes(256, 128, 512, 16)), ("cluster_size", 256, "at least page_size"));
    assert_eq!(refusal(sizes(0, 128, 512, 16)), ("cluster_size", 0, "at least page_size"));
    let multiple = "a multiple of page_size";
    assert_eq!(refusal(sizes(8192 + 256, 128, 512, 16)), ("cluster_size", 8448, multiple));
    let most = ("cluster_size", 257 * 512, "at most 256 pages");
    assert_eq!(refusal(sizes(257 * 512, 128, 512, 16)), most);
    let between = ChunkPool::config().classes_between(2);
    assert_eq!(refusal(between), ("classes_between", 2, "0, 1 or 3"));
    assert_eq!(refusal(ChunkPool::config().newest_frees(25)).0, "newest_frees");
    let huge = sizes(1 << 62, 128, 1 << 62, 1 << 61);
    assert_eq!(refusal(huge).0, "cluster_size");
}

#[test]
fn configurations_at_the_edge_of_the_rules_work() {
    for config in [
        sizes(64, 16, 64, 2),
        sizes(64, 8, 64, 32),
        sizes(64, 1, 64, 32),
        sizes(256 * 512, 512, 512, 16),
        sizes(3 * 512, 16, 512, 256),
        sizes(512, 512, 512, 512).descriptors_on_top(true),
        sizes(4096, 4096, 4096, 128),
    ] {
        let pool = config.clone().build().unwrap();
        let objects: Vec<_> = (0..600).map(|n| (n, pool.alloc_zeroed(layout(n, 1)))).collect();
        for (n, object) in objects {
            // SAFETY: of this pool and layout, and not used any more.
            unsafe { pool.dealloc(object, layout(n, 1)) };
        }
        assert!(pool.is_empty(), "{config:?}");
    }
}

#[test]
fn a_cluster_has_room_for_its_pages() {
    common::plain();
    let pool = njs().build().unwrap();
    let pages: Vec<_> = (0..16).map(|_| pool.alloc_layout(layout(512, 1))).collect();
    assert_eq!((pool.stat().blocks, pool.stat().size), (1, 8192));
    let one_more = pool.alloc_layout(layout(257, 1));
    assert_eq!((pool.stat().blocks, pool.stat().size), (2, 16384));
    assert_eq!((pool.stat().page_size, pool.stat().cluster_size), (512, 8192));
    for page in pages.into_iter().chain([one_more]) {
        // SAFETY: of this pool, and not used any more.
        unsafe { pool.free(page) }.unwrap();
    }
    assert_eq!((pool.stat().blocks, pool.stat().size), (0, 0));
    // Inside the cluster's size, descriptors take a page.
    let inside = sizes(8192, 128, 512, 16).build().unwrap();
    for _ in 0..15 {
        inside.alloc_layout(layout(512, 1));
    }
    assert_eq!(inside.stat().blocks, 1);
    inside.alloc_layout(layout(512, 1));
    assert_eq!(inside.stat().blocks, 2);
}

#[test]
fn sizes_are_chunks_pages_or_large() {
    common::plain();
    let pool = njs().build().unwrap();
    let shown = |size, align| {
        let object = pool.alloc_layout(layout(size, align));
        let snapshot = pool.snapshot();
        let chunk = snapshot.slots.iter().find(|slot| slot.objects == 1).map(|s| s.chunk_size);
        let large = snapshot.large.first().copied();
        // SAFETY: of this pool, and not used any more.
        unsafe { pool.free(object) }.unwrap();
        (chunk, large)
    };
    let chunk = |size| (Some(size), None);
    for (size, align, expected) in [
        (0, 1, chunk(16)),
        (1, 1, chunk(16)),
        (16, 16, chunk(16)),
        (17, 1, chunk(32)),
        (255, 1, chunk(256)),
        (256, 1, chunk(256)),
        (257, 1, chunk(512)),
        (512, 1, chunk(512)),
        (513, 1, (None, Some(1024))),
        (1, 128, chunk(128)),
        (0, 128, chunk(128)),
        (300, 128, chunk(512)),
        (1, 256, (None, Some(256))),
        (512, 512, (None, Some(512))),
    ] {
        assert_eq!(shown(size, align), expected, "{size} {align}");
    }
    assert!(pool.is_empty());
}

#[test]
fn an_object_without_bytes_has_an_address_of_its_own() {
    let pool = njs().build().unwrap();
    let a = pool.alloc_layout(layout(0, 1));
    let b = pool.alloc_layout(layout(0, 1));
    assert_ne!(a, b);
    assert!(!pool.is_empty());
    // SAFETY: of this pool, and not used any more.
    assert!(unsafe { pool.free(a) }.is_ok() && unsafe { pool.free(b) }.is_ok());
    assert!(pool.is_empty());
}

#[test]
fn what_no_object_can_be_is_an_error() {
    let pool = ChunkPool::new();
    for size in [u32::MAX as usize, u32::MAX as usize + 1, isize::MAX as usize] {
        let error = pool.try_alloc_layout(layout(size, 1)).unwrap_err();
        assert_eq!(error.size(), size);
        assert!(pool.try_alloc_zeroed(layout(size, 1)).is_err());
    }
    let largest = isize::MAX as usize + 1 - (2 << 20);
    assert!(pool.try_alloc_layout(layout(largest, 2 << 20)).is_err());
    assert!(pool.is_empty());
}

#[test]
fn a_cluster_kept_back_does_not_show_but_is_held() {
    common::plain();
    let account = Account::root("kept");
    for keep in [0, 1, 2] {
        let config = ChunkPool::config().account(&account).keep_clusters(keep);
        let pool = config.cluster_size(4096).build().unwrap();
        let objects: Vec<_> = (0..20).map(|_| pool.alloc_layout(layout(1000, 8))).collect();
        assert_eq!(pool.stat().blocks, 7);
        for object in objects {
            // SAFETY: of this pool and layout, and not used any more.
            unsafe { pool.dealloc(object, layout(1000, 8)) };
        }
        // Nobody has asked it to settle.
        assert_eq!(account.held(), keep * 4096 + if keep > 1 { 256 } else { 0 });
        assert!(pool.is_empty());
        assert_eq!((pool.stat().blocks, pool.stat().size), (0, 0));
        assert_eq!(pool.held_bytes(), account.held());
        assert_eq!(pool.snapshot().clusters.iter().filter(|c| c.kept_back).count(), keep);
    }
    assert_eq!(account.held(), 0);
}

#[test]
fn a_pool_at_the_edge_of_a_cluster_takes_no_blocks() {
    common::plain();
    let source = Faulty::new(System);
    let pool = ChunkPool::config().source(&source).build().unwrap();
    let free = |object: NonNull<u8>| {
        // SAFETY: of this pool, and not used any more.
        unsafe { pool.free(object) }.unwrap();
    };
    free(pool.alloc_layout(layout(700, 1)));
    let before = source.calls();
    for _ in 0..1000 {
        free(pool.alloc_layout(layout(700, 1)));
        free(pool.alloc_layout(layout(100, 1)));
    }
    assert_eq!(source.calls(), before);
}

#[test]
fn what_is_remembered_is_used_before_a_cluster_is_taken() {
    common::plain();
    let pool = ChunkPool::config().cluster_size(4096).build().unwrap();
    let small: Vec<_> = (0..3 * 32).map(|_| pool.alloc_layout(layout(32, 1))).collect();
    assert_eq!(pool.stat().blocks, 1);
    for object in small {
        // SAFETY: of this pool and layout, and not used any more.
        unsafe { pool.dealloc(object, layout(32, 1)) };
    }
    for _ in 0..3 {
        pool.alloc_layout(layout(1024, 1));
    }
    assert_eq!(pool.stat().blocks, 1);
}

#[test]
fn classes_between_save_room() {
    common::plain();
    let pool = ChunkPool::config().classes_between(3).build().unwrap();
    let sizes: Vec<_> = pool.chunk_sizes().collect();
    assert_eq!(sizes, [32, 48, 64, 80, 96, 112, 128, 160, 192, 256, 320, 512]);
    pool.alloc_layout(layout(65, 8));
    pool.alloc_layout(layout(65, 16));
    // Those are aligned to 16 only: more needs a power of two.
    pool.alloc_layout(layout(65, 32));
    let used = pool.snapshot().slots.into_iter().filter(|slot| slot.objects > 0);
    let used: Vec<_> = used.map(|slot| (slot.chunk_size, slot.objects)).collect();
    assert_eq!(used, [(80, 2), (128, 1)]);
}

#[test]
fn growing_stays_where_the_class_allows() {
    common::plain();
    let pool = ChunkPool::new();
    let old = layout(33, 1);
    let object = pool.alloc_layout(old);
    // SAFETY: of this pool and layout; the new one is not smaller.
    let grown = unsafe { pool.try_grow(object, old, layout(64, 1)) }.unwrap();
    assert_eq!(grown, object);
    // SAFETY: likewise, and not larger.
    let shrunk = unsafe { pool.try_shrink(grown, layout(64, 1), layout(40, 1)) }.unwrap();
    assert_eq!(shrunk, object);
    // SAFETY: likewise, and not smaller.
    let moved = unsafe { pool.try_grow(shrunk, layout(40, 1), layout(65, 1)) }.unwrap();
    assert_ne!(moved, object);
    // SAFETY: likewise.
    let large = unsafe { pool.try_grow(moved, layout(65, 1), layout(3000, 1)) }.unwrap();
    // A block of the thread's cache has 4096 bytes.
    // SAFETY: likewise.
    let same = unsafe { pool.try_grow(large, layout(3000, 1), layout(4096, 1)) }.unwrap();
    assert_eq!(same, large);
    // SAFETY: likewise, and not larger.
    let small = unsafe { pool.try_shrink(same, layout(4096, 1), layout(10, 1)) }.unwrap();
    assert_eq!(pool.stat().blocks, 1);
    // SAFETY: of this pool, and not used any more.
    unsafe { pool.free(small) }.unwrap();
    assert!(pool.is_empty());
}

#[test]
fn cleanups_run_last_in_first_out_before_memory_goes() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut pool = ChunkPool::new();
    let note = |what: &'static str| {
        let order = order.clone();
        move || order.lock().unwrap().push(what)
    };
    pool.defer(note("first"));
    pool.defer_keyed(CleanupKey::new("second", 2), note("second"));
    let never = pool.defer(note("never"));
    assert!(never.cancel());
    pool.try_defer(note("third")).unwrap();
    assert!(pool.defer(note("early")).run());
    pool.try_defer_keyed(CleanupKey::new("x", 1), note("fourth")).unwrap();
    assert!(pool.cleanup(CleanupKey::new("second", 2)).is_some_and(|c| c.is_pending()));
    assert!(pool.cleanup(CleanupKey::new("second", 3)).is_none());
    assert_eq!(pool.snapshot().cleanups, 4);
    assert!(!pool.is_empty(), "cleanups are objects");
    pool.reset();
    assert_eq!(*order.lock().unwrap(), ["early", "fourth", "third", "second", "first"]);
    assert!(pool.is_empty());
    assert_eq!(pool.snapshot().cleanups, 0);
}

static DROPS: AtomicUsize = AtomicUsize::new(0);

struct Noisy([u8; 2000]);

impl Drop for Noisy {
    fn drop(&mut self) {
        assert!(self.0.iter().all(|&byte| byte == 7));
        DROPS.fetch_add(1, Relaxed);
    }
}

#[test]
fn owned_values_are_dropped_with_the_pool() {
    let ledger = Ledger::new();
    let source = Faulty::new(&ledger);
    let mut pool = ChunkPool::config().source(&source).build().unwrap();
    pool.own(Noisy([7; 2000]));
    *pool.own(3_u8) += 1;
    pool.own(());
    pool.reset();
    assert_eq!(DROPS.load(Relaxed), 1);
    pool.try_own(Noisy([7; 2000])).unwrap();
    // With the memory for the value, but not for its cleanup, the value is dropped.
    for calls in 0..2 {
        let pool = ChunkPool::config().source(&source).build().unwrap();
        source.fail_after(calls, true);
        assert!(pool.try_own(Noisy([7; 2000])).is_err());
        source.recover();
        assert!(pool.is_empty());
    }
    assert_eq!(DROPS.load(Relaxed), 3);
    drop(pool);
    assert_eq!(DROPS.load(Relaxed), 4);
    assert_eq!(ledger.blocks(), 0);
}

#[test]
fn a_panicking_cleanup_does_not_keep_memory() {
    let ledger = Ledger::new();
    let pool = ChunkPool::config().source(&ledger).build().unwrap();
    static RAN: AtomicUsize = AtomicUsize::new(0);
    pool.defer(|| {
        RAN.fetch_add(1, Relaxed);
    });
    pool.defer(|| panic!("in a cleanup"));
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(pool)));
    assert_eq!(common::message(&*dropped.unwrap_err()), "in a cleanup");
    assert_eq!((RAN.load(Relaxed), ledger.blocks()), (1, 0));
}

#[test]
fn a_pool_can_be_sent_to_another_thread() {
    let account = Account::root("sent");
    let pool = ChunkPool::on(&account);
    let object = pool.alloc_layout(layout(100, 8)).addr();
    let pool = std::thread::spawn(move || {
        let found = NonNull::without_provenance(object);
        // SAFETY: of this pool, and not used any more; freeing needs no more than an address.
        unsafe { pool.free(found) }.unwrap();
        pool
    });
    assert!(pool.join().unwrap().is_empty());
    assert_eq!(account.held(), 0);
}

#[test]
fn pools_stand_on_a_chunk_pool() {
    let ledger = Ledger::new();
    let chunks = ChunkPool::config().source(&ledger).build().unwrap();
    {
        let pool = Pool::builder().first_block(256).source(&chunks).build().unwrap();
        for n in 0..100_usize {
            assert_eq!(*pool.alloc(n), n);
        }
        let inner = ChunkPool::config().cluster_size(1 << 12).source(&chunks).build().unwrap();
        for n in 0..2000 {
            inner.alloc_zeroed(layout(n, 8));
        }
    }
    assert!(chunks.is_empty());
    drop(chunks);
    assert_eq!(ledger.blocks(), 0);
}

#[test]
fn freed_secrets_are_overwritten() {
    common::plain();
    let pool = ChunkPool::config().zero_on_release(true).build().unwrap();
    let neighbour = pool.alloc_layout(layout(64, 1));
    let secret = pool.alloc_layout(layout(64, 1));
    // SAFETY: a fresh object of that size.
    unsafe { secret.write_bytes(0x55, 64) };
    // SAFETY: of this pool and layout, and not used any more.
    unsafe { pool.dealloc(secret, layout(64, 1)) };
    let again = pool.alloc_layout(layout(64, 1));
    assert_eq!(again, secret);
    // SAFETY: an object of that size, whose bytes were all written.
    let bytes = unsafe { std::slice::from_raw_parts(again.as_ptr(), 64) };
    assert!(bytes.iter().all(|&byte| byte == 0));
    let _ = neighbour;
}

#[test]
fn the_snapshot_draws_pages_and_chunks() {
    common::plain();
    let config = ChunkPool::config().name("drawn").cluster_size(8192);
    let pool = config.page_size(512).min_chunk_size(16).build().unwrap();
    let mut objects: Vec<_> = (0..70).map(|_| pool.alloc_layout(layout(16, 1))).collect();
    objects.extend((0..3).map(|_| pool.alloc_layout(layout(200, 1))));
    pool.alloc_layout(layout(400, 1));
    pool.alloc_layout(layout(5000, 1));
    for object in [objects[1], objects[33], objects[70]] {
        // SAFETY: of this pool, and not used any more.
        unsafe { pool.free(object) }.unwrap();
    }
    let expected = "\
drawn: 16 KiB held, 71 objects in 6 pages, 1 clusters, 0 kept back, 1 large, 0 cleanups
  cluster 0   [aaaeeP.........]
    a      16 B  [#.##############################] [#.##############################]
           16 B  [######..........................]
    e     256 B  [.#] [#.]
    P     512 B  [#]
  large  8192 B
";
    assert_eq!(pool.snapshot().to_string(), expected);
    let mut pool = pool;
    pool.reset();
    let expected = "\
drawn: 8192 B held, 0 objects in 0 pages, 0 clusters, 1 kept back, 0 large, 0 cleanups
  cluster 0   [...............]  kept back
";
    assert_eq!(pool.snapshot().to_string(), expected);
    assert_eq!(pool.name(), "drawn");
    assert!(format!("{pool:?}").contains("ChunkPool"));
    assert!(pool.created_at().file().ends_with("chunk_contract.rs"));
    assert!(pool.snapshot().created_at.contains("chunk_contract.rs:"));
}

/// What a checker sees, in builds for one.
#[cfg(cenote_asan)]
#[test]
fn free_chunks_and_the_rest_of_chunks_are_poisoned() {
    unsafe extern "C" {
        fn __asan_address_is_poisoned(address: *const u8) -> i32;
    }
    let poisoned = |object: NonNull<u8>, offset: usize| {
        let address = object.as_ptr().wrapping_add(offset);
        // SAFETY: only asks about the address.
        unsafe { __asan_address_is_poisoned(address) != 0 }
    };
    let pool = ChunkPool::new();
    let object = pool.alloc_layout(layout(30, 8));
    assert!(!poisoned(object, 0) && !poisoned(object, 29));
    assert!(poisoned(object, 30) && poisoned(object, 64));
    // SAFETY: of this pool and layout; the new one is not smaller.
    let grown = unsafe { pool.try_grow(object, layout(30, 8), layout(48, 8)) };
    assert_eq!(grown.unwrap(), object, "with the gap behind it, it fills its chunk");
    assert!(!poisoned(object, 47) && poisoned(object, 48));
    // SAFETY: likewise, and not larger.
    unsafe { pool.try_shrink(object, layout(48, 8), layout(40, 8)) }.unwrap();
    assert!(!poisoned(object, 39) && poisoned(object, 40));
    // SAFETY: of this pool and layout, and not used any more.
    unsafe { pool.dealloc(object, layout(40, 8)) };
    assert!(poisoned(object, 0) && poisoned(object, 63));
}
