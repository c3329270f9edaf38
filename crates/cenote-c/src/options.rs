//! Options of pools: structs that begin with their own size, so that a program compiled against
//! another version of the header works with this library.

use core::ffi::{CStr, c_char, c_int};
use core::mem::MaybeUninit;
use core::ptr;

use cenote::Account;

use crate::account::cenote_account_t;
use crate::error::{Status, fail};
use crate::handle::open;

/// `cenote_pool_options_t`: zeros, and NULL, mean the default.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct cenote_pool_options_t {
    /// `sizeof` this struct, as the program knows it.
    pub size: usize,
    /// What snapshots and reports call the pool. It is copied.
    pub name: *const c_char,
    /// Who is charged.
    pub account: *mut cenote_account_t,
    /// Bytes of the first block.
    pub first_block: usize,
    /// Bytes of the largest block.
    pub largest_block: usize,
    /// Bytes above which objects are large.
    pub large_threshold: usize,
    /// Whether memory is overwritten when it is released.
    pub zero_on_release: c_int,
}

/// `cenote_counted_options_t`: zeros, and NULL, mean the default.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct cenote_counted_options_t {
    /// `sizeof` this struct, as the program knows it.
    pub size: usize,
    /// What snapshots and reports call the pool. It is copied.
    pub name: *const c_char,
    /// Who is charged.
    pub account: *mut cenote_account_t,
    /// Bytes of each block.
    pub page: usize,
    /// Whether memory is overwritten when it is released.
    pub zero_on_release: c_int,
}

/// `cenote_chunk_options_t`: zeros, and NULL, mean the default.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct cenote_chunk_options_t {
    /// `sizeof` this struct, as the program knows it.
    pub size: usize,
    /// What snapshots and reports call the pool. It is copied.
    pub name: *const c_char,
    /// Who is charged.
    pub account: *mut cenote_account_t,
    /// Bytes of a cluster.
    pub cluster_size: usize,
    /// The largest alignment of chunks.
    pub page_alignment: usize,
    /// Bytes of a page.
    pub page_size: usize,
    /// Bytes of the smallest chunk.
    pub min_chunk_size: usize,
    /// Whether memory is overwritten when it is released.
    pub zero_on_release: c_int,
}

/// `cenote_buddy_options_t`: zeros, and NULL, mean the default.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct cenote_buddy_options_t {
    /// `sizeof` this struct, as the program knows it.
    pub size: usize,
    /// What snapshots and reports call it. It is copied.
    pub name: *const c_char,
    /// Who is charged, for a region that the library takes.
    pub account: *mut cenote_account_t,
    /// Bytes of a page.
    pub page: usize,
    /// Bytes of the largest block.
    pub largest_block: usize,
    /// A region of the program's own, or NULL.
    pub region: *mut core::ffi::c_void,
}

/// A struct that begins with its size.
///
/// # Safety
/// `repr(C)`, of integers and pointers only, the first of them a `usize`: its size in bytes.
pub(crate) unsafe trait Options {}

// SAFETY: as above.
unsafe impl Options for cenote_pool_options_t {}
// SAFETY: as above.
unsafe impl Options for cenote_counted_options_t {}
// SAFETY: as above.
unsafe impl Options for cenote_chunk_options_t {}
// SAFETY: as above.
unsafe impl Options for cenote_buddy_options_t {}

/// The options, with zeros for what the program's struct does not have; all zeros for NULL.
///
/// # Safety
/// NULL, or as many bytes may be read at `given` as the `size_t` there says.
pub(crate) unsafe fn read<O: Options>(given: *const O) -> Result<O, Status> {
    let mut options = MaybeUninit::<O>::zeroed();
    if !given.is_null() {
        // SAFETY: the caller's promise: the size is first.
        let size = unsafe { given.cast::<usize>().read_unaligned() };
        if size < size_of::<usize>() || size > 4096 {
            let message = format_args!(
                "the size of the options is {size}: begin with the CENOTE_..._OPTIONS_INIT of the pool"
            );
            return Err(fail(Status::Config, message));
        }
        let known = size.min(size_of::<O>());
        // SAFETY: the caller's promise; not more than there is room for.
        unsafe { ptr::copy_nonoverlapping(given.cast::<u8>(), options.as_mut_ptr().cast(), known) };
        for index in known..size {
            let byte = given.cast::<u8>().wrapping_add(index);
            // SAFETY: below the size that the caller promises.
            if unsafe { byte.read() } != 0 {
                let message = format_args!(
                    "byte {index} of the options is set, which this version of the library does not know"
                );
                return Err(fail(Status::Config, message));
            }
        }
    }
    // SAFETY: integers and pointers, all of which may be any bytes.
    Ok(unsafe { options.assume_init() })
}

/// The field's value, where it is set.
pub(crate) fn set(value: usize) -> Option<usize> {
    (value != 0).then_some(value)
}

/// A copy of a name; `None` for NULL.
///
/// # Safety
/// NULL, or text that ends with a NUL.
pub(crate) unsafe fn name(text: *const c_char) -> Result<Option<Box<str>>, Status> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let mut copy = String::new();
    if copy.try_reserve_exact(text.len()).is_err() {
        return Err(fail(Status::Memory, format_args!("out of memory: no room for a name")));
    }
    copy.push_str(&text);
    Ok(Some(copy.into_boxed_str()))
}

/// The account of a handle; `None` for NULL.
///
/// # Safety
/// As for [`live`](crate::handle::live).
pub(crate) unsafe fn account<'a>(
    handle: *mut cenote_account_t,
) -> Result<Option<&'a Account>, Status> {
    if handle.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    Ok(Some(unsafe { open(handle.cast_const()) }?.value()))
}
