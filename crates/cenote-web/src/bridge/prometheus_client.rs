//! Into a registry of the crate `prometheus-client`.

use std::fmt;

use ::prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, NoLabelSet,
};
use ::prometheus_client::metrics::MetricType;
use ::prometheus_client::registry;
use tracing::warn;

use crate::view::View;
use crate::view::metrics::{Family, Histogram, Kind, Label, Unit, Value};

/// A view's figures in a `Registry` of the crate `prometheus-client`, which looks when that is encoded.
///
/// The registry puts units and `_total` behind names by itself: they are those of `/metrics`, behind the
/// registry's prefix if it has one. Where the view cannot answer its families are left out of that scrape, with a
/// warning of `tracing`; the registry's others are not.
///
/// ```
/// use cenote::{Account, Pool};
/// use cenote_web::bridge::Collector;
/// use cenote_web::view::View;
/// use prometheus_client::{encoding::text, registry::Registry};
///
/// let process = Account::root("process");
/// let view = View::builder(&process).build();
/// let pool = Pool::on(&process.child("cache"));
///
/// let mut registry = Registry::default();
/// registry.register_collector(Box::new(Collector::new(&view)));
///
/// let mut scraped = String::new();
/// text::encode(&mut scraped, &registry)?;
/// assert!(scraped.contains("cenote_pools_created_total{account=\"process/cache\"} 1\n"));
/// # Ok::<(), std::fmt::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Collector {
    view: View,
}

impl Collector {
    /// Of this view, which is kept as long as the registry is.
    #[must_use]
    pub fn new(view: &View) -> Self {
        Self { view: view.clone() }
    }
}

impl ::prometheus_client::collector::Collector for Collector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        match self.view.metrics().wait() {
            Ok(families) => families.iter().try_for_each(|family| encode(&mut encoder, family)),
            Err(unavailable) => {
                warn!(target: "cenote", "pools are left out of a scrape: {unavailable}");
                Ok(())
            }
        }
    }
}

fn encode(encoder: &mut DescriptorEncoder, family: &Family) -> fmt::Result {
    let unit = match family.unit {
        Unit::Bytes => Some(registry::Unit::Bytes),
        Unit::None => None,
    };
    let kind = match family.kind {
        Kind::Gauge => MetricType::Gauge,
        Kind::Counter => MetricType::Counter,
        Kind::Histogram => MetricType::Histogram,
    };
    let mut all = encoder.encode_descriptor(family.stem(), family.help, unit.as_ref(), kind)?;
    for sample in &family.samples {
        let labels = Labels(&sample.labels);
        let mut one = all.encode_family(&labels)?;
        match &sample.value {
            Value::Number(number) if family.kind == Kind::Counter => {
                one.encode_counter::<NoLabelSet, u64, u64>(number, None)?;
            }
            Value::Number(number) => one.encode_gauge(number)?,
            Value::Histogram(histogram) => {
                let Histogram { sum, count, .. } = *histogram;
                let buckets = apart(histogram);
                one.encode_histogram::<NoLabelSet>(sum as f64, count, &buckets, None)?;
            }
        }
    }
    Ok(())
}

/// The buckets, each without those before: the encoder adds them up.
fn apart(histogram: &Histogram) -> Vec<(f64, u64)> {
    let buckets = histogram.buckets.iter().map(|bucket| (bucket.most as f64, bucket.count));
    let mut before = 0;
    let all = buckets.chain([(f64::INFINITY, histogram.count)]);
    all.map(|(most, count)| (most, count - std::mem::replace(&mut before, count))).collect()
}

struct Labels<'a>(&'a [Label]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        let mut all = self.0.iter();
        all.try_for_each(|label| (label.name, label.value.as_str()).encode(encoder.encode_label()))
    }
}
