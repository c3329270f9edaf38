//! Into the recorder of the crate `metrics`.

use std::collections::HashSet;
use std::sync::Arc;

use ::metrics::{Key, Level, Metadata, SharedString, with_recorder};

use crate::view::metrics::{Family, Kind, Label, Unit, without_histograms};

/// Sets the gauges and counters of the crate `metrics` from a view's figures, in the recorder that is
/// installed, or is the thread's. To be called again and again: by a timer, or before each scrape.
///
/// Names are those of `/metrics`, so that alert rules and dashboards for these fit. (metrics-exporter-prometheus 0.18 takes a backslash in an
/// account's name that stands before a quotation mark or another one for an escape, and leaves it out.) What the facade cannot
/// take away is set to what it would be: a gauge of an account that is not there any more to 0, a limit
/// that was lifted to infinity. A counter never goes down: the recorders keep the largest value.
///
/// A histogram is made by the recorder of what it is told one by one, which no look can tell. There are
/// three counters for `cenote_request_bytes`, each by route: `cenote_requests_ended_total`,
/// `cenote_requests_held_bytes_total`, and `cenote_requests_within_total`, whose label `bytes` is a bucket's
/// `le`. (That is not its name, since Prometheus's linter wants it for histograms alone: in PromQL
/// `label_replace(…, "le", "$1", "bytes", "(.*)")` makes buckets for `histogram_quantile`.)
///
/// ```
/// use cenote::{Account, Pool};
/// use cenote_web::bridge::Facade;
/// use cenote_web::view::View;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// # let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
/// # let handle = recorder.handle();
/// # metrics::set_global_recorder(recorder).unwrap();
/// let process = Account::root("process");
/// let view = View::builder(&process).build();
/// let pool = Pool::on(&process.child("cache"));
///
/// let mut facade = Facade::new();
/// // In a loop, with a `tokio::time::interval`:
/// facade.record(&view.metrics().await?);
/// # let text = handle.render();
/// # assert!(text.contains("cenote_pools_created_total{account=\"process/cache\"} 1"), "{text}");
/// # Ok::<(), cenote_web::view::Unavailable>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Facade {
    /// The gauges that were set, as many as there are series.
    set: HashSet<(&'static str, Arc<[Label]>)>,
}

impl Facade {
    /// Nothing was set yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets all that is in `families`.
    pub fn record(&mut self, families: &[Family]) {
        let metadata = Metadata::new("cenote", Level::INFO, Some(module_path!()));
        let mut gone = std::mem::take(&mut self.set);
        with_recorder(|recorder| {
            for family in &without_histograms(families) {
                let (name, help) = (family.name, SharedString::const_str(family.help));
                let unit = match family.unit {
                    Unit::Bytes => Some(::metrics::Unit::Bytes),
                    Unit::None => None,
                };
                match family.kind {
                    Kind::Gauge => recorder.describe_gauge(name.into(), unit, help),
                    Kind::Counter => recorder.describe_counter(name.into(), unit, help),
                    Kind::Histogram => continue,
                }
                for sample in &family.samples {
                    let key = key(name, &sample.labels);
                    let Some(number) = sample.value.number() else { continue };
                    if family.kind == Kind::Counter {
                        recorder.register_counter(&key, &metadata).absolute(number);
                        continue;
                    }
                    recorder.register_gauge(&key, &metadata).set(number as f64);
                    let series = (name, sample.labels.clone());
                    gone.remove(&series);
                    self.set.insert(series);
                }
            }
            for (name, labels) in gone {
                let nothing = if name == "cenote_pool_limit_bytes" { f64::INFINITY } else { 0.0 };
                recorder.register_gauge(&key(name, &labels), &metadata).set(nothing);
            }
        });
    }
}

fn key(name: &'static str, labels: &[Label]) -> Key {
    let label = |label: &Label| ::metrics::Label::new(label.name, label.value.clone());
    Key::from_parts(name, labels.iter().map(label).collect::<Vec<_>>())
}
