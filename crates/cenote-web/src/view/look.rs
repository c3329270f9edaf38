//! One look at everything: what the threads told, joined with what the accounts say.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::sync::{PoisonError, mpsc};
use std::time::{Duration, Instant};

use cenote::inspect::Seen;
use cenote::{Blocks, SharedBlocks};
use serde::Serialize;

use super::State;
use super::local::Ask;
use super::memory::{GeneralRow, resident_bytes};
use super::process::Process;
use super::rows::{AccountRow, Place, PoolRow, seconds};
use super::telling::{Sums, TOLD, Told};
use super::tree::{Node, Tree};

/// How long a thread may take to answer before the look does without its figures.
const PATIENCE: Duration = Duration::from_millis(700);

/// What shared pools' blocks are counted under while no thread has them.
const DEPOT: &str = "(depot)";
/// And those of threads that the view was not shown.
const OTHERS: &str = "(other threads)";

/// Everything, at one moment: what [`View::look`](super::View::look) gives. Serialized, it is `/pools.json`.
///
/// All sizes are in bytes. The accounts are a tree, each path of names one row, parents before children.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Look {
    /// Counted up when a field changes its meaning or goes.
    pub schema: u32,
    /// The root account's name.
    pub name: String,
    /// Which process it is.
    pub process: Process,
    /// Seconds since 1970, of the moment.
    pub now: f64,
    /// Seconds since the view was made.
    pub uptime_seconds: f64,
    /// One row for each path of accounts, parents before children.
    pub accounts: Vec<AccountRow>,
    /// The fattest and the oldest pools, the fattest first.
    pub pools: Vec<PoolRow>,
    /// How many pools there are that the view was shown, those told included.
    pub pools_shown: usize,
    /// Pools that charge no account of this tree; they are in no row of `accounts`.
    pub pools_elsewhere: usize,
    /// The caches of free blocks of the threads that the view was shown, under `(other threads)` those of
    /// all others, as far as is known (within 128 KiB for each), and under `(depot)` what
    /// is kept for the shared pools of all threads.
    pub block_caches: Vec<BlockCache>,
    /// Paths of threads that did not answer in time: what they told last is shown.
    pub silent: Vec<Vec<String>>,
    /// Requests that were refused memory, in the whole process. An account's refusal need not be
    /// a request's.
    pub requests_refused: u64,
    /// What the process has.
    pub memory: Memory,
    /// What its general allocator has, where [one was given](super::ViewBuilder::general).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub general: Option<GeneralRow>,
    /// How far back the [history](super::ViewBuilder::history) goes; `None`: none is kept.
    pub history_seconds: Option<f64>,
}

impl Look {
    /// The accounts of a path of names from the root.
    #[must_use]
    pub fn account(&self, path: &[&str]) -> Option<&AccountRow> {
        self.accounts.iter().find(|row| row.path == path)
    }

    /// The rows right below one of the accounts, in the order of their making.
    pub fn below<'a>(&'a self, above: &'a AccountRow) -> impl Iterator<Item = &'a AccountRow> {
        self.accounts.iter().filter(|row| row.parent() == Some(&above.path))
    }
}

/// A cache of free blocks.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct BlockCache {
    /// The account of the thread whose it is, from the root.
    pub path: Vec<String>,
    /// What it keeps.
    pub bytes: usize,
}

/// The process's memory. What is in no pool is what is resident, less what pools and caches
/// hold: other allocations, of whatever library.
#[derive(Clone, Copy, Debug, Serialize)]
#[non_exhaustive]
pub struct Memory {
    /// Resident anonymous memory; `None` where the system does not say.
    pub resident_bytes: Option<usize>,
    /// Held by pools on accounts of this tree.
    pub pools_bytes: usize,
    /// Kept by the threads' caches of blocks, those that told.
    pub block_cache_bytes: usize,
    /// The rest.
    pub other_bytes: Option<usize>,
    /// By how much more pools hold than when the view was made.
    pub pools_grown_bytes: i64,
    /// By how much more is in no pool than when the view was made.
    pub other_grown_bytes: Option<i64>,
}

/// What was there when the view was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Baseline {
    pools: usize,
    other: Option<usize>,
}

impl Baseline {
    pub(super) fn now(root: &cenote::Account) -> Self {
        let pools = root.held();
        Self { pools, other: resident_bytes().map(|bytes| bytes.saturating_sub(pools)) }
    }
}

/// The accounts of one path.
#[derive(Debug, Default)]
struct Group {
    accounts: u64,
    live: usize,
    created: u64,
    held: usize,
    peak: usize,
    recent_peak: usize,
    largest: usize,
    limit: Option<usize>,
    reserved: usize,
    overcommitted: u64,
    refused: u64,
    recycled: u64,
    created_at: Option<&'static Location<'static>>,
    /// The earliest stamp.
    stamp: u64,
    /// The smallest number: the order of making.
    number: u64,
    /// Pools on accounts that are stamped, and older than the limit of age.
    old: usize,
    told: Sums,
    /// Whether a thread that could tell of this path, or below, was silent.
    silent: bool,
    /// Whether the view was never shown the pools on this path.
    unshown: bool,
}

impl State {
    /// Looks at everything. Called on the view's own thread.
    pub(super) fn look(&self) -> Look {
        let told = self.ask_all();
        let mut groups = self.groups();
        let silent: Vec<Vec<String>> = told.silent;
        for told in &told.told {
            adopt(&mut groups, &told.sums);
        }
        let missing = self.mark_unknown(&mut groups, &told.unheard);
        let mut pools: Vec<PoolRow> = Vec::new();
        for told in &told.told {
            pools.extend(told.rows.iter().cloned());
        }
        pools.extend(self.unshown(&groups, &missing));
        let pools = choose(pools);
        let accounts = self.rows(&mut groups);
        let pools_bytes = accounts.first().map_or(0, |row| row.held_bytes);
        let caches = told.caches.iter().map(|cache| cache.bytes).sum();
        let memory = self.memory(resident_bytes(), pools_bytes, caches);
        let reserved = accounts.first().map_or(0, |row| row.reserved_bytes);
        let in_pools = pools_bytes.saturating_sub(reserved) + caches;
        let general = self.general.as_ref().map(|one| one.row(in_pools, memory.other_bytes));
        Look {
            schema: 1,
            name: self.root.name().to_owned(),
            process: self.process.clone(),
            now: seconds(std::time::UNIX_EPOCH.elapsed().unwrap_or_default()),
            uptime_seconds: seconds(self.since.elapsed()),
            accounts,
            pools,
            pools_shown: told.told.iter().map(|told| told.pools).sum(),
            pools_elsewhere: told.told.iter().map(|told| told.elsewhere).sum(),
            block_caches: told.caches,
            silent,
            requests_refused: crate::requests_refused(),
            memory,
            general,
            history_seconds: self.remembered(),
        }
    }

    /// Where the memory is, or was.
    pub(super) fn memory(&self, resident: Option<usize>, pools: usize, caches: usize) -> Memory {
        let other = resident.map(|bytes| bytes.saturating_sub(pools).saturating_sub(caches));
        let grown = |now: usize, then: usize| now as i64 - then as i64;
        Memory {
            resident_bytes: resident,
            pools_bytes: pools,
            block_cache_bytes: caches,
            other_bytes: other,
            pools_grown_bytes: grown(pools, self.baseline.pools),
            other_grown_bytes: other.zip(self.baseline.other).map(|(now, then)| grown(now, then)),
        }
    }

    /// Asks every thread, and waits for all of them together.
    fn ask_all(&self) -> Answers {
        let (to, answers) = mpsc::channel();
        let mut waiting = Vec::new();
        self.with_links(|links| {
            // A thread that has gone takes no questions.
            links.retain(|link| {
                let asked = link.asks.send(Ask::Tell(to.clone())).is_ok();
                if asked {
                    waiting.push((link.index, link.path.clone()));
                }
                asked
            });
        });
        drop(to);
        let mut told = vec![self.shared.tell(self)];
        let mut caches = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // What threads that are gone told is of no interest any more.
        last.retain(|index, _| waiting.iter().any(|(waiting, _)| waiting == index));
        // Ends early when all have answered or are gone.
        while !waiting.is_empty()
            && let Ok((index, one, bytes)) =
                answers.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if let Some(at) = waiting.iter().position(|(waiting, _)| *waiting == index) {
                let (_, path) = waiting.swap_remove(at);
                caches.push(BlockCache { path, bytes });
            }
            last.insert(index, (one.clone(), bytes));
            told.push(one);
        }
        let mut silent = Vec::new();
        let mut unheard = Vec::new();
        for (index, path) in waiting {
            match last.get(&index) {
                Some((one, bytes)) => {
                    told.push(one.clone());
                    caches.push(BlockCache { path: path.clone(), bytes: *bytes });
                }
                None => unheard.push(path.clone()),
            }
            silent.push(path);
        }
        // Threads that nobody has shown the view.
        let known = caches.iter().map(|cache| cache.bytes).sum::<usize>();
        let others = Blocks::cached_by_all().saturating_sub(known);
        if others > 0 {
            let path = vec![self.root.name().to_owned(), OTHERS.to_owned()];
            caches.push(BlockCache { path, bytes: others });
        }
        // What shared pools gave back on one thread and will take on another is no thread's.
        let depot = SharedBlocks::depot_bytes();
        if depot > 0 {
            let path = vec![self.root.name().to_owned(), DEPOT.to_owned()];
            caches.push(BlockCache { path, bytes: depot });
        }
        caches.sort_by(|a, b| a.path.cmp(&b.path));
        silent.sort();
        Answers { told, caches, silent, unheard }
    }

    /// What the accounts say.
    fn groups(&self) -> Tree<Group> {
        let mut tree: Tree<Group> = Tree::new(self.root.name());
        // The nodes of the account at hand and those above.
        let mut at: Vec<usize> = Vec::new();
        self.root.walk(|depth, seen| {
            at.truncate(depth);
            let name = match &seen {
                Seen::Account(account) => account.name(),
                Seen::Closed(left) => left.name(),
            };
            let node = match at.last() {
                Some(&parent) => tree.child(parent, name),
                None => Tree::<Group>::ROOT,
            };
            at.push(node);
            let group = tree.value(node);
            group.add(&seen);
            if let Seen::Account(account) = seen
                && self.age_of(account).is_some_and(|age| self.ages.exceeded(account.name(), age))
            {
                group.old += account.live();
            }
        });
        tree
    }

    /// What the accounts of each path hold, parents first.
    pub(super) fn held_by_path(&self) -> Vec<(Vec<String>, u64)> {
        let groups = self.groups();
        let held = |at| (groups.path(at), groups.node(at).value.held as u64);
        groups.indices().map(held).collect()
    }

    /// Marks what nobody told; returns the nodes of pools that the view was never shown.
    fn mark_unknown(&self, groups: &mut Tree<Group>, silent: &[Vec<String>]) -> Vec<usize> {
        let mut missing = Vec::new();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for at in groups.indices() {
            let path = groups.path(at);
            let key = key_of(&path);
            let group = groups.value(at);
            if group.told.pools > 0 && known.len() < KNOWN {
                known.insert(key);
            }
            // A pool that began since the threads told of theirs is taken for one of these, once.
            let never_shown = group.live > 0 && group.told.pools == 0 && !known.contains(&key);
            group.silent =
                silent.iter().any(|quiet| path.starts_with(quiet) || quiet.starts_with(&path));
            group.unshown = never_shown && !group.silent;
            if group.unshown {
                missing.push(at);
            }
        }
        missing
    }

    /// Accounts with pools that the view was never shown, as rows of their own.
    fn unshown(&self, groups: &Tree<Group>, missing: &[usize]) -> Vec<PoolRow> {
        if missing.is_empty() {
            return Vec::new();
        }
        let mut rows = Vec::new();
        let mut at: Vec<Option<usize>> = Vec::new();
        self.root.walk(|depth, seen| {
            let Seen::Account(account) = seen else { return };
            at.truncate(depth);
            let node = match at.last() {
                Some(parent) => parent.and_then(|parent| groups.find(parent, account.name())),
                None => Some(Tree::<Group>::ROOT),
            };
            at.push(node);
            if node.is_some_and(|node| missing.contains(&node)) && account.live() > 0 {
                let age = self.age_of(account);
                let over = age.is_some_and(|age| self.ages.exceeded(account.name(), age));
                rows.push(PoolRow::of_account(account, age, over));
                // Bounded, however many accounts there are.
                if rows.len() >= 8 * TOLD {
                    rows = choose(std::mem::take(&mut rows));
                }
            }
        });
        rows
    }

    fn rows(&self, groups: &mut Tree<Group>) -> Vec<AccountRow> {
        let order = groups.ordered(|node| node.value.number);
        // Sums of what is below, children before parents.
        let mut sums = vec![Below::default(); groups.indices().end];
        for at in groups.indices().rev() {
            let Node { value: group, parent, .. } = groups.node(at);
            let own = group.held.saturating_sub(sums[at].held);
            sums[at].own = own;
            sums[at].own_reserved = group.reserved.saturating_sub(sums[at].reserved).min(own);
            sums[at].used += group.told.used_bytes;
            // What is reserved is no pool's, which could tell of it.
            let blocks = own - sums[at].own_reserved;
            sums[at].unknown += if group.unshown { blocks } else { 0 };
            if let Some(parent) = *parent {
                let Below { used, unknown, .. } = sums[at];
                sums[parent].used += used;
                sums[parent].unknown += unknown;
                sums[parent].held += group.held;
                sums[parent].reserved += group.reserved;
            }
        }
        order.into_iter().map(|at| self.row(groups, at, sums[at])).collect()
    }

    fn row(&self, groups: &Tree<Group>, at: usize, sums: Below) -> AccountRow {
        let node = groups.node(at);
        let (group, told) = (&node.value, &node.value.told);
        let known = !group.unshown && (group.live == 0 || told.pools > 0 || !group.silent);
        let own = |figure: usize| known.then_some(figure);
        let age = self.age_at(group.stamp).or((told.pools > 0).then_some(told.oldest));
        AccountRow {
            path: groups.path(at),
            accounts: group.accounts,
            live: group.live,
            created: group.created,
            held_bytes: group.held,
            own_held_bytes: sums.own,
            // Told a moment before the accounts were read: never more than what is held.
            used_bytes: (known && !group.silent).then_some(sums.used.min(group.held)),
            own_used_bytes: own(told.used_bytes.min(sums.own)),
            unknown_bytes: sums.unknown,
            reserved_bytes: group.reserved.min(group.held),
            own_reserved_bytes: sums.own_reserved,
            overcommitted_bytes: group.overcommitted,
            largest_bytes: group.largest,
            peak_bytes: group.peak,
            recent_peak_bytes: group.recent_peak,
            limit_bytes: group.limit,
            refused: group.refused,
            recycled_bytes: group.recycled,
            blocks: own(told.blocks),
            large: own(told.large),
            cleanups: own(told.cleanups),
            age_seconds: age.filter(|_| group.accounts > 0).map(seconds),
            age_limit_seconds: self.ages.limit(&node.name).or(told.age_limit).map(seconds),
            over_age: if group.unshown { group.old } else { told.over_age },
            created_at: group.created_at.map_or_else(String::new, Place::to_string_short),
        }
    }
}

/// What is below an account, added up; bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Below {
    held: usize,
    used: usize,
    unknown: usize,
    reserved: usize,
    /// Held by the account's own pools and reservations.
    own: usize,
    own_reserved: usize,
}

/// Paths of which is remembered that their pools are shown.
const KNOWN: usize = 4096;

pub(super) type Known = HashSet<u64>;
/// What threads told last, and what their caches kept, by index.
pub(super) type Last = HashMap<usize, (Told, usize)>;

fn key_of(path: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

struct Answers {
    told: Vec<Told>,
    caches: Vec<BlockCache>,
    /// Threads that did not answer in time,
    silent: Vec<Vec<String>>,
    /// and those that never did.
    unheard: Vec<Vec<String>>,
}

impl Group {
    fn add(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Account(account) => {
                let earliest = |a: u64, b: u64| match (a, b) {
                    (0, other) | (other, 0) => other,
                    (a, b) => a.min(b),
                };
                self.accounts += 1;
                self.live += account.live();
                self.created += account.created();
                let held = account.held();
                self.held += held;
                self.largest = self.largest.max(held);
                self.peak = self.peak.max(account.peak());
                self.recent_peak = self.recent_peak.max(account.recent_peak());
                self.limit = self.limit.max(account.limit());
                self.reserved += account.reserved();
                self.overcommitted += account.overcommitted();
                self.refused += account.refused();
                self.recycled += account.recycled();
                self.created_at = self.created_at.or(Some(account.created_at()));
                self.stamp = earliest(self.stamp, account.stamp());
                self.number = earliest(self.number, account.number());
            }
            Seen::Closed(left) => {
                self.created += left.created();
                self.peak = self.peak.max(left.peak());
                self.limit = self.limit.max(left.limit());
                self.overcommitted += left.overcommitted();
                self.refused += left.refused();
                self.recycled += left.recycled();
                self.created_at = self.created_at.or(Some(left.created_at()));
            }
        }
    }
}

/// Puts what a thread told where the accounts are. What it told of accounts that have closed
/// since goes nowhere.
fn adopt(groups: &mut Tree<Group>, sums: &Tree<Sums>) {
    let mut at = vec![None; sums.indices().end];
    for index in sums.indices() {
        let node = sums.node(index);
        at[index] = match node.parent {
            Some(parent) => at[parent].and_then(|parent| groups.find(parent, &node.name)),
            None => Some(Tree::<Group>::ROOT),
        };
        if let Some(group) = at[index] {
            groups.value(group).told.add(&node.value);
        }
    }
}

/// The fattest and the oldest, the fattest first.
fn choose(mut rows: Vec<PoolRow>) -> Vec<PoolRow> {
    let age = |row: &PoolRow| row.age_seconds.unwrap_or(0.0);
    rows.sort_by(|a, b| b.held_bytes.cmp(&a.held_bytes).then(age(b).total_cmp(&age(a))));
    if rows.len() > 2 * TOLD {
        let mut rest = rows.split_off(TOLD);
        rest.sort_by(|a, b| age(b).total_cmp(&age(a)));
        rest.truncate(TOLD);
        rest.sort_by_key(|row| std::cmp::Reverse(row.held_bytes));
        rows.extend(rest);
    }
    rows
}
