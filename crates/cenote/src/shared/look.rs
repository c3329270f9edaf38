//! [`WeakSharedPool`]: a way to a shared pool that does not keep it, and [`PoolLook`], what is
//! seen by it.
//!
//! The pool's state is in the pool's own memory, so who does not keep the pool must not touch it
//! to learn whether it is there. That is in a word apart from it, the [`Tie`], which is made for
//! the first who wants one. A look counts itself in that word, unless the pool has ended; the
//! pool's end counts the pool out. Whoever leaves the word last gives the blocks back. So neither
//! waits for the other: where a pool ends under somebody's eyes, its cleanups have run by then,
//! and the blocks go back when the look is over.

use super::SharedPool;
use super::state::Shared;
use super::sync::{AtomicUsize, Ordering::*, acquire};
use crate::account::Account;
use crate::inspect::PoolSnapshot;
use crate::{BlockSource, SharedBlocks};
use alloc::sync::Arc;
use core::fmt;
use core::panic::Location;
use core::ptr::NonNull;

/// The pool has ended. Everything above this bit counts.
const ENDED: usize = 1;
/// A look; and the pool itself, until it ends.
const ONE: usize = 2;

/// Whether a pool is there, and who looks at it.
pub(super) struct Tie<S: BlockSource> {
    word: AtomicUsize,
    /// Good while `word` counts anyone.
    pool: NonNull<Shared<S>>,
}

// SAFETY: the word is atomic, and the pool's state may be used and ended from several threads if
// its source may go from one to the next; see `Shared`.
unsafe impl<S: BlockSource + Send> Send for Tie<S> {}
// SAFETY: likewise.
unsafe impl<S: BlockSource + Send> Sync for Tie<S> {}

impl<S: BlockSource> Tie<S> {
    /// Of a pool that is there.
    pub(super) fn new(pool: NonNull<Shared<S>>) -> Self {
        Self { word: AtomicUsize::new(ONE), pool }
    }

    /// The pool has ended; whether nobody looks, so that the caller is to give its blocks back.
    ///
    /// # Safety
    /// `tie` is from `Arc::into_raw`, with a count that is the caller's to give up.
    #[cold]
    pub(super) unsafe fn cut(tie: *const Self) -> bool {
        // SAFETY: the caller's promise.
        let tie = unsafe { Arc::from_raw(tie) };
        // Out with the pool's count, in with the mark. `Release`: what the end did comes before
        // what the last who looks does. `Acquire`: the other way round.
        tie.word.fetch_sub(ONE - ENDED, AcqRel) == ONE
    }

    fn has_ended(&self) -> bool {
        self.word.load(Relaxed) & ENDED != 0
    }

    /// Counts a look in, unless the pool has ended.
    fn enter(&self) -> Option<Entered<'_, S>> {
        let mut seen = self.word.load(Relaxed);
        while seen & ENDED == 0 {
            // `Relaxed`: who has a tie has it from a handle, which knew the pool as it was made.
            match self.word.compare_exchange_weak(seen, seen + ONE, Relaxed, Relaxed) {
                Ok(_) => return Some(Entered(self)),
                Err(now) => seen = now,
            }
        }
        None
    }
}

/// A look that is counted in.
struct Entered<'t, S: BlockSource>(&'t Tie<S>);

impl<S: BlockSource> Drop for Entered<'_, S> {
    fn drop(&mut self) {
        // `Release`: what was read here was read before the blocks go back.
        if self.0.word.fetch_sub(ONE, Release) == ONE | ENDED {
            acquire(&self.0.word);
            // SAFETY: the pool has ended, and this was the last who looked; nobody can begin to.
            unsafe { Shared::give_back(self.0.pool) };
        }
    }
}

/// A way to a [`SharedPool`] that does not keep it: made by [`SharedPool::downgrade`].
///
/// For who wants to see pools, not to use them: it tells, from any thread, what the pool holds
/// while others allocate in it, and makes none of them wait. The pool's end does not wait for it
/// either. Where a pool ends while somebody looks at it, its cleanups run at once, where the last
/// handle went; its blocks go back, and its account is credited, when the look is over.
///
/// ```
/// use cenote::{AllocError, SharedPool};
/// let pool = SharedPool::try_new()?;
/// let weak = pool.downgrade();
/// pool.try_alloc([0_u64; 100])?;
/// let figures = weak.look(|look| look.figures()).expect("it is there");
/// assert_eq!((figures.used_bytes, figures.held_bytes), (800, 4096));
/// drop(pool);
/// assert!(weak.is_gone());
/// assert!(weak.look(|look| look.figures()).is_none());
/// # Ok::<(), AllocError>(())
/// ```
pub struct WeakSharedPool<S: BlockSource = SharedBlocks> {
    tie: Arc<Tie<S>>,
}

impl<S: BlockSource> WeakSharedPool<S> {
    pub(super) fn new(tie: Arc<Tie<S>>) -> Self {
        Self { tie }
    }

    /// Calls `f` with a look at the pool, if it is still there.
    ///
    /// The pool's memory stays where it is until `f` has returned.
    pub fn look<T>(&self, f: impl FnOnce(&PoolLook<'_, S>) -> T) -> Option<T> {
        let entered = self.tie.enter()?;
        // SAFETY: whoever is counted in keeps the state in place.
        let state = unsafe { entered.0.pool.as_ref() };
        Some(f(&PoolLook { state }))
    }

    /// A handle on the pool, unless its last one has gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<SharedPool<S>> {
        self.look(|look| {
            let more = SharedPool::<S>::one_more(&look.state.handles);
            more.then(|| SharedPool::counted(self.tie.pool))
        })?
    }

    /// Whether the pool has ended, for good. If not, it may do so at any time.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.tie.has_ended()
    }
}

impl<S: BlockSource> Clone for WeakSharedPool<S> {
    fn clone(&self) -> Self {
        Self { tie: self.tie.clone() }
    }
}

impl<S: BlockSource> fmt::Debug for WeakSharedPool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.look(|look| look.name());
        f.debug_struct("WeakSharedPool").field("pool", &name).finish()
    }
}

/// The figures of a shared pool. If others allocate meanwhile, each block's are of a moment of its
/// own; never is more used than held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolFigures {
    /// How many handles there are; none where the pool is ending just now.
    pub handles: usize,
    /// Bytes of blocks, large objects and their table.
    pub held_bytes: usize,
    /// Bytes that objects take, padding included.
    pub used_bytes: usize,
    /// How many blocks there are.
    pub blocks: usize,
    /// How many large objects.
    pub large: usize,
    /// Bytes of the table in which large objects are found.
    pub large_table_bytes: usize,
    /// How many cleanups are still to run.
    pub cleanups: usize,
}

/// What is seen of a shared pool, while others may be using it; see [`WeakSharedPool::look`].
pub struct PoolLook<'l, S: BlockSource = SharedBlocks> {
    state: &'l Shared<S>,
}

impl<S: BlockSource> PoolLook<'_, S> {
    /// The name that the builder gave it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.state.name
    }

    /// Where it was made.
    #[must_use]
    pub fn created_at(&self) -> &'static Location<'static> {
        self.state.created_at
    }

    /// The account that is charged for its blocks, if there is one.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        self.state.account()
    }

    /// The figures, read together. Makes nobody wait, but where the pool is watched (see
    /// [`debug`](crate::debug)): there it takes the pool's lock for as long as objects are counted.
    #[must_use]
    pub fn figures(&self) -> PoolFigures {
        self.state.figures()
    }

    /// What it holds, block by block. Takes the pool's lock for a moment at a time, to copy the
    /// sizes of large objects.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        self.state.snapshot()
    }
}

impl<S: BlockSource> fmt::Debug for PoolLook<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolLook")
            .field("name", &self.name())
            .field("figures", &self.figures())
            .finish_non_exhaustive()
    }
}
