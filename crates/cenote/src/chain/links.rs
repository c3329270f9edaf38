//! What a chain is made of, and what it needs of its pool.

use crate::{AllocError, BlockSource, Pool, SharedPool};
use core::alloc::Layout;
use core::cell::Cell;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

/// One buffer of a chain.
#[derive(Debug)]
pub struct Link {
    pub(super) next: *mut Link,
    pub(super) start: NonNull<u8>,
    pub(super) len: usize,
}

/// The free links of a pool's chains: used again before new ones are allocated.
pub(crate) struct Links {
    free: Cell<*mut Link>,
}

impl Links {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self { free: Cell::new(ptr::null_mut()) }
    }

    /// Forgets them: the memory they are in is being reset.
    #[inline(always)]
    pub(crate) fn clear(&self) {
        self.free.set(ptr::null_mut());
    }

    fn take(&self) -> Option<NonNull<Link>> {
        let link = NonNull::new(self.free.get())?;
        // SAFETY: free links are in the pool's memory and nobody else's.
        self.free.set(unsafe { link.as_ref() }.next);
        Some(link)
    }

    fn put(&self, mut link: NonNull<Link>) {
        // SAFETY: the caller's link, which it lets go of.
        unsafe { link.as_mut() }.next = self.free.replace(link.as_ptr());
    }
}

/// A pool that chains can be in: [`Pool`] and [`SharedPool`].
pub trait ChainPool: Home {}

impl<S: BlockSource> ChainPool for Pool<S> {}
impl<S: BlockSource> ChainPool for SharedPool<S> {}

/// What a chain needs of its pool.
pub trait Home {
    /// Memory for a link, which is the caller's until it gives it back, or the pool is reset.
    fn link(&self) -> Result<NonNull<Link>, AllocError>;

    /// Takes back a link.
    ///
    /// # Safety
    /// It is from this pool, was written, and is not used any more.
    unsafe fn give_link(&self, link: NonNull<Link>);

    /// Bytes to be written to.
    #[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
    fn room(&self, bytes: usize) -> Result<&mut [MaybeUninit<u8>], AllocError>;

    /// A copy of these bytes.
    fn copy(&self, bytes: &[u8]) -> Result<&[u8], AllocError>;
}

impl<S: BlockSource> Home for Pool<S> {
    fn link(&self) -> Result<NonNull<Link>, AllocError> {
        match self.links().take() {
            Some(link) => Ok(link),
            None => self.try_alloc_layout(Layout::new::<Link>()).map(NonNull::cast),
        }
    }

    unsafe fn give_link(&self, link: NonNull<Link>) {
        self.links().put(link);
    }

    fn room(&self, bytes: usize) -> Result<&mut [MaybeUninit<u8>], AllocError> {
        self.try_alloc_bytes(bytes)
    }

    fn copy(&self, bytes: &[u8]) -> Result<&[u8], AllocError> {
        self.try_alloc_slice_copy(bytes).map(|copy| &*copy)
    }
}

/// Several threads may have chains in it, so there is no list of free links.
impl<S: BlockSource> Home for SharedPool<S> {
    fn link(&self) -> Result<NonNull<Link>, AllocError> {
        self.try_alloc_layout(Layout::new::<Link>()).map(NonNull::cast)
    }

    unsafe fn give_link(&self, link: NonNull<Link>) {
        // SAFETY: the caller's promise: it is from `link`, with this layout.
        unsafe { self.dealloc(link.cast(), Layout::new::<Link>()) };
    }

    fn room(&self, bytes: usize) -> Result<&mut [MaybeUninit<u8>], AllocError> {
        self.try_alloc_bytes(bytes)
    }

    fn copy(&self, bytes: &[u8]) -> Result<&[u8], AllocError> {
        self.try_alloc_slice_copy(bytes).map(|copy| &*copy)
    }
}
