//! Pools as one kind of thing, with what differs between them said once.

use cenote::{AllocError, BlockSource, Buffer, ChunkPool, CountedPool, Pool};
use std::alloc::Layout;
use std::ptr::NonNull;

/// How much of misuse a pool notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notices {
    /// Nothing; or not all, so that a wrong free is the caller's broken promise.
    Some,
    /// Every wrong free, which then changes nothing.
    All,
}

/// # Safety
/// What `alloc` gives is memory of that layout, until it is freed, or the subject is reset or
/// dropped.
pub unsafe trait Subject {
    const NOTICES: Notices;
    type Source: BlockSource;
    fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError>;
    fn zeroed(&self, layout: Layout) -> Result<NonNull<u8>, AllocError>;
    /// # Safety
    /// A live object of this layout, not used any more.
    unsafe fn dealloc(&self, start: NonNull<u8>, layout: Layout);
    /// Frees by the address alone; whether there was an object.
    ///
    /// # Safety
    /// A live object, not used any more; or, where all misuse is noticed, anything.
    unsafe fn free(&self, start: NonNull<u8>, layout: Layout) -> bool;
    /// # Safety
    /// A live object of the layout `old`; the one returned is in its place afterwards.
    unsafe fn resize(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError>;
    /// Whether a cleanup was registered, which allocates this much and runs `action`.
    fn defer(&self, size: usize, action: impl FnOnce() + Send + 'static) -> bool;
    fn own<T: Send + 'static>(&self, value: T) -> bool;
    /// A buffer in the pool, if it can have one.
    fn buffer(&self) -> Option<Buffer<'_, Self::Source>> {
        None
    }
    fn tidy(&self);
    fn reset(&mut self);
    fn held(&self) -> usize;
    /// Checks what must be so when no object is left.
    fn check_empty(&self);
}

/// The part that is the same for all.
macro_rules! common {
    () => {
        fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
            self.try_alloc_layout(layout)
        }
        fn zeroed(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
            self.try_alloc_zeroed(layout)
        }
        unsafe fn dealloc(&self, start: NonNull<u8>, layout: Layout) {
            // SAFETY: the caller's promise is the same.
            unsafe { self.dealloc(start, layout) }
        }
        unsafe fn resize(
            &self,
            start: NonNull<u8>,
            old: Layout,
            new: Layout,
        ) -> Result<NonNull<u8>, AllocError> {
            if new.size() >= old.size() {
                // SAFETY: the caller's promise is the same; it is not smaller.
                unsafe { self.try_grow(start, old, new) }
            } else {
                // SAFETY: likewise; it is not larger.
                unsafe { self.try_shrink(start, old, new) }
            }
        }
        fn own<T: Send + 'static>(&self, value: T) -> bool {
            self.try_own(value).is_ok()
        }
        fn reset(&mut self) {
            self.reset();
        }
        fn held(&self) -> usize {
            self.held_bytes()
        }
    };
}

// SAFETY: that is what the pool promises.
unsafe impl<S: BlockSource + 'static> Subject for Pool<S> {
    const NOTICES: Notices = Notices::Some;
    type Source = S;
    common!();
    unsafe fn free(&self, start: NonNull<u8>, layout: Layout) -> bool {
        // One without bytes may lie where a large one begins.
        // SAFETY: the caller's promise.
        let large = layout.size() != 0 && unsafe { self.free_large(start) };
        if !large {
            // SAFETY: likewise; it is not freed yet.
            unsafe { self.dealloc(start, layout) };
        }
        true
    }
    fn defer(&self, size: usize, action: impl FnOnce() + Send + 'static) -> bool {
        let act = move |pool: &Pool<S>| {
            let _ = pool.try_alloc_zeroed_bytes(size);
            action();
        };
        self.try_defer_with(act).is_ok()
    }
    fn buffer(&self) -> Option<Buffer<'_, S>> {
        Some(Buffer::new(self))
    }
    fn tidy(&self) {}
    fn check_empty(&self) {}
}

// SAFETY: that is what the pool promises.
unsafe impl<S: BlockSource + 'static> Subject for CountedPool<S> {
    const NOTICES: Notices = Notices::Some;
    type Source = S;
    common!();
    unsafe fn free(&self, start: NonNull<u8>, layout: Layout) -> bool {
        if layout.size() == 0 {
            return true;
        }
        // SAFETY: the caller's promise.
        unsafe { self.free(start) }.is_ok()
    }
    fn defer(&self, size: usize, action: impl FnOnce() + Send + 'static) -> bool {
        let act = move |pool: &CountedPool<S>| {
            drop(pool.try_alloc_zeroed_bytes(size));
            action();
        };
        self.try_defer_with(act).is_ok()
    }
    fn tidy(&self) {
        self.trim();
    }
    fn check_empty(&self) {
        assert_eq!(self.live(), 0);
    }
}

// SAFETY: that is what the pool promises.
unsafe impl<S: BlockSource + 'static> Subject for ChunkPool<S> {
    const NOTICES: Notices = Notices::All;
    type Source = S;
    common!();
    unsafe fn free(&self, start: NonNull<u8>, _: Layout) -> bool {
        // SAFETY: the caller's promise; what is no object is noticed.
        unsafe { self.free(start) }.is_ok()
    }
    fn defer(&self, _: usize, action: impl FnOnce() + Send + 'static) -> bool {
        self.try_defer(action).is_ok()
    }
    fn tidy(&self) {
        self.settle();
    }
    fn check_empty(&self) {
        assert!(self.is_empty(), "{self:?}");
        let stat = self.stat();
        assert_eq!((stat.blocks, stat.size), (0, 0));
    }
}
