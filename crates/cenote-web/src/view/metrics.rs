//! The figures of a look as metrics: families of samples with labels, as [`View::metrics`] gives them.
//! `/metrics` is these, written; so are the bridges to registries of other crates.
//!
//! ```
//! use cenote::{Account, Pool};
//! use cenote_web::view::View;
//! use cenote_web::view::metrics::{Kind, Unit, Value};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let process = Account::root("process");
//! let view = View::builder(&process).build();
//! let pool = Pool::on(&process.child("cache"));
//! pool.alloc([0_u8; 100]);
//!
//! let families = view.metrics().await?;
//! let held = families.iter().find(|family| family.name == "cenote_pool_held_bytes").unwrap();
//! assert_eq!((held.kind, held.unit), (Kind::Gauge, Unit::Bytes));
//! let cache = held.samples.iter().find(|sample| sample.label("account") == Some("process/cache"));
//! assert_eq!(cache.unwrap().value, Value::Number(pool.held_bytes() as u64));
//! # Ok::<(), cenote_web::view::Unavailable>(())
//! # }).unwrap();
//! ```
//!
//! # How many there can be
//!
//! A series is a path of account names, never one connection. Paths are named first come, first
//! served, 200 of them for the life of the view; all others are counted under `other`. Bytes are those
//! of an account's own pools, without what is below, so that sums over accounts mean something.
//! Of routes 64 are named in the same way; the rest is `(others)`.

use std::sync::Arc;

#[cfg(doc)]
use super::View;

/// What all samples of one name have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Family {
    /// As Prometheus's text has it: the unit and, of a counter, `_total` are at its end.
    pub name: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// What its samples do over time.
    pub kind: Kind,
    /// What they are counted in.
    pub unit: Unit,
    /// One for each set of labels; none where nothing is known.
    pub samples: Vec<Sample>,
}

impl Family {
    /// The name without the unit and `_total`, for registries that put these there by themselves.
    ///
    /// ```
    /// # use cenote_web::view::View;
    /// # let view = View::builder(&cenote::Account::root("process")).build();
    /// let families = view.metrics().wait()?;
    /// let family = |name| families.iter().find(|family| family.name == name).unwrap();
    /// assert_eq!(family("cenote_account_overcommitted_bytes_total").stem(), "cenote_account_overcommitted");
    /// assert_eq!(family("cenote_pools_live").stem(), "cenote_pools_live");
    /// # Ok::<(), cenote_web::view::Unavailable>(())
    /// ```
    #[must_use]
    pub fn stem(&self) -> &'static str {
        let name = self.untotalled();
        match self.unit {
            Unit::Bytes => name.strip_suffix("_bytes").unwrap_or(name),
            Unit::None => name,
        }
    }

    /// The name without what is at the end of a counter's.
    pub(super) fn untotalled(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }
}

/// What the samples of a [`Family`] do over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// They go up and down.
    Gauge,
    /// They only go up. Of a path that was not there for a while, they may begin anew.
    Counter,
    /// They count what came, by its size; their counts only go up.
    Histogram,
}

/// What the samples of a [`Family`] are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// In pieces: accounts, pools, requests.
    None,
    /// In bytes.
    Bytes,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// No two samples of a family have the same. Families share them.
    pub labels: Arc<[Label]>,
    /// The figure.
    pub value: Value,
}

impl Sample {
    pub(super) fn of(labels: impl Into<Arc<[Label]>>, number: u64) -> Self {
        Self { labels: labels.into(), value: Value::Number(number) }
    }

    /// The value of the label of this name, if there is one.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
    }
}

/// A label of a [`Sample`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Label {
    /// Its name, such as `account`.
    pub name: &'static str,
    /// Its value: any text, but without control characters other than the end of a line.
    pub value: String,
}

impl Label {
    pub(super) fn new(name: &'static str, value: &str) -> Self {
        // Legal in all formats, but nothing that a terminal or an editor should be sent.
        let plain = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
        Self { name, value: value.chars().map(plain).collect() }
    }
}

/// The figure of a [`Sample`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// Of gauges and counters: all are whole.
    Number(u64),
    /// Of histograms.
    Histogram(Histogram),
}

impl Value {
    /// The figure of a gauge or a counter; `None`: it is a histogram.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Histogram(_) => None,
        }
    }
}

/// How many there were, by size.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Histogram {
    /// The smallest first, each with all that is in those before.
    pub buckets: Vec<Bucket>,
    /// How many there were, those above the last bucket included.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
}

impl Histogram {
    /// Adds one with the same buckets.
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, other) in self.buckets.iter_mut().zip(&other.buckets) {
            mine.count += other.count;
        }
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// A bucket of a [`Histogram`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bucket {
    /// The most that is counted in it.
    pub most: u64,
    /// How many there were of no more than that.
    pub count: u64,
}

/// The families, with three counters in the place of each histogram: for registries that cannot be given a
/// histogram, but make theirs of what they are told one by one.
#[cfg(any(feature = "metrics", feature = "opentelemetry"))]
pub(crate) fn without_histograms(families: &[Family]) -> Vec<Family> {
    let mut all: Vec<Family> = Vec::with_capacity(families.len() + 2);
    for family in families {
        if family.kind != Kind::Histogram {
            all.push(family.clone());
            continue;
        }
        let counter = |name, help, unit| Family {
            name,
            help,
            kind: Kind::Counter,
            unit,
            samples: Vec::new(),
        };
        let mut ended = counter(
            "cenote_requests_ended_total",
            "Requests that have ended, by route.",
            Unit::None,
        );
        let mut held = counter(
            "cenote_requests_held_bytes_total",
            "The most bytes that the account of each request held that has ended, added up by route.",
            Unit::Bytes,
        );
        let mut within = counter(
            "cenote_requests_within_total",
            "Requests that have ended whose account held no more than so many bytes, by route.",
            Unit::None,
        );
        for Sample { labels, value } in &family.samples {
            let Value::Histogram(histogram) = value else { continue };
            ended.samples.push(Sample::of(labels.clone(), histogram.count));
            held.samples.push(Sample::of(labels.clone(), histogram.sum));
            let buckets = histogram.buckets.iter().map(|it| (it.most.to_string(), it.count));
            for (most, count) in buckets.chain([("+Inf".to_owned(), histogram.count)]) {
                let labels = labels.iter().cloned().chain([Label::new("bytes", &most)]);
                within.samples.push(Sample::of(labels.collect::<Vec<_>>(), count));
            }
        }
        all.extend([ended, held, within]);
    }
    all
}
