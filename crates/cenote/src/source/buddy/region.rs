//! A region's memory: frames, the links in free ones, and the bookkeeping at its edge.
//!
//! Everything about a block but its links stands in the bookkeeping: a [`Tag`] for each frame,
//! and for each order the head of the list of its free blocks. A free block holds the links to
//! its neighbours in the list in its first bytes; a frame in use holds nothing of ours, and a
//! free one is not touched behind its links.
//!
//! What every method relies on and leaves true:
//! 1. The blocks whose first frames have a tag cover all frames once; the other frames of a
//!    block are tagged as inside.
//! 2. A block is in its order's list if and only if its tag says free. So a frame that was
//!    handed out is in no list.
//! 3. A bit of `mask` is set if and only if that order's list has a block.

use super::orders::{Orders, Plan, Tag};
use crate::debug;
use crate::misuse::{BadFree, BadFreeKind};
use crate::placed::behind;
use core::cell::Cell;
use core::mem::MaybeUninit;
use core::ops::Range;
use core::ptr::NonNull;

/// A free block in a list.
type Place = NonNull<Link>;

/// The first bytes of a free block.
struct Link {
    next: Cell<Option<Place>>,
    /// Not written, and not looked at, as long as the block is the first of its list: so that
    /// taking the first touches no other block.
    prev: Cell<MaybeUninit<Place>>,
}

impl Link {
    #[inline(always)]
    const fn to(next: Option<Place>) -> Self {
        Self { next: Cell::new(next), prev: Cell::new(MaybeUninit::uninit()) }
    }

    #[inline(always)]
    fn set_prev(&self, prev: Place) {
        self.prev.set(MaybeUninit::new(prev));
    }
}

/// The free blocks of one order.
struct List {
    first: Cell<Option<Place>>,
    /// How many there are.
    blocks: Cell<usize>,
}

/// Bytes of bookkeeping for each order.
pub(super) const LIST: usize = size_of::<List>();

const _: () = assert!(size_of::<Link>() <= super::orders::SMALLEST_PAGE);
const _: () = assert!(super::orders::SMALLEST_PAGE.is_multiple_of(align_of::<List>()));

/// The frames of a region, and which of them are free.
pub(super) struct Region {
    orders: Orders,
    /// Orders that have a free block, as bits.
    mask: Cell<usize>,
    /// The mask of a watched region, whose own is 0 but in [`Region::unhidden`].
    hidden: Cell<usize>,
    /// The first frame. Like the two below with the provenance of the whole region.
    first: NonNull<u8>,
    tags: NonNull<Cell<Tag>>,
    lists: NonNull<List>,
    /// Where the bookkeeping lies, as addresses.
    bookkeeping: Range<usize>,
    /// All of the region.
    memory: NonNull<u8>,
    bytes: usize,
}

impl Region {
    /// Takes a region over, with all frames free.
    ///
    /// # Safety
    /// `plan` was made for the `bytes` bytes at `memory`, which that may be used for, which are
    /// valid for reads and writes, and which nobody else uses as long as this value is used.
    pub(super) unsafe fn new(memory: NonNull<u8>, bytes: usize, plan: Plan) -> Self {
        // The plan's addresses are in that memory.
        let at = |address: usize| behind(memory, address.wrapping_sub(memory.addr().get()));
        let region = Self {
            orders: plan.orders,
            mask: Cell::new(0),
            hidden: Cell::new(0),
            first: at(plan.frames),
            tags: at(plan.tags).cast(),
            lists: at(plan.lists).cast(),
            bookkeeping: plan.bookkeeping,
            memory,
            bytes,
        };
        for order in 0..=plan.orders.top() as usize {
            let list = behind(region.lists, order * LIST).cast::<List>();
            // SAFETY: the plan has a list for each order up to the top, in memory of the region that
            // is aligned for them.
            unsafe { list.write(List { first: Cell::new(None), blocks: Cell::new(0) }) };
        }
        // SAFETY: as many tags as frames, and all zeros is the tag of a frame inside a block.
        unsafe { region.tags.write_bytes(0, plan.orders.frames()) };

        let from = plan.frames.wrapping_sub(memory.addr().get());
        let to = from + plan.orders.offset(plan.orders.frames());
        debug::region_made(memory, bytes, from, to);
        for (index, order) in plan.orders.cover() {
            // SAFETY: the cover's blocks are disjoint, in no list yet, and nobody's.
            unsafe { region.push(index, order) };
        }
        region
    }

    #[inline(always)]
    pub(super) fn orders(&self) -> Orders {
        self.orders
    }

    pub(super) fn free_frames(&self) -> usize {
        (0..=self.orders.top()).map(|order| self.free_blocks(order) << order).sum()
    }

    /// The largest order that has a free block.
    pub(super) fn largest_free(&self) -> Option<u32> {
        (self.mask.get() | self.hidden.get()).checked_ilog2()
    }

    pub(super) fn bookkeeping_bytes(&self) -> usize {
        self.bookkeeping.len()
    }

    /// How many blocks of this order are free; none above the top.
    pub(super) fn free_blocks(&self, order: u32) -> usize {
        if order > self.orders.top() {
            return 0;
        }
        // SAFETY: at most the top.
        unsafe { self.list(order) }.blocks.get()
    }

    /// The blocks by address: index, order, and whether it is free.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (usize, u32, bool)> {
        let mut index = 0;
        core::iter::from_fn(move || {
            let (order, free) = self.tags().get(index)?.get().any_block()?;
            let at = index;
            index += 1 << order;
            Some((at, order, free))
        })
    }

    // ---- blocks out and in -----------------------------------------------------------------

    /// Takes a block of this order, which is at most the top: the smallest free one that is
    /// large enough, or its lowest part. Of it, `size` bytes are asked for.
    #[inline]
    pub(super) fn take(&self, order: u32, size: usize) -> Option<NonNull<u8>> {
        let fitting = self.mask.get() >> order;
        if fitting == 0 {
            return None;
        }
        let found = order + fitting.trailing_zeros();
        // SAFETY: orders in the mask are at most the top.
        let (block, was_last) = unsafe { self.pop(found) }?;
        self.mask.set(self.mask.get() & !(usize::from(was_last) << found));
        let index = self.orders.index_of(block.addr().get());
        if found > order {
            // SAFETY: a block of that order that is in no list any more; and no smaller order
            // had a block, or that would have been found.
            unsafe { self.split(index, found, order) };
        }
        self.set_tag(index, Tag::used(order));
        debug::placed(block, size.max(1));
        Some(block)
    }

    /// Frees all of a block but a block of a smaller order at its beginning.
    ///
    /// # Safety
    /// A block of order `whole` at `index` is in no list, and nobody's. The lists of orders from
    /// `order` on and below `whole` are empty.
    #[inline(never)]
    unsafe fn split(&self, index: usize, whole: u32, order: u32) {
        let mut rest = whole;
        while rest > order {
            rest -= 1;
            // SAFETY: the upper half of what is left; the caller's promise for the list.
            unsafe { self.push_only(index + (1 << rest), rest) };
        }
        self.mask.set(self.mask.get() | ((1 << whole) - (1 << order)));
    }

    /// Makes a used block free, joined with its buddy as long as that is free too.
    ///
    /// # Safety
    /// The block at `index` is tagged as used and of this order, and nobody uses its memory.
    #[inline]
    pub(super) unsafe fn give(&self, index: usize, order: u32) {
        // SAFETY: the tag says that a block is there.
        debug::freed(unsafe { self.frame(index) }, self.orders.bytes(order));
        if self.free_buddy(index, order).is_some() {
            // SAFETY: the caller's promise.
            return unsafe { self.give_joined(index, order) };
        }
        // SAFETY: the block that the caller gave up; it was in use, so in no list.
        unsafe { self.push(index, order) };
    }

    /// The buddy of a block where it is free and may be joined with it: its index and tag.
    #[inline(always)]
    fn free_buddy(&self, index: usize, order: u32) -> Option<(usize, &Cell<Tag>)> {
        if order >= self.orders.top() {
            return None;
        }
        let buddy = self.orders.buddy(index, order);
        // A buddy outside the region has no tag.
        let tag = self.tags().get(buddy)?;
        (tag.get() == Tag::free(order)).then_some((buddy, tag))
    }

    /// The rest of [`Region::give`].
    ///
    /// # Safety
    /// As for that.
    #[inline(never)]
    unsafe fn give_joined(&self, mut index: usize, mut order: u32) {
        self.set_tag(index, Tag::INSIDE);
        // The mask once at the end: changed at every order, it would be what each waits for.
        let mut emptied = 0;
        while let Some((buddy, tag)) = self.free_buddy(index, order) {
            // SAFETY: its tag says that it is in the list of this order.
            let was_last = unsafe { self.unlink(buddy, order) };
            emptied |= usize::from(was_last) << order;
            tag.set(Tag::INSIDE);
            index = index.min(buddy);
            order += 1;
        }
        self.mask.set(self.mask.get() & !emptied);
        // SAFETY: the block is made of the one that the caller gave up, and of free ones that
        // have just left their lists; all of it lies in the region.
        unsafe { self.push(index, order) };
    }

    /// The block in use that begins at this address, as index and order, or what is wrong with
    /// the address.
    #[inline]
    pub(super) fn used_at(&self, address: usize) -> Result<(usize, u32), BadFree> {
        let index = self.orders.index_of(address);
        if let Some(tag) = self.tags().get(index)
            && let Some((order, false)) = tag.get().block()
            && self.orders.is_frame_start(address)
        {
            return Ok((index, order));
        }
        Err(BadFree::new(self.no_block(address), address))
    }

    /// Whether exactly this address is a block in use of this order; its index then.
    #[inline(always)]
    pub(super) fn is_used(&self, address: usize, order: u32) -> Option<usize> {
        let index = self.orders.index_of(address);
        let tag = self.tags().get(index)?.get();
        (tag == Tag::used(order) && self.orders.is_frame_start(address)).then_some(index)
    }

    /// Why there is no block in use that begins at this address.
    #[cold]
    #[inline(never)]
    fn no_block(&self, address: usize) -> BadFreeKind {
        let index = self.orders.index_of(address);
        if index >= self.orders.frames() {
            let ours = self.bookkeeping.contains(&address);
            return if ours { BadFreeKind::Header } else { BadFreeKind::Foreign };
        }
        // The first tag on the way up is that of the block which the frame is in.
        let block = (0..=self.orders.top()).find_map(|order| {
            self.tags().get(self.orders.start_of(index, order))?.get().any_block()
        });
        match block {
            Some((_, true)) if self.orders.is_frame_start(address) => BadFreeKind::Double,
            Some((_, true)) => BadFreeKind::Empty,
            _ => BadFreeKind::Interior,
        }
    }

    /// Tells checkers that the region is memory like any other again.
    pub(super) fn unmark(&self) {
        debug::block_gone(self.memory, self.bytes);
    }

    // ---- watched regions -------------------------------------------------------------------

    /// Hides the free blocks from all but [`Region::unhidden`].
    pub(super) fn hide(&self) {
        self.hidden.set(self.mask.replace(0));
    }

    /// Does something with the free blocks of a region in which they are hidden.
    pub(super) fn unhidden<T>(&self, something: impl FnOnce(&Self) -> T) -> T {
        self.mask.set(self.hidden.replace(0));
        let result = something(self);
        self.hide();
        result
    }

    pub(super) fn tag(&self, index: usize) -> Option<Tag> {
        self.tags().get(index).map(Cell::get)
    }

    /// Where the frame with this index begins, if there is one.
    pub(super) fn frame_of(&self, index: usize) -> Option<NonNull<u8>> {
        // SAFETY: so many frames there are.
        (index < self.orders.frames()).then(|| unsafe { self.frame(index) })
    }

    // ---- tags and frames -------------------------------------------------------------------

    #[inline(always)]
    fn tags(&self) -> &[Cell<Tag>] {
        // SAFETY: `new` wrote a tag for each frame, and this value alone uses them.
        unsafe { NonNull::slice_from_raw_parts(self.tags, self.orders.frames()).as_ref() }
    }

    #[inline(always)]
    pub(super) fn set_tag(&self, index: usize, tag: Tag) {
        if let Some(place) = self.tags().get(index) {
            place.set(tag);
        }
    }

    /// # Safety
    /// There is a frame with this index.
    #[inline(always)]
    unsafe fn frame(&self, index: usize) -> NonNull<u8> {
        // SAFETY: the caller's promise: it begins inside the region.
        unsafe { self.first.add(self.orders.offset(index)) }
    }

    // ---- lists -----------------------------------------------------------------------------

    /// # Safety
    /// `order` is at most the top.
    #[inline(always)]
    unsafe fn list(&self, order: u32) -> &List {
        // SAFETY: the caller's promise; there is a list for each order up to the top.
        let list = unsafe { self.lists.add(order as usize) };
        // SAFETY: `new` wrote it, and only ever shared references to it are made.
        unsafe { list.as_ref() }
    }

    /// Puts a block into the list of its order, to be taken next.
    ///
    /// # Safety
    /// The block lies in the region, is in no list, and its memory is nobody's.
    #[inline(always)]
    unsafe fn push(&self, index: usize, order: u32) {
        // SAFETY: a block of the region has at most the top order.
        let list = unsafe { self.list(order) };
        let second = list.first.get();
        // SAFETY: the caller's promise.
        let first = unsafe { self.become_first(index, order, second) };
        list.blocks.set(list.blocks.get() + 1);
        match second {
            // SAFETY: the block that was the first of this list until now.
            Some(second) => unsafe { self.visit(second, |link| link.set_prev(first)) },
            None => self.mask.set(self.mask.get() | 1 << order),
        }
    }

    /// [`Region::push`] into a list that is known to be empty: touches no other block, and
    /// leaves the mask to the caller.
    ///
    /// # Safety
    /// As for [`Region::push`]; the list of this order is empty.
    #[inline(always)]
    unsafe fn push_only(&self, index: usize, order: u32) {
        // SAFETY: the caller's promise.
        unsafe { self.become_first(index, order, None) };
        // SAFETY: a block of the region has at most the top order.
        unsafe { self.list(order) }.blocks.set(1);
    }

    /// # Safety
    /// As for [`Region::push`]; `second` is the first block of the order's list.
    #[inline(always)]
    unsafe fn become_first(&self, index: usize, order: u32, second: Option<Place>) -> Place {
        // SAFETY: the caller's promise: the block lies in the region.
        let first = unsafe { self.frame(index) }.cast::<Link>();
        debug::unmark_written(first.cast(), size_of::<Link>());
        // SAFETY: the caller's promise: its memory is nobody's; a page is aligned for links
        // and has room for them.
        unsafe { first.write(Link::to(second)) };
        debug::mark(first.cast(), size_of::<Link>());
        // SAFETY: a block of the region has at most the top order.
        unsafe { self.list(order) }.first.set(Some(first));
        self.set_tag(index, Tag::free(order));
        first
    }

    /// Takes the first block off a list, and tells whether that was the last. Its tag and the
    /// mask are left to the caller.
    ///
    /// # Safety
    /// `order` is at most the top.
    #[inline(always)]
    unsafe fn pop(&self, order: u32) -> Option<(NonNull<u8>, bool)> {
        // SAFETY: the caller's promise.
        let list = unsafe { self.list(order) };
        let first = list.first.get()?;
        // SAFETY: it is in the list.
        let second = unsafe { self.visit(first, |link| link.next.get()) };
        list.first.set(second);
        list.blocks.set(list.blocks.get() - 1);
        Some((first.cast(), second.is_none()))
    }

    /// Takes a block off its list, and tells whether that was the last. Its tag and the mask
    /// are left to the caller.
    ///
    /// # Safety
    /// The block at `index` is in the list of this order.
    #[inline(always)]
    unsafe fn unlink(&self, index: usize, order: u32) -> bool {
        // SAFETY: the caller's promise: there is a block, so there is a frame.
        let place = unsafe { self.frame(index) }.cast();
        // SAFETY: a block of the region has at most the top order.
        let list = unsafe { self.list(order) };
        if list.first.get() == Some(place) {
            // SAFETY: likewise.
            return unsafe { self.pop(order) }.is_some_and(|(_, was_last)| was_last);
        }
        // SAFETY: the caller's promise.
        let (next, prev) = unsafe { self.visit(place, |link| (link.next.get(), link.prev.get())) };
        // SAFETY: it is not the first, so this was written when another became the first, at
        // the latest.
        let prev = unsafe { prev.assume_init() };
        // SAFETY: the block before it in the list.
        unsafe { self.visit(prev, |link| link.next.set(next)) };
        if let Some(next) = next {
            // SAFETY: the block behind it in the list.
            unsafe { self.visit(next, |link| link.set_prev(prev)) };
        }
        list.blocks.set(list.blocks.get() - 1);
        // The first is still there.
        false
    }

    /// Looks at the links of a free block, or changes them.
    ///
    /// # Safety
    /// `place` is a block in a list.
    #[inline(always)]
    unsafe fn visit<T>(&self, place: Place, f: impl FnOnce(&Link) -> T) -> T {
        debug::unmark_written(place.cast(), size_of::<Link>());
        // SAFETY: the caller's promise: it has links, and only ever shared references to them
        // are made.
        let result = f(unsafe { place.as_ref() });
        debug::mark(place.cast(), size_of::<Link>());
        result
    }
}
