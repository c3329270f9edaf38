//! [`Supply`]: the one door through which memory enters and leaves a pool.
//!
//! It charges the pool's account, takes from the pool's source, and undoes the one if the
//! other fails; on the way back it wipes, if the pool keeps secrets, and tells checkers. No
//! pool calls a source or an account by itself, so what holds here holds for all of them.

use crate::account::{Account, Node};
use crate::debug::{Levels, Watch};
use crate::error::{Hush, Mode};
use crate::misuse::BadFreeKind;
use crate::pool::LARGEST_BLOCK;
use crate::told::{self, Inside, Nested};
use crate::window::LOWER_HALF;
use crate::{AllocError, BlockSource, debug};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

/// A block that is taken on a guess has this part of the nearest limit at most.
const PART_OF_LIMIT: usize = 16;

/// A source, and the account that is charged for what comes from it. Counts as a live pool
/// of the account.
pub(crate) struct Supply<S> {
    /// One pool's count of the node; see `Node::enter`.
    account: Option<NonNull<Node>>,
    /// The pool's name.
    name: &'static str,
    /// Whether memory is zeroed before it goes back.
    wipe: bool,
    watch: Cell<Watch>,
    source: S,
}

/// Why there is no block.
enum Refused<'n> {
    /// The account's limit is in the way.
    Limit(&'n Node),
    Source(AllocError),
}

impl Refused<'_> {
    /// The error for it, of a supply that charges `asked`.
    #[cold]
    fn explain(self, asked: Option<&Node>, size: usize) -> AllocError {
        match self {
            Self::Limit(full) => full.refusal(asked.unwrap_or(full), size),
            Self::Source(error) => error,
        }
    }
}

// SAFETY: the node may be used and left from any thread; the rest is the source's affair.
unsafe impl<S: Send> Send for Supply<S> {}

impl<S: BlockSource> Supply<S> {
    #[inline(always)]
    pub(crate) fn new(
        name: &'static str,
        source: S,
        account: Option<&Account>,
        wipe: bool,
        watch: Watch,
    ) -> Self {
        let account = account.map(|account| {
            account.node().enter();
            account.as_ptr()
        });
        Self { account, name, wipe, watch: Cell::new(watch), source }
    }

    /// Begins an operation that may call the source, or end blocks' or objects' lives: what is
    /// found until it ends, by a source that is a pool, say, is told then.
    #[inline(always)]
    pub(crate) fn inside(&self) -> Inside {
        told::inside(!self.source.is_plain() || !self.levels().is_none())
    }

    /// The same for one that finds nothing by itself: it need not look at the levels.
    #[inline(always)]
    pub(crate) fn inside_of_source(&self) -> Inside {
        told::inside(!self.source.is_plain())
    }

    /// As long as the source is called. The operation goes on after that, so nothing is told at its
    /// end; it would not be in the middle either if nobody had called [`Supply::inside`].
    #[inline(always)]
    fn nested(&self) -> Nested {
        told::nested(!self.source.is_plain())
    }

    /// Takes a block. Ask [`Supply::fit`] first what size is as good.
    #[inline(always)]
    pub(crate) fn take(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        match self.node() {
            Some(node) if !node.charge_quickly(layout.size()) => self.take_slowly(layout),
            _ => self.acquire::<Hush>(layout),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_slowly(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.obtain(layout).map_err(|refused| refused.explain(self.node(), layout.size()))
    }

    /// Takes a block, if no limit is in the way; a limit's refusal is not explained. With a source's
    /// the caller's operation ends, in its mode: here, since what is left to be looked at then is
    /// a pointer.
    #[inline(always)]
    pub(crate) fn take_unlimited<M: Mode>(
        &self,
        layout: Layout,
    ) -> Result<Option<NonNull<u8>>, M::Error> {
        match self.node() {
            Some(node) if !node.charge_quickly(layout.size()) => {
                self.take_unlimited_slowly::<M>(layout)
            }
            _ => self.acquire::<M>(layout).map(Some),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_unlimited_slowly<M: Mode>(
        &self,
        layout: Layout,
    ) -> Result<Option<NonNull<u8>>, M::Error> {
        match self.obtain(layout) {
            Ok(block) => Ok(Some(block)),
            Err(Refused::Limit(_)) => Ok(None),
            Err(Refused::Source(error)) => M::refuse(error),
        }
    }

    /// Takes a block whose charge is no matter of plain loads and stores.
    #[cold]
    #[inline(never)]
    fn obtain(&self, layout: Layout) -> Result<NonNull<u8>, Refused<'_>> {
        let Some(node) = self.node() else {
            return self.acquire::<Hush>(layout).map_err(Refused::Source);
        };
        let _awaited = node.charge_slowly(layout.size()).map_err(Refused::Limit)?;
        self.acquire::<Hush>(layout).map_err(Refused::Source)
    }

    /// Takes a block, if nothing is in the way.
    #[inline(always)]
    pub(crate) fn try_take(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.take_unlimited::<Hush>(layout).ok().flatten()
    }

    /// Whether what is taken on a guess would leave three times as much to take: under a limit
    /// nearer than that, nothing is to be held that may not be needed.
    #[cold]
    pub(crate) fn may_guess(&self, bytes: usize) -> bool {
        self.node().is_none_or(|node| node.headroom() / 4 >= bytes)
    }

    /// Bytes of a block that is larger than need be, for what may come: `next`, but under a limit a
    /// sixteenth of that at most, so that what is left over in blocks is little of it; `first` in
    /// any case.
    #[inline]
    pub(crate) fn within_reason(&self, next: u32, first: u32) -> usize {
        match self.node() {
            Some(node) if next > first => {
                let part = (node.least_limit() / PART_OF_LIMIT).checked_ilog2();
                (next as usize).min(part.map_or(0, |log| 1 << log)).max(first as usize)
            }
            _ => next as usize,
        }
    }

    /// Takes a block of `wanted` bytes, or as large a power of two as limits and source allow,
    /// but of `least` bytes at least.
    #[inline(always)]
    pub(crate) fn take_best(
        &self,
        wanted: Layout,
        least: Layout,
    ) -> Result<(NonNull<u8>, Layout), AllocError> {
        let block = match self.node() {
            Some(node) if !node.charge_quickly(wanted.size()) => self.obtain(wanted),
            _ => self.acquire::<Hush>(wanted).map_err(Refused::Source),
        };
        match block {
            Ok(block) => Ok((block, wanted)),
            Err(refused) => self.take_smaller(wanted, least, refused),
        }
    }

    /// After `wanted` was refused, by an account or by the source.
    #[cold]
    #[inline(never)]
    fn take_smaller(
        &self,
        wanted: Layout,
        least: Layout,
        refused: Refused<'_>,
    ) -> Result<(NonNull<u8>, Layout), AllocError> {
        if wanted.size() <= least.size() {
            return Err(refused.explain(self.node(), wanted.size()));
        }
        let room = match refused {
            Refused::Limit(_) => self.node().map_or(0, Node::headroom).min(wanted.size() / 2),
            Refused::Source(_) => least.size(),
        };
        let size = room.checked_ilog2().map_or(0, |log| 1 << log).max(least.size());
        let smaller = Layout::from_size_align(size, least.align())
            .map_err(|_| AllocError::out_of_memory(size))?;
        self.take(smaller).map(|block| (block, smaller))
    }

    /// Takes a block that is charged already.
    #[inline(always)]
    fn acquire<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        let nested = self.nested();
        match self.source.acquire(layout) {
            Ok(block) if !(LOWER_HALF && is_upper_half(block, layout)) => {
                debug::unmark(block, layout.size());
                Ok(block)
            }
            useless => self.acquired_nothing::<M>(layout, useless, nested),
        }
    }

    /// The source had no block, or one that is no good.
    #[cold]
    #[inline(never)]
    fn acquired_nothing<M: Mode>(
        &self,
        layout: Layout,
        useless: Result<NonNull<u8>, AllocError>,
        nested: Nested,
    ) -> Result<NonNull<u8>, M::Error> {
        let error = match useless {
            Ok(block) => {
                // SAFETY: just acquired with this layout; nobody has seen it.
                unsafe { self.source.release(block, layout) };
                AllocError::out_of_memory(layout.size())
            }
            Err(error) => error,
        };
        drop(nested);
        M::refuse(self.not_taken(layout, error))
    }

    #[cold]
    #[inline(never)]
    fn not_taken(&self, layout: Layout, error: AllocError) -> AllocError {
        if let Some(node) = self.node() {
            node.uncharge(layout.size());
        }
        error
    }

    /// How many bytes could be charged now.
    #[cold]
    pub(crate) fn headroom(&self) -> usize {
        self.node().map_or(usize::MAX, Node::headroom)
    }

    /// Makes a block larger, and charges no more than it grows by. `None`, and nothing has changed,
    /// where a limit is in the way or the source knows no such way; a limit's refusal is not
    /// explained.
    ///
    /// # Safety
    /// `block` came from `take` with `old`, and was not given since; `new` has the same alignment,
    /// and is no smaller. It is where the answer says from now on, and has the layout `new`.
    #[cold]
    pub(crate) unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        // What moves leaves nothing behind that could be wiped, and checkers see objects by
        // themselves.
        if self.wipe || debug::MARKED {
            return None;
        }
        let more = new.size() - old.size();
        if let Some(node) = self.node()
            && node.charge(more).is_err()
        {
            return None;
        }
        let _nested = self.nested();
        // SAFETY: the caller's promise; `take` acquired it from this source with this layout.
        let grown = unsafe { self.source.grow(block, old, new) };
        if grown.is_none()
            && let Some(node) = self.node()
        {
            node.uncharge(more);
        }
        grown
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// `block` came from `take` with this layout, was not given since, and is not used after.
    #[inline(always)]
    pub(crate) unsafe fn give(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.release(block, layout) };
        if let Some(node) = self.node() {
            node.credit(layout.size());
        }
    }

    /// Gives the last block back, and ends.
    ///
    /// # Safety
    /// As for [`Supply::give`].
    #[inline(always)]
    pub(crate) unsafe fn give_last(mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.release(block, layout) };
        if let Some(node) = self.account.take() {
            // SAFETY: the count that `new` took, given up once, since it was taken out.
            unsafe { Node::credit_and_leave(node, layout.size()) };
        }
    }

    /// Gives a block back to the source; the account is charged for it still.
    ///
    /// # Safety
    /// As for [`Supply::give`].
    #[inline(always)]
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        debug::block_gone(block, layout.size());
        if self.wipe {
            // SAFETY: the caller's promise: so many bytes are the caller's to write.
            unsafe { wipe(block, layout.size()) };
        }
        let _nested = self.nested();
        // SAFETY: `take` acquired it from this source with this layout.
        unsafe { self.source.release(block, layout) };
    }

    /// Takes memory for one object of a watched pool, past any cache. What is wrong with a
    /// level on is told by [`Supply::tell`].
    #[cold]
    pub(crate) fn take_apart(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let charged = self.node().map(|node| node.charge_slowly(layout.size())).transpose();
        let _awaited =
            charged.map_err(|full| Refused::Limit(full).explain(self.node(), layout.size()))?;
        let _nested = self.nested();
        match self.source.acquire_apart(layout) {
            Ok(block) if LOWER_HALF && is_upper_half(block, layout) => {
                // SAFETY: just acquired so with this layout; nobody has seen it.
                unsafe { self.source.release_apart(block, layout) };
                Err(self.not_taken(layout, AllocError::out_of_memory(layout.size())))
            }
            Ok(block) => {
                debug::unmark(block, layout.size());
                Ok(block)
            }
            Err(error) => Err(self.not_taken(layout, error)),
        }
    }

    /// Gives back what was taken apart; one that was for nothing leaves no trace in figures.
    ///
    /// # Safety
    /// As for [`Supply::give`], but from [`Supply::take_apart`].
    #[cold]
    pub(crate) unsafe fn give_apart(&self, block: NonNull<u8>, layout: Layout, nothing: bool) {
        debug::unmark(block, layout.size());
        if self.wipe {
            // SAFETY: the caller's promise: so many bytes are the caller's to write.
            unsafe { wipe(block, layout.size()) };
        }
        let _nested = self.nested();
        // SAFETY: taken from this source so, with this layout.
        unsafe { self.source.release_apart(block, layout) };
        match self.node() {
            Some(node) if nothing => node.uncharge(layout.size()),
            Some(node) => node.credit(layout.size()),
            None => {}
        }
    }

    /// Undoes a `take` that was for nothing: no figure keeps a trace of it.
    ///
    /// # Safety
    /// As for [`Supply::give`].
    #[cold]
    pub(crate) unsafe fn put_back(&self, block: NonNull<u8>, layout: Layout) {
        let _nested = self.nested();
        // SAFETY: `take` acquired it from this source with this layout.
        unsafe { self.source.release(block, layout) };
        if let Some(node) = self.node() {
            node.uncharge(layout.size());
        }
    }

    /// See [`BlockSource::discard`].
    ///
    /// # Safety
    /// They are bytes of a block that `take` gave and that was not put back or given since.
    pub(crate) unsafe fn discard(&self, start: NonNull<u8>, size: usize) -> usize {
        let _nested = self.nested();
        // SAFETY: the caller's promise, passed on: `take` acquires from this source.
        unsafe { self.source.discard(start, size) }
    }

    /// What a block of this layout really takes: see [`BlockSource::fit`].
    #[inline(always)]
    pub(crate) fn fit(&self, layout: Layout) -> usize {
        self.source.fit(layout)
    }

    /// The block that the source would spend on this layout anyway, all of which is used.
    pub(crate) fn whole_block(&self, layout: Layout) -> Layout {
        let size = self.fit(layout);
        if size > LARGEST_BLOCK {
            return layout;
        }
        // SAFETY: at most 1 GiB, at an alignment that a layout has.
        unsafe { Layout::from_size_align_unchecked(size, layout.align()) }
    }

    #[inline(always)]
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// What is looked for in the pool.
    #[inline(always)]
    pub(crate) fn levels(&self) -> Levels {
        self.watch.get().levels
    }

    /// Looks at what is to be looked for, before there is any object.
    #[cold]
    pub(crate) fn look_at_levels(&self) -> Levels {
        self.watch.set(self.watch.get().now());
        self.levels()
    }

    /// How the pool is watched, for one that is to be like it.
    pub(crate) fn watch(&self) -> Watch {
        self.watch.get()
    }

    /// Notes a misuse that was found since a level is on, to be told when the operation is over
    /// ([`Supply::inside`]).
    #[cold]
    pub(crate) fn tell(&self, kind: BadFreeKind, address: usize) {
        self.watch.get().tell(self.name, kind, address);
    }

    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    pub(crate) fn wipes(&self) -> bool {
        self.wipe
    }

    #[inline(always)]
    fn node(&self) -> Option<&Node> {
        // SAFETY: the count that `new` took keeps the node alive as long as the supply.
        self.account.map(|node| unsafe { node.as_ref() })
    }

    pub(crate) fn account(&self) -> Option<&Account> {
        // SAFETY: `Account` is nothing but such a pointer; behind a reference it is neither
        // dropped nor does it need a count of its own while the supply's keeps the node.
        self.account.as_ref().map(|node| unsafe { &*core::ptr::from_ref(node).cast::<Account>() })
    }
}

impl<S> Drop for Supply<S> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(node) = self.account {
            // SAFETY: the count that `new` took, given up once.
            unsafe { Node::leave(node) };
        }
    }
}

/// Whether a block ends above `isize::MAX`, where windows rely on that none does.
#[inline(always)]
fn is_upper_half(block: NonNull<u8>, layout: Layout) -> bool {
    block.addr().get() > crate::size::MAX - layout.size()
}

/// Zeroes memory in a way that is not optimised away, although nobody reads it any more.
///
/// # Safety
/// So many bytes are valid for writes, and nobody else uses them.
#[cold]
#[inline(never)]
pub(crate) unsafe fn wipe(start: NonNull<u8>, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { start.write_bytes(0, size) };
    // The compiler must assume that this reads what the pointer leads to.
    core::hint::black_box(start);
}

#[cfg(test)]
mod tests;
