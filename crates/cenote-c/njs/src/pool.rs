//! [`NjsPool`]: njs's pool, which is a chunk pool with njs's sizes, and cleanups as C has them.

use crate::bad_free;
use crate::cleanup::{Cleanup, Cleanups};
use crate::memory::Memory;
use crate::parameters::Parameters;
use cenote::misuse::OnBadFree;
use cenote::{BlockSource, Blocks, ChunkPool};
use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::ptr::{self, NonNull};

/// How far behind a chunk's beginning a cleanup's record lies in it. An object begins where its
/// chunk does: so no free of a record is taken for that of an object.
const ASIDE: usize = align_of::<Cleanup>();

/// A record's chunk: of the same size as one for the record alone, sizes being powers of two.
const RECORD: Layout = match Layout::from_size_align(ASIDE + size_of::<Cleanup>(), ASIDE) {
    Ok(layout) => layout,
    Err(_) => panic!("no layout"),
};
const _: () = assert!(RECORD.size() <= size_of::<Cleanup>().next_power_of_two());

/// njs's `njs_mp_t`, whose inside C code does not see.
pub struct NjsPool {
    chunks: ChunkPool<Memory>,
    cleanups: Cleanups,
    /// Whether it is being destroyed.
    ends: Cell<bool>,
}

/// njs's `njs_mp_stat_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Bytes of the clusters in use, and of large objects.
    pub size: usize,
    /// How many of both there are.
    pub nblocks: usize,
    /// Bytes of a page.
    pub page_size: usize,
    /// Bytes of a cluster.
    pub cluster_size: usize,
}

impl NjsPool {
    /// A new pool, or null.
    pub(crate) fn create(sizes: Parameters) -> *mut Self {
        let config = ChunkPool::config()
            .name("njs")
            .cluster_size(sizes.cluster_size)
            .page_alignment(sizes.page_alignment)
            .page_size(sizes.page_size)
            .min_chunk_size(sizes.min_chunk_size)
            .descriptors_on_top(true)
            .on_bad_free(OnBadFree::Return)
            .source(Memory::new(sizes.cluster_size));
        // From the cache of blocks, since pools come and go with requests.
        let Ok(place) = Blocks.acquire(Layout::new::<Self>()) else { return ptr::null_mut() };
        let this = place.cast::<Self>();
        match config.build() {
            Ok(chunks) => {
                let pool = Self { chunks, cleanups: Cleanups::new(), ends: Cell::new(false) };
                // SAFETY: fresh memory for a pool.
                unsafe { this.write(pool) };
                this.as_ptr()
            }
            Err(_) => {
                // SAFETY: just taken with this layout, and not used.
                unsafe { Blocks.release(place, Layout::new::<Self>()) };
                ptr::null_mut()
            }
        }
    }

    /// Runs the cleanups and frees everything, the pool itself included.
    ///
    /// # Safety
    /// `this` is null, or from `create`, and not used after this; cleanups may be run.
    pub(crate) unsafe fn destroy(this: *mut Self) {
        let Some(this) = NonNull::new(this) else { return };
        {
            // SAFETY: the caller's promise.
            let pool = unsafe { this.as_ref() };
            if pool.ends.replace(true) {
                return;
            }
            // SAFETY: the caller's promise.
            unsafe { pool.cleanups.run_all() };
        }
        // SAFETY: the caller's promise; and no reference to it is left.
        unsafe { this.drop_in_place() };
        // SAFETY: `create` took it with this layout, and nothing is in it any more.
        unsafe { Blocks.release(this.cast(), Layout::new::<Self>()) };
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn stat(&self) -> Stat {
        let stat = self.chunks.stat();
        Stat {
            size: stat.size,
            nblocks: stat.blocks,
            page_size: stat.page_size,
            cluster_size: stat.cluster_size,
        }
    }

    /// Memory of `size` bytes; an alignment of 0 is met as 1.
    #[inline]
    pub(crate) fn alloc(&self, align: usize, size: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(size, align.max(1)).ok()?;
        self.chunks.try_alloc_layout(layout).ok()
    }

    /// Frees an object, or says that there is none.
    ///
    /// # Safety
    /// If there is an object of this pool at `start`, nothing uses it any more.
    #[inline]
    pub(crate) unsafe fn free(&self, start: NonNull<u8>) {
        // SAFETY: the caller's promise, passed on.
        if let Err(error) = unsafe { self.chunks.free(start) } {
            bad_free::meet(self, error);
        }
    }

    pub(crate) fn cleanup_add(&self, size: usize) -> Option<NonNull<Cleanup>> {
        let chunk = self.chunks.try_alloc_layout(RECORD).ok()?;
        let data = match size {
            0 => ptr::null_mut(),
            _ => match self.alloc(1, size) {
                Some(data) => data.as_ptr(),
                None => {
                    // SAFETY: from this pool, with this layout, and not used yet.
                    unsafe { self.chunks.dealloc(chunk, RECORD) };
                    return None;
                }
            },
        };
        // SAFETY: the chunk is larger than that.
        let record = unsafe { chunk.add(ASIDE) }.cast();
        // SAFETY: room for a record, which is not freed before the pool is destroyed.
        unsafe { self.cleanups.push(record, data.cast()) };
        Some(record)
    }
}

impl fmt::Display for NjsPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "njs pool {:p}", self)
    }
}

impl fmt::Debug for NjsPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chunks.fmt(f)
    }
}
