//! What the server's own pages have in common: frame, style, and the headers that let them do
//! nothing else.

use std::fmt::{self, Write};

use hyper::header::{self, HeaderMap, HeaderValue};

const STYLE: &str = include_str!("../../assets/page.css");

/// Pages may use their own style, known by its hash, and nothing else: no script, no image, no
/// form, no frame.
const POLICY: &str = concat!(
    "default-src 'none'; style-src 'sha256-aasfEfh7BCJHOCT5OMTpcYVKKNWt7qwrl0IqxVelBB4='; ",
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
);

/// The headers of a page.
pub(crate) fn headers(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
}

/// The beginning of a page; `title` is HTML.
pub(crate) fn start(out: &mut dyn Write, title: fmt::Arguments<'_>) -> fmt::Result {
    out.write_str("<!doctype html>\n<html lang=en><meta charset=utf-8>\n")?;
    out.write_str("<meta name=viewport content=\"width=device-width\">\n")?;
    writeln!(out, "<title>{title}</title>\n<style>{STYLE}</style>\n<main>")
}

/// The end of a page.
pub(crate) fn end(out: &mut dyn Write) -> fmt::Result {
    out.write_str("</main></html>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn base64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let group = chunk
                .iter()
                .chain([&0, &0])
                .take(3)
                .fold(0_usize, |group, &byte| group << 8 | usize::from(byte));
            for place in 0..4 {
                let digit = char::from(ALPHABET[group >> (18 - 6 * place) & 63]);
                text.push(if place <= chunk.len() { digit } else { '=' });
            }
        }
        text
    }

    #[test]
    fn the_policy_names_the_style_that_pages_have() {
        assert_eq!(base64(b"ab"), "YWI=");
        let hash = base64(&Sha256::digest(STYLE));
        assert!(POLICY.contains(&format!("'sha256-{hash}'")), "the style's hash is {hash}");
    }
}
