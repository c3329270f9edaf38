//! The pools of one thread: noted as they are made, looked at by that thread alone, when it is
//! asked, between the polls of its tasks.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::{self, mpsc};
use std::time::Instant;

use cenote::Blocks;
use tokio::sync::mpsc::UnboundedReceiver;

use super::State;
use super::map::BlockMap;
use super::telling::{Telling, Told};
use super::watched::Watched;
use super::who::Purpose;

/// Pools that are looked at before other tasks of the thread get their turn.
const SLICE: usize = 64;

/// A question to a thread.
pub(super) enum Ask {
    /// What its pools hold, and what its cache of blocks does.
    Tell(mpsc::Sender<(usize, Told, usize)>),
    /// The blocks of one.
    Map(u64, mpsc::Sender<Option<BlockMap>>),
}

/// A note of the pools of one thread. Made by [`View::local`](super::View::local).
///
/// Cloning it gives another handle on the same note.
#[derive(Clone)]
pub struct Local {
    pools: Rc<RefCell<Pools>>,
}

/// A pool that was noted, for [`Local::forget`] and [`Purpose::who_of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted(u64);

#[derive(Default)]
struct Pools {
    /// By id, which ascend.
    list: Vec<Entry>,
    next: u64,
}

struct Entry {
    id: u64,
    since: Instant,
    pool: Weak<dyn Watched>,
    /// Whose it is, while that is there.
    who: Option<Weak<dyn Purpose>>,
}

/// A pool that is there, and whose it is.
struct Found {
    since: Instant,
    pool: Rc<dyn Watched>,
    who: Option<Rc<dyn Purpose>>,
}

impl Pools {
    fn sweep(&mut self) {
        self.list.retain(|entry| entry.pool.strong_count() > 0);
        // After a burst, what it needed goes back.
        let live = self.list.len().max(16);
        if self.list.capacity() > 8 * live {
            self.list.shrink_to(4 * live);
        }
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("pools", &self.pools.borrow().list.len()).finish()
    }
}

impl Local {
    pub(super) fn new() -> Self {
        Self { pools: Rc::default() }
    }

    /// Notes a pool, and that it is there from now on. It needs no word when it goes: those
    /// that are gone are swept out when the list is full. [`forget`](Local::forget) is for those who
    /// want the memory of its `Rc` back at once.
    ///
    /// Costs a look at the clock and a push; the list grows with the number of live pools,
    /// never with the number of requests.
    pub fn add<P: Watched + 'static>(&self, pool: &Rc<P>) -> Noted {
        self.note(Rc::<P>::downgrade(pool), None)
    }

    /// [`Local::add`] with whose pool it is, which the view shows in its row: a request, the connection
    /// that it came over, a job.
    ///
    /// `who` is asked when somebody looks, and only then. It is kept in no way: once it is gone nothing is said
    /// of it, and the memory of its `Rc` stays as long as the note, as the pool's does. Costs an addition more.
    ///
    /// ```
    /// use cenote::{Account, Pool};
    /// use cenote_web::view::{Purpose, View, Who};
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// struct Import { line: Cell<u32> }
    /// impl Purpose for Import {
    ///     fn who(&self) -> Who {
    ///         Who::of(format!("import, line {}", self.line.get()))
    ///     }
    /// }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # tokio::task::LocalSet::new().block_on(&runtime, async {
    /// let process = Account::root("process");
    /// let view = View::builder(&process).build();
    /// let (pools, answering) = view.local(&process);
    /// tokio::task::spawn_local(answering.run());
    /// let (pool, import) = (Rc::new(Pool::on(&process)), Rc::new(Import { line: Cell::new(1) }));
    /// pools.add_for(&pool, &import);
    /// import.line.set(7);
    /// let look = view.look().await.unwrap();
    /// assert_eq!(look.pools[0].request.as_deref(), Some("import, line 7"));
    /// # });
    /// ```
    pub fn add_for<P: Watched + 'static, W: Purpose + 'static>(
        &self,
        pool: &Rc<P>,
        who: &Rc<W>,
    ) -> Noted {
        self.note(Rc::<P>::downgrade(pool), Some(Rc::<W>::downgrade(who)))
    }

    fn note(&self, pool: Weak<dyn Watched>, who: Option<Weak<dyn Purpose>>) -> Noted {
        let mut pools = self.pools.borrow_mut();
        if pools.list.len() == pools.list.capacity() {
            pools.sweep();
            // At least half of it free, or sweeping would be most of the work.
            let live = pools.list.len();
            pools.list.reserve(live.max(16));
        }
        let id = pools.next;
        pools.next += 1;
        pools.list.push(Entry { id, since: Instant::now(), pool, who });
        Noted(id)
    }

    /// Forgets a pool, be it gone or not. Of one that another note noted, nothing.
    ///
    /// Costs a search by halving.
    pub fn forget(&self, noted: Noted) {
        let mut pools = self.pools.borrow_mut();
        if let Ok(at) = pools.list.binary_search_by_key(&noted.0, |entry| entry.id) {
            // Swept out with those that are gone.
            let gone: Weak<cenote::Pool> = Weak::new();
            pools.list[at].pool = gone;
            pools.list[at].who = None;
        }
    }

    /// Forgets the pools that are gone. A note keeps the memory of the `Rc` that its pool was in,
    /// some hundred bytes, until this is done: by each look, by [`Local::add`] when the list is
    /// full, and by who calls it, best when the thread goes idle.
    pub fn sweep(&self) {
        self.pools.borrow_mut().sweep();
    }

    /// Calls `f` with up to [`SLICE`] pools from an id on; returns the id to go on from.
    fn slice(&self, from: u64, mut f: impl FnMut(u64, Instant, &dyn Watched)) -> Option<u64> {
        // Handles first: what `f` does may end with the last handle of a pool, whose cleanups
        // may note another.
        let slice: Vec<_> = {
            let pools = self.pools.borrow();
            let start = pools.list.partition_point(|entry| entry.id < from);
            let slice = pools.list[start..].iter().take(SLICE);
            slice.map(|entry| (entry.id, entry.since, entry.pool.upgrade())).collect()
        };
        let last = slice.last()?.0;
        for (id, since, pool) in slice {
            if let Some(pool) = pool {
                f(id, since, &*pool);
            }
        }
        Some(last + 1)
    }

    fn find(&self, id: u64) -> Option<Found> {
        let pools = self.pools.borrow();
        let at = pools.list.binary_search_by_key(&id, |entry| entry.id).ok()?;
        let entry = &pools.list[at];
        let who = entry.who.as_ref().and_then(Weak::upgrade);
        Some(Found { since: entry.since, pool: entry.pool.upgrade()?, who })
    }

    async fn tell(&self, state: &State, set: &str) -> Told {
        self.sweep();
        let mut telling = Telling::new(state, set);
        let mut from = 0;
        while let Some(next) = self.slice(from, |id, since, pool| telling.count(id, since, pool)) {
            from = next;
            tokio::task::yield_now().await;
        }
        for (count, id) in telling.chosen().into_iter().enumerate() {
            if let Some(Found { since, pool, who }) = self.find(id) {
                let who = who.map(|who| who.who_of(Noted(id)));
                telling.tell(id, since, &*pool, who);
            }
            if count % SLICE == SLICE - 1 {
                tokio::task::yield_now().await;
            }
        }
        telling.done()
    }
}

/// The thread's side of the questions: to be run on it, beside its work.
#[must_use = "nothing is answered unless it runs"]
pub struct Answering {
    pub(super) local: Local,
    /// Not kept: it has the other end of `asks`, which is to close when the view goes.
    pub(super) state: sync::Weak<State>,
    pub(super) index: usize,
    pub(super) asks: UnboundedReceiver<Ask>,
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answering").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Answering {
    /// Answers until the view is gone. To be spawned as a local task of the thread.
    ///
    /// Looks at 64 pools at a time and yields in between.
    pub async fn run(mut self) {
        let set = format!("w{}", self.index);
        while let Some(ask) = self.asks.recv().await {
            // Whoever asked may have stopped waiting.
            match ask {
                Ask::Tell(to) => {
                    let Some(state) = self.state.upgrade() else { return };
                    let told = self.local.tell(&state, &set).await;
                    let _ = to.send((self.index, told, Blocks::cached_bytes()));
                }
                Ask::Map(id, to) => {
                    let _ = to.send(self.local.find(id).map(|found| found.pool.map()));
                }
            }
        }
    }
}
