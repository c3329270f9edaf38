//! Who has a shared pool's lock, and when.

use super::SharedPool;
use crate::debug::Levels;
use crate::misuse::{Misuse, OnBadFree, on_misuse};
use crate::{AllocError, BlockSource, Blocks, Pool, System};
use core::alloc::Layout;
use core::cell::{Cell, RefCell};
use core::ptr::NonNull;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// Tells at each call whether the lock of the thread's pool is had by somebody.
#[derive(Clone)]
struct Looking;

std::thread_local! {
    static POOL: RefCell<Option<SharedPool<Looking>>> = const { RefCell::new(None) };
    /// Calls while there was a pool: with its lock had, and with its lock free.
    static CALLS: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

impl Looking {
    fn look() {
        POOL.with_borrow(|pool| {
            let Some(pool) = pool else { return };
            let (had, free) = CALLS.get();
            let is_free = pool.state().rare.try_lock().is_some();
            CALLS.set(if is_free { (had, free + 1) } else { (had + 1, free) });
        });
    }
}

// SAFETY: every call goes to `System` unchanged, or is answered by nothing.
unsafe impl BlockSource for Looking {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        Self::look();
        System.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        Self::look();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.release(block, layout) }
    }

    unsafe fn grow(&self, _: NonNull<u8>, _: Layout, _: Layout) -> Option<NonNull<u8>> {
        Self::look();
        None
    }
}

#[test]
fn the_source_is_used_under_the_lock_as_long_as_there_is_a_handle() {
    for levels in [Levels::NONE, Levels::PASSTHROUGH | Levels::QUARANTINE] {
        let builder = Pool::builder().source(Looking).levels(levels).shared().unwrap();
        let pool = builder.try_build().unwrap();
        POOL.set(Some(pool.clone()));
        let calls = |what: &str, f: &dyn Fn()| {
            CALLS.take();
            f();
            let (had, free) = CALLS.take();
            assert_eq!(free, 0, "{what} without the lock, {levels}");
            assert!(had > 0, "{what} with calls, {levels}");
        };
        calls("objects of more than a block", &|| {
            (0..100).for_each(|n| *pool.alloc([n; 100]) = [1; 100])
        });
        calls("packed bytes", &|| (0..100).for_each(|_| pool.alloc_zeroed_bytes(500).fill(1)));
        calls("what is large", &|| {
            let object = pool.alloc_layout(layout(100_000));
            let (old, new) = (layout(100_000), layout(2 * Blocks::LARGEST));
            // SAFETY: of this pool and layout; the new one is no smaller.
            let object = unsafe { pool.try_grow(object, old, new) }.unwrap();
            // SAFETY: of this pool and layout, and not used any more.
            unsafe { pool.dealloc(object, new) };
        });
        calls("a scratch pool", &|| {
            pool.scratch().alloc_bytes(50_000);
        });
        POOL.take();
        drop(pool);
        assert_eq!(CALLS.take(), (0, 0), "nobody can look at the end");
    }
}

std::thread_local! {
    static WATCHED: RefCell<Option<SharedPool>> = const { RefCell::new(None) };
    /// How often the thread was told, and how often of these the lock was free.
    static TOLD: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

fn hook(_: &Misuse<'_>) {
    WATCHED.with_borrow(|pool| {
        let Some(pool) = pool else { return };
        let (told, free) = TOLD.get();
        let is_free = pool.state().rare.try_lock().is_some();
        TOLD.set((told + 1, free + u32::from(is_free)));
    });
}

#[test]
fn nobody_is_told_of_a_shared_pools_misuse_while_its_lock_is_had() {
    on_misuse(hook);
    let builder = SharedPool::builder().levels(Levels::QUARANTINE).on_misuse(OnBadFree::Report);
    let pool = builder.shared().unwrap().try_build().unwrap();
    WATCHED.set(Some(pool.clone()));
    let mut local = 0_u64;
    // SAFETY: none: it is nobody's object, which is what is to be found. Nothing is read there.
    unsafe { pool.dealloc(NonNull::from(&mut local).cast(), Layout::new::<u64>()) };
    assert_eq!(TOLD.take(), (1, 1));
    WATCHED.take();
}
