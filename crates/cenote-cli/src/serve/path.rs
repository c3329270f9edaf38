//! From the path of a request to the bytes of a file's path, in the request's pool.

use cenote::{Buffer, Pool};
use hyper::StatusCode;

use super::errors::Fault;

/// The longest path that is looked at: what the system takes (`PATH_MAX`).
const LONGEST: usize = 4096;

/// A path inside the served folder: decoded, without empty, `.` or `..` segments, and without a
/// leading slash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FilePath<'p> {
    /// Segments with one slash between them; empty for the served folder itself. Any bytes but NUL:
    /// file names need not be UTF-8.
    pub(crate) bytes: &'p [u8],
    /// Whether the client asked for a folder, with a slash at the end.
    pub(crate) folder: bool,
}

/// Decodes and checks the path of a request.
///
/// A `..` is refused and not resolved: browsers resolve it before they ask, so one that arrives is
/// an attempt to leave the folder. So is an encoded slash, since no file name has one.
pub(crate) fn decode<'p>(pool: &'p Pool, raw: &str) -> Result<FilePath<'p>, Fault> {
    let bad = |why| Fault::new(StatusCode::BAD_REQUEST, why);
    if raw.len() > LONGEST {
        return Err(Fault::new(StatusCode::URI_TOO_LONG, "the path is longer than 4096 bytes"));
    }
    let Some(raw) = raw.strip_prefix('/') else {
        return Err(bad("the path does not begin with a slash"));
    };
    // Decoding never makes a path longer, so this is the only allocation.
    let mut out = Buffer::try_with_capacity(pool, raw.len())?;
    let mut folder = true;
    for segment in raw.split('/') {
        folder = matches!(segment, "" | "." | "%2e" | "%2E");
        let start = out.len();
        if start > 0 && !folder {
            out.try_extend_from_slice(b"/")?;
        }
        let name = out.len();
        let mut rest = segment.as_bytes();
        while let [byte, tail @ ..] = rest {
            let byte = match (byte, tail) {
                (b'%', [high, low, tail @ ..]) => {
                    rest = tail;
                    match (hex(*high), hex(*low)) {
                        (Some(high), Some(low)) => high << 4 | low,
                        _ => {
                            return Err(bad(
                                "the path has a `%` that is not followed by two hexadecimal digits",
                            ));
                        }
                    }
                }
                (b'%', _) => {
                    return Err(bad(
                        "the path has a `%` that is not followed by two hexadecimal digits",
                    ));
                }
                _ => {
                    rest = tail;
                    *byte
                }
            };
            match byte {
                0 => return Err(bad("the path has a NUL")),
                b'/' if !folder => return Err(bad("the path has an encoded slash")),
                _ if folder => {}
                byte => out.try_extend_from_slice(&[byte])?,
            }
        }
        if &out[name..] == b".." {
            return Err(bad("the path has a `..`"));
        }
    }
    Ok(FilePath { bytes: out.into_slice(), folder })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| value.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(raw: &str) -> Result<(Vec<u8>, bool), u16> {
        let pool = Pool::new();
        match decode(&pool, raw) {
            Ok(path) => Ok((path.bytes.to_vec(), path.folder)),
            Err(fault) => Err(fault.status().as_u16()),
        }
    }

    #[test]
    fn paths_become_bytes_without_needless_segments() {
        for (raw, bytes, folder) in [
            ("/", &b""[..], true),
            ("//", b"", true),
            ("/a", b"a", false),
            ("/a/", b"a", true),
            ("//a//b", b"a/b", false),
            ("/./a/./b/.", b"a/b", true),
            ("/%2e/a", b"a", false),
            ("/a%20b", b"a b", false),
            ("/%ff", b"\xff", false),
            ("/caf%C3%A9", "café".as_bytes(), false),
            ("/...", b"...", false),
            ("/..a", b"..a", false),
            ("/a\\..\\b", b"a\\..\\b", false),
        ] {
            assert_eq!(decoded(raw), Ok((bytes.to_vec(), folder)), "{raw}");
        }
    }

    #[test]
    fn paths_that_cannot_be_names_are_refused() {
        for raw in [
            "",
            "a",
            "*",
            "/..",
            "/../etc/passwd",
            "/a/../b",
            "/%2e%2e/x",
            "/.%2E",
            "/a%2fb",
            "/a%2F..%2Fb",
            "/%00",
            "/a%00.txt",
            "/%",
            "/%4",
            "/%zz",
            "/a%",
        ] {
            assert_eq!(decoded(raw), Err(400), "{raw}");
        }
        assert_eq!(decoded(&format!("/{}", "a".repeat(LONGEST))), Err(414));
    }
}
