//! What is done about misuse, for the whole process: a bad free, or a handle that is none.
//!
//! The pools behind the handles return what was wrong with a free, and report what a level of
//! checking finds (`CENOTE_DEBUG`); what follows is decided here, at the time, so that the policy can
//! be changed while there are pools.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use cenote::misuse::{BadFree, BadFreeKind, Misuse, OnBadFree, on_misuse};

use crate::error::{Status, fail, last};

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

/// What the pools behind handles do: they tell, and go on. See [`listen`].
pub(crate) const TELL: OnBadFree = OnBadFree::Report;

/// What the pools behind handles are called among Rust's, whose frees return what was wrong. The
/// names that C programs give are with the handles.
pub(crate) const OF_C: &str = "of C";

/// The same for those whose frees return nothing of the kind.
pub(crate) const PLAIN_OF_C: &str = "of C, plain";

/// Has the library's reports of misuse come here. To be called before the first pool is made.
pub(crate) fn listen() {
    on_misuse(|misuse| {
        let kind = misuse.error.kind();
        let found_by_a_level = matches!(kind, BadFreeKind::Overrun | BadFreeKind::Written);
        match misuse.pool {
            // It will be met when it is returned, with the name that the handle has.
            OF_C if !found_by_a_level => {}
            OF_C | PLAIN_OF_C => {
                meet(Status::of(kind), format_args!("{misuse}"));
            }
            // A pool of Rust's, which does by itself what its policy says.
            _ => {
                fail(Status::of(kind), format_args!("{misuse}"));
                report();
            }
        }
    });
}

/// Meets a bad free in the pool of this name.
#[cold]
pub(crate) fn bad_free(pool: &str, error: BadFree) -> Status {
    meet(Status::of(error.kind()), format_args!("{}", Misuse { pool, error }))
}

/// Tells what was just noted.
fn report() {
    let text = last();
    let text: *const c_char = text.as_ptr().cast();
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
