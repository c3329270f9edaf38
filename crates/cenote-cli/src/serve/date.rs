//! The date of responses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;
use hyper::header::HeaderValue;

/// The date, as text that is made anew when it is another: hyper would keep the last one if the
/// clock is set back.
#[derive(Default)]
pub(crate) struct Date(Option<(u64, HeaderValue)>);

impl Date {
    pub(crate) fn now(&mut self) -> HeaderValue {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.at(now)
    }

    fn at(&mut self, seconds: u64) -> HeaderValue {
        if let Some((made, text)) = &self.0
            && *made == seconds
        {
            return text.clone();
        }
        // What is after 9999 is no date.
        let date = HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799)));
        // Letters, digits and spaces are a value.
        let text = HeaderValue::try_from(date.to_string())
            .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
        self.0 = Some((seconds, text.clone()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_follows_the_clock_in_both_directions() {
        let mut date = Date::default();
        for (seconds, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(date.at(seconds), text);
        }
    }
}
