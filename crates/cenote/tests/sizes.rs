//! Sizes at every boundary and its neighbours, alignments from 1 to 2 MiB, in every call that
//! takes one. A layout that can be had is had, aligned, apart from all others, and holds what
//! is written to it; one that cannot is an error; nothing wraps, panics, or reads what it should not.

mod common;

use cenote::{
    Account, AllocError, BlockSource, Buddy, ChunkPool, CountedPool, Pool, SharedPool, size,
};
use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

/// No pool gets more than this.
const LIMIT: usize = 8 << 20;

/// 0, 1, all powers of two with their neighbours, and all that is near the largest size.
fn sizes() -> Vec<usize> {
    let mut sizes = vec![0, 1, 3, 5, 6, 7];
    for shift in 1..usize::BITS {
        let power = 1_usize << shift;
        sizes.extend([power - 1, power, power.saturating_add(1)]);
    }
    let largest = isize::MAX as usize;
    let near = [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 48, 63, 64, 4095, 4096, 4097, 65535, 65536];
    sizes.extend(near.iter().map(|less| largest - less));
    sizes.extend(near.iter().map(|more| (largest + 1).saturating_add(*more)));
    sizes.extend(near.iter().map(|less| usize::MAX - less));
    sizes
}

fn alignments() -> impl Iterator<Item = usize> {
    (0..=21).map(|shift| 1 << shift)
}

/// Every layout that there is of these sizes and alignments.
fn layouts() -> impl Iterator<Item = Layout> {
    alignments().flat_map(|align| {
        sizes().into_iter().filter_map(move |size| Layout::from_size_align(size, align).ok())
    })
}

/// Looks at what was given for a layout, and uses it.
fn look(given: Result<NonNull<u8>, AllocError>, layout: Layout, zeroed: bool) -> bool {
    let Ok(start) = given else {
        assert!(layout.size() > 1 << 19 || layout.align() > 1 << 19, "{layout:?} is refused");
        return false;
    };
    assert_eq!(start.addr().get() % layout.align(), 0, "{layout:?}");
    assert!(layout.size() <= LIMIT, "{layout:?} is given");
    // The first and the last byte, or all where they are few.
    let step = (layout.size() / 64).max(1);
    let places = || (0..layout.size()).step_by(step).chain(layout.size().checked_sub(1));
    let byte = |at| start.as_ptr().wrapping_add(at);
    for at in places().filter(|_| zeroed) {
        // SAFETY: within the object, which was zeroed.
        assert_eq!(unsafe { byte(at).read() }, 0, "{layout:?} at {at}");
    }
    for at in places() {
        // SAFETY: within the object.
        unsafe { byte(at).write(0x77) };
    }
    true
}

/// Every way to memory by layout, growing and shrinking included.
macro_rules! by_layout {
    ($test:ident, $make:expr, $reset:expr) => {
        #[test]
        fn $test() {
            let account = Account::root("sizes").with_limit(Some(LIMIT));
            let mut pool = $make(&account);
            let mut given = 0;
            for layout in layouts() {
                given += usize::from(look(pool.try_alloc_layout(layout), layout, false));
                look(pool.try_alloc_zeroed(layout), layout, true);
                for small in [1, 8, 100, 5000] {
                    let old = Layout::from_size_align(small, layout.align()).unwrap();
                    let Ok(start) = pool.try_alloc_layout(old) else { continue };
                    look(Ok(start), old, false);
                    if layout.size() >= small {
                        // SAFETY: from this pool with this layout, which is not larger.
                        let grown = unsafe { pool.try_grow(start, old, layout) };
                        if look(grown.clone(), layout, false) {
                            // SAFETY: from this pool, of this layout by now.
                            let shrunk = unsafe { pool.try_shrink(grown.unwrap(), layout, old) };
                            look(shrunk, old, false);
                        }
                    } else {
                        // SAFETY: from this pool with this layout, which is not smaller.
                        look(unsafe { pool.try_shrink(start, old, layout) }, layout, false);
                    }
                }
                $reset(&mut pool);
            }
            assert!(given > 22 * 60, "{given} were given");
            drop(pool);
            assert_eq!(account.held(), 0);
        }
    };
}
by_layout!(
    a_pool_gives_every_layout_or_an_error,
    |account| Pool::builder().account(account).build().unwrap(),
    Pool::reset
);
by_layout!(
    a_counted_pool_gives_every_layout_or_an_error,
    |account| CountedPool::builder().account(account).build().unwrap(),
    CountedPool::reset
);
by_layout!(
    a_chunk_pool_gives_every_layout_or_an_error,
    |account| ChunkPool::config().account(account).build().unwrap(),
    ChunkPool::reset
);
/// A pool that is the next one's source, and goes with it.
struct Under(Box<Pool>);

// SAFETY: the pool's memory stays in place as long as the box is there, and is freed by it.
unsafe impl BlockSource for Under {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.0.acquire(layout)
    }
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.release(block, layout) }
    }
    fn fit(&self, layout: Layout) -> usize {
        self.0.fit(layout)
    }
}

by_layout!(
    a_pool_over_a_pool_gives_every_layout_or_an_error,
    |account| {
        let under = Under(Box::new(Pool::new()));
        Pool::builder().source(under).account(account).build().unwrap()
    },
    Pool::reset
);

#[test]
fn every_call_that_takes_a_count_gives_as_many_or_an_error() {
    let account = Account::root("counts").with_limit(Some(LIMIT));
    let (mut pool, mut counted) = (Pool::on(&account), CountedPool::on(&account));
    for count in sizes() {
        let fits = count <= 1 << 16;
        let small = count <= LIMIT / 64;
        match pool.try_alloc_bytes(count) {
            Ok(bytes) => assert!(bytes.len() == count && count <= LIMIT),
            Err(_) => assert!(count > LIMIT / 2, "{count} bytes are refused"),
        }
        assert!(
            pool.try_alloc_zeroed_bytes(count).is_ok_and(|bytes| bytes.len() == count) || !fits
        );
        match counted.try_alloc_packed(count) {
            Ok(_) => assert!(count <= LIMIT, "{count} packed bytes are given"),
            Err(_) => assert!(!fits, "{count} packed bytes are refused"),
        }
        assert!(counted.try_alloc_bytes(count).is_ok_and(|bytes| bytes.len() == count) || !fits);
        assert!(counted.try_alloc_zeroed_bytes(count).is_ok_and(|b| b.len() == count) || !fits);
        // Elements of several sizes: the product wraps for many.
        // Units take no bytes, but time: each is made.
        if count <= 1 << 20 {
            assert!(pool.try_alloc_slice_fill_with(count, |_| ()).is_ok_and(|u| u.len() == count));
        }
        if small || count > LIMIT {
            assert!(pool.try_alloc_slice_fill_with(count, |n| n as u64).is_ok() == small || !fits);
            assert!(pool.try_alloc_slice_fill_with(count, |_| [0_u8; 48]).is_ok() || !fits);
            assert!(counted.try_alloc_slice_fill_with(count, |n| n as u32).is_ok() || !fits);
        }
        pool.reset();
        counted.reset();
    }
    drop((pool, counted));
    assert_eq!(account.held(), 0);
}

/// Bytes without alignment are placed by a signed compare, which has room for any size that an
/// object may have, and seems to have it for some that none may have.
#[test]
fn packed_bytes_that_cannot_be_are_refused_whatever_is_free_and_change_nothing() {
    common::plain();
    let account = Account::root("packed").with_limit(Some(LIMIT));
    let (pool, counted) = (Pool::on(&account), CountedPool::on(&account));
    let shared = SharedPool::builder().account(&account).build().unwrap();
    let impossible: Vec<_> = sizes().into_iter().filter(|&size| size > LIMIT).collect();
    assert!(
        [size::MAX, size::MAX + 1, usize::MAX - 7, usize::MAX]
            .iter()
            .all(|size| impossible.contains(size))
    );
    // No window, one that is wide, one that ends at an odd address, one that has no room.
    for round in 0..4 {
        let figures = || (account.held(), pool.used_bytes(), counted.live(), shared.used_bytes());
        let before = figures();
        for &size in &impossible {
            assert_eq!(pool.alloc_bytes_in_window(size), None, "{size} in round {round}");
            assert!(pool.try_alloc_bytes(size).is_err(), "{size} in round {round}");
            assert!(counted.try_alloc_packed(size).is_err(), "{size} in round {round}");
            assert!(shared.try_alloc_bytes(size).is_err(), "{size} in round {round}");
            let packed = catch_unwind(AssertUnwindSafe(|| counted.alloc_packed(size)));
            assert!(packed.is_err(), "{size} in round {round}");
        }
        assert_eq!(figures(), before, "round {round}");
        let more = match round {
            0 => 8,
            1 => 3,
            _ => pool.snapshot().blocks[0].free,
        };
        pool.alloc_bytes(more);
        shared.alloc_bytes(more);
        counted.alloc_packed(if round < 2 { more } else { counted.snapshot().blocks[0].free });
    }
    assert_eq!(pool.snapshot().blocks[0].free, 0);
}

#[test]
fn an_iterator_that_lies_about_its_size_gets_no_more_than_there_is() {
    struct Liar(usize, usize);
    impl Iterator for Liar {
        type Item = u64;
        fn next(&mut self) -> Option<u64> {
            self.0 = self.0.checked_sub(1)?;
            Some(self.0 as u64)
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.1, None)
        }
    }
    let account = Account::root("liars").with_limit(Some(LIMIT));
    let pool = Pool::on(&account);
    for hint in sizes() {
        for length in [0, 1, 100] {
            match pool.try_alloc_slice_fill_iter(Liar(length, hint)) {
                Ok(made) => assert_eq!(made.len(), length),
                Err(_) => assert!(hint > 1 << 15, "{hint}"),
            }
        }
    }
}

#[test]
fn a_region_gives_every_layout_that_it_has_room_for() {
    common::at_once();
    let buddy = Buddy::heap(4 << 20).unwrap();
    for layout in layouts().filter(|layout| layout.size() > 0) {
        let fits = layout.size().max(layout.align()) <= 4 << 20;
        match buddy.acquire(layout) {
            Ok(start) => {
                assert!(fits, "{layout:?}");
                assert_eq!(start.addr().get() % layout.align(), 0);
                // SAFETY: so many bytes are ours.
                unsafe { start.write_bytes(1, layout.size()) };
                // SAFETY: acquired with this layout.
                unsafe { buddy.release(start, layout) };
            }
            Err(_) => assert!(!fits, "{layout:?}"),
        }
        assert!(buddy.fit(layout) >= layout.size());
    }
    assert_eq!(buddy.largest_free(), 4 << 20);
}

#[test]
fn sums_near_the_largest_size_are_exact_or_nothing() {
    let sizes = sizes();
    for &base in &sizes {
        for &each in &sizes {
            for align in alignments().step_by(3) {
                let wide = (base as u128 + each as u128).next_multiple_of(align as u128);
                let most = size::MAX as u128 - (align as u128 - 1);
                let expected = (wide <= most).then_some(wide as usize);
                assert_eq!(size::total(base, 1, each, align), expected, "{base} {each} {align}");
            }
        }
    }
}
