//! Sizes (`64KiB`) and durations (`10s`) as people write them on a command line: exact, or a clear
//! refusal.

use std::time::Duration;

/// Reads a size in bytes: `4096`, `64KiB`, `1 MiB`, `10MB`.
///
/// `KiB`, `MiB`, `GiB` and `TiB` are powers of 1024, `kB`, `MB`, `GB` and `TB` powers of 1000; a
/// bare letter (`64K`) means the power of 1024, as in nginx. Case does not matter. Fractions are
/// refused, since a limit should be the number that was written.
///
/// # Errors
/// A sentence that says what was wrong, ready to be printed after the name of the option.
pub fn parse_size(text: &str) -> Result<usize, String> {
    const FORM: &str = "expected a whole number of bytes such as 4096, 64KiB or 1MiB";
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("`{text}` is not a size: {FORM}"));
    }
    let unit = unit.trim();
    let scale: usize = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("`{text}` is not a size: {FORM}")),
    };
    let bytes = number.parse::<usize>().ok().and_then(|n| n.checked_mul(scale));
    match bytes {
        Some(0) => {
            Err("a limit of 0 bytes would refuse everything; leave the option out for no limit"
                .to_owned())
        }
        // Larger than any object can be: surely a slip of the finger.
        Some(bytes) if bytes <= isize::MAX as usize => Ok(bytes),
        _ => Err(format!("`{text}` is more than this machine can address")),
    }
}

/// Reads a number of things, at least one.
///
/// # Errors
/// A sentence that says what was wrong.
pub fn parse_count(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(0) => Err("with none at all nobody would be served".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err(format!("`{text}` is not a number: expected one such as 1000")),
    }
}

/// A size, or a part of the memory that the container, or else the machine, has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many bytes.
    Bytes(usize),
    /// More than 0, and at most 1.
    Part(f64),
}

impl From<usize> for Limit {
    fn from(bytes: usize) -> Self {
        Self::Bytes(bytes)
    }
}

/// Reads a size as [`parse_size`] does, or a part as `80%`.
///
/// # Errors
/// A sentence that says what was wrong.
pub fn parse_limit(text: &str) -> Result<Limit, String> {
    let Some(number) = text.trim().strip_suffix('%') else {
        return parse_size(text).map(Limit::Bytes);
    };
    match number.trim_end().parse::<u8>() {
        Ok(percent @ 1..=100) => Ok(Limit::Part(f64::from(percent) / 100.0)),
        _ => Err(format!(
            "`{text}` is not a part of the memory: expected a whole number from 1% to 100%"
        )),
    }
}

/// Reads a length of time: `10` (seconds), `500ms`, `2m`, `1h 30m` and whatever else
/// [`humantime`] reads.
///
/// # Errors
/// A sentence that says what was wrong.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let length = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => humantime::parse_duration(text).map_err(|error| {
            format!("`{text}` is not a time: {error}; expected one such as 10s, 500ms or 2m")
        })?,
    };
    if length.is_zero() {
        return Err("a time of zero would close every connection at once".to_owned());
    }
    Ok(length)
}

/// A size as the listing shows it: three digits at most and a binary unit, `1.4 MiB`.
#[derive(Clone, Copy, Debug)]
pub struct ShortSize(pub u64);

impl std::fmt::Display for ShortSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        // Tenths of a unit in integers: a file of 1023.96 KiB is 1.0 MiB, not 1024.0 KiB.
        let mut tenths = (u128::from(self.0) * 10 + 512) >> 10;
        let mut unit = 0;
        while tenths >= 10_000 && unit + 1 < UNITS.len() {
            tenths = (tenths + 512) >> 10;
            unit += 1;
        }
        if tenths < 1000 {
            write!(f, "{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
        } else {
            write!(f, "{} {}", (tenths + 5) / 10, UNITS[unit])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_exactly() {
        for (text, bytes) in [
            ("1", 1),
            ("4096", 4096),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("64k", 65_536),
            ("16kB", 16_000),
            ("1MiB", 1 << 20),
            ("3G", 3 << 30),
            (" 2TiB ", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "",
            "KiB",
            "-1",
            "1.5MiB",
            "12 parsecs",
            "0",
            "0KiB",
            "99999999999999999999",
            "9999999999TiB",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_is_a_size_or_a_part() {
        for (text, limit) in [
            ("64k", Limit::Bytes(65_536)),
            ("80%", Limit::Part(0.8)),
            (" 1 % ", Limit::Part(0.01)),
            ("100%", Limit::Part(1.0)),
        ] {
            assert_eq!(parse_limit(text), Ok(limit), "{text}");
        }
        for text in ["", "%", "0%", "101%", "-1%", "0.8", "12.5%", "80%%", "8e1%", "80 percent"] {
            let error = parse_limit(text).unwrap_err();
            assert!(error.contains("expected"), "{error}");
        }
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration(" 2m "), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        for text in ["", "s", "0", "0s", "-3s", "5 parsecs", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        let error = parse_duration("5 parsecs").expect_err("no time");
        assert!(error.contains("parsecs") && error.contains("500ms"), "{error}");
    }

    #[test]
    fn short_sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (102_400, "100 KiB"),
            (1_048_575, "1.0 MiB"),
            (20 << 20, "20.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(ShortSize(bytes).to_string(), text);
        }
    }
}
