//! [`Cached`]: free lists of one's own over any source.

use super::blocks::{Cache, class_of};
use crate::{AllocError, BlockSource, told};
use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

/// A cache of free blocks over another source, as [`Blocks`](crate::Blocks) is over the system.
///
/// For sources that take a while, such as a [`Buddy`](crate::Buddy), which splits and merges, or a
/// [`Locked`](crate::Locked) one: blocks of up to 256 KiB, rounded up to the classes of
/// [`Blocks`](crate::Blocks), wait here for the next pool. At most `cap` bytes do; what was not
/// needed lately goes back by and by, and all of it when the cache is dropped.
///
/// ```
/// use cenote::{Buddy, Cached, Pool};
/// let buddy = Buddy::heap(1 << 20)?;
/// let cached = Cached::new(&buddy, 64 << 10);
/// for _ in 0..3 {
///     let pool = Pool::builder().source(&cached).build().unwrap();
///     pool.alloc_str("the same block each time");
/// }
/// assert_eq!(buddy.used_bytes(), 4096);
/// assert_eq!(cached.cached_bytes(), 4096);
/// assert_eq!(cached.trim(), 4096);
/// assert_eq!(buddy.used_bytes(), 0);
/// # Ok::<(), cenote::RegionError>(())
/// ```
pub struct Cached<S: BlockSource> {
    cache: Cache,
    source: S,
}

// SAFETY: the free blocks are the cache's alone, wherever it goes, and so is the source.
unsafe impl<S: BlockSource + Send> Send for Cached<S> {}

impl<S: BlockSource> Cached<S> {
    /// A cache over `source` that keeps `cap` bytes at most.
    pub const fn new(source: S, cap: usize) -> Self {
        Self { cache: Cache::owned(cap), source }
    }

    /// Gives all free blocks back to the source; how many bytes that was.
    pub fn trim(&self) -> usize {
        let _inside = told::inside(!self.is_plain());
        self.cache.drain(&self.source)
    }

    #[inline]
    fn acquire_new(&self, block: Layout) -> Result<NonNull<u8>, AllocError> {
        let _inside = told::inside(!self.is_plain());
        self.source.acquire(block).or_else(|error| {
            // What other lists keep may be what is missing.
            if self.trim() == 0 { Err(error) } else { self.source.acquire(block) }
        })
    }

    /// Bytes of free blocks.
    pub fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }
}

// SAFETY: blocks come from the source with their class's layout, which covers the one asked for,
// and go back there with that same one: the class is a function of the layout. A block is on at
// most one list, and on none while it is out.
unsafe impl<S: BlockSource> BlockSource for Cached<S> {
    #[inline]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let Some((bin, block)) = class_of(layout) else { return self.source.acquire(layout) };
        match self.cache.take(bin, block.size()) {
            Some(cached) => Ok(cached),
            None => self.acquire_new(block),
        }
    }

    #[inline]
    unsafe fn release(&self, ptr: NonNull<u8>, layout: Layout) {
        let Some((bin, block)) = class_of(layout) else {
            // SAFETY: the caller's promise; blocks of no class came from the source as asked.
            return unsafe { self.source.release(ptr, layout) };
        };
        // SAFETY: the caller's promise: the block has this class and nobody uses it.
        unsafe { self.cache.put(&self.source, bin, block, ptr) };
    }

    fn acquire_apart(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.source.acquire_apart(layout)
    }

    unsafe fn release_apart(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.source.release_apart(block, layout) }
    }

    unsafe fn discard(&self, start: NonNull<u8>, size: usize) -> usize {
        // SAFETY: the caller's promise: bytes of a block, which nothing uses.
        unsafe { self.source.discard(start, size) }
    }

    #[inline]
    fn is_plain(&self) -> bool {
        self.source.is_plain()
    }

    fn fit(&self, layout: Layout) -> usize {
        let mut wanted = layout;
        // A source that spends more than a class on its blocks (a page, say) has the larger class
        // used instead, until both agree.
        while let Some((_, block)) = class_of(wanted) {
            let spent = self.source.fit(block);
            match Layout::from_size_align(spent, layout.align()) {
                Ok(more) if spent > block.size() => wanted = more,
                _ => return block.size(),
            }
        }
        self.source.fit(wanted)
    }
}

impl<S: BlockSource> Drop for Cached<S> {
    fn drop(&mut self) {
        self.trim();
    }
}

impl<S: BlockSource + fmt::Debug> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("source", &self.source)
            .field("cached_bytes", &self.cached_bytes())
            .finish()
    }
}
