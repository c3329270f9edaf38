//! Proves what the metrics say about requests that have ended: what the account of each held at most, by
//! route, whatever became of it.
//!
//! A program of its own, since it replaces the global allocator by one that counts.

mod common;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use cenote::Account;
use cenote_web::view::View;
use cenote_web::view::metrics::{Histogram, Value};
use cenote_web::{Error, PoolLayer, RequestPool, RequestPools};
use common::scrape::{checked_by_promtool, histograms, metrics, open_metrics};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use tower::{Service, ServiceExt};

struct Counting;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The histograms by route.
async fn told(view: &View) -> BTreeMap<String, Histogram> {
    let families = view.metrics().await.expect("a look");
    let family = families.iter().find(|family| family.name == "cenote_request_bytes");
    let samples = family.expect("the family").samples.iter().map(|sample| {
        let Value::Histogram(histogram) = &sample.value else { panic!("{sample:?}") };
        (sample.label("route").expect("a route").to_owned(), histogram.clone())
    });
    samples.collect()
}

/// How many ended by route, as they are told now.
async fn ended(view: &View) -> Vec<(String, u64)> {
    told(view).await.into_iter().map(|(route, histogram)| (route, histogram.count)).collect()
}

fn counted(all: &[(&str, u64)]) -> Vec<(String, u64)> {
    all.iter().map(|&(route, count)| (route.to_owned(), count)).collect()
}

/// Takes what its address says, in bytes.
async fn take(pool: RequestPool, request: Request<Body>) -> Result<&'static str, Error> {
    let bytes = request.uri().query().map_or(0, |bytes| bytes.parse().expect("a number"));
    pool.try_alloc_bytes(bytes)?;
    Ok("taken")
}

fn app(layer: PoolLayer) -> Router {
    Router::new()
        .route("/notes/{id}", get(take).post(take))
        .nest("/inner", Router::new().route("/deep/{*rest}", get(take)))
        .route("/never", get(|_: RequestPool| std::future::pending::<()>()))
        .fallback(take)
        .layer(layer)
}

async fn ask(app: &Router, method: &str, path: &str) -> (u16, Response<Body>) {
    let request = Request::builder().method(method).uri(path).body(Body::empty());
    let response = app.clone().oneshot(request.expect("a request")).await.expect("infallible");
    (response.status().as_u16(), response)
}

#[test]
fn a_request_that_is_refused_before_it_has_a_pool_is_counted_as_well() {
    common::plain(async {
        let process = Account::root("process").with_limit(Some(100));
        let view = View::builder(&process).build();
        let app = app(PoolLayer::new(&process).view(&view));
        assert_eq!(ask(&app, "GET", "/notes/1").await.0, 503);
        let all = told(&view).await;
        let notes = &all["GET /notes/{id}"];
        assert_eq!((notes.count, notes.sum, notes.buckets[0].count), (1, 0, 1));
    });
}

#[test]
fn a_request_is_counted_by_its_route_when_its_body_is_gone_and_by_its_peak() {
    common::plain(async {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let app = app(PoolLayer::new(&process).view(&view));
        let (status, response) = ask(&app, "GET", "/notes/1?100000").await;
        assert_eq!((status, ended(&view).await), (200, vec![]), "it has not ended");
        let peak = process.held() as u64;
        assert!(peak > 100_000);
        drop(response);
        let all = told(&view).await;
        let notes = &all["GET /notes/{id}"];
        assert_eq!((all.len(), notes.count, notes.sum), (1, 1, peak));
        for bucket in &notes.buckets {
            assert_eq!(bucket.count, u64::from(bucket.most >= peak), "{bucket:?}");
        }
        for (method, path) in [
            ("GET", "/notes/2"),
            ("GET", "/inner/deep/er"),
            ("POST", "/notes/1"),
            ("BREW", "/nowhere"),
        ] {
            // Sent, as a server does it.
            let (status, response) = ask(&app, method, path).await;
            assert_eq!(status, 200);
            response.into_body().collect().await.expect("a body");
        }
        let all = counted(&[
            ("(none)", 1),
            ("GET /inner/deep/{*rest}", 1),
            ("GET /notes/{id}", 2),
            ("POST /notes/{id}", 1),
        ]);
        assert_eq!(ended(&view).await, all);
    });
}

#[test]
fn whatever_becomes_of_a_request_it_is_counted_once() {
    common::plain(async {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let pools = RequestPools::new(&process).limit(50_000).view(&view);
        let app = app(PoolLayer::from(pools.clone()));
        // Refused in its handler,
        let (status, response) = ask(&app, "GET", "/notes/1?60000").await;
        assert_eq!(status, 503);
        drop(response);
        assert_eq!(ended(&view).await, counted(&[("GET /notes/{id}", 1)]));
        // given up by its client,
        let request = Request::get("/never").body(Body::empty()).expect("a request");
        let mut work = app.clone();
        let work = work.call(request);
        assert!(tokio::time::timeout(std::time::Duration::ZERO, work).await.is_err());
        assert_eq!(ended(&view).await, counted(&[("GET /never", 1), ("GET /notes/{id}", 1)]));
        // without tower, by the name that was chosen,
        let named = pools.clone().name_by(|_| Some("report".into()));
        let handler = |_| async { Ok::<_, Infallible>(Response::new(Full::new("hello".into()))) };
        let handler = |request: Request<()>| handler(request);
        let response: Response<_> =
            named.serve(Request::new(()), handler).await.expect("infallible");
        drop::<Response<cenote_web::PoolBody<Full<bytes::Bytes>>>>(response);
        // panicked with something else,
        let thrown = tokio::spawn({
            let named = named.clone();
            async move {
                let handler = |_: Request<()>| async { panic!("of its own") };
                let never: Result<Response<cenote_web::PoolBody<Full<bytes::Bytes>>>, Infallible> =
                    named.serve(Request::new(()), handler).await;
                drop(never);
            }
        });
        assert!(thrown.await.expect_err("it panics").is_panic());
        // but not one that is begun by itself, of which nobody says when it ends.
        drop(named.try_begin(&Request::new(())).expect("memory"));
        let all = counted(&[("GET /never", 1), ("GET /notes/{id}", 1), ("report", 2)]);
        assert_eq!(ended(&view).await, all);
        assert_eq!(process.held(), 0);
    });
}

#[tokio::test]
async fn without_a_view_nothing_is_counted() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let app = app(PoolLayer::new(&process));
    drop(ask(&app, "GET", "/notes/1").await);
    assert_eq!(ended(&view).await, vec![]);
    // And a family without samples is one still.
    let text = metrics(&view).await;
    checked_by_promtool(&text);
    assert!(text.contains("# TYPE cenote_request_bytes histogram\n"), "{text}");
}

#[tokio::test]
async fn routes_without_end_become_few_series() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    for number in 0..5000_usize {
        view.note_request(&format!("GET /{number}"), number);
    }
    let all = told(&view).await;
    assert_eq!(all.len(), 65);
    assert_eq!(all["(others)"].count, 5000 - 64);
    assert_eq!(all.values().map(|one| one.count).sum::<u64>(), 5000);
    assert!((0..64).all(|number| all[&format!("GET /{number}")].sum == number), "first come");
}

#[tokio::test]
async fn parsers_read_the_histograms_as_they_were_noted() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let odd = "GET /a\"b\\c{d}";
    for bytes in [0, 1024, 1025, 5000, 64 << 20, (64 << 20) + 1] {
        view.note_request(odd, bytes);
        view.note_request("plain", 3 * bytes);
    }
    let text = metrics(&view).await;
    checked_by_promtool(&text);
    let plain = &histograms(&text)["plain"];
    let bounds = (0..9).map(|power| f64::from(1024 << (2 * power)));
    // Two are in no bucket but the last.
    let thrice = [1, 3, 4, 4, 4, 4, 4, 4, 4].map(f64::from);
    assert!(plain.iter().map(|bucket| bucket.0).eq(bounds.chain([f64::INFINITY])), "{plain:?}");
    assert!(plain.iter().map(|bucket| bucket.1).eq(thrice.into_iter().chain([6.0])), "{plain:?}");
    let escaped = "GET /a\\\"b\\\\c{d}";
    for (most, count) in [("1024", 2), ("67108864", 5), ("+Inf", 6)] {
        let line =
            format!("\ncenote_request_bytes_bucket{{route=\"{escaped}\",le=\"{most}\"}} {count}\n");
        assert!(text.contains(&line), "{line} in {text}");
    }
    let sum = 1024 + 1025 + 5000 + (128 << 20) + 1;
    assert!(text.contains(&format!("\ncenote_request_bytes_sum{{route=\"{escaped}\"}} {sum}\n")));
    assert!(text.contains(&format!("\ncenote_request_bytes_count{{route=\"{escaped}\"}} 6\n")));
    // The same in OpenMetrics, where bounds are floating point numbers.
    let open = open_metrics(&view).await;
    assert!(
        open.contains("# TYPE cenote_request_bytes histogram\n# UNIT cenote_request_bytes bytes\n")
    );
    assert!(open.contains(&format!("_bucket{{route=\"{escaped}\",le=\"1024.0\"}} 2\n")), "{open}");
    assert!(open.contains(&format!("_bucket{{route=\"{escaped}\",le=\"+Inf\"}} 6\n")), "{open}");
    let same = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("cenote_request_bytes"));
        lines.map(|line| line.replace(".0\"}", "\"}")).collect()
    };
    assert_eq!(same(&open), same(&text));
}

#[test]
fn only_the_first_request_of_a_route_takes_memory() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let note = |route: &str| {
        let before = ALLOCATED.get();
        view.note_request(route, 5000);
        ALLOCATED.get() - before
    };
    assert!(note("GET /notes/{id}") > 0);
    for number in 0..1000 {
        let route = format!("GET /{}", number % 200);
        note(&route);
        assert_eq!(note(&route), 0, "{route}");
        assert_eq!(note("GET /notes/{id}"), 0);
    }
}
