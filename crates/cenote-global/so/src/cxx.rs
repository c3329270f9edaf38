//! C++'s `new` and `delete`, in all forms, by their names in the Itanium ABI.
//!
//! Without memory the program's new-handler is called, again and again as the language has it, and
//! then `std::bad_alloc` is thrown: both are the C++ library's, looked up where it is loaded. A program
//! without one cannot have called `new`.

#![allow(non_snake_case)]

use cenote_global::raw;
use core::ffi::{CStr, c_void};
use core::mem::transmute;
use core::ptr;

fn symbol(name: &CStr) -> *mut c_void {
    // SAFETY: a name that ends with 0.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

/// The program's new-handler.
fn handler() -> Option<extern "C-unwind" fn()> {
    let get = symbol(c"_ZSt15get_new_handlerv");
    if get.is_null() {
        return None;
    }
    // SAFETY: the C++ library's function of that name takes nothing and gives a function or null.
    let get =
        unsafe { transmute::<*mut c_void, extern "C" fn() -> Option<extern "C-unwind" fn()>>(get) };
    get()
}

#[cold]
#[inline(never)]
extern "C-unwind" fn without_memory(size: usize, align: usize, throws: bool) -> *mut u8 {
    while let Some(handler) = handler() {
        handler();
        let start = raw::alloc_aligned(size, align);
        if !start.is_null() {
            return start;
        }
    }
    if throws {
        let throw = symbol(c"_ZSt17__throw_bad_allocv");
        if !throw.is_null() {
            // SAFETY: the C++ library's function of that name takes nothing and throws.
            let throw = unsafe { transmute::<*mut c_void, extern "C-unwind" fn()>(throw) };
            throw();
        }
        // SAFETY: may be called at any time.
        unsafe { libc::abort() };
    }
    ptr::null_mut()
}

#[inline(always)]
fn new(size: usize, align: usize, throws: bool) -> *mut u8 {
    let start = raw::alloc_aligned(size, align);
    if start.is_null() { without_memory(size, align, throws) } else { start }
}

/// `operator new`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _Znwm(size: usize) -> *mut u8 {
    new(size, 16, true)
}

/// `operator new[]`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _Znam(size: usize) -> *mut u8 {
    new(size, 16, true)
}

/// `operator new`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _ZnwmRKSt9nothrow_t(size: usize, _: *const u8) -> *mut u8 {
    new(size, 16, false)
}

/// `operator new[]`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _ZnamRKSt9nothrow_t(size: usize, _: *const u8) -> *mut u8 {
    new(size, 16, false)
}

/// `operator new`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _ZnwmSt11align_val_t(size: usize, align: usize) -> *mut u8 {
    new(size, align, true)
}

/// `operator new[]`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _ZnamSt11align_val_t(size: usize, align: usize) -> *mut u8 {
    new(size, align, true)
}

/// `operator new`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _ZnwmSt11align_val_tRKSt9nothrow_t(
    size: usize,
    align: usize,
    _: *const u8,
) -> *mut u8 {
    new(size, align, false)
}

/// `operator new[]`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _ZnamSt11align_val_tRKSt9nothrow_t(
    size: usize,
    align: usize,
    _: *const u8,
) -> *mut u8 {
    new(size, align, false)
}

/// `operator delete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPv(start: *mut u8) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `operator delete[]`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPv(start: *mut u8) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `operator delete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvm(start: *mut u8, _: usize) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `operator delete[]`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvm(start: *mut u8, _: usize) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `operator delete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvRKSt9nothrow_t(start: *mut u8, _: *const u8) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `operator delete[]`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvRKSt9nothrow_t(start: *mut u8, _: *const u8) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `operator delete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvSt11align_val_t(start: *mut u8, _: usize) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `operator delete[]`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvSt11align_val_t(start: *mut u8, _: usize) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `operator delete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvmSt11align_val_t(start: *mut u8, _: usize, _: usize) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `operator delete[]`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvmSt11align_val_t(start: *mut u8, _: usize, _: usize) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `operator delete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvSt11align_val_tRKSt9nothrow_t(
    start: *mut u8,
    _: usize,
    _: *const u8,
) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `operator delete[]`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvSt11align_val_tRKSt9nothrow_t(
    start: *mut u8,
    _: usize,
    _: *const u8,
) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}
