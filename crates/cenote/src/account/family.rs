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
    pub(crate) accounts: u64,
    pub(crate) created: u64,
    pub(crate) refused: u64,
    pub(crate) recycled: u64,
    pub(crate) peak: usize,
    pub(crate) limit: Option<usize>,
    /// How many generations `children` goes down.
    pub(super) height: u32,
    pub(crate) children: Vec<History>,
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
        remember(&mut self.closed, History::of(node));
    }
}

/// Adds a closed account's history to its parent's. Where there is no memory to remember it
/// in, it is forgotten.
#[inline]
fn remember(closed: &mut Vec<History>, history: History) {
    match closed.iter_mut().find(|known| is_same(&known.name, &history.name)) {
        Some(known) => known.absorb(history),
        None => remember_new(closed, history),
    }
}

/// Most names are literals, and those of one kind of account one and the same.
#[inline]
fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && (ptr::eq(one, other) || one == other)
}

#[cold]
fn remember_new(closed: &mut Vec<History>, mut history: History) {
    let full = closed.len() >= REMEMBERED_NAMES;
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

impl History {
    /// What an account leaves. Histories of accounts under it that closed before are forgotten
    /// where that would go too deep.
    #[inline]
    fn of(node: &mut Node) -> Self {
        let children = core::mem::take(&mut node.family.get_mut().closed);
        let height = children.iter().map(|child| child.height + 1).max().unwrap_or(0);
        let (height, children) =
            if height > REMEMBERED_GENERATIONS { (0, Vec::new()) } else { (height, children) };
        Self {
            name: core::mem::take(&mut node.name),
            created_at: node.created_at(),
            accounts: 1,
            created: node.created(),
            refused: node.refused(),
            recycled: node.recycled(),
            peak: node.peak(),
            limit: node.limit(),
            height,
            children,
        }
    }

    #[inline]
    fn absorb(&mut self, other: History) {
        self.accounts += other.accounts;
        self.created += other.created;
        self.refused += other.refused;
        self.recycled += other.recycled;
        self.peak = self.peak.max(other.peak);
        self.limit = self.limit.max(other.limit);
        self.height = self.height.max(other.height);
        if !other.children.is_empty() {
            self.absorb_children(other.children);
        }
    }

    #[cold]
    fn absorb_children(&mut self, children: Vec<History>) {
        for child in children {
            remember(&mut self.children, child);
        }
    }
}
