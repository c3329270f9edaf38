//! What the view asks of a pool, and how each kind of pool answers.
//!
//! Figures and sizes only: nothing here reads what is in a pool.

use std::panic::Location;
use std::sync::Weak;

use cenote::{
    Account, BlockSource, ChunkPool, CountedPool, Pool, PoolFigures, PoolLook, SharedPool,
    WeakSharedPool,
};

use super::map::BlockMap;

/// A pool into which the view can look: how much of it is used, and how its blocks lie.
///
/// Implemented for the pools of cenote. It is called on the thread that owns the pool, between
/// the polls of its tasks, or for [`View::watch`](super::View::watch) on the view's own.
pub trait Watched {
    /// The figures of the pool now.
    fn gist(&self) -> Gist;
    /// Its blocks, one by one.
    fn map(&self) -> BlockMap;
    /// The account that it charges.
    fn account(&self) -> Option<Account>;
}

/// The figures of one pool at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Gist {
    /// `pool`, `counted`, `chunk` or `shared`.
    pub kind: &'static str,
    /// The pool's name.
    pub name: &'static str,
    /// Where it was made.
    pub created_at: &'static Location<'static>,
    /// Bytes of blocks, large objects and bookkeeping.
    pub held_bytes: usize,
    /// Bytes that objects take.
    pub used_bytes: usize,
    /// Blocks, or clusters.
    pub blocks: usize,
    /// Large objects.
    pub large: usize,
    /// Cleanups that are still to run.
    pub cleanups: usize,
    /// Handles on it, if it is one of those that have several.
    pub handles: Option<usize>,
}

impl<S: BlockSource> Watched for Pool<S> {
    fn gist(&self) -> Gist {
        let snapshot = self.snapshot();
        Gist {
            kind: "pool",
            name: self.name(),
            created_at: self.created_at(),
            held_bytes: snapshot.held_bytes,
            used_bytes: snapshot.used_bytes,
            blocks: snapshot.blocks.len(),
            large: snapshot.large.len(),
            cleanups: snapshot.cleanups,
            handles: None,
        }
    }

    fn map(&self) -> BlockMap {
        BlockMap::of_pool(&self.snapshot())
    }

    fn account(&self) -> Option<Account> {
        self.account().cloned()
    }
}

impl<S: BlockSource> Watched for CountedPool<S> {
    fn gist(&self) -> Gist {
        let snapshot = self.snapshot();
        Gist {
            kind: "counted",
            name: self.name(),
            created_at: self.created_at(),
            held_bytes: snapshot.held_bytes,
            used_bytes: snapshot.used_bytes,
            blocks: snapshot.blocks.len(),
            large: snapshot.large.len(),
            cleanups: snapshot.cleanups,
            handles: None,
        }
    }

    fn map(&self) -> BlockMap {
        BlockMap::of_counted(&self.snapshot())
    }

    fn account(&self) -> Option<Account> {
        self.account().cloned()
    }
}

impl<S: BlockSource> Watched for ChunkPool<S> {
    fn gist(&self) -> Gist {
        let snapshot = self.snapshot();
        Gist {
            kind: "chunk",
            name: self.name(),
            created_at: self.created_at(),
            held_bytes: snapshot.held_bytes,
            used_bytes: snapshot.used_bytes,
            blocks: snapshot.clusters.len(),
            large: snapshot.large.len(),
            cleanups: snapshot.cleanups,
            handles: None,
        }
    }

    fn map(&self) -> BlockMap {
        BlockMap::of_chunk(&self.snapshot())
    }

    fn account(&self) -> Option<Account> {
        self.account().cloned()
    }
}

impl Gist {
    fn of_shared(
        name: &'static str,
        created_at: &'static Location<'static>,
        figures: &PoolFigures,
    ) -> Self {
        Self {
            kind: "shared",
            name,
            created_at,
            held_bytes: figures.held_bytes,
            used_bytes: figures.used_bytes,
            blocks: figures.blocks,
            large: figures.large,
            cleanups: figures.cleanups,
            handles: Some(figures.handles),
        }
    }
}

impl<S: BlockSource> Watched for SharedPool<S> {
    fn gist(&self) -> Gist {
        Gist::of_shared(self.name(), self.created_at(), &self.figures())
    }

    fn map(&self) -> BlockMap {
        BlockMap::of_pool(&self.snapshot())
    }

    fn account(&self) -> Option<Account> {
        self.account().cloned()
    }
}

impl<S: BlockSource> Watched for PoolLook<'_, S> {
    fn gist(&self) -> Gist {
        Gist::of_shared(self.name(), self.created_at(), &self.figures())
    }

    fn map(&self) -> BlockMap {
        BlockMap::of_pool(&self.snapshot())
    }

    fn account(&self) -> Option<Account> {
        self.account().cloned()
    }
}

/// The way to a pool that may be gone, from any thread.
pub trait WatchedWeak: Send + Sync + 'static {
    /// Calls `f` with the pool, unless it is gone; tells whether it was there.
    fn with(&self, f: &mut dyn FnMut(&dyn Watched)) -> bool;

    /// Whether the pool is gone for good.
    fn is_gone(&self) -> bool {
        !self.with(&mut |_| {})
    }
}

/// Keeps the pool in no way: where its last handle goes while the view looks, its cleanups run
/// there and then, and its blocks go back when the view has looked.
impl<S: BlockSource + Send + 'static> WatchedWeak for WeakSharedPool<S> {
    fn with(&self, f: &mut dyn FnMut(&dyn Watched)) -> bool {
        self.look(|look| f(look)).is_some()
    }

    fn is_gone(&self) -> bool {
        self.is_gone()
    }
}

/// While the view looks it has a handle, which may come to be the last one.
impl<P: Watched + Send + Sync + 'static> WatchedWeak for Weak<P> {
    fn with(&self, f: &mut dyn FnMut(&dyn Watched)) -> bool {
        match self.upgrade() {
            Some(pool) => {
                f(&*pool);
                true
            }
            None => false,
        }
    }

    fn is_gone(&self) -> bool {
        self.strong_count() == 0
    }
}
