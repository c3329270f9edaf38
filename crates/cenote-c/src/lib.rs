//! The C ABI of the cenote memory pools.
//!
//! What each function does is documented where C programmers look: in `include/cenote.h` and
//! `include/cenote/mp.h`. A test compares those with the functions here, so neither can change
//! alone.
//!
//! Files: `handle` is what a handle is and how it is checked; `error` and `misuse` how failures and
//! mistakes are told; `options` how options are read; `pooled` what the three pools have in common;
//! `pool`, `counted`, `chunk`, `buddy`, `account`, `reservation`, `snapshot` and `mp` the functions.
//!
//! # Safety
//!
//! Every function here takes what a C program gives it. Each that takes a handle has the same
//! contract, which the header states: a handle is NULL, or was given by this library; it is used
//! by one thread at a time (accounts: by any); memory that is passed besides is as the function's
//! comment in the header says. What goes beyond - handles that are destroyed or of another kind, sizes
//! that cannot be, frees of what is no object - is met with a defined result.

#![allow(clippy::missing_safety_doc, reason = "the contract above, and the header's for each")]
#![deny(improper_ctypes_definitions)]

mod account;
mod buddy;
mod chunk;
mod counted;
mod error;
mod handle;
mod misuse;
mod mp;
mod options;
mod pool;
mod pooled;
mod reservation;
mod snapshot;

pub use account::*;
pub use buddy::*;
pub use chunk::*;
pub use counted::*;
pub use error::{cenote_last_error, cenote_last_status};
pub use misuse::{cenote_on_misuse, cenote_report_fn, cenote_set_misuse_policy};
pub use mp::*;
pub use options::*;
pub use pool::*;
pub use pooled::cenote_cleanup_fn;
pub use reservation::*;
pub use snapshot::*;

use core::ffi::c_char;

/// `const char *cenote_version(void)`
#[unsafe(no_mangle)]
pub extern "C" fn cenote_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// `size_t cenote_thread_trim(void)`
#[unsafe(no_mangle)]
pub extern "C" fn cenote_thread_trim() -> usize {
    error::guard(0, || {
        cenote::Account::settle();
        cenote::Blocks::trim()
    })
}
