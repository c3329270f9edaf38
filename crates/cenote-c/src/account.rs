//! `cenote_account_*`: who holds the memory, and how much of it they may.

use core::ffi::{c_char, c_int};
use core::ptr;

use cenote::Account;

use crate::error::{Status, fail, guard};
use crate::handle::{Kind, create, destroy, open};
use crate::options::name;
use crate::pooled::figure;

/// `cenote_account_t`
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct cenote_account_t {
    _opaque: [u8; 0],
}

impl Kind for cenote_account_t {
    const INDEX: usize = 4;
    type Value = Account;
}

/// # Safety
/// `text` is NULL, or ends with a NUL.
unsafe fn make(
    text: *const c_char,
    make: impl FnOnce(String) -> Result<Account, Status>,
) -> *mut cenote_account_t {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        match unsafe { name(text) } {
            Ok(Some(name)) => create(None, || make(name.into())),
            Ok(None) => {
                fail(Status::Config, format_args!("the account's name is NULL"));
                ptr::null_mut()
            }
            Err(_) => ptr::null_mut(),
        }
    })
}

/// # Safety
/// As for [`live`](crate::handle::live).
unsafe fn account<'a>(handle: *mut cenote_account_t) -> Result<&'a Account, Status> {
    // SAFETY: the caller's promise.
    Ok(unsafe { open(handle.cast_const()) }?.value())
}

/// `cenote_account_t *cenote_account_root(const char *name)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_root(name: *const c_char) -> *mut cenote_account_t {
    // SAFETY: the caller's promise.
    unsafe { make(name, |name| Ok(Account::root(name))) }
}

/// `cenote_account_t *cenote_account_child(cenote_account_t *parent, const char *name)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_child(
    parent: *mut cenote_account_t,
    name: *const c_char,
) -> *mut cenote_account_t {
    // SAFETY: the caller's promise.
    let child = |name| unsafe { account(parent) }.map(|parent| parent.child(name));
    // SAFETY: the caller's promise.
    unsafe { make(name, child) }
}

/// `cenote_account_t *cenote_account_shared_child(cenote_account_t *parent, const char *name)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_shared_child(
    parent: *mut cenote_account_t,
    name: *const c_char,
) -> *mut cenote_account_t {
    // SAFETY: the caller's promise.
    let child = |name| unsafe { account(parent) }.map(|parent| parent.shared_child(name));
    // SAFETY: the caller's promise.
    unsafe { make(name, child) }
}

/// `int cenote_account_destroy(cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_destroy(account: *mut cenote_account_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { destroy(account) }.into()
}

/// `int cenote_account_set_limit(cenote_account_t *account, size_t bytes)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_set_limit(
    account: *mut cenote_account_t,
    bytes: usize,
) -> c_int {
    let status = guard(Status::Internal, || {
        // SAFETY: the caller's promise.
        match unsafe { open(account.cast_const()) } {
            Ok(account) => {
                account.value().set_limit((bytes != usize::MAX).then_some(bytes));
                Status::Ok
            }
            Err(status) => status,
        }
    });
    status.into()
}

/// `size_t cenote_account_limit(const cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_limit(account: *const cenote_account_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(account, |account| account.limit().unwrap_or(usize::MAX)) }
}

/// `size_t cenote_account_held(const cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_held(account: *const cenote_account_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(account, Account::held) }
}

/// `size_t cenote_account_peak(const cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_peak(account: *const cenote_account_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(account, Account::peak) }
}

/// `size_t cenote_account_recent_peak(const cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_recent_peak(account: *const cenote_account_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(account, Account::recent_peak) }
}

/// `size_t cenote_account_live(const cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_live(account: *const cenote_account_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(account, Account::live) }
}

/// `uint64_t cenote_account_created(const cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_created(account: *const cenote_account_t) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { figure(account, Account::created) }
}

/// `uint64_t cenote_account_refused(const cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_refused(account: *const cenote_account_t) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { figure(account, Account::refused) }
}
