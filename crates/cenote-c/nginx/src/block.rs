//! Blocks: where they come from, and what stands in front of each.
//!
//! nginx's head begins at a block's first byte, and its pools are as large as they are asked to
//! be; so what cenote knows of a block stands before it, in [`Extra`], in memory that the source
//! takes in addition. A block keeps it while it waits in the cache.

use crate::abi::{self, Log, POOL_ALIGNMENT, Pool, PoolData};
use crate::creator::Creator;
use crate::large::Index;
use crate::{abi::LargeRecord, window};
use cenote::{AllocError, BlockSource, Blocks, Cached};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// What a thread keeps of blocks that no pool uses, in bytes.
const CACHE: usize = 4 << 20;

/// What stands in front of a block. All but `bytes` is for the first block of a pool.
#[repr(C, align(16))]
pub(crate) struct Extra {
    /// What the block takes, without this.
    pub(crate) bytes: Cell<usize>,
    /// What the pool takes besides: later blocks, and large objects as far as the C library tells.
    pub(crate) more: Cell<usize>,
    pub(crate) creator: Cell<Option<&'static Creator>>,
    /// Where many are large, which record is which object's.
    pub(crate) index: Cell<*mut Index>,
    /// Records of large objects that were freed.
    pub(crate) spare: Cell<*mut LargeRecord>,
    /// How many blocks there are after the first.
    pub(crate) later: Cell<u32>,
    /// How many large objects are live.
    pub(crate) large: Cell<u32>,
    pub(crate) cleanups: Cell<u32>,
    /// Whether each object has memory of its own.
    pub(crate) passthrough: Cell<bool>,
}

/// Bytes in front of each block.
const EXTRA: usize = size_of::<Extra>();
const _: () = assert!(EXTRA.is_multiple_of(POOL_ALIGNMENT));

/// nginx's own allocation functions as a source of blocks with [`EXTRA`] bytes before each.
pub(crate) struct Memory {
    /// Where a failure is logged; set before a block is asked for.
    log: Cell<*mut Log>,
}

// SAFETY: a block lies behind its first `EXTRA` bytes, in memory of its own that is given back
// from there; nothing unwinds. Alignments above that of `Extra` are refused.
unsafe impl BlockSource for Memory {
    #[cold]
    #[inline(never)]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let error = AllocError::out_of_memory(layout.size());
        let Some(size) = layout.size().checked_add(EXTRA) else { return Err(error) };
        if layout.align() > POOL_ALIGNMENT {
            return Err(error);
        }
        // SAFETY: the log is the one that nginx gave, or none.
        let whole = unsafe { abi::ngx_memalign(POOL_ALIGNMENT, size, self.log.get()) };
        let Some(whole) = NonNull::new(whole.cast::<u8>()) else { return Err(error) };
        SYSTEM.took(size);
        // SAFETY: so many bytes are in front.
        Ok(unsafe { whole.add(EXTRA) })
    }

    #[cold]
    #[inline(never)]
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        SYSTEM.gave(layout.size() + EXTRA);
        // SAFETY: `acquire` gave it so many bytes into its memory.
        let whole = unsafe { block.sub(EXTRA) };
        // SAFETY: the caller's promise: it came from `acquire`, and nobody uses it.
        unsafe { abi::free(whole.as_ptr().cast()) };
    }
}

/// What was taken from nginx and not given back: blocks, those in caches included, and large
/// objects.
pub(crate) static SYSTEM: System = System { held: AtomicUsize::new(0), peak: AtomicUsize::new(0) };

/// Bytes, and the most there were. Not on the path of a block that is cached.
pub(crate) struct System {
    held: AtomicUsize,
    peak: AtomicUsize,
}

impl System {
    pub(crate) fn took(&self, bytes: usize) {
        let held = self.held.fetch_add(bytes, Relaxed).wrapping_add(bytes);
        if held > self.peak.load(Relaxed) {
            self.peak.fetch_max(held, Relaxed);
        }
    }

    pub(crate) fn gave(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }
}

/// What each thread has.
struct Local {
    cached: Cached<Memory>,
    standing: Cell<Standing>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unknown,
    /// The first thread that made a pool: nginx's own.
    Main,
    Other,
}

std::thread_local! {
    static LOCAL: Local = const {
        Local {
            cached: Cached::new(Memory { log: Cell::new(ptr::null_mut()) }, CACHE),
            standing: Cell::new(Standing::Unknown),
        }
    };
}

impl Local {
    /// Whether this is nginx's own thread, whose figures are the near ones.
    #[inline(always)]
    fn near(&self) -> bool {
        match self.standing.get() {
            Standing::Main => true,
            Standing::Other => false,
            Standing::Unknown => self.find_standing(),
        }
    }

    #[cold]
    fn find_standing(&self) -> bool {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let main = !TAKEN.swap(true, Relaxed);
        self.standing.set(if main { Standing::Main } else { Standing::Other });
        main
    }
}

/// Whether this is nginx's own thread, the first that made a pool.
#[inline(always)]
pub(crate) fn near() -> bool {
    LOCAL.try_with(Local::near).unwrap_or(false)
}

/// What a block of so many bytes takes, [`Extra`] apart; 0 where that is no size.
pub(crate) fn class(bytes: usize) -> usize {
    // The classes of every cache are those of `Blocks`.
    Layout::from_size_align(bytes, POOL_ALIGNMENT).map_or(0, |layout| Blocks.fit(layout))
}

/// Takes a block of `bytes` bytes, a [`class`]: from the thread's cache, or, if it is to be seen by
/// sanitizers, from nginx alone. Also tells whether this thread is [`near`]. Failures are logged.
///
/// # Safety
/// `bytes` is not 0, and at most [`cenote::size::MAX`]` - 15`.
#[inline(always)]
pub(crate) unsafe fn take(bytes: usize, seen: bool, log: *mut Log) -> (Option<NonNull<u8>>, bool) {
    // SAFETY: the caller's promise.
    let layout = unsafe { Layout::from_size_align_unchecked(bytes, POOL_ALIGNMENT) };
    let from_nginx = || Memory { log: Cell::new(log) }.acquire(layout).ok();
    LOCAL
        .try_with(|local| {
            let block = if seen {
                from_nginx()
            } else {
                local.cached.source().log.set(log);
                local.cached.acquire(layout).ok()
            };
            (block, local.near())
        })
        // The thread is at its end, and its cache is gone.
        .unwrap_or_else(|_| (from_nginx(), false))
}

/// Gives a block back. Tells whether this thread is [`near`].
///
/// # Safety
/// It came from [`take`] with the same arguments, and is not used any more.
#[inline(always)]
pub(crate) unsafe fn give(block: NonNull<u8>, bytes: usize, seen: bool) -> bool {
    // SAFETY: it was a layout when the block was taken.
    let layout = unsafe { Layout::from_size_align_unchecked(bytes, POOL_ALIGNMENT) };
    let to_nginx = || {
        // SAFETY: the caller's promise; whichever way it was taken, it came from `Memory`.
        unsafe { Memory { log: Cell::new(ptr::null_mut()) }.release(block, layout) }
    };
    LOCAL
        .try_with(|local| {
            if seen {
                to_nginx();
            } else {
                // SAFETY: the caller's promise; blocks may go from cache to cache, since all
                // are from `Memory`.
                unsafe { local.cached.release(block, layout) }
            }
            local.near()
        })
        .unwrap_or_else(|_| {
            to_nginx();
            false
        })
}

/// What stands in front of a block.
///
/// # Safety
/// The block came from [`take`], was not given back since, and its [`Extra`] was written.
#[inline(always)]
pub(crate) unsafe fn extra<'a>(block: NonNull<u8>) -> &'a Extra {
    // SAFETY: so many bytes are in front of every block.
    let extra = unsafe { block.sub(EXTRA) };
    // SAFETY: the caller's promise; it is aligned as blocks are.
    unsafe { extra.cast().as_ref() }
}

/// Writes what stands in front of a block.
///
/// # Safety
/// The block came from [`take`], and nobody else uses it.
#[inline(always)]
pub(crate) unsafe fn write_extra(block: NonNull<u8>, extra: Extra) {
    // SAFETY: so many bytes are in front of every block.
    let at = unsafe { block.sub(EXTRA) };
    // SAFETY: they are the caller's, and aligned as blocks are.
    unsafe { at.cast::<Extra>().write(extra) };
}

impl Extra {
    /// Of a new block of `bytes` bytes.
    #[inline(always)]
    pub(crate) const fn new(bytes: usize) -> Self {
        Self {
            bytes: Cell::new(bytes),
            more: Cell::new(0),
            creator: Cell::new(None),
            index: Cell::new(ptr::null_mut()),
            spare: Cell::new(ptr::null_mut()),
            later: Cell::new(0),
            large: Cell::new(0),
            cleanups: Cell::new(0),
            passthrough: Cell::new(false),
        }
    }
}

impl PoolData {
    /// A place for an object in this block, if it has room.
    #[inline(always)]
    pub(crate) fn place(&self, size: usize, align: usize) -> Option<*mut u8> {
        // Read at every use: nginx's array code moves it.
        let last = self.last.get();
        let start = window::place(last.addr(), self.end.get().addr(), size, align)?;
        self.last.set(last.with_addr(start + size));
        Some(last.with_addr(start))
    }

    /// The block after this one.
    #[inline(always)]
    pub(crate) fn following(&self) -> Option<NonNull<PoolData>> {
        NonNull::new(self.next.get().cast())
    }
}

/// A pool that is live, by the pointer that C code has of it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Live(NonNull<Pool>);

impl Live {
    /// # Safety
    /// It is a pool that `create` made and nobody destroyed, and no other thread uses it, for as
    /// long as the value is used.
    #[inline(always)]
    pub(crate) unsafe fn new(pool: *mut Pool) -> Self {
        // SAFETY: the caller's promise: a pool is not null.
        Self(unsafe { NonNull::new_unchecked(pool) })
    }

    /// nginx's head.
    #[inline(always)]
    pub(crate) fn head(&self) -> &Pool {
        // SAFETY: the promise of `new`; its fields are cells.
        unsafe { self.0.as_ref() }
    }

    /// cenote's own.
    #[inline(always)]
    pub(crate) fn extra(&self) -> &Extra {
        // SAFETY: the promise of `new`; `create` wrote it.
        unsafe { extra(self.0.cast()) }
    }

    /// The block that is tried first.
    #[inline(always)]
    pub(crate) fn current(&self) -> &PoolData {
        // SAFETY: `current` is a block of this pool, always.
        unsafe { &*self.head().current.get().cast() }
    }

    /// The first block, as such.
    #[inline(always)]
    pub(crate) fn block(self) -> NonNull<u8> {
        self.0.cast()
    }

    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *mut Pool {
        self.0.as_ptr()
    }
}
