//! `cenote_buddy_*`: pages of one region, split and merged by powers of two.

use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};

use cenote::{BlockSource, Buddy};

use crate::error::{Status, fail, guard, misconfigured, no_region};
use crate::handle::{Kind, create, destroy};
use crate::misuse::{OF_C, TELL};
use crate::options::{account, cenote_buddy_options_t, name, read, set};
use crate::pooled::{exact, figure, give, memory};

/// `cenote_buddy_t`
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct cenote_buddy_t {
    _opaque: [u8; 0],
}

impl Kind for cenote_buddy_t {
    const INDEX: usize = 3;
    type Value = Buddy<'static>;
}

/// `cenote_buddy_t *cenote_buddy_create(size_t bytes)`
#[unsafe(no_mangle)]
pub extern "C" fn cenote_buddy_create(bytes: usize) -> *mut cenote_buddy_t {
    // SAFETY: NULL stands for the defaults.
    unsafe { cenote_buddy_create_with(bytes, ptr::null()) }
}

/// `cenote_buddy_t *cenote_buddy_create_with(size_t bytes, const cenote_buddy_options_t *options)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_buddy_create_with(
    bytes: usize,
    options: *const cenote_buddy_options_t,
) -> *mut cenote_buddy_t {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        unsafe { create_with(bytes, options) }.unwrap_or(ptr::null_mut())
    })
}

/// # Safety
/// As for `cenote_buddy_create_with`.
unsafe fn create_with(
    bytes: usize,
    options: *const cenote_buddy_options_t,
) -> Result<*mut cenote_buddy_t, Status> {
    // SAFETY: the caller's promise.
    let options = unsafe { read(options) }?;
    // SAFETY: the caller's promise.
    let name = unsafe { name(options.name) }?;
    // SAFETY: the caller's promise.
    let account = unsafe { account(options.account) }?;
    let mut builder = Buddy::builder().name(OF_C).on_bad_free(TELL);
    if let Some(account) = account {
        builder = builder.account(account);
    }
    if let Some(bytes) = set(options.page) {
        builder = builder.page(bytes);
    }
    if let Some(bytes) = set(options.largest_block) {
        builder = builder.largest_block(bytes);
    }
    Ok(create(name, || match NonNull::new(options.region.cast::<u8>()) {
        None => builder.heap(bytes).map_err(|error| no_region(&error)),
        Some(region) if region.addr().checked_add(bytes).is_none() => {
            let message = format_args!("the region of {bytes} bytes at {region:p} has no end");
            Err(fail(Status::Config, message))
        }
        Some(region) => {
            // SAFETY: the caller's promise: the memory is the library's until the handle's end.
            let buddy = unsafe { builder.mapped(region, bytes) };
            buddy.map_err(|error| misconfigured(&error))
        }
    }))
}

/// `int cenote_buddy_destroy(cenote_buddy_t *buddy)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_buddy_destroy(buddy: *mut cenote_buddy_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { destroy(buddy) }.into()
}

/// `void *cenote_buddy_alloc(cenote_buddy_t *buddy, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_buddy_alloc(
    buddy: *mut cenote_buddy_t,
    size: usize,
) -> *mut c_void {
    let take = |buddy: &Buddy<'static>| {
        // A block is aligned to its own size, which is a page's at least.
        Ok(buddy.acquire(exact(size, 1)?)?)
    };
    // SAFETY: the caller's promise.
    unsafe { memory(buddy.cast_const(), take) }
}

/// `int cenote_buddy_free(cenote_buddy_t *buddy, void *block)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_buddy_free(
    buddy: *mut cenote_buddy_t,
    block: *mut c_void,
) -> c_int {
    guard(Status::Internal.into(), || {
        let free = |buddy: &Buddy<'static>, block| {
            // SAFETY: the caller's promise: if it is a block, nobody uses it any more.
            unsafe { buddy.free(block) }.map(drop)
        };
        // SAFETY: the caller's promise.
        unsafe { give(buddy.cast_const(), block, free) }
    })
}

/// `size_t cenote_buddy_capacity(const cenote_buddy_t *buddy, const void *block)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_buddy_capacity(
    buddy: *const cenote_buddy_t,
    block: *const c_void,
) -> usize {
    let Some(block) = NonNull::new(block.cast_mut().cast::<u8>()) else { return 0 };
    // SAFETY: the caller's promise.
    unsafe { figure(buddy, |buddy| buddy.capacity(block).unwrap_or(0)) }
}

/// `size_t cenote_buddy_page(const cenote_buddy_t *buddy)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_buddy_page(buddy: *const cenote_buddy_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(buddy, Buddy::page) }
}

/// `size_t cenote_buddy_bytes(const cenote_buddy_t *buddy)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_buddy_bytes(buddy: *const cenote_buddy_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(buddy, Buddy::bytes) }
}

/// `size_t cenote_buddy_used(const cenote_buddy_t *buddy)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_buddy_used(buddy: *const cenote_buddy_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(buddy, Buddy::used_bytes) }
}

/// `size_t cenote_buddy_largest_free(const cenote_buddy_t *buddy)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_buddy_largest_free(buddy: *const cenote_buddy_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(buddy, Buddy::largest_free) }
}
