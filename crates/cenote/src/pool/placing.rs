//! Where an object goes: the window, the first block, older blocks with room, a new one, or memory
//! of its own.

use super::block::{Block, HEADER, Want};
use super::{HEADER_ALIGN, Pool, at, dangling};
use crate::error::Mode;
use crate::window::{self, MIN_ALIGN};
use crate::{AllocError, BlockSource, Blocks, debug, size};
use core::alloc::Layout;
use core::ptr::{self, NonNull};

impl<S: BlockSource> Pool<S> {
    /// Places an object at an alignment known when compiling.
    #[inline(always)]
    pub(super) fn bump<M: Mode>(&self, size: usize, align: usize) -> Result<NonNull<u8>, M::Error> {
        let (last, end) = self.window();
        match debug::fit_up(last.addr().get(), end.addr().get(), size, align) {
            Some(fit) => Ok(self.accept(last, fit, size)),
            None => self.bump_cold::<M>(size, align),
        }
    }

    /// Places an object at an alignment known only now.
    #[inline(always)]
    pub(super) fn bump_any<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        match self.place_any(layout) {
            Some(start) => Ok(start),
            None => self.bump_cold::<M>(layout.size(), layout.align()),
        }
    }

    /// The same where the current block has room.
    #[inline(always)]
    pub(super) fn place_any(&self, layout: Layout) -> Option<NonNull<u8>> {
        let (last, end) = self.window();
        let (from, to) = (last.addr().get(), end.addr().get());
        let fit = debug::fit_up_any(from, to, layout.size(), layout.align())?;
        Some(self.accept(last, fit, layout.size()))
    }

    /// Places bytes without alignment at the other end of the window: at most
    /// [`size::MAX`](crate::size::MAX).
    #[inline(always)]
    pub(super) fn bump_bytes<M: Mode>(&self, size: usize) -> Result<NonNull<u8>, M::Error> {
        let (last, end) = self.window();
        match debug::fit_down(last.addr().get(), end.addr().get(), size) {
            Some(start) => {
                let start = at(end, start);
                self.end.set(start);
                debug::placed(start, size);
                Ok(start)
            }
            None => self.bump_bytes_cold::<M>(size),
        }
    }

    #[inline(always)]
    pub(super) fn window(&self) -> (NonNull<u8>, NonNull<u8>) {
        (self.last.get(), self.end.get())
    }

    #[inline(always)]
    pub(super) fn accept(&self, base: NonNull<u8>, fit: window::Fit, size: usize) -> NonNull<u8> {
        self.last.set(at(base, fit.last));
        let start = at(base, fit.start);
        debug::placed(start, size);
        start
    }

    #[cold]
    #[inline(never)]
    fn bump_cold<M: Mode>(&self, size: usize, align: usize) -> Result<NonNull<u8>, M::Error> {
        let _inside = self.supply.inside_of_source();
        match self.first_block::<M>(size) {
            Ok(true) if align <= HEADER_ALIGN => {
                let (last, end) = self.window();
                let (from, to) = (last.addr().get(), end.addr().get());
                if let Some(fit) = debug::fit_up_any(from, to, size, align) {
                    return Ok(self.accept(last, fit, size));
                }
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        self.slow_aligned::<M>(size, align)
    }

    /// Apart from [`Pool::bump_cold`], so that the first block's way has a small frame.
    #[cold]
    #[inline(never)]
    fn slow_aligned<M: Mode>(&self, size: usize, align: usize) -> Result<NonNull<u8>, M::Error> {
        let Ok(layout) = Layout::from_size_align(size, align) else {
            return M::fail(AllocError::too_large(size));
        };
        self.slow(layout, Want::Aligned(layout)).or_else(M::refuse)
    }

    #[cold]
    #[inline(never)]
    fn bump_bytes_cold<M: Mode>(&self, size: usize) -> Result<NonNull<u8>, M::Error> {
        let _inside = self.supply.inside_of_source();
        match self.first_block::<M>(size) {
            Ok(true) => return self.bump_bytes::<M>(size),
            Err(error) => return Err(error),
            Ok(false) => {}
        }
        let Ok(layout) = Layout::from_size_align(size, 1) else {
            return M::fail(AllocError::too_large(size));
        };
        self.slow(layout, Want::Packed(size)).or_else(M::refuse)
    }

    /// Takes the block that most pools begin and end with, where this is the moment for it and
    /// no limit is in the way; `false` leaves anything unusual to [`Pool::slow`].
    #[inline(always)]
    pub(super) fn first_block<M: Mode>(&self, size: usize) -> Result<bool, M::Error> {
        let bytes = self.next.get() as usize;
        if !self.newest.get().is_null() || size == 0 || size > bytes / 2 - HEADER {
            return Ok(false);
        }
        if debug::may_be_on() && self.is_to_be_watched() {
            return Ok(false);
        }
        // SAFETY: sizes of blocks are at most 1 GiB.
        let layout = unsafe { Layout::from_size_align_unchecked(bytes, HEADER_ALIGN) };
        let Some(memory) = self.supply.take_unlimited::<M>(layout)? else { return Ok(false) };
        self.next.set(self.shape.get().largest.min((2 * bytes) as u32));
        // SAFETY: fresh memory of that size, aligned for a header.
        let block = unsafe { Block::init(memory, bytes, ptr::null_mut()) };
        self.newest.set(block);
        self.current.set(block);
        self.active.set(block);
        // Not by way of the header, whose bytes were just written.
        self.last.set(at(memory, memory.addr().get() + HEADER));
        self.end.set(at(memory, memory.addr().get() + bytes));
        Ok(true)
    }

    /// The window had no room: nothing, a large object, an older block, or a new one.
    #[inline(never)]
    fn slow(&self, layout: Layout, want: Want) -> Result<NonNull<u8>, AllocError> {
        if layout.size() == 0 {
            return Ok(dangling(layout));
        }
        if debug::may_be_on() {
            self.is_to_be_watched();
        }
        let Some(need) = self.needs_large(layout) else {
            return self.large.alloc(&self.supply, layout);
        };
        self.save_window();
        let start = match self.place_in_older(want) {
            Some(start) => start,
            None => self.place_in_new(need, want)?,
        };
        self.load_window();
        debug::placed(start, layout.size());
        Ok(start)
    }

    /// Looks at the levels, as long as nothing is placed, and makes the pool a watched one if one
    /// is on; whether it is one.
    #[cold]
    #[inline(never)]
    fn is_to_be_watched(&self) -> bool {
        if !self.newest.get().is_null() || self.large.address() != 0 {
            return !self.levels().is_none();
        }
        let watched = !self.supply.look_at_levels().is_none();
        if watched {
            self.shape.set(self.shape.get().watched());
            self.next.set(self.shape.get().first);
        }
        watched
    }

    /// Whether a level is on in it, as is settled now at the latest: for bindings, which say
    /// otherwise how large objects are then.
    #[doc(hidden)]
    #[inline]
    pub fn is_watched(&self) -> bool {
        debug::may_be_on() && self.is_to_be_watched() || !self.levels().is_none()
    }

    /// The bytes that an object needs in a block at most; `None`: it is to be large.
    #[inline]
    pub(super) fn needs_large(&self, layout: Layout) -> Option<usize> {
        let slack = if layout.align() > HEADER_ALIGN { layout.align() } else { 0 };
        size::total(slack + debug::gap(), 1, layout.size(), MIN_ALIGN)
            .filter(|&need| need <= self.shape.get().threshold as usize)
    }

    /// Looks for room in the blocks before the active one, as far back as they are tried. The
    /// window is to be saved, and loaded again afterwards.
    fn place_in_older(&self, want: Want) -> Option<NonNull<u8>> {
        let active = self.active.get();
        let mut at = self.newest.get();
        while let Some(block) = self.block(at) {
            if at != active
                && let Some(start) = block.place(want)
            {
                if self.block(active).is_none_or(|active| active.room() < block.room()) {
                    self.active.set(at);
                }
                return Some(start);
            }
            if at == self.current.get() {
                break;
            }
            at = block.older();
        }
        None
    }

    /// Takes a new block, and counts a failure for each that was tried in vain; one that has
    /// failed six times is not tried any more. Window: as above.
    fn place_in_new(&self, need: usize, want: Want) -> Result<NonNull<u8>, AllocError> {
        let least = (need + HEADER).next_power_of_two().max(Blocks::SMALLEST);
        let wanted = self.supply.within_reason(self.next.get(), self.shape.get().first).max(least);
        let layout = |size| Layout::from_size_align(size, HEADER_ALIGN);
        let (Ok(wanted), Ok(least)) = (layout(wanted), layout(least)) else {
            return Err(AllocError::too_large(need));
        };
        let (wanted, least) = (self.supply.whole_block(wanted), self.supply.whole_block(least));
        let (memory, taken) = self.supply.take_best(wanted, least)?;
        self.next.set(self.shape.get().largest.min((2 * taken.size()) as u32));

        let mut at = self.newest.get();
        let mut oldest_open = ptr::null_mut();
        while let Some(block) = self.block(at) {
            if block.fail() {
                oldest_open = at;
            }
            if at == self.current.get() {
                break;
            }
            at = block.older();
        }
        // SAFETY: fresh memory of that size, aligned for a header.
        let block = unsafe { Block::init(memory, taken.size(), self.newest.get()) };
        self.current.set(if oldest_open.is_null() { block } else { oldest_open });
        self.newest.set(block);
        self.active.set(block);
        let placed = self.block(block).and_then(|block| block.place(want));
        debug_assert!(placed.is_some(), "an object of the size that the block was taken for");
        placed.ok_or(AllocError::out_of_memory(need))
    }
}
