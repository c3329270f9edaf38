//! Text and lists that grow in a pool, and say who refused when they cannot.
//!
//! Text is a [`Buffer`]. A plain `Vec` in a pool aborts the process when an infallible `push` finds
//! no memory, and its fallible calls do not tell which account was at its limit; [`reserve`] does.

use std::fmt;

use allocator_api2::vec::Vec;
use cenote::{AllocError, Buffer, Pool};

/// Makes room for `more` further elements, or returns the pool's own reason for having none.
pub(crate) fn reserve<T>(list: &mut Vec<T, &Pool>, more: usize) -> Result<(), AllocError> {
    if list.capacity() - list.len() >= more || list.try_reserve(more).is_ok() {
        return Ok(());
    }
    // `try_reserve` asks for twice the capacity; near a limit what is needed may still fit.
    if list.try_reserve_exact(more).is_ok() {
        return Ok(());
    }
    // The allocator trait has no word for the reason, so the pool is asked for the same memory in
    // its own terms.
    let bytes = list.len().saturating_add(more).saturating_mul(size_of::<T>());
    match list.allocator().try_alloc_bytes(bytes) {
        Err(error) => Err(error),
        // Memory came back between the two calls.
        Ok(_) => list.try_reserve_exact(more).map_err(|_| AllocError::out_of_memory(bytes)),
    }
}

/// Runs `write` on a text as a formatter, whose errors cannot say what happened, and returns what
/// did.
pub(crate) fn try_write<E>(
    text: &mut Buffer,
    write: impl FnOnce(&mut Buffer) -> Result<(), E>,
) -> Result<(), AllocError> {
    let _ = text.take_failure();
    write(text)
        .map_err(|_| text.take_failure().unwrap_or_else(|| AllocError::out_of_memory(text.len())))
}

/// Counts what would be written, so that a [`Buffer`] can be made large enough in one step.
#[derive(Default)]
pub(crate) struct Length(pub(crate) usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Bytes as HTML text or attribute value: markup escaped, what is not UTF-8 shown as U+FFFD.
pub(crate) struct Html<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
                f.write_str(&rest[..at])?;
                f.write_str(match rest.as_bytes()[at] {
                    b'&' => "&amp;",
                    b'<' => "&lt;",
                    b'>' => "&gt;",
                    b'"' => "&quot;",
                    _ => "&#39;",
                })?;
                rest = &rest[at + 1..];
            }
            f.write_str(rest)?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

/// A path, percent-encoded so that it is safe in a link and in a header; slashes stay.
pub(crate) struct Link<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            // The unreserved characters of RFC 3986, and the separator.
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
                fmt::Write::write_char(f, byte.into())?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cenote::Account;
    use std::fmt::Write;

    #[test]
    fn a_text_past_its_limit_names_the_account() {
        let account = Account::root("letters").with_limit(Some(4096));
        let pool = Pool::on(&account);
        let mut text = Buffer::new(&pool);
        let error =
            try_write(&mut text, |out| (0..1000).try_for_each(|n| writeln!(out, "line {n}")))
                .unwrap_err();
        assert_eq!(
            error.account().map(|account| account.name().to_owned()),
            Some("letters".to_owned())
        );
        assert!(text.starts_with(b"line 0\nline 1\n"));
    }

    #[test]
    fn html_is_escaped_and_links_are_encoded() {
        assert_eq!(
            Html(b"<a href='x'>&\"\xff").to_string(),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\u{fffd}"
        );
        assert_eq!(Html("é".as_bytes()).to_string(), "é");
        assert_eq!(Link(b"a b/\xff?#%\"<.txt").to_string(), "a%20b/%FF%3F%23%25%22%3C.txt");
    }
}
