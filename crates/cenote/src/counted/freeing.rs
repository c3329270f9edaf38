//! How memory comes back: an object, the block that it leaves empty, and what is kept of
//! those; and what of misuse is noticed on the way.

use super::CountedPool;
use super::block::{Block, HEADER, Place, at, fits};
use crate::misuse::{BadFree, BadFreeKind};
use crate::window::MIN_ALIGN;
use crate::{BlockSource, debug};
use core::alloc::Layout;
use core::ptr::{self, NonNull};

impl<S: BlockSource> CountedPool<S> {
    /// Frees an object by its address alone.
    ///
    /// If it is the newest of the current block, its bytes come back at once; if it is the
    /// last one in its block, the whole block does, and is used next; a large object goes back
    /// to the source.
    ///
    /// # What is noticed
    ///
    /// The pointer is not followed unless it leads into a block of this pool, and nothing has
    /// changed when an error is returned. What is noticed, in release builds too:
    ///
    /// | the pointer | [`BadFreeKind`] |
    /// |---|---|
    /// | into no block of this pool, and no large object's start: another pool's, the stack's, a large object freed before, the inside of a large object, what [`own`](Self::own) gave, an object without bytes | `Foreign` |
    /// | into a block's header | `Header` |
    /// | into a block all objects of which are freed | `Empty` |
    /// | into the free middle of a block, such as that of a newest object freed before | `Interior` |
    /// | into the aligned part of a block, and no multiple of 8 | `Interior` |
    ///
    /// What is not: a block knows how many objects it has, not which. Freeing one twice while
    /// others are in its block, or freeing the inside of an object at a multiple of 8 or among
    /// packed bytes, counts another object out; and memory that was freed and handed out again
    /// cannot be told from what it was before. To notice those as well takes a
    /// `ChunkPool`, which has a bit for each object.
    ///
    /// # Errors
    /// Where the pointer is none of this pool's objects, as far as that is noticed, and the
    /// pool's policy ([`on_bad_free`](super::CountedPoolBuilder::on_bad_free)) is to return.
    ///
    /// # Safety
    /// Nothing uses the object at `start` any more. What is not noticed is the caller's
    /// promise: it is an object of this pool that is not freed.
    ///
    /// ```
    /// use cenote::CountedPool;
    /// use cenote::misuse::{BadFreeKind, OnBadFree};
    /// use std::alloc::Layout;
    /// let pool = CountedPool::builder().on_bad_free(OnBadFree::Return).build()?;
    /// let object = pool.alloc_layout(Layout::new::<[u64; 4]>());
    /// // SAFETY: nothing refers to it.
    /// assert!(unsafe { pool.free(object) }.is_ok());
    /// // SAFETY: its block has no objects any more, so this is noticed.
    /// let error = unsafe { pool.free(object) }.unwrap_err();
    /// assert_eq!(error.kind(), BadFreeKind::Empty);
    /// # Ok::<(), cenote::ConfigError>(())
    /// ```
    #[inline]
    pub unsafe fn free(&self, start: NonNull<u8>) -> Result<(), BadFree> {
        let address = start.addr().get();
        let Some(block) = self.block_around(address) else {
            if self.large.free(&self.supply, start) {
                return Ok(());
            }
            return Err(self.bad_free(self.kind_of_foreign(address), address));
        };
        let active = ptr::eq(block, self.active.get());
        let (last, end) = if active { self.window() } else { block.window() };
        let (from, to) = (last.addr().get(), end.addr().get());
        if let Some(kind) = no_object(block, address, from, to) {
            return Err(self.bad_free(kind, address));
        }
        debug::freeing(start, 1);
        let left = block.count_out();
        // It ends before the window, or with the block.
        let most = if address < from { from } else { block.address() + self.page() } - address;
        debug::freed_some(start, most);
        if left == 0 {
            self.emptied(NonNull::from(block), active);
        } else if active {
            let newest = self.newest.get();
            if address == newest && newest < from {
                self.last.set(at(last, address));
                self.newest.set(0);
            } else if address == to && newest > to {
                self.end.set(at(end, newest));
                self.newest.set(0);
            }
        }
        Ok(())
    }

    /// Looks whether [`CountedPool::free`] would find an object of `size` bytes at this address, and
    /// changes nothing: before something is copied from there. That it has so many is seen as far
    /// as its end cannot lie beyond what is in use of its block.
    ///
    /// # Errors
    /// Those of [`CountedPool::free`]; [`BadFreeKind::Layout`] where no object there has so many.
    #[doc(hidden)]
    pub fn look_at(&self, start: NonNull<u8>, size: usize) -> Result<(), BadFree> {
        let address = start.addr().get();
        let room = match self.block_around(address) {
            None => match self.large.room(start) {
                0 => Err(self.kind_of_foreign(address)),
                room => Ok(room),
            },
            Some(block) => {
                let active = ptr::eq(block, self.active.get());
                let (last, end) = if active { self.window() } else { block.window() };
                let (from, to) = (last.addr().get(), end.addr().get());
                match no_object(block, address, from, to) {
                    Some(kind) => Err(kind),
                    None if address < from => Ok(from - address),
                    None => Ok(block.address() + self.page() - address),
                }
            }
        };
        match room {
            Ok(room) if size <= room => Ok(()),
            Ok(_) => Err(self.bad_free(BadFreeKind::Layout, address)),
            Err(kind) => Err(self.bad_free(kind, address)),
        }
    }

    /// Frees an object of known layout: for collections. Of the current block without a look at
    /// anything else, of another after finding that block in the pool's table.
    ///
    /// Comes back what comes back by [`CountedPool::free`], and of a row of newest objects
    /// each one, in turn. Nothing happens for a layout without bytes.
    ///
    /// # Safety
    /// `start` is what an allocation of this pool with this layout returned (`layout` being
    /// what it was last grown or shrunk to); the object is not freed, and nothing uses it any
    /// more.
    #[inline]
    pub unsafe fn dealloc(&self, start: NonNull<u8>, layout: Layout) {
        let size = layout.size();
        if size == 0 {
            return;
        }
        if !fits(self.page(), layout) {
            let found = self.large.dealloc(&self.supply, start);
            debug_assert!(
                found || !self.levels().is_none(),
                "a large object that is not this pool's was freed",
            );
            return;
        }
        let address = start.addr().get();
        // By the pool's own pointer to it: the caller's may have come through a box or a slice,
        // and be good for the object only.
        let Some(block) = self.block_around(address) else {
            debug_assert!(false, "an object of another pool was freed");
            return;
        };
        debug::freeing(start, size);
        let active = ptr::eq(block, self.active.get());
        let left = block.count_out();
        if left == 0 {
            return self.emptied(NonNull::from(block), active);
        }
        debug::freed(start, size);
        if active {
            let (last, end) = self.window();
            let (from, to) = (last.addr().get(), end.addr().get());
            if address + debug::taken(size) == from {
                self.last.set(at(last, address));
                self.newest.set(0);
            } else if address == to {
                // The newest of the packed bytes: nothing else can lie right at the window's
                // end, since the block ends there or it belongs to what was packed before.
                self.end.set(at(end, debug::top_after(address, size)));
                self.newest.set(0);
            }
        }
    }

    /// Gives back to the source what is kept for later: the empty blocks, the current one if
    /// it is empty as well, and tables in which nothing is left. How many bytes that was.
    /// Worth calling when a connection goes idle.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// drop(pool.alloc(1));
    /// assert_eq!(pool.held_bytes(), 4096);
    /// assert_eq!(pool.trim(), 4096);
    /// assert_eq!(pool.held_bytes(), 0);
    /// ```
    pub fn trim(&self) -> usize {
        let _inside = self.supply.inside();
        let held = || {
            let tables = self.known.bytes(&self.supply) + self.large.table_bytes(&self.supply);
            self.known.len() * self.page() + tables
        };
        let before = held();
        while let Some(block) = self.empty.pop() {
            // SAFETY: known, without objects, and on no list any more.
            unsafe { self.give_block(block) };
        }
        if let Some(active) = NonNull::new(self.active.get())
            && self.block(active.as_ptr()).is_some_and(|block| block.live() == 0)
        {
            self.no_window();
            // SAFETY: known, without objects, on no list, and not active any more.
            unsafe { self.give_block(active) };
        }
        self.known.trim(&self.supply);
        self.large.trim(&self.supply);
        before - held()
    }

    /// The block of this pool that has the address in it.
    #[inline]
    fn block_around(&self, address: usize) -> Option<&Block> {
        // A watched pool's page is 0, and nothing is in a block.
        let base = address & self.page().wrapping_neg();
        let active = self.active.get();
        if active.addr() == base {
            return self.block(active);
        }
        self.known.find(base).and_then(|block| self.block(block.as_ptr()))
    }

    /// The last object of a block was freed: all of it can be used again, and is used next.
    #[inline]
    fn emptied(&self, header: NonNull<Block>, active: bool) {
        if !active {
            return self.emptied_other(header);
        }
        let Some(block) = self.block(header.as_ptr()) else { return };
        if self.supply.wipes() {
            self.wipe_block(block);
        }
        let (last, end) = block.empty_window(self.page());
        self.last.set(last);
        self.end.set(end);
        self.newest.set(0);
        block.forgive();
        debug::block_emptied(last, end.addr().get() - last.addr().get());
    }

    #[cold]
    #[inline(never)]
    fn wipe_block(&self, block: &Block) {
        block.rewind(self.page(), true);
    }

    /// It becomes the current one at once if that has no objects or no room. If it has both,
    /// it is filled to its end first: objects that are allocated one after the other are
    /// mostly freed so too, and only then do their blocks empty. (Leaving each block in the
    /// middle whenever another empties fills all with objects of different ages: a moving
    /// window of messages of mixed sizes then holds up to twice as many blocks.)
    #[inline(never)]
    fn emptied_other(&self, header: NonNull<Block>) {
        let _inside = self.supply.inside_of_source();
        // No reference as an argument, which would have to be good to the end of this call: the
        // block may be given back in it.
        let Some(block) = self.block(header.as_ptr()) else { return };
        if block.place() == Place::Open {
            self.open.remove(block);
        }
        block.rewind(self.page(), self.supply.wipes());
        // With the block's own pointer: the reference may be used only for the header.
        let Some(emptied) = self.known.find(block.address()) else { return };
        self.save_window();
        match self.block(self.active.get()) {
            Some(active) if active.live() != 0 && active.room() >= MIN_ALIGN => {
                self.shelve(emptied);
            }
            _ => self.activate(emptied),
        }
    }

    /// What is at an address in no block where no object begins.
    #[cold]
    #[inline(never)]
    fn kind_of_foreign(&self, address: usize) -> BadFreeKind {
        match self.large.explain(address) {
            BadFreeKind::Double => BadFreeKind::Double,
            _ => BadFreeKind::Foreign,
        }
    }

    #[cold]
    fn bad_free(&self, kind: BadFreeKind, address: usize) -> BadFree {
        self.shape.on_bad_free.meet(self.name(), BadFree::new(kind, address))
    }
}

/// Why no object begins at this address in a block whose window is `from..to`, as far as a block
/// can tell that counts its objects.
#[inline(always)]
fn no_object(block: &Block, address: usize, from: usize, to: usize) -> Option<BadFreeKind> {
    if address - block.address() < HEADER {
        return Some(BadFreeKind::Header);
    }
    if block.live() == 0 {
        return Some(BadFreeKind::Empty);
    }
    let between = from <= address && address < to;
    if between || (address < from && !address.is_multiple_of(MIN_ALIGN)) {
        return Some(BadFreeKind::Interior);
    }
    None
}
