//! Content types: by the name of a file, and by a look at its beginning where the name says
//! nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// The charset of all that is text.
pub(crate) const UTF8: &str = "; charset=utf-8";

/// The media type of a file, and the charset to go with it.
pub(crate) fn of(path: &[u8], file: &File) -> (&'static str, &'static str) {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    let extension = name
        .iter()
        .rposition(|&byte| byte == b'.')
        .filter(|&dot| dot > 0)
        .map(|dot| &name[dot + 1..]);
    let known = extension
        .and_then(|extension| std::str::from_utf8(extension).ok())
        .and_then(|extension| mime_guess::from_ext(extension).first_raw());
    match known {
        Some(kind) => {
            let text = kind.starts_with("text/")
                || matches!(kind, "application/javascript" | "application/xml" | "image/svg+xml");
            (kind, if text { UTF8 } else { "" })
        }
        // README, LICENSE, .gitignore and the like: shown, not downloaded.
        None if looks_like_text(file) => ("text/plain", UTF8),
        None => ("application/octet-stream", ""),
    }
}

fn looks_like_text(file: &File) -> bool {
    let mut head = [0; 512];
    let Ok(count) = file.read_at(&mut head, 0) else {
        return false;
    };
    let head = &head[..count];
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The look may end in the middle of a character.
        Err(error) => error.error_len().is_none() && count == 512,
    };
    valid
        && !head
            .iter()
            .any(|&byte| byte < 0x20 && !matches!(byte, b'\n' | b'\r' | b'\t' | 0x0c | 0x1b))
}
