//! What the three pools have in common, written once: memory by size, cleanups, reset.

use core::alloc::Layout;
use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};
use std::panic::{AssertUnwindSafe, catch_unwind};

use cenote::debug::MARKED;
use cenote::misuse::BadFree;
use cenote::{AllocError, ChunkPool, Cleanup, CleanupKey, CountedPool, Pool};

use crate::error::{Status, fail, guard, panicked, refused};
use crate::handle::{Kind, Place, open};
use crate::misuse;

/// What memory has that is asked for by size alone: enough for any object, as `malloc` has it.
pub(crate) const ALIGN: usize = 16;

/// `cenote_cleanup_fn`: what is called at a pool's end.
#[allow(non_camel_case_types, reason = "the name in C")]
pub type cenote_cleanup_fn = Option<unsafe extern "C-unwind" fn(data: *mut c_void)>;

/// A pool behind a handle.
pub(crate) trait Pooled {
    fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError>;
    /// Whether a level of checking is on in it.
    fn is_watched(&self) -> bool;
    fn defer(
        &self,
        key: CleanupKey,
        action: impl FnOnce() + Send + 'static,
    ) -> Result<(), AllocError>;
    fn cleanup(&self, key: CleanupKey) -> Option<Cleanup<'_>>;
    fn run_cleanups(&self);
    fn reset(&mut self);
}

macro_rules! pooled {
    ($($pool:ty: $watched:expr),*) => { $(
        impl Pooled for $pool {
            #[inline(always)]
            fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
                self.try_alloc_layout(layout)
            }

            fn is_watched(&self) -> bool {
                $watched(self)
            }

            fn defer(
                &self,
                key: CleanupKey,
                action: impl FnOnce() + Send + 'static,
            ) -> Result<(), AllocError> {
                self.try_defer_keyed(key, action).map(drop)
            }

            fn cleanup(&self, key: CleanupKey) -> Option<Cleanup<'_>> {
                self.cleanup(key)
            }

            #[inline(always)]
            fn run_cleanups(&self) {
                // SAFETY: nothing is owned by pools that C programs have.
                unsafe { self.run_cleanups_now() };
            }

            #[inline(always)]
            fn reset(&mut self) {
                self.reset();
            }
        }
    )* };
}

pooled!(
    Pool: Pool::is_watched,
    CountedPool: |pool: &CountedPool| !pool.levels().is_none(),
    ChunkPool: |pool: &ChunkPool| !pool.levels().is_none()
);

// ---- memory ------------------------------------------------------------------------------------

/// The layout of an object of `size` bytes; [`Status::Size`] where none can be so.
///
/// Alignments are raised to [`ALIGN`]. None has no bytes: so each address that C gets is one of its
/// own.
#[inline(always)]
pub(crate) fn exact(size: usize, align: usize) -> Result<Layout, Status> {
    // What is no power of two stays so, to be refused.
    let raised = if align < ALIGN && align.is_power_of_two() { ALIGN } else { align };
    Layout::from_size_align(size.max(1), raised).map_err(|_| impossible(1, size, align))
}

/// That of the place which such an object gets.
///
/// Sizes are raised to a multiple of [`ALIGN`]: so where one object ends, the next may begin. Not
/// where somebody looks at what is behind objects, who is to see the first byte behind each.
#[inline(always)]
pub(crate) fn raised<P: Pooled>(pool: &P, exact: Layout) -> Layout {
    if is_exact(pool) {
        return exact;
    }
    let size = exact.size().next_multiple_of(ALIGN);
    // SAFETY: a layout's size may be raised to a multiple of its alignment, which is one of `ALIGN`.
    unsafe { Layout::from_size_align_unchecked(size, exact.align()) }
}

/// Whether somebody looks at what is behind each object of a pool: a level of checking, or a checker.
#[inline(always)]
pub(crate) fn is_exact<P: Pooled>(pool: &P) -> bool {
    MARKED || pool.is_watched()
}

/// A new object.
pub(crate) fn place<P: Pooled>(
    pool: &P,
    size: usize,
    align: usize,
) -> Result<NonNull<u8>, Refusal> {
    Ok(pool.alloc(raised(pool, exact(size, align)?))?)
}

#[cold]
#[inline(never)]
fn impossible(count: usize, each: usize, align: usize) -> Status {
    if !align.is_power_of_two() {
        return fail(Status::Size, format_args!("alignment is {align}: it must be a power of two"));
    }
    fail(
        Status::Size,
        format_args!("no object can have {count} times {each} bytes, aligned to {align}"),
    )
}

/// Memory that `place` takes from what the handle stands for; null, with the reason noted, where
/// that cannot be.
///
/// # Safety
/// As for [`live`](crate::handle::live).
#[cold]
#[inline(never)]
pub(crate) unsafe fn memory<K: Kind>(
    handle: *const K,
    place: impl FnOnce(&K::Value) -> Result<NonNull<u8>, Refusal>,
) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        let Ok(found) = (unsafe { open(handle) }) else { return ptr::null_mut() };
        match place(found.value()) {
            Ok(start) => start.as_ptr().cast(),
            Err(Refusal::Noted) => ptr::null_mut(),
            Err(Refusal::Bad(error)) => {
                bad_free(found, error);
                ptr::null_mut()
            }
            Err(Refusal::Alloc(error)) => {
                refused(&error);
                ptr::null_mut()
            }
        }
    })
}

/// Memory for an object that the current block has no room for.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn beyond_window<P: Pooled>(place: &Place<P>, size: usize) -> *mut c_void {
    let Ok(exact) = exact(size, ALIGN) else { return ptr::null_mut() };
    match place.value().alloc(raised(place.value(), exact)) {
        Ok(start) => start.as_ptr().cast(),
        Err(error) => {
            refused(&error);
            ptr::null_mut()
        }
    }
}

/// Why there is no memory.
pub(crate) enum Refusal {
    /// Noted already.
    Noted,
    Alloc(AllocError),
    /// What was to be moved is no object.
    Bad(BadFree),
}

impl From<Status> for Refusal {
    fn from(_: Status) -> Self {
        Self::Noted
    }
}

impl From<AllocError> for Refusal {
    fn from(error: AllocError) -> Self {
        Self::Alloc(error)
    }
}

/// Zeroes fresh memory for an object of `size` bytes, if there is any.
///
/// # Safety
/// `object` is null, or `size` bytes there (one, if that is 0) are the caller's.
#[inline(always)]
pub(crate) unsafe fn zeroed(object: *mut c_void, size: usize) -> *mut c_void {
    if !object.is_null() {
        // SAFETY: the caller's promise.
        unsafe { object.write_bytes(0, size.max(1)) };
    }
    object
}

/// `count` times `each` bytes; [`Status::Size`] where that cannot be.
#[inline(always)]
pub(crate) fn product(count: usize, each: usize) -> Result<usize, Status> {
    count.checked_mul(each).ok_or_else(|| impossible(count, each, ALIGN))
}

/// Moves an object to memory of another size, and frees it by `free`. That it is one, of so many
/// bytes, is checked by `look` before anything is taken or read.
///
/// # Safety
/// If there is such an object at `start`, nobody uses it afterwards.
pub(crate) unsafe fn moved<P: Pooled>(
    pool: &P,
    start: NonNull<u8>,
    (old, new): (usize, usize),
    look: impl Fn(&P, NonNull<u8>, usize) -> Result<(), BadFree>,
    free: impl Fn(&P, NonNull<u8>) -> Result<(), BadFree>,
) -> Result<NonNull<u8>, Refusal> {
    let layout = raised(pool, exact(new, ALIGN)?);
    look(pool, start, old).map_err(Refusal::Bad)?;
    let place = pool.alloc(layout)?;
    // SAFETY: an object of the pool's with `old` bytes, which was looked for; the new ones are fresh.
    unsafe { place.copy_from_nonoverlapping(start, old.min(new)) };
    match free(pool, start) {
        Ok(()) => Ok(place),
        Err(error) => {
            let _ = free(pool, place);
            Err(Refusal::Bad(error))
        }
    }
}

/// `size` in a layout of [`ALIGN`], where it is so small that there must be one, and not 0: one
/// compare for both.
#[inline(always)]
pub(crate) fn small(size: usize) -> Option<Layout> {
    if size.wrapping_sub(1) >= i32::MAX as usize {
        return None;
    }
    // SAFETY: a power of two, and far below `isize::MAX` with it.
    Some(unsafe { Layout::from_size_align_unchecked(size, ALIGN) })
}

/// [`small`] for a place in the window of a pool that has one, which no watched pool has: raised as by
/// [`raised`].
#[inline(always)]
pub(crate) fn small_place(size: usize) -> Option<Layout> {
    let exact = small(size)?;
    if MARKED {
        return Some(exact);
    }
    let size = (exact.size() + (ALIGN - 1)) & !(ALIGN - 1);
    // SAFETY: as in `small`.
    Some(unsafe { Layout::from_size_align_unchecked(size, ALIGN) })
}

/// A figure of what the handle stands for; 0 where there is none.
///
/// # Safety
/// As for [`live`](crate::handle::live).
pub(crate) unsafe fn figure<K: Kind, F: Default>(
    handle: *const K,
    read: impl FnOnce(&K::Value) -> F,
) -> F {
    guard(F::default(), || {
        // SAFETY: the caller's promise.
        unsafe { open(handle) }.map_or_else(|_| F::default(), |place| read(place.value()))
    })
}

/// Frees an object that `free` checks to be one. NULL is fine.
///
/// # Safety
/// As for [`live`](crate::handle::live).
#[inline(always)]
pub(crate) unsafe fn give<K: Kind>(
    handle: *const K,
    object: *mut c_void,
    free: impl FnOnce(&K::Value, NonNull<u8>) -> Result<(), BadFree>,
) -> c_int {
    // SAFETY: the caller's promise.
    let place = match unsafe { open(handle) } {
        Ok(place) => place,
        Err(status) => return status.into(),
    };
    let Some(start) = NonNull::new(object.cast::<u8>()) else { return Status::Ok.into() };
    match free(place.value(), start) {
        Ok(()) => Status::Ok.into(),
        Err(error) => bad_free(place, error).into(),
    }
}

#[cold]
#[inline(never)]
fn bad_free<T>(place: &Place<T>, error: BadFree) -> Status {
    misuse::bad_free(place.name().as_deref().unwrap_or("without a name"), error)
}

// ---- the end, and what runs at it --------------------------------------------------------------

/// What a C program wants called.
struct Callback {
    call: unsafe extern "C-unwind" fn(*mut c_void),
    data: *mut c_void,
}

// SAFETY: it runs on the thread that resets or destroys the pool, which by the header's rule may be
// another than the one that registered it.
unsafe impl Send for Callback {}

impl Callback {
    fn run(self) {
        // SAFETY: the promise of who registered it: to be called with this once.
        unsafe { (self.call)(self.data) };
    }
}

const fn key(ticket: u64) -> CleanupKey {
    CleanupKey::new("C", ticket)
}

/// Registers a cleanup: its number, or 0.
///
/// # Safety
/// As for [`live`](crate::handle::live); `call` may be called with `data` once, at the pool's end.
pub(crate) unsafe fn cleanup_add<K: Kind<Value: Pooled>>(
    pool: *const K,
    call: cenote_cleanup_fn,
    data: *mut c_void,
) -> u64 {
    guard(0, || {
        // SAFETY: the caller's promise.
        let Ok(place) = (unsafe { open(pool) }) else { return 0 };
        let Some(call) = call else {
            fail(Status::Config, format_args!("the cleanup's function is NULL"));
            return 0;
        };
        let (ticket, callback) = (place.ticket(), Callback { call, data });
        match place.value().defer(key(ticket), move || callback.run()) {
            Ok(()) => ticket,
            Err(error) => {
                refused(&error);
                0
            }
        }
    })
}

/// Runs a cleanup now, or sees to it that it never runs.
///
/// # Safety
/// As for [`live`](crate::handle::live).
pub(crate) unsafe fn cleanup_end<K: Kind<Value: Pooled>>(
    pool: *const K,
    ticket: u64,
    run: bool,
) -> c_int {
    let status = guard(Status::Internal, || {
        // SAFETY: the caller's promise.
        let place = match unsafe { open(pool) } {
            Ok(place) => place,
            Err(status) => return status,
        };
        match place.value().cleanup(key(ticket)) {
            Some(cleanup) => {
                // A panic in it is caught here, so that the pool is not held for ever.
                let ran = place.held(|| {
                    catch_unwind(AssertUnwindSafe(|| {
                        if run { cleanup.run() } else { cleanup.cancel() }
                    }))
                });
                ran.map_or_else(panicked, |_| Status::Ok)
            }
            None => fail(
                Status::NotFound,
                format_args!(
                    "cleanup {ticket} is not pending: it ran, was cancelled, or is not this pool's"
                ),
            ),
        }
    });
    status.into()
}

/// Frees everything in a pool.
///
/// # Safety
/// As for [`live`](crate::handle::live), and nothing in the pool is used any more.
#[inline(always)]
pub(crate) unsafe fn reset<K: Kind<Value: Pooled>>(pool: *mut K) -> c_int {
    // SAFETY: the caller's promise.
    let place = match unsafe { open(pool.cast_const()) } {
        Ok(place) => place,
        Err(status) => return status.into(),
    };
    let status = place.alone(|| {
        // By shared references, since cleanups use the handle.
        let ran = catch_unwind(AssertUnwindSafe(|| place.value().run_cleanups()));
        // SAFETY: the handle is live, no reference is left, and nothing is called from here on that
        // could make one, or panic.
        unsafe { place.value_mut() }.reset();
        match ran {
            Ok(()) => Status::Ok,
            Err(payload) => panicked(payload),
        }
    });
    status.into()
}
