//! `/metrics`: the figures in the text format of Prometheus, by account.
//!
//! A series is a path of account names, never one connection. Paths are named first come, first
//! served, up to a bound; all others are counted under `other`. Bytes are those of an account's
//! own pools, without what is below, so that sums over accounts mean something.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, header};

use super::look::Look;
use super::rows::AccountRow;
use super::tree::OTHERS;

/// Paths that are named.
const MOST_NAMED: usize = 200;
const OTHER: &str = "other";

/// The paths that are named. A path keeps its name for good: if it moved between its own series
/// and that of the others, their counters would go down.
pub(super) type Named = HashSet<String>;

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
    fn begin(self, out: &mut String, name: &str, kind: &str, help: &str) {
        let name = match self {
            Self::OpenMetrics if kind == "counter" => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

/// The figures of one series.
#[derive(Clone, Debug, Default)]
struct Series {
    held: usize,
    used: Option<usize>,
    accounts: u64,
    largest: usize,
    peak: usize,
    recent_peak: usize,
    limit: Option<usize>,
    live: usize,
    over_age: usize,
    created: u64,
    reserved: usize,
    overcommitted: u64,
    refused: u64,
    recycled: u64,
}

impl Series {
    fn add(&mut self, row: &AccountRow) {
        self.held += row.own_held_bytes - row.own_reserved_bytes;
        self.used = match (self.used, row.own_used_bytes) {
            (Some(a), Some(b)) => Some(a + b),
            (one, other) => one.or(other),
        };
        self.accounts += row.accounts;
        self.largest = self.largest.max(row.largest_bytes);
        self.peak = self.peak.max(row.peak_bytes);
        self.recent_peak = self.recent_peak.max(row.recent_peak_bytes);
        self.limit = self.limit.max(row.limit_bytes);
        self.live += row.live;
        self.over_age += row.over_age;
        self.created += row.created;
        self.reserved += row.own_reserved_bytes;
        self.overcommitted += row.overcommitted_bytes;
        self.refused += row.refused;
        self.recycled += row.recycled_bytes;
    }
}

/// The metrics of a look.
pub(super) fn text(look: &Look, named: &Mutex<Named>, format: Format) -> String {
    let mut named = named.lock().unwrap_or_else(PoisonError::into_inner);
    let mut series: BTreeMap<String, Series> = BTreeMap::new();
    for row in &look.accounts {
        let path = row.path.join("/");
        let others = row.path.iter().any(|name| name == OTHERS);
        let name = if named.contains(&path) {
            path
        } else if !others && named.len() < MOST_NAMED && path != OTHER {
            named.insert(path.clone());
            path
        } else {
            OTHER.to_owned()
        };
        series.entry(name).or_default().add(row);
    }
    let mut out = String::with_capacity(128 * 11 * (series.len() + 1));
    let mut family =
        |name: &str, kind: &str, help: &str, value: &dyn Fn(&Series) -> Option<u64>| {
            format.begin(&mut out, name, kind, help);
            for (account, series) in &series {
                if let Some(value) = value(series) {
                    let _ = writeln!(out, "{name}{{account=\"{}\"}} {value}", Label(account));
                }
            }
        };
    let bytes = |bytes: usize| Some(bytes as u64);
    family(
        "cenote_pool_held_bytes",
        "gauge",
        "Bytes of blocks and large objects that the pools of an account hold.",
        &|series| bytes(series.held),
    );
    family(
        "cenote_account_reserved_bytes",
        "gauge",
        "Bytes of an account that are reserved for memory that no pool has.",
        &|series| bytes(series.reserved),
    );
    family(
        "cenote_account_overcommitted_bytes_total",
        "counter",
        "Bytes that reservations have charged beyond the limit of an account.",
        &|series| Some(series.overcommitted),
    );
    family(
        "cenote_pool_used_bytes",
        "gauge",
        "Bytes that objects in the pools of an account take.",
        &|series| series.used.and_then(bytes),
    );
    family("cenote_accounts", "gauge", "Accounts of this path now.", &|series| {
        Some(series.accounts)
    });
    family(
        "cenote_account_largest_bytes",
        "gauge",
        "The most bytes that any one account of this path holds, what is below included.",
        &|series| bytes(series.largest),
    );
    family(
        "cenote_pool_peak_bytes",
        "gauge",
        "The most bytes that any one account of this path held at once, what is below included.",
        &|series| bytes(series.peak),
    );
    family(
        "cenote_account_recent_peak_bytes",
        "gauge",
        "The most bytes that any one account of this path that is there held in the last half a minute to a minute, what is below included.",
        &|series| bytes(series.recent_peak),
    );
    family(
        "cenote_pool_limit_bytes",
        "gauge",
        "The limit of an account, in bytes; absent where there is none.",
        &|series| series.limit.and_then(bytes),
    );
    family("cenote_pools_live", "gauge", "Pools on an account now.", &|series| bytes(series.live));
    family(
        "cenote_pools_over_age",
        "gauge",
        "Pools on an account that are older than its limit of age.",
        &|series| bytes(series.over_age),
    );
    family("cenote_pools_created_total", "counter", "Pools ever made on an account.", &|series| {
        Some(series.created)
    });
    family(
        "cenote_pool_refused_total",
        "counter",
        "What the limit of an account refused to callers.",
        &|series| Some(series.refused),
    );
    family(
        "cenote_pool_recycled_bytes_total",
        "counter",
        "Bytes of blocks that the pools of an account gave back.",
        &|series| Some(series.recycled),
    );
    format.begin(
        &mut out,
        "cenote_block_cache_bytes",
        "gauge",
        "Bytes that a thread keeps in its cache of free blocks.",
    );
    // As many as threads that the service chose to show; those of one name are one series.
    let mut caches: BTreeMap<String, usize> = BTreeMap::new();
    for cache in &look.block_caches {
        *caches.entry(cache.path.join("/")).or_default() += cache.bytes;
    }
    for (account, bytes) in &caches {
        let _ = writeln!(out, "cenote_block_cache_bytes{{account=\"{}\"}} {bytes}", Label(account));
    }
    let (name, help) = ("cenote_requests_refused_total", "Requests that were refused memory.");
    format.begin(&mut out, name, "counter", help);
    let _ = writeln!(out, "{name} {}", look.requests_refused);
    let help = "Always 1, with what the service calls its version and that of cenote-web.";
    format.begin(&mut out, "cenote_build_info", "gauge", help);
    let _ = writeln!(
        out,
        "cenote_build_info{{version=\"{}\",cenote_web=\"{}\"}} 1",
        Label(look.process.version.as_deref().unwrap_or_default()),
        env!("CARGO_PKG_VERSION"),
    );
    if let Some(resident) = look.memory.resident_bytes {
        let name = "cenote_process_anonymous_bytes";
        let help = "Resident anonymous memory of the process, pools and all else.";
        format.begin(&mut out, name, "gauge", help);
        let _ = writeln!(out, "{name} {resident}");
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// A label's value, escaped as the format asks.
struct Label<'a>(&'a str);

impl std::fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            // Legal, but nothing that a terminal or an editor should be sent.
            c if c.is_control() => f.write_char('\u{fffd}'),
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
