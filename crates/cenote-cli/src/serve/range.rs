//! The `Range` header: which parts of a file are asked for (RFC 9110, section 14).
//!
//! Not by `http-range-header`: 0.4.2 refuses what the standard has a server send
//! (`findings/http-range-header-…`).

/// More parts than this and the whole file is sent: a request should not cost much more than its
/// answer.
const MOST: usize = 16;

/// What a `Range` header asks for, of a file of a given length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack, for the length of a call")]
pub(crate) enum Wanted {
    /// The whole file: no ranges, or none that are understood, which is the same by the standard.
    Whole,
    /// These parts, in the order asked for: at least one.
    Parts(Parts),
    /// Only parts that the file does not have.
    Nothing,
}

/// A few parts of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    list: [Part; MOST],
    count: usize,
}

/// A part of a file, in bytes; never empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl Part {
    /// The last byte, as `Content-Range` counts.
    pub(crate) fn last(&self) -> u64 {
        self.start + self.length - 1
    }
}

impl Parts {
    pub(crate) fn as_slice(&self) -> &[Part] {
        &self.list[..self.count]
    }
}

/// Reads the value of a `Range` header for a file of `size` bytes. Of an empty file, a range that
/// begins where it does is the whole of it, as in nginx: it has no part to give.
pub(crate) fn parse(value: &str, size: u64) -> Wanted {
    let Some((unit, list)) = value.split_once('=') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut parts = Parts { list: [Part::default(); MOST], count: 0 };
    let mut asked = 0;
    let mut total = 0_u64;
    for spec in list.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        asked += 1;
        if asked > MOST {
            return Wanted::Whole;
        }
        match part(spec, size) {
            // One that is malformed spoils the header.
            None => return Wanted::Whole,
            Some(None) if size == 0 && begins_at_zero(spec) => return Wanted::Whole,
            Some(None) => {}
            Some(Some(part)) => {
                total = total.saturating_add(part.length);
                parts.list[parts.count] = part;
                parts.count += 1;
            }
        }
    }
    match parts.count {
        0 if asked == 0 => Wanted::Whole,
        0 => Wanted::Nothing,
        // Overlapping parts that add up to more than the file: an old way to make servers work for
        // nothing.
        _ if total > size => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

/// One range: `None` if malformed, `Some(None)` if the file has no such part.
fn part(spec: &str, size: u64) -> Option<Option<Part>> {
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some((length > 0).then(|| Part { start: size - length, length }));
    }
    let start = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < start {
        return None;
    }
    Some((start < size).then(|| Part { start, length: last.min(size - 1) - start + 1 }))
}

/// Whether a range that is well formed begins at the beginning of a file that is empty.
fn begins_at_zero(spec: &str) -> bool {
    let first = spec.split_once('-').map_or("", |(first, _)| first.trim());
    first.is_empty() || number(first) == Some(0)
}

/// Digits only (`parse` would take a plus sign); a number too large to count is as good as the
/// largest.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value: &str, size: u64) -> Vec<(u64, u64)> {
        match parse(value, size) {
            Wanted::Parts(parts) => {
                parts.as_slice().iter().map(|part| (part.start, part.last())).collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn ranges_are_clipped_to_the_file() {
        for (value, expected) in [
            ("bytes=0-0", vec![(0, 0)]),
            ("bytes=0-", vec![(0, 99)]),
            ("bytes=90-1000", vec![(90, 99)]),
            ("bytes=-5", vec![(95, 99)]),
            ("bytes=-500", vec![(0, 99)]),
            ("BYTES = 1-2 , 5-6", vec![(1, 2), (5, 6)]),
            ("bytes=0-1,200-300,-1", vec![(0, 1), (99, 99)]),
            ("bytes=10-99999999999999999999999", vec![(10, 99)]),
        ] {
            assert_eq!(parts(value, 100), expected, "{value}");
        }
    }

    #[test]
    fn ranges_beyond_the_file_are_not_satisfiable() {
        for (value, size) in [
            ("bytes=100-", 100),
            ("bytes=-0", 100),
            ("bytes=5-", 0),
            ("bytes=1-2,3-4", 0),
            ("bytes=200-300,-0", 100),
        ] {
            assert_eq!(parse(value, size), Wanted::Nothing, "{value}");
        }
    }

    #[test]
    fn a_range_from_the_beginning_of_an_empty_file_is_all_of_it() {
        for value in ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=-0", "bytes=7-8,0-1"] {
            assert_eq!(parse(value, 0), Wanted::Whole, "{value}");
        }
    }

    #[test]
    fn ranges_that_make_no_sense_are_ignored() {
        let many = format!("bytes={}", ["0-0"; 17].join(","));
        for value in [
            "",
            "bytes",
            "bytes=",
            "lines=1-2",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1",
            "bytes=0-1,x",
            "bytes=0-,0-",
            &many,
        ] {
            assert_eq!(parse(value, 100), Wanted::Whole, "{value}");
        }
    }
}
