//! `/metrics`: the [families](super::metrics) in the text format of Prometheus, or in OpenMetrics'.

use std::fmt::{self, Write};

use http::{HeaderMap, header};

use super::metrics::{Family, Histogram, Kind, Label, Unit, Value};

/// How they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Format {
    /// The text format of Prometheus.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What a client would rather have, by its `Accept`.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let (mut text, mut open) = (0.0, 0.0);
        let accepts =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in accepts.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let (mut quality, mut version) = (1.0_f32, None);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "version" => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            if kind.eq_ignore_ascii_case("application/openmetrics-text") {
                // 0.0.1 is a draft.
                if version.is_none_or(|version| version == "1.0.0") {
                    open = quality.max(open);
                }
            } else if ["text/plain", "text/*", "*/*"].iter().any(|it| kind.eq_ignore_ascii_case(it))
            {
                text = quality.max(text);
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Begins a family. OpenMetrics has names of counters without what is at their samples' end.
    fn begin(self, out: &mut String, family: &Family) {
        let name = if self == Self::OpenMetrics { family.untotalled() } else { family.name };
        let kind = match family.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
        if self == Self::OpenMetrics && family.unit == Unit::Bytes {
            let _ = writeln!(out, "# UNIT {name} bytes");
        }
    }
}

impl Format {
    /// A line for each bucket. OpenMetrics has their bounds as floating point numbers.
    fn buckets(self, out: &mut String, name: &str, labels: &[Label], histogram: &Histogram) {
        let point = if self == Self::OpenMetrics { ".0" } else { "" };
        let buckets = histogram.buckets.iter();
        let buckets = buckets.map(|bucket| (format!("{}{point}", bucket.most), bucket.count));
        for (most, count) in buckets.chain([("+Inf".to_owned(), histogram.count)]) {
            let labels = Labels(labels, Some(("le", &most)));
            let _ = writeln!(out, "{name}_bucket{labels} {count}");
        }
    }
}

/// The families as text.
pub(super) fn text(families: &[Family], format: Format) -> String {
    let samples: usize = families.iter().map(|family| family.samples.len()).sum();
    let mut out = String::with_capacity(128 * (samples + 3 * families.len()));
    for family in families {
        format.begin(&mut out, family);
        for sample in &family.samples {
            let (name, labels) = (family.name, Labels(&sample.labels, None));
            let _ = match &sample.value {
                Value::Number(value) => writeln!(out, "{name}{labels} {value}"),
                Value::Histogram(histogram) => {
                    format.buckets(&mut out, name, &sample.labels, histogram);
                    let Histogram { sum, count, .. } = histogram;
                    writeln!(out, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}")
                }
            };
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// Labels as they stand behind a name, with one more behind them: in braces, if there are any.
struct Labels<'a>(&'a [Label], Option<(&'static str, &'a str)>);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut begin = '{';
        let all = self.0.iter().map(|label| (label.name, label.value.as_str()));
        for (name, value) in all.chain(self.1) {
            write!(f, "{begin}{name}=\"{}\"", Escaped(value))?;
            begin = ',';
        }
        if begin == '{' { Ok(()) } else { f.write_char('}') }
    }
}

/// A label's value, escaped as the format asks.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_a_client_would_rather_have_is_its_own_choice() {
        for (accept, wanted) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            // As Prometheus 2 asks, and as it does where OpenMetrics comes last.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
                 version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            (
                "text/plain;version=0.0.4;q=0.5, application/openmetrics-text; version=\"1.0.0\"; q=0.4",
                Format::Text,
            ),
            ("application/openmetrics-text;version=0.0.1", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=nonsense, */*", Format::Text),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept).expect("a value"));
            assert_eq!(Format::of(&headers), wanted, "{accept}");
        }
        assert_eq!(Format::of(&HeaderMap::new()), Format::Text);
    }
}
