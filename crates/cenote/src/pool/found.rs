//! What is at an address that somebody gave, of whom nothing is known: for bindings, whose callers
//! cannot be trusted with layouts. An object's size and alignment may then be other ones than it was
//! placed with; whether it is large is told by the table, not by its layout.

use super::{HEADER, Pool};
use crate::error::Try;
use crate::misuse::{BadFree, BadFreeKind};
use crate::window::MIN_ALIGN;
use crate::{AllocError, BlockSource};
use core::alloc::Layout;
use core::ptr::NonNull;

/// Where an object is.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// In a block.
    InBlock,
    /// Among the large ones, with so many bytes.
    Large(usize),
}

impl<S: BlockSource> Pool<S> {
    /// Looks whether an object of `size` bytes may begin at this address, without reading anything
    /// there: a large one does, or what is in use of a block reaches so far. Takes time in the
    /// number of blocks, the newest of which is looked at first.
    ///
    /// # Errors
    /// What is there instead; [`BadFreeKind::Layout`] where no object there has so many bytes.
    /// Nobody is told of it.
    #[doc(hidden)]
    pub fn find(&self, start: NonNull<u8>, size: usize) -> Result<Found, BadFree> {
        let address = start.addr().get();
        let (found, room) = match self.large.room(start) {
            0 => (Found::InBlock, self.room_in_blocks(address)),
            room => (Found::Large(room), Ok(room)),
        };
        match room {
            Ok(room) if size <= room => Ok(found),
            Ok(_) => Err(BadFree::new(BadFreeKind::Layout, address)),
            Err(kind) => Err(BadFree::new(kind, address)),
        }
    }

    /// How many bytes an object at this address has at most.
    fn room_in_blocks(&self, address: usize) -> Result<usize, BadFreeKind> {
        self.save_window();
        let around = |block: &&super::Block| {
            address.checked_sub(block.address()).is_some_and(|offset| offset < block.size())
        };
        let Some(block) = self.blocks().find(around) else {
            return Err(self.large.explain(address));
        };
        let (last, end) = block.window();
        let (last, end) = (last.addr().get(), end.addr().get());
        if address < block.address() + HEADER {
            Err(BadFreeKind::Header)
        } else if address >= end {
            Ok(block.address() + block.size() - address)
        } else if address < last && address.is_multiple_of(MIN_ALIGN) {
            Ok(last - address)
        } else {
            Err(BadFreeKind::Interior)
        }
    }

    /// [`Pool::try_grow`] for an object that was found so.
    ///
    /// # Errors
    /// Where the memory cannot be had. The object is as it was.
    ///
    /// # Safety
    /// An object of `old.size()` bytes at least is at `start`, as [`Pool::find`] said, which
    /// nothing uses any more; `new` is not smaller.
    #[doc(hidden)]
    pub unsafe fn try_grow_found(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
        found: Found,
    ) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { self.grow_cold_as::<Try>(start, old, new, found != Found::InBlock) }
    }

    /// [`Pool::try_shrink`] in place for an object that was found in a block: whether it was the
    /// newest, so that what it has too much is free again.
    ///
    /// # Safety
    /// As for [`Pool::try_grow_found`], but that `size` is not larger than the object; `old` is the
    /// layout that it was placed with.
    #[doc(hidden)]
    pub unsafe fn try_trim_found(&self, start: NonNull<u8>, old: Layout, size: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.trim_newest(start, old, size) }
    }
}
