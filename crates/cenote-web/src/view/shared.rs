//! Pools that no one thread owns: noted from anywhere, looked at by the view's own thread.
//!
//! Who notes a pool waits for nobody: the notes are in several lists, of which the view holds one
//! at a time, and one that is free is taken.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use cenote::WeakSharedPool;

use super::State;
use super::map::BlockMap;
use super::telling::{Telling, Told};
use super::watched::{Watched, WatchedWeak};
use super::who::Purpose;

/// So that threads seldom meet.
const SHARDS: usize = 16;
/// Pools that are looked at between two holds of a lock.
const SLICE: usize = 32;

/// A note of pools that any thread may use.
#[derive(Default)]
pub(super) struct Shared {
    next: AtomicU64,
    shards: [Mutex<Vec<Entry>>; SHARDS],
}

struct Entry {
    id: u64,
    since: Instant,
    pool: Noted,
    whose: Whose,
}

/// Whose a pool is, if anybody said so. Kept with the note: a pool that outlives its request is told with it.
pub(super) type Whose = Option<Arc<dyn Purpose + Send + Sync>>;

/// The way to a noted pool.
#[derive(Clone)]
pub(super) enum Noted {
    /// Of the layer's, of which there are many: without an allocation of its own.
    Request(WeakSharedPool),
    Other(Arc<dyn WatchedWeak>),
}

impl Noted {
    fn of(&self) -> &dyn WatchedWeak {
        match self {
            Self::Request(pool) => pool,
            Self::Other(pool) => &**pool,
        }
    }
}

impl Shared {
    /// A list that nobody has now: the one of this thread, if it is free.
    fn any_list(&self) -> MutexGuard<'_, Vec<Entry>> {
        let mut hasher = DefaultHasher::new();
        std::thread::current().id().hash(&mut hasher);
        let first = hasher.finish() as usize % SHARDS;
        let mut all = self.shards[first..].iter().chain(&self.shards[..first]);
        let free = all.find_map(|shard| match shard.try_lock() {
            Ok(list) => Some(list),
            Err(TryLockError::Poisoned(list)) => Some(list.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        // All at once are taken by other threads that note pools, each for some stores.
        free.unwrap_or_else(|| lock(&self.shards[first]))
    }

    pub(super) fn add(&self, pool: Noted, whose: Whose) {
        // Dropped when the list is not held any more.
        let mut _gone = Vec::new();
        let mut list = self.any_list();
        if list.len() == list.capacity() {
            _gone = sweep(&mut list);
            let live = list.len();
            list.reserve(live.max(16));
        }
        // Under the lock, so that ids ascend in each shard.
        let id = self.next.fetch_add(1, Relaxed);
        list.push(Entry { id, since: Instant::now(), pool, whose });
    }

    /// Calls `f` with up to [`SLICE`] pools of a shard, from an id on; returns the id to go on
    /// from. The lock is not held meanwhile.
    fn slice(
        &self,
        shard: &Mutex<Vec<Entry>>,
        from: u64,
        mut f: impl FnMut(u64, Instant, &dyn Watched),
    ) -> Option<u64> {
        let slice: Vec<_> = {
            let list = lock(shard);
            let start = list.partition_point(|entry| entry.id < from);
            let slice = list[start..].iter().take(SLICE);
            slice.map(|entry| (entry.id, entry.since, entry.pool.clone())).collect()
        };
        let last = slice.last()?.0;
        for (id, since, pool) in slice {
            pool.of().with(&mut |pool| f(id, since, pool));
        }
        Some(last + 1)
    }

    fn find(&self, id: u64) -> Option<(Instant, Noted, Whose)> {
        self.shards.iter().find_map(|shard| {
            let list = lock(shard);
            let at = list.binary_search_by_key(&id, |entry| entry.id).ok()?;
            Some((list[at].since, list[at].pool.clone(), list[at].whose.clone()))
        })
    }

    pub(super) fn tell(&self, state: &State) -> Told {
        let mut telling = Telling::new(state, "s");
        for shard in &self.shards {
            let gone = sweep(&mut lock(shard));
            drop(gone);
            let mut from = 0;
            while let Some(next) =
                self.slice(shard, from, |id, since, pool| telling.count(id, since, pool))
            {
                from = next;
            }
        }
        for id in telling.chosen() {
            if let Some((since, pool, whose)) = self.find(id) {
                let who = whose.map(|whose| whose.who());
                pool.of().with(&mut |pool| telling.tell(id, since, pool, who.clone()));
            }
        }
        telling.done()
    }

    pub(super) fn map(&self, id: u64) -> Option<BlockMap> {
        let mut map = None;
        self.find(id)?.1.of().with(&mut |pool| map = Some(pool.map()));
        map
    }
}

/// Forgets the pools that are gone. Their notes are for the caller to drop, with the list not held: whose
/// they were is somebody's own value, and its drop may note pools.
#[must_use]
fn sweep(list: &mut Vec<Entry>) -> Vec<Entry> {
    let gone = list.extract_if(.., |entry| entry.pool.of().is_gone()).collect();
    // After a burst, what it needed goes back.
    let live = list.len().max(16);
    if list.capacity() > 8 * live {
        list.shrink_to(4 * live);
    }
    gone
}

fn lock(shard: &Mutex<Vec<Entry>>) -> MutexGuard<'_, Vec<Entry>> {
    // Each step leaves the list whole, so one that was held in a panic is as good.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
