//! The Rust arenas, each by its own best call, behind one trait that is compiled away.

use std::alloc::Layout;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use allocator_api2_04::alloc::Allocator as Newer;

/// What a case may ask of an arena.
pub(crate) trait Arena {
    /// `&Self` as collections take it.
    type Handle<'a>: Allocator + Clone
    where
        Self: 'a;
    /// Room for a layout whose size is known only at run time.
    fn layout(&self, layout: Layout) -> NonNull<u8>;
    /// A value.
    fn value<T: Copy>(&self, value: T) -> &T;
    /// A copy of a text.
    fn text(&self, text: &str) -> &str;
    /// A copy of a slice.
    fn slice<T: Copy>(&self, slice: &[T]) -> &[T];
    /// All of it free again, with what the arena keeps for next time.
    fn reset(&mut self);
    /// The allocator for collections.
    fn handle(&self) -> Self::Handle<'_>;
    /// Bytes taken from below, where the arena tells.
    fn held(&self) -> Option<usize> {
        None
    }
}

impl Arena for cenote::Pool {
    type Handle<'a> = &'a cenote::Pool;
    #[inline(always)]
    fn layout(&self, layout: Layout) -> NonNull<u8> {
        self.alloc_layout(layout)
    }
    #[inline(always)]
    fn value<T: Copy>(&self, value: T) -> &T {
        self.alloc(value)
    }
    #[inline(always)]
    fn text(&self, text: &str) -> &str {
        self.alloc_str(text)
    }
    #[inline(always)]
    fn slice<T: Copy>(&self, slice: &[T]) -> &[T] {
        self.alloc_slice_copy(slice)
    }
    #[inline(always)]
    fn reset(&mut self) {
        cenote::Pool::reset(self);
    }
    #[inline(always)]
    fn handle(&self) -> &cenote::Pool {
        self
    }
    fn held(&self) -> Option<usize> {
        Some(self.held_bytes())
    }
}

impl Arena for bumpalo::Bump {
    type Handle<'a> = &'a bumpalo::Bump;
    #[inline(always)]
    fn layout(&self, layout: Layout) -> NonNull<u8> {
        self.alloc_layout(layout)
    }
    #[inline(always)]
    fn value<T: Copy>(&self, value: T) -> &T {
        self.alloc(value)
    }
    #[inline(always)]
    fn text(&self, text: &str) -> &str {
        self.alloc_str(text)
    }
    #[inline(always)]
    fn slice<T: Copy>(&self, slice: &[T]) -> &[T] {
        self.alloc_slice_copy(slice)
    }
    #[inline(always)]
    fn reset(&mut self) {
        bumpalo::Bump::reset(self);
    }
    #[inline(always)]
    fn handle(&self) -> &bumpalo::Bump {
        self
    }
    fn held(&self) -> Option<usize> {
        Some(self.allocated_bytes_including_metadata())
    }
}

/// bump-scope with its default settings: upwards, minimum alignment 1.
pub(crate) type BumpScope = bump_scope::Bump;

impl Arena for BumpScope {
    type Handle<'a> = &'a BumpScope;
    #[inline(always)]
    fn layout(&self, layout: Layout) -> NonNull<u8> {
        bump_scope::traits::BumpAllocatorTyped::allocate_layout(self, layout)
    }
    #[inline(always)]
    fn value<T: Copy>(&self, value: T) -> &T {
        self.alloc(value).into_ref()
    }
    #[inline(always)]
    fn text(&self, text: &str) -> &str {
        self.alloc_str(text).into_ref()
    }
    #[inline(always)]
    fn slice<T: Copy>(&self, slice: &[T]) -> &[T] {
        self.alloc_slice_copy(slice).into_ref()
    }
    #[inline(always)]
    fn reset(&mut self) {
        bump_scope::Bump::reset(self);
    }
    #[inline(always)]
    fn handle(&self) -> Self::Handle<'_> {
        self
    }
    fn held(&self) -> Option<usize> {
        Some(self.stats().size())
    }
}

impl Arena for multitude::Arena {
    type Handle<'a> = &'a multitude::Arena;
    /// It has no call for a layout but the allocator's; that of a slice of words is faster.
    #[inline(always)]
    fn layout(&self, layout: Layout) -> NonNull<u8> {
        let mut words = self.alloc_uninit_slice::<u64>(layout.size().div_ceil(8));
        NonNull::from(&mut *words).cast()
    }
    #[inline(always)]
    fn value<T: Copy>(&self, value: T) -> &T {
        multitude::Alloc::leak(self.alloc(value))
    }
    #[inline(always)]
    fn text(&self, text: &str) -> &str {
        multitude::Alloc::leak(self.alloc_str(text))
    }
    #[inline(always)]
    fn slice<T: Copy>(&self, slice: &[T]) -> &[T] {
        multitude::Alloc::leak(self.alloc_slice_copy(slice))
    }
    #[inline(always)]
    fn reset(&mut self) {
        multitude::Arena::reset(self);
    }
    #[inline(always)]
    fn handle(&self) -> &multitude::Arena {
        self
    }
}

impl Arena for oxc_allocator::Allocator {
    type Handle<'a> = &'a oxc_allocator::Allocator;
    #[inline(always)]
    fn layout(&self, layout: Layout) -> NonNull<u8> {
        self.alloc_layout(layout)
    }
    #[inline(always)]
    fn value<T: Copy>(&self, value: T) -> &T {
        self.alloc(value)
    }
    #[inline(always)]
    fn text(&self, text: &str) -> &str {
        self.alloc_str(text)
    }
    #[inline(always)]
    fn slice<T: Copy>(&self, slice: &[T]) -> &[T] {
        self.alloc_slice_copy(slice)
    }
    #[inline(always)]
    fn reset(&mut self) {
        oxc_allocator::Allocator::reset(self);
    }
    #[inline(always)]
    fn handle(&self) -> &oxc_allocator::Allocator {
        self
    }
    fn held(&self) -> Option<usize> {
        Some(self.capacity())
    }
}

/// blink-alloc has two faces: the allocator for layouts and collections, and the arena of values.
#[derive(Default)]
pub(crate) struct Blink(blink_alloc::Blink);

impl Blink {
    pub(crate) fn with_chunk_size(size: usize) -> Self {
        Self(blink_alloc::Blink::with_chunk_size(size))
    }
}

impl Arena for Blink {
    type Handle<'a> = BlinkHandle<'a>;
    #[inline(always)]
    fn layout(&self, layout: Layout) -> NonNull<u8> {
        match self.0.allocator().allocate(layout) {
            Ok(found) => found.cast(),
            Err(_) => std::alloc::handle_alloc_error(layout),
        }
    }
    #[inline(always)]
    fn value<T: Copy>(&self, value: T) -> &T {
        self.0.put_no_drop(value)
    }
    #[inline(always)]
    fn text(&self, text: &str) -> &str {
        self.0.copy_str(text)
    }
    #[inline(always)]
    fn slice<T: Copy>(&self, slice: &[T]) -> &[T] {
        self.0.copy_slice(slice)
    }
    #[inline(always)]
    fn reset(&mut self) {
        self.0.reset();
    }
    #[inline(always)]
    fn handle(&self) -> BlinkHandle<'_> {
        BlinkHandle(self.0.allocator())
    }
}

/// blink-alloc speaks allocator-api2 0.4 only; the collections here speak 0.2, which is the same but
/// for the error, so this is compiled away.
#[derive(Clone, Copy)]
pub(crate) struct BlinkHandle<'a>(&'a blink_alloc::BlinkAlloc);

// SAFETY: forwards to an allocator under the same contract, by the same handle.
unsafe impl Allocator for BlinkHandle<'_> {
    #[inline(always)]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Newer::allocate(self.0, layout).map_err(|_| AllocError)
    }
    #[inline(always)]
    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { Newer::deallocate(self.0, start, layout) }
    }
    #[inline(always)]
    unsafe fn grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { Newer::grow(self.0, start, old, new) }.map_err(|_| AllocError)
    }
    #[inline(always)]
    unsafe fn shrink(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { Newer::shrink(self.0, start, old, new) }.map_err(|_| AllocError)
    }
}

/// How an arena is made where its capacity is given ahead.
pub(crate) const CAPACITY: usize = 4096;
