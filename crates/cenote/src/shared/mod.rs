//! [`SharedPool`]: a pool with several handles, on several threads.
//!
//! Files: this one has the handle; `state` what the handles share, and the way of what is rare;
//! `block` and `window` the memory, and the one atomic word by which it is given out; `builder`
//! how such pools are set up; `values` and `layouts` what users put into them; `buffer` bytes
//! that grow, and `freeze` bytes that leave; `look` the way to a pool that does not keep it;
//! `sync` the atomics, which loom can take the place of; `model` what loom checks, `tests` what is
//! to be seen from here alone: who has the lock.

mod block;
mod buffer;
mod builder;
#[cfg(feature = "bytes")]
mod freeze;
mod layouts;
mod look;
#[cfg(all(test, loom))]
mod model;
mod state;
mod sync;
#[cfg(all(test, feature = "std", not(loom)))]
mod tests;
mod values;
mod watched;
mod window;

pub use buffer::SharedBuffer;
pub use builder::SharedPoolBuilder;
#[cfg(feature = "bytes")]
pub use freeze::Freeze;
pub use look::{PoolFigures, PoolLook, WeakSharedPool};

use crate::account::Account;
use crate::debug::Levels;
use crate::error::{Mode, Try};
use crate::inspect::PoolSnapshot;
use crate::kept::PoolHandle;
use crate::pool::Shape;
use crate::{AllocError, BlockSource, Pool, PoolBuilder, SharedBlocks};
use core::fmt;
use core::marker::PhantomData;
use core::panic::Location;
use core::ptr::NonNull;
use state::{Making, Shared};
use sync::{AtomicUsize, Ordering::*, acquire};

/// A pool that is shared: by clones of its handle, by threads, by tasks that move between them.
///
/// A [`Pool`] is one owner's. Where there are several - the layers and extractors of a web
/// service, a body that is still being sent when its handler has returned, collections held
/// across `.await` on a runtime that moves tasks - each has a handle on one `SharedPool`. The
/// memory goes back when the last handle does.
///
/// ```
/// use allocator_api2::vec::Vec;
/// use cenote::{AllocError, SharedPool};
/// let pool = SharedPool::try_new()?;
/// let name = pool.try_alloc_str("borrowed from this handle")?;
/// // A collection with a handle of its own may go anywhere, and outlive this one.
/// let mut list = Vec::new_in(pool.clone());
/// list.extend_from_slice(name.as_bytes());
/// drop(pool);
/// let list = std::thread::spawn(move || {
///     list.push(b'.');
///     list
/// });
/// assert_eq!(list.join().unwrap().len(), 26);
/// # Ok::<(), AllocError>(())
/// ```
///
/// # What it costs
///
/// An allocation is one atomic compare-and-swap as long as the block has room, and never waits:
/// where another thread allocates at the same moment, one of the two looks again. A new block,
/// a large object and a cleanup take a lock. A handle is a pointer; cloning and dropping one is
/// an atomic addition. For work on one thread, [`SharedPool::scratch`] is a [`Pool`] without
/// atomics whose blocks are in this pool.
///
/// The first block is taken when the pool is made, since the handles' count is in it. Blocks
/// grow, objects are placed, and large ones kept, as in a [`Pool`].
///
/// # What there is not
///
/// There is no reset: some handle's borrower could be looking. Values are not dropped, unless
/// put in by [`own`](SharedPool::own). A value in the pool that itself has a handle on the
/// pool, or a cleanup that has one, keeps the pool for ever, as a cycle of `Arc`s does.
#[doc(alias("arena", "sync"))]
pub struct SharedPool<S: BlockSource = SharedBlocks> {
    shared: NonNull<Shared<S>>,
    _owns: PhantomData<Shared<S>>,
}

// SAFETY: a handle is a count of the shared state, which may be used from several threads if
// its source may go from one to the next.
unsafe impl<S: BlockSource + Send> Send for SharedPool<S> {}
// SAFETY: likewise: `&SharedPool` does nothing that two handles do not.
unsafe impl<S: BlockSource + Send> Sync for SharedPool<S> {}

impl SharedPool {
    /// A pool with the default sizes, on no account.
    ///
    /// # Panics
    /// Calls the process's allocation error handler where there is no memory for its block.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        let made = SharedPoolBuilder::DEFAULT.make(None, Location::caller());
        made.unwrap_or_else(|error| error.raise())
    }

    /// A pool with the default sizes, on no account.
    ///
    /// # Errors
    /// Where its first block cannot be had.
    #[track_caller]
    pub fn try_new() -> Result<Self, AllocError> {
        SharedPoolBuilder::DEFAULT.make(None, Location::caller())
    }

    /// A pool with the default sizes that charges its blocks to `account`.
    ///
    /// The pool may charge and credit it from any thread. On the thread that made the pool that
    /// is a few plain stores, if the account is new; see [`Account`].
    ///
    /// # Errors
    /// Where its first block cannot be had.
    #[track_caller]
    pub fn try_on(account: &Account) -> Result<Self, AllocError> {
        SharedPoolBuilder::DEFAULT.make(Some(account), Location::caller())
    }
}

impl SharedPool {
    /// Sets up shared pools with a name, sizes, an account or a source of their own; ends with
    /// [`PoolBuilder::shared`].
    #[inline]
    pub fn builder() -> PoolBuilder<'static, SharedBlocks> {
        Pool::builder().name("shared pool").source(SharedBlocks)
    }
}

impl<S: BlockSource> SharedPool<S> {
    #[inline]
    fn make(making: Making<'_, S>) -> Result<Self, AllocError> {
        Shared::make(making).map(Self::counted).or_else(Try::refuse)
    }

    /// A handle whose count is taken already.
    fn counted(shared: NonNull<Shared<S>>) -> Self {
        Self { shared, _owns: PhantomData }
    }

    /// Counts one handle more, unless there is none.
    fn one_more(handles: &AtomicUsize) -> bool {
        let mut seen = handles.load(Relaxed);
        while seen != 0 && seen <= MOST_HANDLES {
            match handles.compare_exchange_weak(seen, seen + 1, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    #[inline(always)]
    fn state(&self) -> &Shared<S> {
        // SAFETY: the handle's count keeps the state in place.
        unsafe { self.shared.as_ref() }
    }

    /// The name that the builder gave it.
    pub fn name(&self) -> &'static str {
        self.state().name
    }

    /// What is looked for in it; see [`debug`](crate::debug).
    pub fn levels(&self) -> Levels {
        self.state().levels()
    }

    /// Where it was made.
    pub fn created_at(&self) -> &'static Location<'static> {
        self.state().created_at
    }

    /// The account that is charged for its blocks, if there is one.
    pub fn account(&self) -> Option<&Account> {
        self.state().account()
    }

    /// How many handles there are at this moment, this one included.
    pub fn handles(&self) -> usize {
        self.state().handles.load(Relaxed)
    }

    /// Whether both are handles on the same pool.
    pub fn is_same(&self, other: &Self) -> bool {
        self.shared == other.shared
    }

    /// The pool's figures, read together. Makes nobody wait, but in a pool that is watched: see
    /// [`PoolLook::figures`].
    pub fn figures(&self) -> PoolFigures {
        self.state().figures()
    }

    /// Bytes of blocks and large objects that it holds: what it costs others. Makes nobody wait.
    pub fn held_bytes(&self) -> usize {
        self.state().figures().held_bytes
    }

    /// Bytes that objects take, padding included. Makes nobody wait.
    pub fn used_bytes(&self) -> usize {
        self.state().figures().used_bytes
    }

    /// What the pool holds now, block by block; while others allocate, each block is of a moment
    /// of its own. Takes the lock for a moment at a time, to copy the sizes of large objects.
    pub fn snapshot(&self) -> PoolSnapshot {
        self.state().snapshot()
    }

    /// A way to look at the pool that does not keep it: see [`WeakSharedPool`].
    ///
    /// The first one allocates some 30 bytes from the system.
    #[must_use]
    pub fn downgrade(&self) -> WeakSharedPool<S> {
        WeakSharedPool::new(self.state().tie(self.shared))
    }

    /// A pool of one owner's whose blocks are in this one: for work that allocates much and
    /// stays on one task, such as parsing. It may be sent along, and keeps this pool.
    ///
    /// Its blocks are charged as this pool's. They begin with 1 KiB, and what is not the newest
    /// goes back with this pool.
    ///
    /// ```
    /// use cenote::{AllocError, SharedPool};
    /// let request = SharedPool::try_new()?;
    /// let scratch = request.scratch();
    /// let words = scratch.try_alloc_slice_fill_iter("a b c".split(' '))?;
    /// let longest = request.try_alloc_str(words.iter().max().unwrap())?;
    /// drop(scratch);
    /// assert_eq!(longest, "c");
    /// # Ok::<(), AllocError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn scratch(&self) -> Pool<SharedPool<S>> {
        let mut shape = Shape { first: 1 << 10, largest: 16 << 10, threshold: 4 << 10 };
        let watch = self.state().watch();
        if self.state().is_watched() {
            shape = shape.watched();
        }
        Pool::make(shape, "scratch", Location::caller(), None, false, watch, self.clone())
    }
}

impl Default for SharedPool {
    /// As [`SharedPool::new`], and with its panics.
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

/// More handles than this are a mistake: there is no memory for so many that are not leaked.
const MOST_HANDLES: usize = isize::MAX as usize;

impl<S: BlockSource> Clone for SharedPool<S> {
    /// Another handle on the same pool.
    ///
    /// Ends the process where there are `isize::MAX` handles, all but a few of which were leaked, as
    /// [`Arc`](alloc::sync::Arc) does: who clones an allocator counts on that not to unwind.
    #[inline]
    fn clone(&self) -> Self {
        // As for `Arc`: whoever has a handle can make one known to others, who then count on
        // no more than it does.
        let before = self.state().handles.fetch_add(1, Relaxed);
        if before > MOST_HANDLES {
            too_many_handles();
        }
        Self { shared: self.shared, _owns: PhantomData }
    }
}

/// The count may be passed by one for each thread, which is far from wrapping.
#[cold]
#[inline(never)]
fn too_many_handles() -> ! {
    #[cfg(feature = "std")]
    std::process::abort();
    // Out of a function of C's no panic gets, but it ends the process.
    #[cfg(not(feature = "std"))]
    {
        extern "C" fn end() -> ! {
            panic!("a shared pool with more than {MOST_HANDLES} handles");
        }
        end()
    }
}

impl<S: BlockSource> Drop for SharedPool<S> {
    #[inline]
    fn drop(&mut self) {
        // `Release` by each, `Acquire` by the last: the end comes after all that was done.
        if self.state().handles.fetch_sub(1, Release) != 1 {
            return;
        }
        acquire(&self.state().handles);
        // SAFETY: this was the last handle.
        unsafe { Shared::end(self.shared) };
    }
}

impl<S: BlockSource> fmt::Debug for SharedPool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPool")
            .field("name", &self.name())
            .field("held_bytes", &self.held_bytes())
            .field("used_bytes", &self.used_bytes())
            .field("handles", &self.handles())
            .finish_non_exhaustive()
    }
}

// SAFETY: the state and all memory of the pool stay in place while there is a handle, and
// there is no way to reset the pool or to have it exclusively.
unsafe impl<S: BlockSource> PoolHandle for SharedPool<S> {
    type Pool = Self;
    fn pool(&self) -> &Self {
        self
    }
}
