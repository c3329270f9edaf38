//! What went wrong last on this thread, as a code and as text; and the wall that panics stop at.
//!
//! The text is kept in a thread-local of fixed size without destructor: noting a failure needs
//! no memory, and works to the very end of a thread.

use core::cell::{Cell, UnsafeCell};
use core::ffi::{c_char, c_int};
use core::fmt::{self, Write};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cenote::misuse::BadFreeKind;
use cenote::{AllocError, ConfigError, RegionError};

/// What a call returns, as `enum cenote_status` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Status {
    Ok = 0,
    Declined = 1,
    Memory = -1,
    Limit = -2,
    Size = -3,
    Config = -4,
    Handle = -5,
    Busy = -6,
    NotFound = -7,
    Stopped = -8,
    Internal = -9,
    Foreign = -20,
    Interior = -21,
    Double = -22,
    Empty = -23,
    Header = -24,
    Layout = -25,
    Overrun = -26,
    Written = -27,
}

impl Status {
    pub(crate) fn of(kind: BadFreeKind) -> Self {
        match kind {
            BadFreeKind::Interior => Self::Interior,
            BadFreeKind::Double => Self::Double,
            BadFreeKind::Empty => Self::Empty,
            BadFreeKind::Header => Self::Header,
            BadFreeKind::Layout => Self::Layout,
            BadFreeKind::Overrun => Self::Overrun,
            BadFreeKind::Written => Self::Written,
            _ => Self::Foreign,
        }
    }
}

impl From<Status> for c_int {
    fn from(status: Status) -> c_int {
        status as c_int
    }
}

/// Bytes of a message, its end included.
const ROOM: usize = 512;

struct Last {
    status: Cell<Status>,
    text: UnsafeCell<[u8; ROOM]>,
}

std::thread_local! {
    static LAST: Last =
        const { Last { status: Cell::new(Status::Ok), text: UnsafeCell::new([0; ROOM]) } };
}

/// Notes a failure, and returns its status.
#[cold]
pub(crate) fn fail(status: Status, message: fmt::Arguments<'_>) -> Status {
    // Written aside: what is formatted is the library's, but it may be formatted from anything.
    let mut text = Text { bytes: [0; ROOM], length: 0 };
    let _ = text.write_fmt(message);
    LAST.with(|last| {
        last.status.set(status);
        // SAFETY: the thread's own, and nobody on it refers to it from Rust; C may read it until
        // the next failure, as the header says.
        unsafe { *last.text.get() = text.bytes };
    });
    status
}

/// Notes why there is no memory.
#[cold]
pub(crate) fn refused(error: &AllocError) -> Status {
    let status = if error.account().is_some() {
        Status::Limit
    } else if error.is_too_large() {
        Status::Size
    } else {
        Status::Memory
    };
    fail(status, format_args!("{error}"))
}

/// Notes why a pool cannot be so.
#[cold]
pub(crate) fn misconfigured(error: &ConfigError) -> Status {
    fail(Status::Config, format_args!("{error}"))
}

/// Notes why there is no region.
#[cold]
pub(crate) fn no_region(error: &RegionError) -> Status {
    match error {
        RegionError::Alloc(error) => refused(error),
        error => fail(Status::Config, format_args!("{error}")),
    }
}

/// Calls `f`, and makes a panic in it a failure: nothing unwinds into C.
#[inline(always)]
pub(crate) fn guard<T>(otherwise: T, f: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => value,
        Err(payload) => {
            panicked(payload);
            otherwise
        }
    }
}

/// Notes a panic.
#[cold]
pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Status {
    let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "of unknown kind",
    };
    let status = fail(Status::Internal, format_args!("a panic was caught: {text}"));
    // Its destructor is unknown code, and not worth another panic.
    std::mem::forget(payload);
    status
}

/// Text of at most so many bytes, cut between characters, always with an end.
struct Text {
    bytes: [u8; ROOM],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for character in more.chars() {
            let character = if character == '\0' { '?' } else { character };
            if self.length + character.len_utf8() >= ROOM {
                return Err(fmt::Error);
            }
            self.length += character.encode_utf8(&mut self.bytes[self.length..]).len();
        }
        Ok(())
    }
}

/// What was noted last, to be shown to somebody who may have more noted meanwhile.
pub(crate) fn last() -> [u8; ROOM] {
    // SAFETY: the thread's own, and nobody on it refers to it from Rust.
    LAST.with(|last| unsafe { *last.text.get() })
}

/// `const char *cenote_last_error(void)`
#[unsafe(no_mangle)]
pub extern "C" fn cenote_last_error() -> *const c_char {
    LAST.with(|last| last.text.get().cast_const().cast())
}

/// `int cenote_last_status(void)`
#[unsafe(no_mangle)]
pub extern "C" fn cenote_last_status() -> c_int {
    LAST.with(|last| last.status.get()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn told() -> String {
        // SAFETY: never null, ends with a NUL, and not written before it is copied here.
        unsafe { CStr::from_ptr(cenote_last_error()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn before_any_failure_the_text_is_empty() {
        std::thread::spawn(|| {
            assert_eq!((told().as_str(), cenote_last_status()), ("", 0));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_long_message_is_cut_between_characters_and_ends() {
        fail(Status::Size, format_args!("{}", "\u{20ac}".repeat(1000)));
        assert_eq!(told(), "\u{20ac}".repeat(170));
        fail(Status::Config, format_args!("a\0b"));
        assert_eq!((told().as_str(), cenote_last_status()), ("a?b", -4));
    }

    #[test]
    fn a_panic_becomes_a_failure() {
        assert_eq!(guard(7, || panic!("number {}", 3)), 7);
        assert_eq!(told(), "a panic was caught: number 3");
        assert_eq!(cenote_last_status(), Status::Internal as c_int);
    }
}
