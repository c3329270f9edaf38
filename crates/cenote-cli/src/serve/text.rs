//! Text as it stands in pages, links and headers.

use std::fmt;

/// Counts what would be written, so that what it is written to can be made large enough in one
/// step.
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
        let mut rest = self.0;
        // The unreserved characters of RFC 3986, and the separator.
        let plain =
            |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'/');
        while !rest.is_empty() {
            let (run, other) = rest.split_at(rest.iter().take_while(|b| plain(b)).count());
            f.write_str(str::from_utf8(run).map_err(|_| fmt::Error)?)?;
            rest = match other {
                [byte, rest @ ..] => {
                    write!(f, "%{byte:02X}")?;
                    rest
                }
                [] => other,
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
