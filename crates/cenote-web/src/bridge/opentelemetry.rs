//! As instruments of a meter of OpenTelemetry's.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use ::opentelemetry::KeyValue;
use ::opentelemetry::metrics::{AsyncInstrument, Meter};
use tracing::warn;

use crate::view::metrics::{Family, Kind, Label, Unit, without_histograms};
use crate::view::{Unavailable, View};

/// Makes observable instruments of a view's figures, which are observed whenever a reader of the meter's
/// provider collects; one look for all of them.
///
/// They are named as in `/metrics`, without units and `_total`, and the first word is a namespace:
/// `cenote.pool_held`, with the unit `By`. An exporter to Prometheus makes `cenote_pool_held_bytes` of that.
/// Counters are monotonic, whatever the temporality of the exporter: of a path of accounts that comes again
/// after it had been forgotten, what was counted since is told when it is more than before.
///
/// A histogram is made by the SDK of what it is told one by one, which no look can tell. There are three
/// counters for `cenote_request_bytes`, each by route: `cenote.requests_ended`, `cenote.requests_held` (bytes),
/// and `cenote.requests_within`, whose attribute `bytes` is the most that is counted.
///
/// The provider keeps the view until it has been shut down. Call it once for each meter: OpenTelemetry takes
/// the second of two alike for a mistake.
///
/// ```
/// use cenote::{Account, Pool};
/// use cenote_web::bridge;
/// use cenote_web::view::View;
/// use opentelemetry::metrics::MeterProvider;
/// use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
///
/// let exporter = InMemoryMetricExporter::default(); // or the one of opentelemetry-otlp
/// let reader = PeriodicReader::builder(exporter.clone()).build();
/// let provider = SdkMeterProvider::builder().with_reader(reader).build();
///
/// let process = Account::root("process");
/// let view = View::builder(&process).build();
/// bridge::instrument(&view, &provider.meter("pools"))?;
/// # provider.force_flush()?;
/// # let collected = exporter.get_finished_metrics()?;
/// # let metrics = collected[0].scope_metrics().next().unwrap().metrics().count();
/// # assert!(metrics > 15, "{metrics}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where the view cannot answer now: then there are no instruments.
pub fn instrument(view: &View, meter: &Meter) -> Result<(), Unavailable> {
    let families = without_histograms(&view.metrics().wait()?);
    let observed = Arc::new(Observed {
        view: view.clone(),
        // Taken by all, so that the first of them to be observed has a new look taken.
        round: Mutex::new(Round {
            taken: vec![true; families.len()],
            families: families.clone(),
            counted: HashMap::new(),
        }),
    });
    for (index, family) in families.iter().enumerate() {
        let (full, name) = (family.name, family.stem().replacen('_', ".", 1));
        let observed = observed.clone();
        let observe = move |instrument: &dyn AsyncInstrument<u64>| {
            for (labels, value) in observed.take(index, full) {
                instrument.observe(value, &attributes(&labels));
            }
        };
        let unit = match family.unit {
            Unit::Bytes => "By",
            Unit::None => "",
        };
        // What keeps them is the provider.
        match family.kind {
            Kind::Gauge => drop(
                meter
                    .u64_observable_gauge(name)
                    .with_description(family.help)
                    .with_unit(unit)
                    .with_callback(observe)
                    .build(),
            ),
            Kind::Counter => drop(
                meter
                    .u64_observable_counter(name)
                    .with_description(family.help)
                    .with_unit(unit)
                    .with_callback(observe)
                    .build(),
            ),
            Kind::Histogram => {}
        }
    }
    Ok(())
}

/// What all instruments of one meter share. OpenTelemetry calls each of them by itself.
struct Observed {
    view: View,
    round: Mutex<Round>,
}

struct Round {
    families: Vec<Family>,
    /// Whether the instrument of this index had its figures of this look.
    taken: Vec<bool>,
    /// The counters, by name: as many as there are series. All are observed each time: a reader that tells
    /// differences takes one that it missed for new, and subtracts without a look at which is more.
    counted: HashMap<&'static str, BTreeMap<Arc<[Label]>, u64>>,
}

impl Observed {
    /// The figures of one of the instruments: of the look that others have theirs of, unless it had its
    /// own already.
    fn take(&self, index: usize, name: &str) -> Vec<(Arc<[Label]>, u64)> {
        // Whole at every point where a panic could be.
        let mut round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        if round.taken[index] {
            match self.view.metrics().wait() {
                Ok(families) => {
                    round.taken.fill(false);
                    round.families = without_histograms(&families);
                }
                Err(unavailable) => {
                    warn!(target: "cenote", "the figures of pools stay as they were: {unavailable}");
                }
            }
        }
        round.taken[index] = true;
        let Round { families, counted, .. } = &mut *round;
        let family = families.iter().find(|family| family.name == name);
        let Some(family) = family else { return Vec::new() };
        let figures = family.samples.iter().filter_map(|sample| {
            let number = sample.value.number()?;
            Some((sample.labels.clone(), number))
        });
        if family.kind == Kind::Gauge {
            return figures.collect();
        }
        let counted = counted.entry(family.name).or_default();
        for (labels, value) in figures {
            let most = counted.entry(labels).or_default();
            *most = value.max(*most);
        }
        counted.iter().map(|(labels, &value)| (labels.clone(), value)).collect()
    }
}

fn attributes(labels: &[Label]) -> Vec<KeyValue> {
    labels.iter().map(|label| KeyValue::new(label.name, label.value.clone())).collect()
}
