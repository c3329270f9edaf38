//! What is done about misuse, for the whole process: a bad free, or a handle that is none.
//!
//! The pools behind the handles only return what was wrong; what follows is decided here, at the
//! time, so that the policy can be changed while there are pools.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use cenote::misuse::{BadFree, Misuse};

use crate::error::{Status, cenote_last_error, fail};

// `CENOTE_MISUSE_RETURN`, and `CENOTE_MISUSE_ABORT`; `CENOTE_MISUSE_REPORT` is between them.
const RETURN: c_int = 0;
const ABORT: c_int = 2;

static POLICY: AtomicI32 = AtomicI32::new(ABORT);

/// `cenote_report_fn`: what is told about misuse.
#[allow(non_camel_case_types, reason = "the name in C")]
pub type cenote_report_fn =
    Option<unsafe extern "C-unwind" fn(data: *mut c_void, message: *const c_char)>;

struct Reporter {
    call: cenote_report_fn,
    data: *mut c_void,
}

// SAFETY: whoever sets it promises that it may be called on any thread.
unsafe impl Send for Reporter {}

static REPORTER: Mutex<Reporter> = Mutex::new(Reporter { call: None, data: core::ptr::null_mut() });

/// Meets a misuse as the policy says; returns unless that is to abort.
#[cold]
#[inline(never)]
pub(crate) fn meet(status: Status, message: fmt::Arguments<'_>) -> Status {
    fail(status, message);
    let policy = POLICY.load(Ordering::Relaxed);
    if policy != RETURN {
        report();
    }
    if policy == ABORT {
        std::process::abort();
    }
    status
}

/// Meets a bad free in the pool of this name.
#[cold]
pub(crate) fn bad_free(pool: &str, error: BadFree) -> Status {
    meet(Status::of(error.kind()), format_args!("{}", Misuse { pool, error }))
}

/// Tells what was just noted.
fn report() {
    let text = cenote_last_error();
    let (call, data) = {
        let reporter = REPORTER.lock().unwrap_or_else(PoisonError::into_inner);
        (reporter.call, reporter.data)
    };
    match call {
        // SAFETY: a function for this, as was promised when it was set.
        Some(call) => unsafe { call(data, text) },
        None => {
            // SAFETY: never null, and ends with a NUL; nothing is noted while it is read.
            let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
            // Standard error may be closed; that must not become a panic here.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

/// `int cenote_set_misuse_policy(int policy)`
#[unsafe(no_mangle)]
pub extern "C" fn cenote_set_misuse_policy(policy: c_int) -> c_int {
    if !(RETURN..=ABORT).contains(&policy) {
        let message = format_args!("policy is {policy}: it must be 0, 1 or 2");
        return fail(Status::Config, message).into();
    }
    POLICY.swap(policy, Ordering::Relaxed)
}

/// `void cenote_on_misuse(cenote_report_fn report, void *data)`
///
/// # Safety
/// `report` may be called with `data` on any thread from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_on_misuse(report: cenote_report_fn, data: *mut c_void) {
    *REPORTER.lock().unwrap_or_else(PoisonError::into_inner) = Reporter { call: report, data };
}
