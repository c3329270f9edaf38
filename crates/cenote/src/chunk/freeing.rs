//! What is done about a free where remembering its address is not all: chunks go back to their
//! pages, pages to their clusters, clusters to the source; and frees that are wrong are told
//! apart.
//!
//! A free by address alone is checked before anything changes. A free by layout is taken on
//! trust as long as its slot has room, without looking anything up; what is remembered is
//! looked at when it goes back to its page, and a wrong free is reported then, and has no
//! effect.

use super::ChunkPool;
use super::cluster::{Cluster, Clusters};
use super::geometry::MAX_CLASSES;
use super::page::Page;
use super::stack::DEPTH;
use crate::misuse::{BadFree, BadFreeKind};
use crate::placed::Placed;
use crate::supply::wipe;
use crate::{BlockSource, debug, told};
use core::alloc::Layout;
use core::ptr::NonNull;

/// A chunk, by its page.
struct Place {
    class: usize,
    page: Placed<Page>,
    chunk: u32,
    /// The chunk, good for all of its cluster.
    start: NonNull<u8>,
}

impl<S: BlockSource> ChunkPool<S> {
    /// Frees an object by its address alone. Finding it takes the same short time however many
    /// there are.
    ///
    /// # Errors
    /// Where no object of this pool begins at that address; the error says what is there
    /// instead. Nothing has changed then. Whether the error is returned, and who is told
    /// besides, is for [`ChunkPoolConfig::on_bad_free`] to say: unless set otherwise, the
    /// process is aborted.
    ///
    /// [`ChunkPoolConfig::on_bad_free`]: crate::ChunkPoolConfig::on_bad_free
    ///
    /// # Safety
    /// If there is an object of this pool at `start`, nothing uses it any more. Any other
    /// address is safe.
    ///
    /// ```
    /// use cenote::{ChunkPool, misuse::{BadFreeKind, OnBadFree}};
    /// use std::alloc::Layout;
    /// let pool = ChunkPool::config().on_bad_free(OnBadFree::Return).build()?;
    /// let a = pool.alloc_layout(Layout::new::<[u8; 100]>());
    /// let b = pool.alloc_layout(Layout::new::<[u8; 100]>());
    /// // SAFETY: nothing uses `a`.
    /// assert!(unsafe { pool.free(a) }.is_ok());
    /// // SAFETY: there is nothing at `a` any more.
    /// let error = unsafe { pool.free(a) }.unwrap_err();
    /// assert_eq!(error.kind(), BadFreeKind::Double);
    /// # let _ = b;
    /// # Ok::<(), cenote::ConfigError>(())
    /// ```
    #[inline]
    pub unsafe fn free(&self, start: NonNull<u8>) -> Result<(), BadFree> {
        let address = start.addr().get();
        let Some(place) = self.object_at(address) else { return self.free_large(start) };
        debug::freed(place.start, self.slot(place.class).class().size as usize);
        if !self.stack(place.class).try_push(place.start) {
            self.put(place);
        }
        Ok(())
    }

    /// Looks whether [`ChunkPool::free`] would find an object of `size` bytes at this address, and
    /// changes nothing: before something is copied from there.
    ///
    /// # Errors
    /// Those of [`ChunkPool::free`]; [`BadFreeKind::Layout`] where the object has fewer.
    #[doc(hidden)]
    pub fn look_at(&self, start: NonNull<u8>, size: usize) -> Result<(), BadFree> {
        let address = start.addr().get();
        let room = match self.object_at(address) {
            Some(place) => self.slot(place.class).class().size as usize,
            None if self.recent.has(address) => 0,
            None => self.large.room(start),
        };
        if size.max(1) <= room {
            return Ok(());
        }
        if room == 0 {
            return Err(self.bad_free(address));
        }
        let error = BadFree::new(BadFreeKind::Layout, address);
        Err(self.on_bad_free.meet(self.name(), error))
    }

    /// Frees an object whose layout is known, as collections know it: about twenty
    /// instructions, which look nothing up, and touch neither the object nor what is known of
    /// its page.
    ///
    /// The layout is taken on trust. In debug builds it is checked as [`ChunkPool::free`] does;
    /// in others a free of what is no object of that layout may go unnoticed until the memory
    /// was handed out again, and is otherwise noticed when the pool puts its newest frees back
    /// into their pages, and reported then as the pool's configuration says.
    ///
    /// The next object of this class may get the pointer itself. One that was made from a
    /// reference to the object (as by `Box::leak`) will do, by the rules of Tree Borrows;
    /// Stacked Borrows allows it for objects no larger than this one.
    ///
    /// # Safety
    /// `start` came from this pool with this layout (`layout` being what it was last grown or
    /// shrunk to), and nothing uses it any more.
    #[inline]
    pub unsafe fn dealloc(&self, start: NonNull<u8>, layout: Layout) {
        if !cfg!(debug_assertions)
            && let Some(class) = self.usual_class_of(layout)
            && self.stack(class).try_push(start)
        {
            debug::freeing(start, layout.size());
            return debug::freed(start, self.slot(class).class().size as usize);
        }
        self.dealloc_cold(start, layout);
    }

    /// Frees an object for which there is more to be done than to remember it, or another
    /// check; one that is not of the usual kind; or what is none.
    #[inline(never)]
    fn dealloc_cold(&self, start: NonNull<u8>, layout: Layout) {
        let _inside = self.supply.inside_of_source();
        match self.class_of(layout) {
            Some(class) => self.dealloc_checked(class, start.addr().get()),
            None if self.free_if_large(start) => {}
            None => self.refuse(start.addr().get()),
        }
    }

    fn dealloc_checked(&self, class: usize, address: usize) {
        // What is remembered already is noticed when it goes to its page; debug builds look now.
        let place =
            if cfg!(debug_assertions) { self.object_at(address) } else { self.chunk_at(address) };
        match place {
            Some(place) if place.class == class => {
                debug::freed(place.start, self.slot(class).class().size as usize);
                if !self.stack(class).try_push(place.start) {
                    self.put(place);
                }
            }
            _ => self.refuse(address),
        }
    }

    #[inline(never)]
    fn free_large(&self, start: NonNull<u8>) -> Result<(), BadFree> {
        if self.free_if_large(start) {
            return Ok(());
        }
        Err(self.bad_free(start.addr().get()))
    }

    /// Puts back what the pool remembers of the newest frees: pages and clusters in which
    /// nothing else is become free, and go where they belong. Worth calling when a pool with
    /// objects in it will not be used for a while.
    pub fn settle(&self) {
        let _inside = told::inside(true);
        for (class, stack) in self.stacks.iter().enumerate() {
            if stack.count() != 0 {
                self.put_oldest(class, stack.count());
            }
        }
        self.settle_large();
    }

    // ---- to the pages --------------------------------------------------------------------

    /// Frees a chunk for which its slot has no room, or not only to remember it.
    #[cold]
    #[inline(never)]
    fn put(&self, place: Place) {
        let _inside = self.supply.inside_of_source();
        let class = place.class;
        if self.supply.wipes() {
            let size = self.slot(class).class().size as usize;
            debug::unmark(place.start, size);
            // SAFETY: a chunk of that size, which nothing uses any more.
            unsafe { wipe(place.start, size) };
            debug::mark(place.start, size);
        }
        if self.depth == 0 {
            self.put_in_page(&place);
            return self.set_limit(class);
        }
        if self.stack(class).count() >= self.depth {
            self.put_oldest(class, self.depth.div_ceil(2));
        }
        if !self.stack(class).push(place.start) {
            self.put_in_page(&place);
        }
        if self.watched.get() && self.live(class) == 0 && self.has_no_chunks() {
            self.settle();
        }
    }

    /// Puts the oldest of a class's remembered frees back.
    #[inline(never)]
    fn put_oldest(&self, class: usize, number: usize) {
        let _inside = told::inside(true);
        let stack = self.stack(class);
        let (mut wrong, mut wrongs) = ([0; DEPTH], 0);
        for address in (0..number).map(|place| stack.at(place).addr()) {
            match self.chunk_at(address) {
                Some(place) if place.class == class => self.put_in_page(&place),
                _ => {
                    wrong[wrongs] = address;
                    wrongs += 1;
                }
            }
        }
        stack.drop_oldest(number);
        self.set_limit(class);
        for address in &wrong[..wrongs] {
            self.refuse(*address);
        }
    }

    /// Makes a chunk free in its page.
    #[inline]
    fn put_in_page(&self, place: &Place) {
        if self.slot(place.class).put(place.page, place.chunk)
            && let Some(cluster) = self.clusters.put_page(place.page, self.keep, &self.geometry)
        {
            self.clusters.give(cluster, &self.supply, &self.geometry);
            self.watch();
        }
    }

    /// Sees to it that the free of the last object is noticed, where a cluster then goes back.
    pub(super) fn watch(&self) {
        let watched = self.clusters.count() > self.keep;
        if self.watched.replace(watched) != watched {
            for class in 0..MAX_CLASSES {
                self.set_limit(class);
            }
        }
    }

    // ---- what is at an address -----------------------------------------------------------

    /// The object that begins at this address.
    #[inline(always)]
    fn object_at(&self, address: usize) -> Option<Place> {
        self.chunk_at(address).filter(|place| !self.stack(place.class).has(address))
    }

    /// The chunk that begins at this address and is not free in its page.
    #[inline(always)]
    fn chunk_at(&self, address: usize) -> Option<Place> {
        let cluster = self.clusters.find(address & self.geometry.mask)?;
        let (number, offset) = self.geometry.page_at(address & !self.geometry.mask);
        let page = Clusters::page(cluster, number, &self.geometry)?;
        let class = page.class()?;
        let chunk = self.geometry.chunk_at(self.slot(class).class(), offset)?;
        if page.free() >> chunk & 1 != 0 {
            return None;
        }
        let start = cluster.start().as_ptr().with_addr(address);
        // SAFETY: not below the cluster, whose address is not 0.
        let start = unsafe { NonNull::new_unchecked(start) };
        Some(Place { class, page, chunk, start })
    }

    /// Reports a wrong free that was noticed where no error can be returned.
    #[cold]
    #[inline(never)]
    fn refuse(&self, address: usize) {
        let _ = self.bad_free(address);
    }

    #[cold]
    #[inline(never)]
    fn bad_free(&self, address: usize) -> BadFree {
        let _inside = told::inside(true);
        if self.recent.has(address) {
            return self.on_bad_free.meet(self.name(), BadFree::new(BadFreeKind::Double, address));
        }
        // What is remembered is as free as the rest.
        self.settle();
        let error = BadFree::new(self.explain(address), address);
        self.on_bad_free.meet(self.name(), error)
    }

    /// Why there is no object to be freed at this address.
    fn explain(&self, address: usize) -> BadFreeKind {
        let Some((cluster, offset)) = self.cluster_around(address) else {
            if self.clusters.is_beside(address, &self.geometry) {
                return BadFreeKind::Header;
            }
            return self.large.explain(address);
        };
        let (number, offset) = self.geometry.page_at(offset);
        let Some(page) = Clusters::page(cluster, number, &self.geometry) else {
            return BadFreeKind::Header;
        };
        let Some(class) = page.class() else { return BadFreeKind::Empty };
        match self.geometry.chunk_at(self.slot(class).class(), offset) {
            None => BadFreeKind::Interior,
            Some(chunk) if page.free() >> chunk & 1 != 0 => BadFreeKind::Double,
            Some(_) => BadFreeKind::Layout,
        }
    }

    /// The cluster whose block this address is in, and how far.
    fn cluster_around(&self, address: usize) -> Option<(Cluster, usize)> {
        let start = address & self.geometry.mask;
        let offset = address - start;
        let cluster = self.clusters.find(start)?;
        (offset < self.geometry.block).then_some((cluster, offset))
    }
}
