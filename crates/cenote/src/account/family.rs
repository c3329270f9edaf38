//! The accounts under an account: those that are, in a list, and what is left of those that were.

use super::Node;
use crate::sync::modelled::Ordering::*;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::panic::Location;
use core::ptr::{self, NonNull};

/// The accounts under an account: those that are, and what is left of those that were.
pub(crate) struct Family {
    pub(super) newest: *mut Node,
    /// How many there ever were.
    numbered: u64,
    pub(super) closed: Remembered,
}

// SAFETY: the pointers are to nodes, which may be reached from any thread.
unsafe impl Send for Family {}

/// What the accounts of one name that closed have left behind, under their parent.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) name: Cow<'static, str>,
    pub(crate) created_at: &'static Location<'static>,
    pub(crate) sums: Sums,
    /// How many generations `children` goes down.
    pub(super) height: u32,
    children: Histories,
}

/// The figures of accounts that closed: sums, and the largest of them where a sum would say nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums {
    pub(crate) accounts: u64,
    pub(crate) created: u64,
    pub(crate) refused: u64,
    pub(crate) overcommitted: u64,
    pub(crate) recycled: u64,
    pub(crate) peak: usize,
    /// The largest of them and one; 0 where none had one.
    limit: usize,
}

/// A list that is one word while it is empty, as most are: each account has two.
#[derive(Clone, Debug)]
struct Histories(Option<Box<[Vec<History>; 1]>>);

/// How many names a parent remembers; those beyond are counted together.
const REMEMBERED_NAMES: usize = 64;
/// How deep a history goes: trees of accounts are shallow, and a chain without end must not
/// become a recursion without end.
const REMEMBERED_GENERATIONS: u32 = 64;
const OTHER_NAMES: &str = "(others)";

impl Family {
    pub(super) const fn new() -> Self {
        Self { newest: ptr::null_mut(), numbered: 0, closed: Remembered::new() }
    }

    /// Puts an account at the head of the list.
    ///
    /// # Safety
    /// It is in no list, and is taken out of this one before it is freed.
    pub(super) unsafe fn add(&mut self, node: NonNull<Node>) {
        let older = self.newest;
        // SAFETY: the caller's promise: it is alive.
        let new = unsafe { node.as_ref() };
        new.older.store(older, Relaxed);
        self.numbered += 1;
        new.number.store(self.numbered, Relaxed);
        // SAFETY: nodes in the list are alive while its lock is held, as it is by the caller.
        if let Some(older) = unsafe { older.as_ref() } {
            older.newer.store(node.as_ptr(), Relaxed);
        }
        self.newest = node.as_ptr();
    }

    /// Takes an account out of the list.
    ///
    /// # Safety
    /// It is in this list.
    pub(super) unsafe fn remove(&mut self, node: &Node) {
        let (newer, older) = (node.newer.load(Relaxed), node.older.load(Relaxed));
        // SAFETY: neighbours are in the list, and alive while its lock is held.
        match unsafe { newer.as_ref() } {
            Some(newer) => newer.older.store(older, Relaxed),
            None => self.newest = older,
        }
        // SAFETY: likewise.
        if let Some(older) = unsafe { older.as_ref() } {
            older.newer.store(newer, Relaxed);
        }
    }

    /// Adds what an account leaves that closes, and is in the list no more.
    pub(super) fn remember(&mut self, node: &mut Node) {
        let below = node.family.get_mut().closed.take();
        match self.closed.find(&node.name) {
            Some(known) => {
                known.sums.add(Sums::of(node));
                if !below.is_empty() {
                    known.adopt(below);
                }
            }
            None => {
                let mut history = History {
                    name: core::mem::take(&mut node.name),
                    created_at: node.created_at(),
                    sums: Sums::of(node),
                    height: 0,
                    children: Histories::NONE,
                };
                history.adopt(below);
                self.closed.insert(history);
            }
        }
    }
}

fn find<'a>(closed: &'a mut [History], name: &str) -> Option<&'a mut History> {
    // Most names are literals, and those of one kind of account one and the same.
    let is_same =
        |known: &str| known.len() == name.len() && (ptr::eq(known, name) || known == name);
    closed.iter_mut().find(|known| is_same(&known.name))
}

/// Adds a closed account's history to its parent's. Where there is no memory to remember it
/// in, it is forgotten.
fn remember(closed: &mut Histories, history: History) {
    match find(closed.as_mut_slice(), &history.name) {
        Some(known) => known.absorb(history),
        None => remember_new(closed, history, REMEMBERED_NAMES),
    }
}

/// Adds one of a name that is not there; beyond `most` names they are counted together.
#[cold]
fn remember_new(closed: &mut Histories, mut history: History, most: usize) {
    let Some(closed) = closed.list() else { return };
    let full = closed.len() >= most;
    let others = closed.iter_mut().find(|known| full && known.name == OTHER_NAMES);
    if let Some(others) = others {
        others.absorb(history);
    } else if closed.try_reserve(1).is_ok() {
        if full {
            history.name = Cow::Borrowed(OTHER_NAMES);
        }
        closed.push(history);
    }
}

/// What an account remembers of those under it that closed, by name. The first one needs no memory of
/// its own: most remember one name, a connection its requests, and what connections keep is to be little.
pub(super) struct Remembered {
    first: Option<History>,
    others: Histories,
}

impl Remembered {
    const fn new() -> Self {
        Self { first: None, others: Histories::NONE }
    }

    fn find(&mut self, name: &str) -> Option<&mut History> {
        // In this order, so that those that are found most are found first.
        find(self.first.as_mut_slice(), name).or_else(|| find(self.others.as_mut_slice(), name))
    }

    /// Adds one of a name that is not there. Where there is no memory for it, it is forgotten.
    fn insert(&mut self, history: History) {
        if self.first.is_none() {
            self.first = Some(history);
        } else {
            remember_new(&mut self.others, history, REMEMBERED_NAMES - 1);
        }
    }

    /// All of it, of which nothing is left here.
    fn take(&mut self) -> Vec<History> {
        let (first, mut all) = (self.first.take(), self.others.take());
        if let Some(first) = first
            && all.try_reserve_exact(1).is_ok()
        {
            all.insert(0, first);
        }
        all
    }

    pub(super) fn to_vec(&self) -> Vec<History> {
        self.first.iter().chain(self.others.as_slice()).cloned().collect()
    }
}

impl Histories {
    const NONE: Self = Self(None);

    fn as_slice(&self) -> &[History] {
        self.0.as_deref().map_or(&[], |[list]| list)
    }

    fn as_mut_slice(&mut self) -> &mut [History] {
        self.0.as_deref_mut().map_or(&mut [], |[list]| list)
    }

    /// The list, to add to; `None` where there is no memory for it.
    fn list(&mut self) -> Option<&mut Vec<History>> {
        if self.0.is_none() {
            // As a box is had that may fail.
            let mut one = Vec::new();
            one.try_reserve_exact(1).ok()?;
            one.push(Vec::new());
            self.0 = one.into_boxed_slice().try_into().ok();
        }
        self.0.as_deref_mut().map(|[list]| list)
    }

    fn take(&mut self) -> Vec<History> {
        self.0.take().map_or(Vec::new(), |one| {
            let [list] = *one;
            list
        })
    }
}

impl History {
    /// Of those that were under them.
    pub(crate) fn children(&self) -> &[History] {
        self.children.as_slice()
    }

    /// Adds what is left of accounts under these. It is forgotten where that would go too deep.
    #[cold]
    fn adopt(&mut self, children: Vec<History>) {
        // Nothing to be adopted costs nothing.
        let Some(height) = children.iter().map(|child| child.height + 1).max() else { return };
        if height > REMEMBERED_GENERATIONS {
            return;
        }
        self.height = self.height.max(height);
        if self.children().is_empty() {
            if let Some(list) = self.children.list() {
                *list = children;
            }
            return;
        }
        for child in children {
            remember(&mut self.children, child);
        }
    }

    fn absorb(&mut self, mut other: History) {
        self.sums.add(other.sums);
        self.adopt(other.children.take());
    }
}

impl Sums {
    #[inline(always)]
    fn of(node: &Node) -> Self {
        Self {
            accounts: 1,
            created: node.created(),
            refused: node.refused(),
            overcommitted: node.overcommitted.load(Relaxed),
            recycled: node.recycled(),
            peak: node.peak(),
            // Limits end far below the largest number.
            limit: node.limit().map_or(0, |limit| limit + 1),
        }
    }

    /// The largest limit that any of them had.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit.checked_sub(1)
    }

    #[inline(always)]
    fn add(&mut self, other: Self) {
        self.accounts += other.accounts;
        self.created += other.created;
        self.refused += other.refused;
        self.overcommitted += other.overcommitted;
        self.recycled += other.recycled;
        self.peak = self.peak.max(other.peak);
        self.limit = self.limit.max(other.limit);
    }
}
