//! What the pools hold, for `/pools`: each worker knows its own pools, and adds them up when asked.
//!
//! Accounts can be read from any thread and know what was charged. What is inside a pool (how much
//! of its blocks is used, how many cleanups wait) only its own thread may look at, so that is asked
//! for by message.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use cenote::Pool;
use cenote::inspect::AccountSnapshot;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::worker::Worker;

/// How long a worker may take to answer before the page does without its figures.
const PATIENCE: Duration = Duration::from_millis(250);

/// Whose pool it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Worker,
    Connection,
    Request,
}

/// What is inside some pools, added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    used_bytes: usize,
    blocks: usize,
    large: usize,
    cleanups: usize,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.used_bytes += other.used_bytes;
        self.blocks += other.blocks;
        self.large += other.large;
        self.cleanups += other.cleanups;
    }
}

/// The figures of one worker's pools, by [`Level`].
pub(crate) type WorkerFigures = [Figures; 3];

/// A question to a worker: where its figures are to be sent.
pub(crate) type Ask = oneshot::Sender<WorkerFigures>;

/// The live pools of one worker.
#[derive(Default)]
pub(crate) struct Registry {
    pools: RefCell<Vec<(Level, Weak<Pool>)>>,
}

impl Registry {
    /// Notes a pool. It needs no word when it goes: those that are gone are swept out when the list
    /// is full.
    pub(crate) fn add(&self, level: Level, pool: &Rc<Pool>) {
        let mut pools = self.pools.borrow_mut();
        if pools.len() == pools.capacity() {
            pools.retain(|(_, pool)| pool.strong_count() > 0);
            // At least half of it free, or sweeping would be most of the work. Grows with the
            // number of live pools, never with the number of requests.
            let live = pools.len();
            pools.reserve(live.max(16));
        }
        pools.push((level, Rc::downgrade(pool)));
    }

    /// Adds up what the live pools hold.
    pub(crate) fn figures(&self) -> WorkerFigures {
        let mut sums = WorkerFigures::default();
        for (level, pool) in self.pools.borrow().iter() {
            let Some(pool) = pool.upgrade() else { continue };
            let snapshot = pool.snapshot();
            sums[*level as usize].add(&Figures {
                used_bytes: snapshot.used_bytes,
                blocks: snapshot.blocks.len(),
                large: snapshot.large.len(),
                cleanups: snapshot.cleanups,
            });
        }
        sums
    }
}

/// A row of the page: all accounts of the same path. Held, used and peak bytes include what is
/// below them, as accounts charge; the other figures are of their own pools. What a worker did not
/// tell in time is `null`.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) path: Vec<String>,
    pub(crate) live: usize,
    pub(crate) created: u64,
    pub(crate) held_bytes: usize,
    pub(crate) used_bytes: Option<usize>,
    pub(crate) peak_bytes: usize,
    pub(crate) limit_bytes: Option<usize>,
    pub(crate) refused: u64,
    pub(crate) blocks: Option<usize>,
    pub(crate) large: Option<usize>,
    pub(crate) cleanups: Option<usize>,
    pub(crate) created_at: String,
}

/// What the other workers told of their pools, by index; `None` for one that did not in time.
pub(crate) struct Told(Vec<Option<WorkerFigures>>);

/// Asks all other workers for their figures.
pub(crate) async fn ask(worker: &Worker) -> Told {
    let deadline = Instant::now() + PATIENCE;
    // All are asked before the first answer is waited for.
    let asked: Vec<_> = worker
        .shared
        .asks
        .iter()
        .enumerate()
        .map(|(index, asks)| {
            let (ask, answer) = oneshot::channel();
            let sent = index != worker.index && asks.send(ask).is_ok();
            sent.then_some(answer)
        })
        .collect();
    let mut told = Vec::with_capacity(asked.len());
    for answer in asked {
        told.push(match answer {
            // A worker that has stopped drops the question, which is an answer too.
            Some(answer) => timeout_at(deadline, answer).await.ok().and_then(Result::ok),
            None => None,
        });
    }
    Told(told)
}

impl Told {
    /// The most rows there can be: three for each worker, and the process.
    pub(crate) fn most_rows(&self) -> usize {
        3 * self.0.len() + 1
    }

    /// The rows of the whole process at this moment, parents before children; `worker` adds its own
    /// figures.
    pub(crate) fn rows(mut self, worker: &Worker) -> Vec<Row> {
        if let Some(own) = self.0.get_mut(worker.index) {
            *own = Some(worker.registry.figures());
        }
        let mut rows = Vec::with_capacity(self.most_rows());
        collect(&worker.shared.process.snapshot().merged(), 0, &self.0, &mut rows);
        rows
    }
}

fn collect(
    account: &AccountSnapshot,
    depth: usize,
    told: &[Option<WorkerFigures>],
    rows: &mut Vec<Row>,
) {
    // Below the process there are the workers, each told of by itself.
    let index = account
        .name
        .strip_prefix("worker-")
        .and_then(|index| index.parse().ok())
        .filter(|_| depth == 1);
    let told = match index {
        Some(index) => told.get(index..=index).unwrap_or(&[None]),
        None => told,
    };
    // The process has no pools itself; below a request there is nothing.
    let own = depth.min(3).checked_sub(1);
    let sum = |levels: fn(&WorkerFigures, Option<usize>) -> &[Figures]| {
        told.iter().try_fold(Figures::default(), |mut sum, told| {
            levels(told.as_ref()?, own).iter().for_each(|figures| sum.add(figures));
            Some(sum)
        })
    };
    let below = sum(|told, own| &told[own.unwrap_or(0)..]);
    let own = sum(|told, own| own.map_or(&[], |own| &told[own..=own]));
    rows.push(Row {
        path: account.path.clone(),
        live: account.live,
        created: account.created,
        held_bytes: account.held_bytes,
        used_bytes: below.map(|figures| figures.used_bytes),
        peak_bytes: account.peak_bytes,
        limit_bytes: account.limit_bytes,
        refused: account.refused,
        blocks: own.map(|figures| figures.blocks),
        large: own.map(|figures| figures.large),
        cleanups: own.map(|figures| figures.cleanups),
        created_at: account.created_at.clone(),
    });
    for child in &account.children {
        collect(child, depth + 1, told, rows);
    }
}
