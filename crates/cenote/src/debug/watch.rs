//! What is done to each object of a watched pool: how much memory it takes, with what behind
//! it, and what is looked at when it goes.

use super::Levels;
use crate::misuse::{BadFree, BadFreeKind, OnBadFree};
use crate::{placed, size};
use core::alloc::Layout;
use core::ptr::NonNull;

/// What fresh memory is filled with.
const POISON_FRESH: u8 = 0xa5;
/// What freed memory is filled with.
const POISON_FREED: u8 = 0x5a;
/// What is behind an object, and how many bytes of it.
const CANARY: u8 = 0xc9;
const CANARY_BYTES: usize = 16;
/// Behind an object in a block of a region.
const REST: usize = 512;
/// Objects of so many bytes and more have a guard page.
const GUARDED: usize = 4096;

/// How a pool is watched, and what is done about what is found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    pub(crate) levels: Levels,
    /// Whether that is settled; if not, the process's levels are to be looked at.
    settled: bool,
    policy: OnBadFree,
}

impl Watch {
    /// As the process's levels are, when that is looked at.
    pub(crate) const DEFAULT: Self = Self::new(None, OnBadFree::Abort);

    /// With levels for one pool, or as the process's are, when that is looked at.
    #[inline(always)]
    pub(crate) const fn new(levels: Option<Levels>, policy: OnBadFree) -> Self {
        match levels {
            Some(levels) => Self { levels, settled: true, policy },
            None => Self { levels: Levels::NONE, settled: false, policy },
        }
    }

    /// After a look at the process's levels, if that is to be.
    #[inline]
    pub(crate) fn now(self) -> Self {
        if self.settled { self } else { Self { levels: super::levels(), settled: true, ..self } }
    }

    /// Notes a misuse, to be told when the operation is over, and met as the policy says.
    #[cold]
    pub(crate) fn tell(self, pool: &'static str, kind: BadFreeKind, address: usize) {
        crate::told::misused(pool, BadFree::new(kind, address), self.policy);
    }
}

/// Where an object lies in the allocation that it has to itself.
///
/// ```text
///   base | nothing | start: object | canary | guard page |
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    levels: Levels,
    pub(crate) whole: Layout,
    /// From the base to the object.
    pub(crate) offset: usize,
    size: usize,
    canary: usize,
    guard: usize,
}

impl Plan {
    /// For an object of this size, more than 0, and alignment. The same each time; `None` where
    /// no allocation can be so large.
    pub(crate) fn new(levels: Levels, size: usize, align: usize) -> Option<Self> {
        let canary = if levels.contains(Levels::CANARY) { CANARY_BYTES } else { 0 };
        let page =
            if levels.contains(Levels::GUARD) && size >= GUARDED { guard::page() } else { 0 };
        if page == 0 {
            let whole = Layout::from_size_align(size::total(size, 1, canary, 1)?, align).ok()?;
            return Some(Self { levels, whole, offset: 0, size, canary, guard: 0 });
        }
        // It ends as near to the page behind it as its alignment lets it.
        let body = size::total(size, 0, 0, page)?;
        let whole = size::total(body, 1, page, 1)?;
        let whole = Layout::from_size_align(whole, align.max(page)).ok()?;
        let offset = (body - size) & !(align - 1);
        let gap = body - offset - size;
        let canary = if canary == 0 { 0 } else { gap };
        Some(Self { levels, whole, offset, size, canary, guard: page })
    }

    /// For an object of this size at the beginning of a block of `bytes` bytes. The rest of it is
    /// canary, as far as anyone looks.
    pub(crate) fn in_block(levels: Levels, size: usize, bytes: usize) -> Self {
        let canary =
            if levels.contains(Levels::CANARY) { bytes.saturating_sub(size).min(REST) } else { 0 };
        // Not asked for: the memory is the block's.
        let whole = Layout::new::<u8>();
        Self { levels, whole, offset: 0, size, canary, guard: 0 }
    }

    fn poisons(&self) -> bool {
        self.levels.contains(Levels::POISON) || self.levels.contains(Levels::QUARANTINE)
    }

    /// Makes fresh memory ready for the object; where that begins.
    ///
    /// # Safety
    /// `base` is memory of the layout `whole`, and nobody else's.
    pub(crate) unsafe fn dress(&self, base: NonNull<u8>) -> NonNull<u8> {
        let start = placed::behind(base, self.offset);
        let behind = placed::behind(start, self.size);
        if self.levels.contains(Levels::POISON) {
            // SAFETY: the object's memory, which is the caller's.
            unsafe { start.write_bytes(POISON_FRESH, self.size) };
            super::undefined(start, self.size);
        }
        // In a block of a region, what was not asked for is forbidden already.
        super::unmark(behind, self.canary);
        // SAFETY: so many bytes are behind the object, and the caller's.
        unsafe { behind.write_bytes(CANARY, self.canary) };
        super::mark(behind, self.canary);
        if self.guard != 0 {
            // SAFETY: nobody touches what is behind an object.
            unsafe { guard::forbid(self.last_page(base), self.guard) };
        }
        start
    }

    /// Whether the bytes behind the object are as they were left.
    ///
    /// # Safety
    /// `start` is an object that was dressed so.
    pub(crate) unsafe fn is_whole(&self, start: NonNull<u8>) -> bool {
        let behind = placed::behind(start, self.size);
        super::unmark_written(behind, self.canary);
        // SAFETY: so many bytes were written there.
        let whole = unsafe { is_filled(behind, self.canary, CANARY) };
        super::mark(behind, self.canary);
        whole
    }

    /// Fills what is freed.
    ///
    /// # Safety
    /// `start` is an object that was dressed so, and not used any more.
    pub(crate) unsafe fn poison(&self, start: NonNull<u8>) {
        if self.poisons() {
            // SAFETY: the object's memory.
            unsafe { start.write_bytes(POISON_FREED, self.size) };
        }
        super::mark(start, self.size);
    }

    /// Whether what was freed and kept is as it was left.
    ///
    /// # Safety
    /// `start` is an object that was dressed and poisoned so.
    pub(crate) unsafe fn is_untouched(&self, start: NonNull<u8>) -> bool {
        super::unmark_written(start, self.size);
        // SAFETY: so many bytes were written there.
        !self.poisons() || unsafe { is_filled(start, self.size, POISON_FREED) }
    }

    /// Makes the memory what it was before it was dressed; where it begins. `None`: it cannot
    /// be given back, since its last page cannot be touched any more.
    ///
    /// # Safety
    /// `start` is an object that was dressed so, and not used any more.
    pub(crate) unsafe fn undress(&self, start: NonNull<u8>) -> Option<NonNull<u8>> {
        let base = placed::before(start, self.offset);
        if self.guard == 0 {
            return Some(base);
        }
        // SAFETY: it was forbidden.
        unsafe { guard::allow(self.last_page(base), self.guard) }.then_some(base)
    }

    /// The page that cannot be touched: the last of the memory.
    fn last_page(&self, base: NonNull<u8>) -> NonNull<u8> {
        placed::behind(base, self.whole.size() - self.guard)
    }
}

/// Whether so many bytes all have this value.
///
/// # Safety
/// They are valid for reads.
unsafe fn is_filled(start: NonNull<u8>, count: usize, value: u8) -> bool {
    // SAFETY: the caller's promise.
    let bytes = unsafe { core::slice::from_raw_parts(start.as_ptr(), count) };
    bytes.iter().all(|byte| *byte == value)
}

/// Pages that cannot be touched. A sanitizer has its own, and looks at all of an allocation.
#[cfg(all(unix, feature = "std", not(cenote_asan)))]
mod guard {
    use core::ffi::{c_int, c_void};
    use core::ptr::NonNull;

    unsafe extern "C" {
        safe fn getpagesize() -> c_int;
        fn mprotect(start: *mut c_void, length: usize, access: c_int) -> c_int;
    }

    const NONE: c_int = 0;
    const READ_WRITE: c_int = 3;

    /// Bytes of a page; 0 where there are no guard pages.
    pub(super) fn page() -> usize {
        usize::try_from(getpagesize()).ok().filter(|page| page.is_power_of_two()).unwrap_or(0)
    }

    /// # Safety
    /// A page that is the caller's, and that nobody touches until it is allowed again.
    pub(super) unsafe fn forbid(page: NonNull<u8>, bytes: usize) {
        // Where the system has no more mappings to give, the object goes without a guard.
        // SAFETY: the caller's promise.
        let _ = unsafe { mprotect(page.as_ptr().cast(), bytes, NONE) };
    }

    /// Whether it may be touched again.
    ///
    /// # Safety
    /// A page that was forbidden.
    pub(super) unsafe fn allow(page: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { mprotect(page.as_ptr().cast(), bytes, READ_WRITE) == 0 }
    }
}

#[cfg(not(all(unix, feature = "std", not(cenote_asan))))]
mod guard {
    use core::ptr::NonNull;

    pub(super) fn page() -> usize {
        0
    }

    pub(super) unsafe fn forbid(_page: NonNull<u8>, _bytes: usize) {}

    pub(super) unsafe fn allow(_page: NonNull<u8>, _bytes: usize) -> bool {
        true
    }
}
