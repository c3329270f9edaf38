//! Where pools get blocks from: the [`BlockSource`] trait and the sources that come with it.

mod blocks;
mod buddy;
#[cfg(feature = "std")]
mod cached;
mod faulty;
#[cfg(feature = "std")]
mod forks;
#[cfg(feature = "std")]
mod ground;
mod locked;
#[cfg(feature = "std")]
mod pages;
#[cfg(feature = "std")]
mod runs;
#[cfg(feature = "std")]
mod shelves;
mod system;
mod wandering;

pub use blocks::Blocks;
pub use buddy::{Buddy, BuddyBuilder, RegionError};
#[cfg(feature = "std")]
pub use cached::Cached;
pub use faulty::Faulty;
pub use locked::Locked;
pub use system::System;
pub use wandering::SharedBlocks;

use crate::AllocError;
use core::alloc::Layout;
use core::ptr::NonNull;

#[cfg(feature = "std")]
pub(crate) use blocks::Cache;
#[cfg(feature = "std")]
pub(crate) use ground::Ground;
#[cfg(feature = "std")]
pub(crate) use shelves::Shelf;
/// Without threads' caches there is nothing above it that would need more.
#[cfg(not(feature = "std"))]
use system::System as Ground;

/// A place that blocks of memory come from and go back to.
///
/// Sources nest: [`Blocks`], the default, caches what it takes from [`System`], and `&Pool`
/// is a source too, so that a pool can stand on another pool. A pool never calls a source by
/// itself; its supply does, after charging the pool's account.
///
/// # Safety
///
/// Pools hand out what a source gives them, so an implementation promises:
/// - `acquire` returns memory that is valid for reads and writes of `layout.size()` bytes,
///   aligned as the layout asks, and used by nobody else until it is released;
/// - that stays true while the source value is moved, and for as long as the source lives;
/// - `fit` is a function of the layout alone: the same answer each time, at least the size
///   asked for, and a fixed point (`fit` of a layout with the answer as its size is the answer);
///   it uses no pool;
/// - no method unwinds;
/// - no method uses a pool or a source that stands on this one (that may be the one which calls, in
///   the middle of an operation): it allocates nothing there, frees nothing, and neither resets,
///   trims nor looks at it. Neither does what the method calls: a closure or a `Drop` of the
///   program's, say.
///
/// Methods may use other pools, and accounts. What these refuse is told, and bad frees that they
/// find are, when the operation is over that called the source: so no hook
/// ([`Account::on_refused`](crate::Account::on_refused),
/// [`on_misuse`](crate::misuse::on_misuse)) runs inside of it. An error that `acquire` returns is
/// a refusal only if the pool has no other way; a source that asks another one passes on its error.
///
/// The library's pools and sources keep these promises, those of its types that have a source of
/// the program's under them as far as that one does. Beside the sources, the program's own code that
/// runs inside an operation is the global allocator, by way of [`System`]: one that uses pools must
/// use none that stands on `System`, or on what does.
///
/// ```
/// use cenote::{AllocError, BlockSource, Pool, System};
/// use std::{alloc::Layout, cell::Cell, ptr::NonNull};
///
/// /// Counts the blocks that are out.
/// #[derive(Default)]
/// struct Counting(Cell<usize>);
///
/// // SAFETY: `System` keeps the promises, and every call goes to it unchanged.
/// unsafe impl BlockSource for Counting {
///     fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
///         let block = System.acquire(layout)?;
///         self.0.set(self.0.get() + 1);
///         Ok(block)
///     }
///     unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
///         self.0.set(self.0.get() - 1);
///         // SAFETY: the caller's promise, passed on.
///         unsafe { System.release(block, layout) }
///     }
/// }
///
/// let counting = Counting::default();
/// let pool = Pool::builder().source(&counting).build()?;
/// pool.alloc(1_u64);
/// assert_eq!(counting.0.get(), 1);
/// drop(pool);
/// assert_eq!(counting.0.get(), 0);
/// # Ok::<(), cenote::ConfigError>(())
/// ```
pub unsafe trait BlockSource {
    /// Takes a block of `layout.size()` bytes, which is never 0.
    ///
    /// # Errors
    /// Where there is no such block to be had. Nothing has changed then.
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError>;

    /// Gives a block back.
    ///
    /// # Safety
    /// `block` came from `acquire` of this source (or of a copy of it that shares its memory)
    /// with this same layout, has not been released since, and is not used afterwards.
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout);

    /// Takes a block for one object that is to be watched (see [`debug`](crate::debug)): of the
    /// very size asked for, and past any cache, so that a checker under the source sees it.
    /// Sources without a cache need not care.
    ///
    /// # Errors
    /// As for [`BlockSource::acquire`].
    #[inline]
    fn acquire_apart(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.acquire(layout)
    }

    /// Gives back a block from [`BlockSource::acquire_apart`].
    ///
    /// # Safety
    /// As for [`BlockSource::release`], but from `acquire_apart`.
    #[inline]
    unsafe fn release_apart(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise: it came from `acquire_apart`, which is `acquire`.
        unsafe { self.release(block, layout) }
    }

    /// Makes a block larger, with what is in it: in place, or by moving it. A source that has no
    /// better way than to take another block and copy says so by `None`, which is what it does
    /// unless it is written; whoever asked then does that.
    ///
    /// # Safety
    /// As for [`BlockSource::release`] with `old`; `new` has the same alignment and is no smaller.
    /// Where there is an answer, the block is there from now on, to be released with `new`, its
    /// first `old.size()` bytes as they were, and the old address is not used any more. Where
    /// there is none, nothing has changed.
    #[inline]
    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        let _ = (block, old, new);
        None
    }

    /// Nothing in these bytes of a block is used at the moment: the pages that they fill need not be
    /// resident, and what is read there afterwards is not said. How many bytes that helped; a source
    /// that cannot tell does nothing.
    ///
    /// # Safety
    /// They are bytes of a block that came from `acquire` of this source and was not released since.
    #[doc(hidden)]
    #[inline]
    unsafe fn discard(&self, start: NonNull<u8>, size: usize) -> usize {
        let _ = (start, size);
        0
    }

    /// Whether no code of the program's can run in these methods, and nothing be found that is to be
    /// told: so that an operation which calls them need not be noted as under way. That is for
    /// the library's own sources to say.
    #[doc(hidden)]
    #[inline(always)]
    fn is_plain(&self) -> bool {
        false
    }

    /// How many bytes a block of this layout really takes. A caller that can use more than it
    /// needs asks here first, and then acquires that much; accounts are charged so too.
    #[inline]
    fn fit(&self, layout: Layout) -> usize {
        layout.size()
    }
}

// SAFETY: every call goes to the source referred to, which keeps the promises.
unsafe impl<S: BlockSource + ?Sized> BlockSource for &S {
    #[inline(always)]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        (**self).acquire(layout)
    }

    #[inline(always)]
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { (**self).release(block, layout) }
    }

    #[inline]
    fn acquire_apart(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        (**self).acquire_apart(layout)
    }

    #[inline]
    unsafe fn release_apart(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { (**self).release_apart(block, layout) }
    }

    unsafe fn discard(&self, start: NonNull<u8>, size: usize) -> usize {
        // SAFETY: the caller's promise, passed on.
        unsafe { (**self).discard(start, size) }
    }

    #[inline(always)]
    fn is_plain(&self) -> bool {
        (**self).is_plain()
    }

    #[inline]
    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise, passed on.
        unsafe { (**self).grow(block, old, new) }
    }

    #[inline(always)]
    fn fit(&self, layout: Layout) -> usize {
        (**self).fit(layout)
    }
}
