//! The metrics as who scrapes them has them: asked for, read by a parser, checked by Prometheus's own tool.

use cenote_web::view::View;
use http::header::{ACCEPT, HOST};
use http::{HeaderMap, HeaderValue, Method, Response, Uri};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

/// What the view answers to a client of this machine.
pub(crate) async fn ask(view: &View, path: &str) -> Response<bytes::Bytes> {
    ask_with(view, path, HeaderMap::new()).await
}

async fn ask_with(view: &View, path: &str, mut headers: HeaderMap) -> Response<bytes::Bytes> {
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    let uri: Uri = path.parse().expect("an address");
    let peer = Some([127, 0, 0, 1].into());
    view.answer(&Method::GET, &uri, &headers, peer).expect("a path of the view's").await
}

pub(crate) async fn metrics(view: &View) -> String {
    let response = ask(view, "/metrics").await;
    let kind = response.headers()["content-type"].to_str().expect("text");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    String::from_utf8(response.body().to_vec()).expect("text")
}

/// The same in OpenMetrics, as Prometheus asks for it.
pub(crate) async fn open_metrics(view: &View) -> String {
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let headers = [(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
    let response = ask_with(view, "/metrics", headers).await;
    let kind = response.headers()["content-type"].to_str().expect("text");
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    String::from_utf8(response.body().to_vec()).expect("text")
}

/// Whether a figure is of what this test does. Some are of all threads of the process.
pub(crate) fn is_ours(name: &str) -> bool {
    !name.starts_with("cenote_process_anonymous_bytes")
        && !name.starts_with("cenote_block_cache_bytes")
}

/// The samples by name and account, but for those of histograms, as a parser of the format reads them.
pub(crate) fn parsed(text: &str) -> BTreeMap<(String, String), f64> {
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = prometheus_parse::Scrape::parse(lines).expect("the format of Prometheus");
    let mut samples = BTreeMap::new();
    for sample in scrape.samples {
        let value = match sample.value {
            prometheus_parse::Value::Gauge(value) | prometheus_parse::Value::Counter(value) => {
                value
            }
            prometheus_parse::Value::Histogram(_) => continue,
            prometheus_parse::Value::Untyped(_)
                if sample.metric.starts_with("cenote_request_bytes_") =>
            {
                continue;
            }
            other => panic!("{} is of no declared type: {other:?}", sample.metric),
        };
        let account = sample.labels.get("account").unwrap_or("").to_owned();
        let twice = samples.insert((sample.metric.clone(), account), value);
        assert_eq!(twice, None, "{} twice", sample.metric);
    }
    samples
}

/// The buckets of the histograms by route, each with the most that is in it.
pub(crate) fn histograms(text: &str) -> BTreeMap<String, Vec<(f64, f64)>> {
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = prometheus_parse::Scrape::parse(lines).expect("the format of Prometheus");
    let mut all = BTreeMap::new();
    for sample in scrape.samples {
        if let prometheus_parse::Value::Histogram(buckets) = sample.value {
            let route = sample.labels.get("route").expect("a route").to_owned();
            let buckets = buckets.iter().map(|bucket| (bucket.less_than, bucket.count)).collect();
            all.insert(route, buckets);
        }
    }
    all
}

/// What Prometheus's own tool says of it; nothing where there is none.
pub(crate) fn checked_by_promtool(text: &str) {
    let tool = std::env::var("CENOTE_PROMTOOL").unwrap_or_else(|_| "promtool".into());
    let tool = Command::new(tool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        eprintln!("SKIPPED: no promtool: the metrics are read by one parser only");
        return;
    };
    tool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = tool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
