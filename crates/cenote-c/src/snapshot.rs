//! `cenote_snapshot_*`: what a handle stands for, as text and as JSON, in a caller's buffer or
//! told to a function.

use core::ffi::{c_char, c_int, c_void};
use core::fmt::Display;
use core::ptr;

use cenote::inspect::AccountSnapshot;
use serde::Serialize;

use crate::account::cenote_account_t;
use crate::buddy::cenote_buddy_t;
use crate::chunk::cenote_chunk_t;
use crate::counted::cenote_counted_t;
use crate::error::{Status, fail, guard};
use crate::handle::{Kind, explain, kind_of, open};
use crate::pool::cenote_pool_t;

/// `cenote_write_fn`: what a snapshot is told to.
#[allow(non_camel_case_types, reason = "the name in C")]
pub type cenote_write_fn = Option<
    unsafe extern "C-unwind" fn(data: *mut c_void, text: *const c_char, length: usize) -> c_int,
>;

#[derive(Clone, Copy)]
enum Form {
    Text,
    Json,
}

/// What C programs see where the file and line of Rust callers stands.
const PLACE: &str = "C";

/// A document of `/pools.json`'s schema.
#[derive(Serialize)]
struct Accounts<'a> {
    schema: u32,
    accounts: Vec<Row<'a>>,
}

/// An account, or all of one path. What is inside their pools only the pools' threads may look at.
#[derive(Serialize)]
struct Row<'a> {
    path: &'a [String],
    live: usize,
    created: u64,
    held_bytes: usize,
    used_bytes: Option<usize>,
    peak_bytes: usize,
    limit_bytes: Option<usize>,
    refused: u64,
    blocks: Option<usize>,
    large: Option<usize>,
    cleanups: Option<usize>,
    created_at: &'a str,
}

impl<'a> Row<'a> {
    fn of(account: &'a AccountSnapshot) -> Self {
        // Those that were made through this crate.
        let here =
            account.created_at.starts_with(concat!(file!(), ":").trim_end_matches("snapshot.rs:"));
        Self {
            path: &account.path,
            live: account.live,
            created: account.created,
            held_bytes: account.held_bytes,
            used_bytes: None,
            peak_bytes: account.peak_bytes,
            limit_bytes: account.limit_bytes,
            refused: account.refused,
            blocks: None,
            large: None,
            cleanups: None,
            created_at: if here { PLACE } else { &account.created_at },
        }
    }
}

/// The snapshot of what any handle stands for.
///
/// # Safety
/// As for [`live`](crate::handle::live).
unsafe fn take(handle: *const c_void, form: Form) -> Result<String, Status> {
    macro_rules! pool {
        ($kind:ty, $name:literal) => {{
            // SAFETY: the caller's promise.
            let place = unsafe { open(handle.cast::<$kind>()) }?;
            let mut snapshot = place.value().snapshot();
            snapshot.name = place.name().unwrap_or_else(|| $name.to_owned());
            snapshot.created_at = PLACE.to_owned();
            print(&snapshot, form)
        }};
    }
    // SAFETY: the caller's promise.
    match unsafe { kind_of(handle.cast()) } {
        Some(cenote_pool_t::INDEX) => pool!(cenote_pool_t, "pool"),
        Some(cenote_counted_t::INDEX) => pool!(cenote_counted_t, "counted"),
        Some(cenote_chunk_t::INDEX) => pool!(cenote_chunk_t, "chunk pool"),
        Some(cenote_buddy_t::INDEX) => pool!(cenote_buddy_t, "buddy"),
        // SAFETY: the caller's promise.
        None => Err(unsafe { explain(handle.cast(), usize::MAX) }),
        Some(_) => {
            // SAFETY: the caller's promise.
            let account = unsafe { open(handle.cast::<cenote_account_t>()) }?;
            let snapshot = account.value().snapshot().merged();
            match form {
                Form::Text => Ok(snapshot.to_string()),
                Form::Json => {
                    let accounts = snapshot.all().map(Row::of).collect();
                    json(&Accounts { schema: 1, accounts })
                }
            }
        }
    }
}

fn print(snapshot: &(impl Serialize + Display), form: Form) -> Result<String, Status> {
    match form {
        Form::Text => Ok(snapshot.to_string()),
        Form::Json => json(snapshot),
    }
}

fn json(document: &impl Serialize) -> Result<String, Status> {
    serde_json::to_string(document)
        .map_err(|error| fail(Status::Internal, format_args!("no JSON could be made: {error}")))
}

/// # Safety
/// As for `cenote_snapshot_text`.
unsafe fn fill(handle: *const c_void, form: Form, buffer: *mut c_char, size: usize) -> usize {
    guard(0, || {
        // SAFETY: the caller's promise.
        let text = unsafe { take(handle, form) }.unwrap_or_default();
        if !buffer.is_null() && size > 0 {
            let most = text.len().min(size - 1);
            let length = (0..=most).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            // SAFETY: the caller's promise; less than the buffer's size.
            unsafe { ptr::copy_nonoverlapping(text.as_ptr().cast(), buffer, length) };
            // SAFETY: likewise.
            let end = unsafe { buffer.add(length) };
            // SAFETY: likewise.
            unsafe { end.write(0) };
        }
        text.len()
    })
}

/// # Safety
/// As for `cenote_snapshot_text_to`.
unsafe fn tell(
    handle: *const c_void,
    form: Form,
    write: cenote_write_fn,
    data: *mut c_void,
) -> c_int {
    let status = guard(Status::Internal, || {
        // SAFETY: the caller's promise.
        let text = match unsafe { take(handle, form) } {
            Ok(text) => text,
            Err(status) => return status,
        };
        let Some(write) = write else {
            return fail(Status::Config, format_args!("the function to write with is NULL"));
        };
        // SAFETY: the caller's promise. No pool is borrowed any more: it may use any.
        match unsafe { write(data, text.as_ptr().cast(), text.len()) } {
            0 => Status::Ok,
            code => {
                fail(Status::Stopped, format_args!("the function to write with returned {code}"))
            }
        }
    });
    status.into()
}

/// `size_t cenote_snapshot_text(const void *handle, char *buffer, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_snapshot_text(
    handle: *const c_void,
    buffer: *mut c_char,
    size: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { fill(handle, Form::Text, buffer, size) }
}

/// `size_t cenote_snapshot_json(const void *handle, char *buffer, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_snapshot_json(
    handle: *const c_void,
    buffer: *mut c_char,
    size: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { fill(handle, Form::Json, buffer, size) }
}

/// `int cenote_snapshot_text_to(const void *handle, cenote_write_fn write, void *data)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_snapshot_text_to(
    handle: *const c_void,
    write: cenote_write_fn,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { tell(handle, Form::Text, write, data) }
}

/// `int cenote_snapshot_json_to(const void *handle, cenote_write_fn write, void *data)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_snapshot_json_to(
    handle: *const c_void,
    write: cenote_write_fn,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { tell(handle, Form::Json, write, data) }
}
