//! The families that a look is told in, each with its samples.
//!
//! A series is a path of account names, never one connection. Paths are named first come, first
//! served, up to a bound; all others are counted under `other`. Bytes are those of an account's
//! own pools, without what is below, so that sums over accounts mean something.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::look::Look;
use super::metrics::{Family, Kind, Label, Sample, Unit, Value};
use super::requests::Requests;
use super::rows::AccountRow;
use super::tree::OTHERS;

/// Paths that are named.
const MOST_NAMED: usize = 200;
const OTHER: &str = "other";

/// The paths that are named. A path keeps its name for good: if it moved between its own series
/// and that of the others, their counters would go down.
#[derive(Debug, Default)]
pub(super) struct Named {
    paths: HashSet<String>,
    /// What the counters of the others were at most. The tree's `(others)` are not the same from look to
    /// look: one of them may come to have room there, and be named.
    others: Counters,
}

/// The figures of a series that never go down.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    created: u64,
    overcommitted: u64,
    refused: u64,
    recycled: u64,
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
    reserved: usize,
    counters: Counters,
}

impl Counters {
    /// The larger of each.
    fn max(self, other: Self) -> Self {
        Self {
            created: self.created.max(other.created),
            overcommitted: self.overcommitted.max(other.overcommitted),
            refused: self.refused.max(other.refused),
            recycled: self.recycled.max(other.recycled),
        }
    }
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
        self.reserved += row.own_reserved_bytes;
        let counters = &mut self.counters;
        counters.created += row.created;
        counters.overcommitted += row.overcommitted_bytes;
        counters.refused += row.refused;
        counters.recycled += row.recycled_bytes;
    }
}

type Figure = fn(&Series) -> Option<u64>;

/// The families that have a sample for each account.
const OF_ACCOUNTS: [(&str, Kind, Unit, &str, Figure); 14] = [
    (
        "cenote_pool_held_bytes",
        Kind::Gauge,
        Unit::Bytes,
        "Bytes of blocks and large objects that the pools of an account hold.",
        |series| Some(series.held as u64),
    ),
    (
        "cenote_account_reserved_bytes",
        Kind::Gauge,
        Unit::Bytes,
        "Bytes of an account that are reserved for memory that no pool has.",
        |series| Some(series.reserved as u64),
    ),
    (
        "cenote_account_overcommitted_bytes_total",
        Kind::Counter,
        Unit::Bytes,
        "Bytes that reservations have charged beyond the limit of an account.",
        |series| Some(series.counters.overcommitted),
    ),
    (
        "cenote_pool_used_bytes",
        Kind::Gauge,
        Unit::Bytes,
        "Bytes that objects in the pools of an account take.",
        |series| series.used.map(|bytes| bytes as u64),
    ),
    ("cenote_accounts", Kind::Gauge, Unit::None, "Accounts of this path now.", |series| {
        Some(series.accounts)
    }),
    (
        "cenote_account_largest_bytes",
        Kind::Gauge,
        Unit::Bytes,
        "The most bytes that any one account of this path holds, what is below included.",
        |series| Some(series.largest as u64),
    ),
    (
        "cenote_pool_peak_bytes",
        Kind::Gauge,
        Unit::Bytes,
        "The most bytes that any one account of this path held at once, what is below included.",
        |series| Some(series.peak as u64),
    ),
    (
        "cenote_account_recent_peak_bytes",
        Kind::Gauge,
        Unit::Bytes,
        "The most bytes that any one account of this path that is there held in the last half a minute to a minute, what is below included.",
        |series| Some(series.recent_peak as u64),
    ),
    (
        "cenote_pool_limit_bytes",
        Kind::Gauge,
        Unit::Bytes,
        "The limit of an account, in bytes; absent where there is none.",
        |series| series.limit.map(|bytes| bytes as u64),
    ),
    ("cenote_pools_live", Kind::Gauge, Unit::None, "Pools on an account now.", |series| {
        Some(series.live as u64)
    }),
    (
        "cenote_pools_over_age",
        Kind::Gauge,
        Unit::None,
        "Pools on an account that are older than its limit of age.",
        |series| Some(series.over_age as u64),
    ),
    (
        "cenote_pools_created_total",
        Kind::Counter,
        Unit::None,
        "Pools ever made on an account.",
        |series| Some(series.counters.created),
    ),
    (
        "cenote_pool_refused_total",
        Kind::Counter,
        Unit::None,
        "What the limit of an account refused to callers.",
        |series| Some(series.counters.refused),
    ),
    (
        "cenote_pool_recycled_bytes_total",
        Kind::Counter,
        Unit::Bytes,
        "Bytes of blocks that the pools of an account gave back.",
        |series| Some(series.counters.recycled),
    ),
];

/// The metrics of a look.
pub(super) fn families(look: &Look, named: &Mutex<Named>, requests: &Requests) -> Vec<Family> {
    let series = by_account(look, named);
    let mut families: Vec<Family> = OF_ACCOUNTS
        .into_iter()
        .map(|(name, kind, unit, help, figure)| {
            let samples = series.iter().filter_map(|(labels, series)| {
                Some(Sample { labels: labels.clone(), value: Value::Number(figure(series)?) })
            });
            Family { name, help, kind, unit, samples: samples.collect() }
        })
        .collect();
    // As many as threads that the service chose to show; those of one name are one series.
    let mut caches: BTreeMap<Label, u64> = BTreeMap::new();
    for cache in &look.block_caches {
        let label = Label::new("account", &cache.path.join("/"));
        *caches.entry(label).or_default() += cache.bytes as u64;
    }
    families.push(Family {
        name: "cenote_block_cache_bytes",
        help: "Bytes that a thread keeps in its cache of free blocks.",
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        samples: caches.into_iter().map(|(label, bytes)| Sample::of([label], bytes)).collect(),
    });
    families.push(Family {
        name: "cenote_requests_refused_total",
        help: "Requests that were refused memory.",
        kind: Kind::Counter,
        unit: Unit::None,
        samples: vec![Sample::of([], look.requests_refused)],
    });
    let samples = requests.read().into_iter().map(|(label, histogram)| Sample {
        labels: [label].into(),
        value: Value::Histogram(histogram),
    });
    families.push(Family {
        name: "cenote_request_bytes",
        help: "The most bytes that the account of a request held, of those that have ended, by route.",
        kind: Kind::Histogram,
        unit: Unit::Bytes,
        samples: samples.collect(),
    });
    let version = look.process.version.as_deref().unwrap_or_default();
    let own = env!("CARGO_PKG_VERSION");
    let versions = [Label::new("version", version), Label::new("cenote_web", own)];
    families.push(Family {
        name: "cenote_build_info",
        help: "Always 1, with what the service calls its version and that of cenote-web.",
        kind: Kind::Gauge,
        unit: Unit::None,
        samples: vec![Sample::of(versions, 1)],
    });
    if let Some(resident) = look.memory.resident_bytes {
        families.push(Family {
            name: "cenote_process_anonymous_bytes",
            help: "Resident anonymous memory of the process, pools and all else.",
            kind: Kind::Gauge,
            unit: Unit::Bytes,
            samples: vec![Sample::of([], resident as u64)],
        });
    }
    if let Some(general) = &look.general {
        for (name, help, bytes) in [
            (
                "cenote_allocator_live_bytes",
                "Objects of the process's general allocator, blocks of pools among them.",
                general.live_bytes,
            ),
            (
                "cenote_allocator_free_bytes",
                "What the process's general allocator keeps and nobody uses.",
                general.free_bytes,
            ),
        ] {
            families.push(Family {
                name,
                help,
                kind: Kind::Gauge,
                unit: Unit::Bytes,
                samples: vec![Sample::of([], bytes as u64)],
            });
        }
    }
    families
}

/// The accounts' figures by what they are labelled with, ordered by name.
fn by_account(look: &Look, named: &Mutex<Named>) -> Vec<(Arc<[Label]>, Series)> {
    let mut named = named.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all: BTreeMap<Label, Series> = BTreeMap::new();
    for row in &look.accounts {
        let path = row.path.join("/");
        let others = row.path.iter().any(|name| name == OTHERS);
        let name = if named.paths.contains(&path) {
            path
        } else if !others && named.paths.len() < MOST_NAMED && path != OTHER {
            named.paths.insert(path.clone());
            path
        } else {
            OTHER.to_owned()
        };
        // Names that are told alike are one series: no format has two with the same labels.
        all.entry(Label::new("account", &name)).or_default().add(row);
    }
    if let Some(others) = all.get_mut(&Label::new("account", OTHER)) {
        others.counters = others.counters.max(named.others);
        named.others = others.counters;
    }
    all.into_iter().map(|(label, series)| ([label].into(), series)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::View;
    use cenote::Account;

    #[test]
    fn names_end_in_what_they_count_and_that_they_only_go_up() {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let families = view.metrics().wait().expect("a look");
        assert!(families.len() >= 17, "{}", families.len());
        for family in families.iter() {
            let name = family.name;
            assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
            let bytes = family.untotalled().ends_with("_bytes");
            assert_eq!(bytes, family.unit == Unit::Bytes, "{name}");
            assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{name}");
            let alike = families.iter().filter(|other| other.stem() == family.stem()).count();
            assert_eq!(alike, 1, "registries know {name} by its stem");
        }
    }

    /// Of so many names under one parent the tree has room for 128, those that came last first; so which
    /// are the others changes when one goes.
    #[test]
    fn the_counters_of_the_others_stay_when_one_of_them_gets_a_name() {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let mut names: Vec<_> =
            (0..129).map(|number| process.child(format!("tenant-{number}"))).collect();
        for _ in 0..1000 {
            drop(cenote::Pool::on(&names[0]));
        }
        let created = |name: &str| {
            let families = view.metrics().wait().expect("a look");
            let made = families.iter().find(|family| family.name == "cenote_pools_created_total");
            let samples = &made.expect("the family").samples;
            let of = samples.iter().find(|sample| sample.label("account") == Some(name));
            of.and_then(|sample| sample.value.number())
        };
        assert_eq!((created("other"), created("process/tenant-0")), (Some(1000), None));
        names.truncate(128);
        Account::settle();
        assert_eq!((created("other"), created("process/tenant-0")), (Some(1000), Some(1000)));
    }

    #[test]
    fn names_that_are_told_alike_are_one_series() {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let odd = [process.child("a\u{1b}"), process.child("a\u{7}")];
        let families = view.metrics().wait().expect("a look");
        let accounts = families.iter().find(|family| family.name == "cenote_accounts");
        let labels: Vec<_> = accounts
            .expect("the family")
            .samples
            .iter()
            .map(|sample| (sample.label("account").expect("an account"), sample.value.clone()))
            .collect();
        let both = ("process/a\u{fffd}", Value::Number(2));
        assert_eq!(labels, [("process", Value::Number(1)), both]);
        drop(odd);
    }
}
