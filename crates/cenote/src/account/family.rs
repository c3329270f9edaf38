//! The accounts under an account: those that are, in a list, and what is left of those that were.

use super::Node;
use crate::sync::modelled::Ordering::*;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::panic::Location;
use core::ptr::{self, NonNull};

/// The accounts under an account: those that are, and what is left of those that were.
pub(crate) struct Family {
    pub(super) newest: *mut Node,
    /// How many there ever were.
    numbered: u64,
    pub(crate) closed: Vec<History>,
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
    pub(crate) children: Vec<History>,
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
    pub(crate) limit: Option<usize>,
}

/// How many names a parent remembers; those beyond are counted together.
const REMEMBERED_NAMES: usize = 64;
/// How deep a history goes: trees of accounts are shallow, and a chain without end must not
/// become a recursion without end.
const REMEMBERED_GENERATIONS: u32 = 64;
const OTHER_NAMES: &str = "(others)";

impl Family {
    pub(super) const fn new() -> Self {
        Self { newest: ptr::null_mut(), numbered: 0, closed: Vec::new() }
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
        let below = core::mem::take(&mut node.family.get_mut().closed);
        match find(&mut self.closed, &node.name) {
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
                    children: Vec::new(),
                };
                history.adopt(below);
                remember_new(&mut self.closed, history);
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
fn remember(closed: &mut Vec<History>, history: History) {
    match find(closed, &history.name) {
        Some(known) => known.absorb(history),
        None => remember_new(closed, history),
    }
}

#[cold]
fn remember_new(closed: &mut Vec<History>, mut history: History) {
    let full = closed.len() >= REMEMBERED_NAMES;
    let others = closed.iter_mut().find(|known| full && known.name == OTHER_NAMES);
    if let Some(others) = others {
        others.absorb(history);
    } else if make_room(closed) {
        if full {
            history.name = Cow::Borrowed(OTHER_NAMES);
        }
        closed.push(history);
    }
}

/// Makes room for one more. Most accounts remember one name: a connection its requests.
fn make_room(closed: &mut Vec<History>) -> bool {
    let made = if closed.is_empty() { closed.try_reserve_exact(1) } else { closed.try_reserve(1) };
    made.is_ok()
}

impl History {
    /// Adds what is left of accounts under these. It is forgotten where that would go too deep.
    #[cold]
    fn adopt(&mut self, children: Vec<History>) {
        let height = children.iter().map(|child| child.height + 1).max().unwrap_or(0);
        if height > REMEMBERED_GENERATIONS {
            return;
        }
        self.height = self.height.max(height);
        if self.children.is_empty() {
            self.children = children;
            return;
        }
        for child in children {
            remember(&mut self.children, child);
        }
    }

    fn absorb(&mut self, other: History) {
        self.sums.add(other.sums);
        self.adopt(other.children);
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
            limit: node.limit(),
        }
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
