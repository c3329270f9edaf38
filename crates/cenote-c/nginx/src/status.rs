//! The status page: this worker's pools by who made them, as text and as JSON.
//!
//! Figures only; no page shows what is in a pool. The request that asks counts itself.

use crate::abi::Pool;
use crate::block::{Live, SYSTEM};
use crate::creator::{self, Figures};
use crate::pool;
use cenote::inspect::Bytes;
use core::ffi::{c_int, c_void};
use core::fmt::{self, Write};
use core::ptr;
use serde::Serialize;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The same document as cenote's server has at `/pools.json`, with the size that pools were asked
/// for in addition.
#[derive(Serialize)]
struct Document {
    schema: u32,
    accounts: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    path: Vec<String>,
    /// What the pools were asked for; `null` in the worker's row.
    pool_bytes: Option<usize>,
    live: usize,
    created: usize,
    held_bytes: usize,
    /// Not known: pools in use on other threads cannot be looked into.
    used_bytes: Option<usize>,
    /// Of the worker: the most that was taken from the system, the blocks in its cache included.
    peak_bytes: usize,
    limit_bytes: Option<usize>,
    refused: usize,
    blocks: usize,
    large: usize,
    cleanups: usize,
    created_at: String,
}

/// Writes the figures into memory of a pool; `length` is how many bytes they are. Null where that
/// was not possible. `json` is not 0: as JSON, else as text.
///
/// # Safety
/// A live pool, and a place for the length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_nginx_status(
    request: *mut Pool,
    worker: usize,
    json: c_int,
    length: *mut usize,
) -> *mut c_void {
    let written = catch_unwind(AssertUnwindSafe(|| {
        let rows = rows(worker);
        if json != 0 {
            serde_json::to_string(&Document { schema: 1, accounts: rows }).unwrap_or_default()
        } else {
            Text(&rows).to_string()
        }
    }));
    let Ok(text) = written else { return ptr::null_mut() };
    // SAFETY: the caller's promise.
    let pool = unsafe { Live::new(request) };
    let copy = pool::alloc(pool, text.len(), 1);
    if copy.is_null() || text.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: so many bytes were just taken.
    unsafe { copy.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
    // SAFETY: the caller's promise.
    unsafe { length.write(text.len()) };
    copy.cast()
}

/// The worker, then each place and size, what holds most first.
fn rows(worker: usize) -> Vec<Row> {
    let mut figures: Vec<Figures> = creator::all().collect();
    figures.sort_by_key(|place| (core::cmp::Reverse(place.held), place.caller, place.size));
    let sum = |figure: fn(&Figures) -> usize| figures.iter().map(figure).sum::<usize>();
    let above = vec!["nginx".to_owned(), format!("worker-{worker}")];
    let mut rows = vec![Row {
        path: above.clone(),
        pool_bytes: None,
        live: sum(|place| place.live),
        created: sum(|place| place.created),
        held_bytes: sum(|place| place.held),
        used_bytes: None,
        peak_bytes: SYSTEM.peak(),
        limit_bytes: None,
        refused: sum(|place| place.refused),
        blocks: sum(|place| place.blocks),
        large: sum(|place| place.large),
        cleanups: sum(|place| place.cleanups),
        created_at: format!("pid {}", std::process::id()),
    }];
    rows.extend(figures.iter().map(|place| {
        let (name, created_at) = site(place.caller);
        let mut path = above.clone();
        path.push(name);
        Row {
            path,
            pool_bytes: Some(place.size),
            live: place.live,
            created: place.created,
            held_bytes: place.held,
            used_bytes: None,
            peak_bytes: place.peak,
            limit_bytes: None,
            refused: place.refused,
            blocks: place.blocks,
            large: place.large,
            cleanups: place.cleanups,
            created_at,
        }
    }));
    // What was read of the program to name the places is not kept: a worker stays small.
    backtrace::clear_symbol_cache();
    rows
}

/// The function that a pool was made in, and its file and line; as much of it as the program's
/// symbols tell.
fn site(caller: usize) -> (String, String) {
    if caller == 0 {
        return ("others".to_owned(), String::new());
    }
    let (mut name, mut place) = (None, None);
    // The call is the instruction before the one that it returns to.
    let address = ptr::without_provenance_mut::<c_void>(caller.wrapping_sub(1));
    backtrace::resolve(address, |symbol| {
        // The innermost function of those that were inlined there comes first.
        if name.is_none() {
            name = symbol.name().map(|found| found.to_string());
        }
        if place.is_none()
            && let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno())
        {
            place = Some(format!("{}:{line}", short(file)));
        }
    });
    let name = name.unwrap_or_else(|| format!("{caller:#x}"));
    (name, place.unwrap_or_else(|| format!("{caller:#x}")))
}

/// A path from nginx's `src` on, where it leads through one.
fn short(file: &Path) -> Cow<'_, str> {
    let parts: Vec<_> = file.components().collect();
    match parts.iter().rposition(|part| part.as_os_str() == "src") {
        Some(at) => {
            Cow::Owned(parts[at..].iter().collect::<std::path::PathBuf>().display().to_string())
        }
        None => file.to_string_lossy(),
    }
}

/// The rows as a table.
struct Text<'a>(&'a [Row]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<40} {:>8} {:>8} {:>10} {:>10} {:>10} {:>7} {:>6} {:>8} {:>7}  made at",
            "creator",
            "size",
            "live",
            "created",
            "held",
            "peak",
            "blocks",
            "large",
            "cleanups",
            "refused"
        )?;
        for row in self.0 {
            let indent = 2 * row.path.len().saturating_sub(2);
            let name = row.path.last().map_or("", String::as_str);
            write!(f, "{:indent$}{name:<1$} ", "", 40 - indent)?;
            match row.pool_bytes {
                Some(bytes) => write!(f, "{bytes:>8}")?,
                None => f.write_str("       -")?,
            }
            writeln!(
                f,
                " {:>8} {:>10} {:>10} {:>10} {:>7} {:>6} {:>8} {:>7}  {}",
                row.live,
                row.created,
                Bytes(row.held_bytes),
                Bytes(row.peak_bytes),
                row.blocks,
                row.large,
                row.cleanups,
                row.refused,
                row.created_at
            )?;
        }
        f.write_char('\n')?;
        f.write_str("Bytes: what pools take, large objects included. Append ?json for JSON.\n")
    }
}
