//! Whether a client already has what it asks for: validators and preconditions (RFC 9110, section
//! 13).

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cenote::{AllocError, Pool};
use httpdate::{HttpDate, parse_http_date};
use hyper::header::{self, HeaderMap, HeaderName};

/// What tells one version of a file from another. The texts are in the request's pool.
#[derive(Clone, Copy)]
pub(crate) struct Validators<'p> {
    /// With its quotes. Strong: size and modification time to the nanosecond, as in nginx but
    /// finer.
    pub(crate) etag: &'p str,
    /// As in a header.
    pub(crate) last_modified: &'p str,
    /// To the second, as headers have it.
    modified: SystemTime,
}

/// What the preconditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answer as if there were none.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl<'p> Validators<'p> {
    pub(crate) fn of(pool: &'p Pool, meta: &Metadata) -> Result<Self, AllocError> {
        // A file from before 1970 is as old as headers can say; so is one from after 9999, which
        // `HttpDate` refuses.
        let seconds =
            u64::try_from(meta.mtime()).ok().filter(|&s| s < 253_402_300_800).unwrap_or(0);
        let modified = UNIX_EPOCH + Duration::from_secs(seconds);
        Ok(Self {
            etag: pool.try_alloc_fmt(format_args!(
                "\"{seconds:x}.{:x}-{:x}\"",
                meta.mtime_nsec(),
                meta.len()
            ))?,
            last_modified: pool.try_alloc_fmt(format_args!("{}", HttpDate::from(modified)))?,
            modified,
        })
    }

    /// Evaluates the preconditions of a GET or HEAD in the order that RFC 9110, 13.2.2 gives. Dates
    /// that cannot be read are ignored, as it asks.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Outcome {
        if headers.contains_key(header::IF_MATCH) {
            if !self.listed(headers, header::IF_MATCH, true) {
                return Outcome::Failed;
            }
        } else if date(headers, header::IF_UNMODIFIED_SINCE)
            .is_some_and(|since| self.modified > since)
        {
            return Outcome::Failed;
        }
        if headers.contains_key(header::IF_NONE_MATCH) {
            if self.listed(headers, header::IF_NONE_MATCH, false) {
                return Outcome::NotModified;
            }
        } else if date(headers, header::IF_MODIFIED_SINCE)
            .is_some_and(|since| self.modified <= since)
        {
            return Outcome::NotModified;
        }
        Outcome::Proceed
    }

    /// Whether a `Range` may be honoured: there is no `If-Range`, or it names this very version.
    pub(crate) fn range_allowed(&self, headers: &HeaderMap) -> bool {
        match headers.get(header::IF_RANGE).map(|value| value.to_str().unwrap_or("").trim()) {
            None => true,
            // Weak tags never match here.
            Some(tag) if tag.starts_with('"') => tag == self.etag,
            Some(when) => parse_http_date(when).is_ok_and(|when| when == self.modified),
        }
    }

    /// Whether this version's tag is in a list of tags, or the list is `*`.
    fn listed(&self, headers: &HeaderMap, name: HeaderName, strongly: bool) -> bool {
        headers.get_all(name).iter().any(|value| {
            let mut rest = value.to_str().unwrap_or("").trim();
            if rest == "*" {
                return true;
            }
            // A tag may hold commas, so the list cannot simply be split at them.
            loop {
                rest = rest.trim_start_matches([' ', '\t', ',']);
                let (weak, tag) = match rest.strip_prefix("W/") {
                    Some(tag) => (true, tag),
                    None => (false, rest),
                };
                let Some(end) = tag.strip_prefix('"').and_then(|inner| inner.find('"')) else {
                    return false;
                };
                let (tag, tail) = tag.split_at(end + 2);
                if tag == self.etag && !(weak && strongly) {
                    return true;
                }
                rest = tail;
            }
        })
    }
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// A time as the listing shows it, in UTC: `2026-01-31 14:05`.
pub(crate) struct Minute(pub(crate) i64);

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        // Days since 1970-01-01 to a date (Howard Hinnant's civil_from_days): years begin in March,
        // so that the leap day is a year's last.
        let days = days + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02} {:02}:{:02}", second / 3600, second / 60 % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn version() -> Validators<'static> {
        Validators {
            etag: "\"a,b\"",
            last_modified: THEN,
            modified: parse_http_date(THEN).unwrap_or(UNIX_EPOCH),
        }
    }

    fn headers(list: &[(HeaderName, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn preconditions_are_evaluated_in_order() {
        use header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
        for (list, outcome) in [
            (&[][..], Outcome::Proceed),
            (&[(IF_NONE_MATCH, "\"a,b\"")], Outcome::NotModified),
            (&[(IF_NONE_MATCH, "\"x\", W/\"a,b\"")], Outcome::NotModified),
            (&[(IF_NONE_MATCH, "*")], Outcome::NotModified),
            (&[(IF_NONE_MATCH, "\"x\", \"y")], Outcome::Proceed),
            (&[(IF_MODIFIED_SINCE, THEN)], Outcome::NotModified),
            (&[(IF_MODIFIED_SINCE, BEFORE)], Outcome::Proceed),
            (&[(IF_MODIFIED_SINCE, "yesterday")], Outcome::Proceed),
            // The tag outranks the date.
            (&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, THEN)], Outcome::Proceed),
            (&[(IF_MATCH, "\"x\"")], Outcome::Failed),
            (&[(IF_MATCH, "W/\"a,b\"")], Outcome::Failed),
            (&[(IF_MATCH, "*")], Outcome::Proceed),
            (&[(IF_UNMODIFIED_SINCE, BEFORE)], Outcome::Failed),
            (&[(IF_UNMODIFIED_SINCE, THEN)], Outcome::Proceed),
        ] {
            assert_eq!(version().check(&headers(list)), outcome, "{list:?}");
        }
    }

    #[test]
    fn a_range_is_for_the_version_that_if_range_names() {
        for (value, allowed) in [
            ("\"a,b\"", true),
            ("W/\"a,b\"", false),
            ("\"x\"", false),
            (THEN, true),
            (BEFORE, false),
            ("", false),
        ] {
            assert_eq!(
                version().range_allowed(&headers(&[(header::IF_RANGE, value)])),
                allowed,
                "{value}"
            );
        }
        assert!(version().range_allowed(&HeaderMap::new()));
    }

    #[test]
    fn minutes_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (951_782_400, "2000-02-29 00:00"),
            (1_767_225_599, "2025-12-31 23:59"),
            (-1, "1969-12-31 23:59"),
        ] {
            assert_eq!(Minute(seconds).to_string(), text);
        }
    }
}
