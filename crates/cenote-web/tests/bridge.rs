//! The view's figures in other crates' registries: each against the crate itself.

mod common;

use std::collections::BTreeMap;

use cenote::{Account, Pool};
use cenote_web::view::View;
use cenote_web::view::metrics::{Family, Value};
use common::scrape::{checked_by_promtool, is_ours, metrics, open_metrics, parsed};

/// A view of a pool on an account of this name.
fn service(name: &str) -> (Account, View, Pool) {
    let process = Account::root("process").with_limit(Some(1 << 20));
    let view = View::builder(&process).version("1.2").build();
    let pool = Pool::on(&process.child(name.to_owned()).with_limit(Some(600_000)));
    pool.alloc([1_u8; 5000]);
    assert!(pool.try_alloc_bytes(2 << 20).is_err());
    (process, view, pool)
}

/// The samples that are of what the test does.
fn wanted(text: &str) -> BTreeMap<(String, String), f64> {
    let mut samples = parsed(text);
    samples.retain(|(name, _), _| is_ours(name));
    samples
}

/// Requests of one route, and what registries without histograms say of them.
fn noted(view: &View) {
    for bytes in [500, 1500, 5000, 100 << 20] {
        view.note_request("GET /notes/{id}", bytes);
    }
}

const COUNTED: [(&str, u64); 5] = [
    ("cenote_requests_ended_total{route=\"GET /notes/{id}\"}", 4),
    ("cenote_requests_held_bytes_total{route=\"GET /notes/{id}\"}", 7000 + (100 << 20)),
    ("cenote_requests_within_total{route=\"GET /notes/{id}\",bytes=\"1024\"}", 1),
    ("cenote_requests_within_total{route=\"GET /notes/{id}\",bytes=\"67108864\"}", 3),
    ("cenote_requests_within_total{route=\"GET /notes/{id}\",bytes=\"+Inf\"}", 4),
];

/// An account whose counters begin anew: what was counted of it goes to others of its parent's when
/// it closes, since that has as many names as it remembers.
struct Forgotten {
    process: Account,
    view: View,
}

impl Forgotten {
    const NAME: &str = "process/tenant";

    fn new() -> Self {
        let process = Account::root("process");
        for name in 0..64 {
            drop(Pool::on(&process.child(format!("former-{name}"))));
        }
        let view = View::builder(&process).build();
        Self { process, view }
    }

    /// So many pools are made on it, before it is looked at.
    fn tenant(&self, pools: usize) -> Account {
        let tenant = self.process.child("tenant").with_limit(Some(1 << 20));
        for _ in 0..pools {
            drop(Pool::on(&tenant));
        }
        tenant
    }

    fn created(families: &[Family]) -> Option<u64> {
        let created = families.iter().find(|family| family.name == "cenote_pools_created_total");
        let mut samples = created.expect("the family").samples.iter();
        let sample = samples.find(|sample| sample.label("account") == Some(Self::NAME))?;
        let Value::Number(number) = sample.value else { panic!("{sample:?}") };
        Some(number)
    }
}

#[test]
fn an_account_that_is_forgotten_counts_anew() {
    let service = Forgotten::new();
    let look = || Forgotten::created(&service.view.metrics().wait().expect("a look"));
    let tenant = service.tenant(3);
    assert_eq!(look(), Some(3));
    drop(tenant);
    assert_eq!(look(), None);
    let _again = service.tenant(1);
    assert_eq!(look(), Some(1));
}

mod facade {
    use super::*;
    use cenote_web::bridge::Facade;
    use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

    fn record(facade: &mut Facade, recorder: &PrometheusRecorder, view: &View) -> String {
        let families = view.metrics().wait().expect("a look");
        ::metrics::with_local_recorder(recorder, || facade.record(&families));
        recorder.handle().render()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn its_exporter_says_what_the_view_says() {
        let (_process, view, _pool) = service("up \"loads\"");
        // With its recommended names too, there is no unit and no suffix twice.
        for builder in
            [PrometheusBuilder::new(), PrometheusBuilder::new().with_recommended_naming(true)]
        {
            let recorder = builder.build_recorder();
            let text = record(&mut Facade::new(), &recorder, &view);
            checked_by_promtool(&text);
            assert_eq!(wanted(&text), wanted(&metrics(&view).await));
            let help = "# HELP cenote_pools_created_total Pools ever made on an account.\n";
            assert!(text.contains(help), "{text}");
            assert!(text.contains("# TYPE cenote_pools_created_total counter\n"), "{text}");
            assert!(text.contains("# TYPE cenote_pool_held_bytes gauge\n"), "{text}");
        }
    }

    #[test]
    fn a_histogram_is_three_counters() {
        let view = View::builder(&Account::root("process")).build();
        noted(&view);
        let recorder = PrometheusBuilder::new().build_recorder();
        let text = record(&mut Facade::new(), &recorder, &view);
        checked_by_promtool(&text);
        for (line, value) in COUNTED {
            assert!(text.contains(&format!("\n{line} {value}\n")), "{line} {value} in {text}");
        }
    }

    #[test]
    fn a_name_cannot_break_what_its_exporter_writes() {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let odd = ["a\\b", "end\\", "line\\n\n", "quote\\\"} 1"];
        let odd = odd.map(|name| process.child(name));
        let recorder = PrometheusBuilder::new().build_recorder();
        let text = record(&mut Facade::new(), &recorder, &view);
        checked_by_promtool(&text);
        // The exporter takes the backslash before the quotation mark for an escape that is there already.
        for name in ["a\\\\b", "end\\\\", "line\\\\n\\n", "quote\\\"} 1"] {
            let line = format!("\ncenote_accounts{{account=\"process/{name}\"}} 1\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
        drop(odd);
    }

    #[test]
    fn what_is_gone_holds_nothing_and_counters_stay() {
        let service = Forgotten::new();
        let recorder = PrometheusBuilder::new().build_recorder();
        let mut facade = Facade::new();
        let mut samples = || parsed(&record(&mut facade, &recorder, &service.view));
        let of = |name: &str| (name.to_owned(), Forgotten::NAME.to_owned());
        let tenant = service.tenant(3);
        let pool = Pool::on(&tenant);
        let there = samples();
        assert_eq!(there[&of("cenote_pool_held_bytes")], pool.held_bytes() as f64);
        assert_eq!(there[&of("cenote_pool_limit_bytes")], f64::from(1 << 20));
        assert_eq!(there[&of("cenote_pools_created_total")], 4.0);
        drop((pool, tenant));
        let gone = samples();
        assert_eq!(gone[&of("cenote_pool_held_bytes")], 0.0);
        assert_eq!(gone[&of("cenote_accounts")], 0.0);
        assert_eq!(gone[&of("cenote_pool_limit_bytes")], f64::INFINITY);
        assert_eq!(gone[&of("cenote_pools_created_total")], 4.0);
        let _again = service.tenant(1);
        let again = samples();
        assert_eq!(again[&of("cenote_pool_limit_bytes")], f64::from(1 << 20));
        assert_eq!(again[&of("cenote_pools_created_total")], 4.0, "no counter goes down");
    }
}

mod prometheus_client {
    use super::*;
    use ::prometheus_client::encoding::text;
    use ::prometheus_client::registry::Registry;
    use cenote_web::bridge::Collector;

    fn encoded(registry: &Registry) -> String {
        let mut out = String::new();
        text::encode(&mut out, registry).expect("all can be encoded");
        out
    }

    /// The same without what only OpenMetrics has, for tools that read the older format.
    fn plain(open: &str) -> String {
        let mut counters = Vec::new();
        let lines = open.lines().filter(|line| !line.starts_with("# UNIT") && *line != "# EOF");
        let lines: Vec<_> = lines.collect();
        for line in &lines {
            if let Some((name, "counter")) =
                line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' '))
            {
                counters.push(name);
            }
        }
        let mut out = String::new();
        for line in lines {
            let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            if words[0] == "#" && counters.contains(&words[2].as_str()) {
                words[2].push_str("_total");
            }
            out.push_str(&words.join(" "));
            out.push('\n');
        }
        out
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_registry_that_is_encoded_says_what_the_view_says() {
        let (_process, view, pool) = service("up \"lo\\ads\n\"} 1");
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Collector::new(&view)));
        // In a task, as a handler of a scrape is.
        let open = tokio::spawn(async move { encoded(&registry) }).await.expect("no panic");
        assert!(open.contains("# UNIT cenote_pool_held_bytes bytes\n"), "{open}");
        assert!(open.contains("# TYPE cenote_account_overcommitted_bytes counter\n"), "{open}");
        let text = plain(&open);
        checked_by_promtool(&text);
        assert_eq!(wanted(&text), wanted(&metrics(&view).await));
        drop(pool);
    }

    #[tokio::test]
    async fn its_histogram_is_the_views() {
        let view = View::builder(&Account::root("process")).build();
        noted(&view);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Collector::new(&view)));
        let open = encoded(&registry);
        checked_by_promtool(&plain(&open));
        // Sums are floating point numbers there, which is the same to who reads them.
        let lines = |text: &str| -> std::collections::BTreeSet<String> {
            let lines = text.lines().filter(|line| line.starts_with("cenote_request_bytes"));
            lines.map(|line| line.strip_suffix(".0").unwrap_or(line).to_owned()).collect()
        };
        let own = lines(&open_metrics(&view).await);
        // le stands before the others.
        let turned: std::collections::BTreeSet<_> = lines(&open)
            .into_iter()
            .map(|line| match line.split_once("{le=\"") {
                Some((name, rest)) => {
                    let (most, rest) = rest.split_once("\",").expect("a route");
                    let (route, count) = rest.rsplit_once('}').expect("an end");
                    format!("{name}{{{route},le=\"{most}\"}}{count}")
                }
                None => line,
            })
            .collect();
        assert_eq!((turned.len(), turned), (12, own));
    }

    #[test]
    fn each_time_it_is_encoded_there_is_a_look_under_the_registrys_own_name() {
        let (process, view, _pool) = service("up \"loads\"");
        let mut registry = Registry::with_prefix("app");
        registry.register_collector(Box::new(Collector::new(&view)));
        let line = "\napp_cenote_accounts{account=\"process/later\"} 1\n";
        assert!(!encoded(&registry).contains(line));
        let _later = process.child("later");
        assert!(encoded(&registry).contains(line));
    }
}

mod opentelemetry {
    use super::*;
    use ::opentelemetry::KeyValue;
    use ::opentelemetry::metrics::MeterProvider;
    use cenote::SharedPool;
    use cenote_web::bridge;
    use cenote_web::view::{BlockMap, Gist, Watched};
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    use opentelemetry_sdk::metrics::{
        InMemoryMetricExporter, InMemoryMetricExporterBuilder, PeriodicReader, SdkMeterProvider,
        Temporality,
    };
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    /// The account; or else what Prometheus would have in braces, as of those that are counted.
    fn account<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
        let all: Vec<_> = attributes.collect();
        match &all[..] {
            [only] if only.key.as_str() == "account" => only.value.to_string(),
            all => {
                let mut all: Vec<_> =
                    all.iter().map(|it| format!("{}=\"{}\"", it.key, it.value)).collect();
                all.sort_by_key(|pair| pair.starts_with("bytes="));
                all.join(",")
            }
        }
    }

    struct Collected {
        exporter: InMemoryMetricExporter,
        provider: SdkMeterProvider,
    }

    impl Collected {
        fn new(view: &View, temporality: Temporality) -> Self {
            let exporter = InMemoryMetricExporterBuilder::new().with_temporality(temporality);
            let exporter = exporter.build();
            let reader = PeriodicReader::builder(exporter.clone()).build();
            let provider = SdkMeterProvider::builder().with_reader(reader).build();
            bridge::instrument(view, &provider.meter("pools")).expect("a look");
            Self { exporter, provider }
        }

        /// Name, unit and whether they only go up, with the values by account; of one collection.
        fn now(&self) -> BTreeMap<(String, String, bool), BTreeMap<String, u64>> {
            self.exporter.reset();
            self.provider.force_flush().expect("it is exported");
            let finished = self.exporter.get_finished_metrics().expect("in memory");
            let [resource] = &finished[..] else { panic!("{} collections", finished.len()) };
            let scope = resource.scope_metrics().next().expect("the meter");
            let metrics = scope.metrics().map(|metric| {
                let AggregatedMetrics::U64(data) = metric.data() else { panic!("{metric:?}") };
                let (monotonic, values) = match data {
                    MetricData::Gauge(gauge) => {
                        let points = gauge.data_points();
                        (false, points.map(|p| (account(p.attributes()), p.value())).collect())
                    }
                    MetricData::Sum(sum) => {
                        let points = sum.data_points();
                        let values = points.map(|p| (account(p.attributes()), p.value()));
                        (sum.is_monotonic(), values.collect())
                    }
                    other => panic!("{other:?}"),
                };
                ((metric.name().to_owned(), metric.unit().to_owned(), monotonic), values)
            });
            metrics.collect()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn its_instruments_say_what_the_view_says() {
        let (_process, view, pool) = service("up loads");
        let collected = Collected::new(&view, Temporality::Cumulative).now();
        let mut samples = BTreeMap::new();
        for ((name, unit, monotonic), values) in collected {
            assert!(name.starts_with("cenote."), "{name}");
            // As exporters to Prometheus name it.
            let unit = if unit == "By" { "_bytes" } else { "" };
            let total = if monotonic { "_total" } else { "" };
            let name = format!("{}{unit}{total}", name.replace('.', "_"));
            for (account, value) in values {
                samples.insert((name.clone(), account), value as f64);
            }
        }
        samples.retain(|(name, _), _| is_ours(name));
        // Its labels are others.
        let build = samples.keys().find(|(name, _)| name == "cenote_build_info").cloned();
        let one = samples.remove(&build.expect("the build")).expect("it was just there");
        samples.insert(("cenote_build_info".to_owned(), String::new()), one);
        assert_eq!(samples, wanted(&metrics(&view).await));
        drop(pool);
    }

    #[test]
    fn a_histogram_is_three_counters() {
        let view = View::builder(&Account::root("process")).build();
        noted(&view);
        let collected = Collected::new(&view, Temporality::Cumulative).now();
        for (line, value) in COUNTED {
            let (name, labels) = line.split_once('{').expect("labels");
            let name = name.replacen('_', ".", 1);
            let name = name.trim_end_matches("_total").trim_end_matches("_bytes").to_owned();
            let unit = if line.contains("_bytes_") { "By" } else { "" };
            let values = &collected[&(name, unit.to_owned(), true)];
            assert_eq!(values[labels.trim_end_matches('}')], value, "{line} in {values:?}");
        }
    }

    #[test]
    fn no_counter_goes_down_and_none_is_told_twice_as_a_difference() {
        let service = Forgotten::new();
        let collected = Collected::new(&service.view, Temporality::Delta);
        let created = ("cenote.pools_created".to_owned(), String::new(), true);
        let mut told = 0;
        let mut difference = || {
            let new = collected.now()[&created][Forgotten::NAME];
            told += new;
            (new, told)
        };
        let tenant = service.tenant(3);
        assert_eq!(difference(), (3, 3));
        assert_eq!(difference(), (0, 3));
        drop(tenant);
        assert_eq!(difference(), (0, 3), "told though it is not there");
        let again = service.tenant(1);
        assert_eq!(difference(), (0, 3), "not subtracted");
        drop(Pool::on(&again));
        drop(Pool::on(&again));
        drop(Pool::on(&again));
        assert_eq!(difference(), (1, 4));
    }

    /// A pool that counts how often its figures are asked for.
    struct Counting(SharedPool, Arc<AtomicU32>);

    impl Watched for Counting {
        fn gist(&self) -> Gist {
            self.1.fetch_add(1, Relaxed);
            self.0.gist()
        }

        fn map(&self) -> BlockMap {
            self.0.map()
        }

        fn account(&self) -> Option<Account> {
            Watched::account(&self.0)
        }
    }

    #[test]
    fn a_collection_is_one_look() {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let collected = Collected::new(&view, Temporality::Cumulative);
        let looks = Arc::new(AtomicU32::new(0));
        let pool = SharedPool::try_on(&process.shared_child("pool")).expect("memory");
        let pool = Arc::new(Counting(pool, looks.clone()));
        view.watch(Arc::downgrade(&pool));
        view.look().wait().expect("a look");
        let asked = looks.swap(0, Relaxed);
        for _ in 0..3 {
            assert!(collected.now().len() > 15);
            assert_eq!(looks.swap(0, Relaxed), asked);
        }
    }
}
