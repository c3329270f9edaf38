//! What one set of pools tells: sums by path of accounts, and the fattest and the oldest pools
//! one by one. Made a slice at a time, so that a thread with ten thousand pools goes on with its
//! work in between.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use cenote::Account;

use super::AgeLimits;
use super::State;
use super::rows::PoolRow;
use super::tree::Tree;
use super::watched::{Gist, Watched};
use super::who::Who;

/// How many of the fattest, and how many of the oldest, are told one by one.
pub(super) const TOLD: usize = 100;

/// Sums over the pools of one path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) pools: usize,
    pub(super) used_bytes: usize,
    pub(super) blocks: usize,
    pub(super) large: usize,
    pub(super) cleanups: usize,
    pub(super) over_age: usize,
    pub(super) oldest: Duration,
    /// The age that one of them may reach.
    pub(super) age_limit: Option<Duration>,
}

impl Sums {
    pub(super) fn add(&mut self, other: &Self) {
        self.pools += other.pools;
        self.used_bytes += other.used_bytes;
        self.blocks += other.blocks;
        self.large += other.large;
        self.cleanups += other.cleanups;
        self.over_age += other.over_age;
        self.oldest = self.oldest.max(other.oldest);
        self.age_limit = self.age_limit.or(other.age_limit);
    }
}

/// What one set of pools tells.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) sums: Tree<Sums>,
    /// Pools that charge no account of this view's tree.
    pub(super) elsewhere: usize,
    pub(super) pools: usize,
    pub(super) rows: Vec<PoolRow>,
}

/// [`Told`] in the making.
pub(super) struct Telling<'a> {
    told: Told,
    root: &'a Account,
    ages: &'a AgeLimits,
    hide_peers: bool,
    now: Instant,
    set: &'a str,
    oldest: BTreeSet<u64>,
    fattest: BinaryHeap<Reverse<(usize, u64)>>,
}

impl<'a> Telling<'a> {
    pub(super) fn new(state: &'a State, set: &'a str) -> Self {
        let State { root, ages, hide_peers, .. } = state;
        Self {
            told: Told { sums: Tree::new(root.name()), elsewhere: 0, pools: 0, rows: Vec::new() },
            root,
            ages,
            hide_peers: *hide_peers,
            now: Instant::now(),
            set,
            oldest: BTreeSet::new(),
            fattest: BinaryHeap::with_capacity(TOLD + 1),
        }
    }

    /// How old this pool may become: by its account's name, or else by its own.
    fn age_limit(&self, account: Option<&Account>, gist: &Gist) -> Option<Duration> {
        let account = account?;
        self.ages.limit(account.name()).or_else(|| self.ages.limit(gist.name))
    }

    fn age(&self, since: Instant) -> Duration {
        self.now.saturating_duration_since(since)
    }

    /// Counts a pool. Ids ascend with the time of making.
    pub(super) fn count(&mut self, id: u64, since: Instant, pool: &dyn Watched) {
        let gist = pool.gist();
        let age = self.age(since);
        self.told.pools += 1;
        self.oldest.insert(id);
        if self.oldest.len() > TOLD {
            self.oldest.pop_last();
        }
        self.fattest.push(Reverse((gist.held_bytes, id)));
        if self.fattest.len() > TOLD {
            self.fattest.pop();
        }
        let account = pool.account();
        let age_limit = self.age_limit(account.as_ref(), &gist);
        let Some(at) = account.as_ref().and_then(|account| self.place(account)) else {
            self.told.elsewhere += 1;
            return;
        };
        self.told.sums.value(at).add(&Sums {
            pools: 1,
            used_bytes: gist.used_bytes,
            blocks: gist.blocks,
            large: gist.large,
            cleanups: gist.cleanups,
            over_age: usize::from(age_limit.is_some_and(|limit| age > limit)),
            oldest: age,
            age_limit,
        });
    }

    /// The node of an account's path; `None` for one of another tree.
    fn place(&mut self, account: &Account) -> Option<usize> {
        if account == self.root {
            return Some(Tree::<Sums>::ROOT);
        }
        let parent = self.place(account.parent()?)?;
        Some(self.told.sums.child(parent, account.name()))
    }

    /// The ids of the pools to be told one by one, ascending.
    pub(super) fn chosen(&self) -> Vec<u64> {
        let mut chosen: BTreeSet<u64> = self.fattest.iter().map(|Reverse((_, id))| *id).collect();
        chosen.extend(&self.oldest);
        chosen.into_iter().collect()
    }

    /// Tells one of them, and whose it is.
    pub(super) fn tell(&mut self, id: u64, since: Instant, pool: &dyn Watched, who: Option<Who>) {
        let age = self.age(since);
        let (gist, account) = (pool.gist(), pool.account());
        let over_age = self.age_limit(account.as_ref(), &gist).is_some_and(|limit| age > limit);
        let id = format!("{}-{id}", self.set);
        let row = PoolRow::of_pool(id, &gist, account.as_ref(), age, over_age);
        self.told.rows.push(row.of_whom(who.unwrap_or_default(), self.hide_peers));
    }

    pub(super) fn done(self) -> Told {
        self.told
    }
}
