//! What can be set from outside, by one variable: `CENOTE_MALLOC=purge_ms:1000,background:0`.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

unsafe extern "C" {
    /// `getenv`, but for programs that run with another's rights, which have none.
    fn secure_getenv(name: *const libc::c_char) -> *mut libc::c_char;
}

const NAME: &CStr = c"CENOTE_MALLOC";

/// Milliseconds until memory that nobody uses is given back.
static PURGE_MS: AtomicU64 = AtomicU64::new(1000);
/// Whether a thread of our own gives it back where no call does.
static BACKGROUND: AtomicBool = AtomicBool::new(true);
/// Whether all goes to the system's allocator under valgrind.
static PASS: AtomicBool = AtomicBool::new(true);
/// Whether freed objects are overwritten.
static SECURE: AtomicBool = AtomicBool::new(false);

pub(crate) fn purge_ms() -> u64 {
    PURGE_MS.load(Relaxed)
}

pub(crate) fn background() -> bool {
    BACKGROUND.load(Relaxed)
}

pub(crate) fn pass() -> bool {
    PASS.load(Relaxed)
}

#[inline(always)]
pub(crate) fn secure() -> bool {
    SECURE.load(Relaxed)
}

/// Reads the variable. Called once, before anything is allocated; says on standard error what is
/// wrong in it, and goes on.
pub(crate) fn read() {
    // SAFETY: a name that ends with 0. Programs that change the environment at the same time are as
    // wrong here as with the C library's own allocator.
    let text = unsafe { secure_getenv(NAME.as_ptr()) };
    if text.is_null() {
        return;
    }
    // SAFETY: what the environment has ends with 0, and is not changed now.
    let text = unsafe { CStr::from_ptr(text) };
    for option in text.to_bytes().split(|byte| *byte == b',').filter(|option| !option.is_empty()) {
        let mut parts = option.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or(&[]);
        let number = number(parts.next().unwrap_or(&[]));
        match (name, number) {
            (b"purge_ms", Some(ms)) => PURGE_MS.store(ms.max(1), Relaxed),
            (b"background", Some(flag @ 0..=1)) => BACKGROUND.store(flag == 1, Relaxed),
            (b"pass", Some(flag @ 0..=1)) => PASS.store(flag == 1, Relaxed),
            (b"secure", Some(flag @ 0..=1)) => SECURE.store(flag == 1, Relaxed),
            (b"huge", Some(1)) => crate::pages::allow_huge(),
            (b"huge", Some(0)) => {}
            _ => crate::sys::write_error(
                b"cenote-global: CENOTE_MALLOC has an option that is none: it may have \
                  purge_ms:N, background, secure, huge and pass, each :0 or :1, with commas between\n",
            ),
        }
    }
}

fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        assert_eq!(number(b"1000"), Some(1000));
        assert_eq!(number(b"0"), Some(0));
        let wrong: [&[u8]; 5] = [b"", b"-1", b"1s", b" 1", b"99999999999999999999"];
        assert!(wrong.iter().all(|text| number(text).is_none()));
    }
}
