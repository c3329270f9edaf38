//! The view mounted in axum, over sockets, on the multi-thread runtime; and its metrics, read by
//! real parsers of the format.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use cenote::{Account, Pool, SharedPool};
use cenote_web::view::{Access, BlockMap, Gist, Peer, View, Watched};
use cenote_web::{ConnectionPool, PoolLayer, PoolListener, RequestPool, RequestPools};
use common::Client;
use http::header::{self, HOST};
use http::{HeaderMap, HeaderValue, Method, Response, Uri};
use serde_json::Value;

/// What the view answers to a client of this machine.
async fn ask(view: &View, path: &str) -> Response<bytes::Bytes> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    let uri: Uri = path.parse().expect("an address");
    let peer = Some([127, 0, 0, 1].into());
    view.answer(&Method::GET, &uri, &headers, peer).expect("a path of the view's").await
}

async fn json(view: &View) -> Value {
    serde_json::from_slice(ask(view, "/pools.json").await.body()).expect("JSON")
}

async fn metrics(view: &View) -> String {
    let response = ask(view, "/metrics").await;
    let kind = response.headers()["content-type"].to_str().expect("text");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    String::from_utf8(response.body().to_vec()).expect("text")
}

/// The samples by name and account, as a parser of the format reads them.
fn parsed(text: &str) -> BTreeMap<(String, String), f64> {
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = prometheus_parse::Scrape::parse(lines).expect("the format of Prometheus");
    let mut samples = BTreeMap::new();
    for sample in scrape.samples {
        let value = match sample.value {
            prometheus_parse::Value::Gauge(value) | prometheus_parse::Value::Counter(value) => {
                value
            }
            other => panic!("{} is of no declared type: {other:?}", sample.metric),
        };
        let account = sample.labels.get("account").unwrap_or("").to_owned();
        let twice = samples.insert((sample.metric.clone(), account), value);
        assert_eq!(twice, None, "{} twice", sample.metric);
    }
    samples
}

/// What Prometheus's own tool says of it; nothing where there is none.
fn checked_by_promtool(text: &str) {
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

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_what_the_accounts_say_and_parsers_read_them() {
    let process = Account::root("process").with_limit(Some(1 << 20));
    let view = View::builder(&process).build();
    let uploads = process.child("uploads of \u{e9}");
    let worker = process.child("worker-0");
    let pools: Vec<_> = (0..3)
        .map(|_| {
            let pool =
                Arc::new(SharedPool::try_on(&worker.shared_child("request")).expect("memory"));
            view.watch(Arc::downgrade(&pool));
            pool
        })
        .collect();
    let unshown = Pool::on(&uploads);
    unshown.alloc([0_u8; 5000]);
    assert!(unshown.try_alloc_bytes(2 << 20).is_err());
    let text = metrics(&view).await;
    checked_by_promtool(&text);
    let samples = parsed(&text);
    let sample = |name: &str, account: &str| {
        let key = (name.to_owned(), account.to_owned());
        samples.get(&key).copied().unwrap_or_else(|| panic!("{key:?} in {text}"))
    };
    let request = "process/worker-0/request";
    let held: usize = pools.iter().map(|pool| pool.held_bytes()).sum();
    let used: usize = pools.iter().map(|pool| pool.used_bytes()).sum();
    assert_eq!(sample("cenote_pool_held_bytes", request), held as f64);
    assert_eq!(sample("cenote_pool_used_bytes", request), used as f64);
    assert_eq!(sample("cenote_pools_live", request), 3.0);
    assert_eq!(sample("cenote_pools_created_total", request), 3.0);
    assert_eq!(sample("cenote_pool_refused_total", "process"), 1.0);
    assert_eq!(sample("cenote_pool_limit_bytes", "process"), f64::from(1 << 20));
    assert_eq!(
        (sample("cenote_accounts", request), sample("cenote_accounts", "process")),
        (3.0, 1.0)
    );
    let largest = pools.iter().map(|pool| pool.account().unwrap().held()).max().unwrap();
    assert_eq!(sample("cenote_account_largest_bytes", request), largest as f64);
    assert_eq!(sample("cenote_account_largest_bytes", "process"), process.held() as f64);
    assert!(text.contains("\ncenote_build_info{version=\"\",cenote_web=\""), "{text}");
    let late = sample("cenote_account_recent_peak_bytes", "process");
    assert!(late >= process.held() as f64 && late <= sample("cenote_pool_peak_bytes", "process"));
    // Own bytes only, so that a sum over accounts is the whole.
    let sum: f64 = samples
        .iter()
        .filter(|((name, _), _)| name == "cenote_pool_held_bytes")
        .map(|(_, value)| value)
        .sum();
    assert_eq!(sum, process.held() as f64);
    drop(pools);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_openmetrics_is_given_the_same_figures_in_that_format() {
    let process = Account::root("process").with_limit(Some(1 << 20));
    let view = View::builder(&process).build();
    let pool = Pool::on(&process.child("uploads"));
    pool.alloc(1_u64);
    let (method, uri) = (Method::GET, "/metrics".parse().expect("a path"));
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    let answer = view.answer(&method, &uri, &headers, Some([127, 0, 0, 1].into()));
    let response = answer.expect("a path of the view").await;
    let kind = response.headers()[header::CONTENT_TYPE].to_str().expect("text");
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let open = String::from_utf8(response.body().to_vec()).expect("text");
    let plain = metrics(&view).await;
    assert!(open.ends_with("\n# EOF\n") && open.matches("# EOF").count() == 1, "{open}");
    let samples = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
    };
    assert_eq!(samples(&open), samples(&plain));
    // Each family once, all its samples behind it; counters' end in what their families do not.
    let mut families = HashSet::new();
    let mut family = (String::new(), String::new());
    for line in open.lines().filter(|&line| line != "# EOF") {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            assert!(families.insert(name.to_owned()) && !name.ends_with("_total"), "{line}");
            family = (name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let end = if family.1 == "counter" { "_total" } else { "" };
            let rest = line.strip_prefix(&family.0).and_then(|rest| rest.strip_prefix(end));
            assert!(rest.is_some_and(|rest| rest.starts_with(['{', ' '])), "{line} in {family:?}");
        }
    }
    assert!(families.contains("cenote_pools_created") && families.len() > 12, "{families:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_is_told_apart_from_blocks() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let tables = process.child("tables").with_limit(Some(100_000));
    let pool = Pool::on(&tables);
    pool.alloc(1_u64);
    let mut index = tables.try_reserve(60_000).expect("there is room");
    let other = process.try_reserve(5000).expect("there is room");
    index.grow(50_000);
    let text = metrics(&view).await;
    checked_by_promtool(&text);
    let samples = parsed(&text);
    let sample = |name: &str, account: &str| samples[&(name.to_owned(), account.to_owned())];
    let blocks = pool.held_bytes() as f64;
    assert_eq!(sample("cenote_account_reserved_bytes", "process/tables"), 110_000.0);
    // An account's own, so that a sum over accounts is the whole.
    assert_eq!(sample("cenote_account_reserved_bytes", "process"), 5000.0);
    assert_eq!(sample("cenote_pool_held_bytes", "process/tables"), blocks);
    assert_eq!(sample("cenote_pool_held_bytes", "process"), 0.0);
    let beyond = (pool.held_bytes() + 110_000 - 100_000) as f64;
    assert_eq!(sample("cenote_account_overcommitted_bytes_total", "process/tables"), beyond);
    assert_eq!(sample("cenote_account_overcommitted_bytes_total", "process"), 0.0);
    drop((index, other));
    let samples = parsed(&metrics(&view).await);
    let key = ("cenote_account_reserved_bytes".to_owned(), "process/tables".to_owned());
    assert_eq!(samples[&key], 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_cannot_break_out_of_its_label() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let plain = metrics(&view).await.lines().count();
    let odd = process.child("a\"b\\c\nd{e=\"f\"} 1\u{1b}[2J");
    let text = metrics(&view).await;
    checked_by_promtool(&text);
    // All are 0, but that it is one account.
    let label = "{account=\"process/a\\\"b\\\\c\\nd{e=\\\"f\\\"} 1\u{fffd}[2J\"} ";
    assert_eq!(text.matches(label).count(), text.lines().count() - plain, "{text}");
    drop(odd);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_without_end_become_few_series_and_their_counters_never_go_down() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let mut before = BTreeMap::new();
    for round in 0..4 {
        let open: Vec<_> = (0..700)
            .map(|n| {
                let pool = Pool::on(&process.child(format!("user-{round}-{n}")));
                pool.alloc(1_u8);
                pool
            })
            .collect();
        let text = metrics(&view).await;
        checked_by_promtool(&text);
        let samples = parsed(&text);
        let accounts: std::collections::BTreeSet<_> =
            samples.keys().map(|(_, account)| account).collect();
        assert!(accounts.len() <= 203, "{}", accounts.len());
        let live: f64 = samples
            .iter()
            .filter(|((name, _), _)| name == "cenote_pools_live")
            .map(|(_, value)| value)
            .sum();
        assert_eq!(live, 700.0, "none is lost");
        let other = samples[&("cenote_pools_created_total".to_owned(), "other".to_owned())];
        let last = before.insert("other", other).unwrap_or(0.0);
        assert!(other >= last, "{last} {other}");
        drop(open);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_accounts_there_are_at_once_they_are_two_hundred_series_and_one_of_the_others()
{
    let process = Account::root("process");
    let view = View::builder(&process).build();
    // No more below one than are told by name.
    let tenants: Vec<_> = (0..7).map(|n| process.child(format!("tenant-{n}"))).collect();
    let all = tenants.iter().flat_map(|tenant| (0..100).map(move |n| (tenant, n)));
    let pools: Vec<_> =
        all.map(|(tenant, n)| Pool::on(&tenant.child(format!("user-{n}")))).collect();
    for _ in 0..2 {
        let samples = parsed(&metrics(&view).await);
        let live: Vec<_> =
            samples.iter().filter(|((name, _), _)| name == "cenote_pools_live").collect();
        assert_eq!(live.len(), 201);
        assert_eq!(live.iter().map(|(_, value)| **value).sum::<f64>(), pools.len() as f64);
    }
}

#[test]
fn a_shared_pool_is_seen_while_it_is_there_and_block_by_block() {
    common::plain(async {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let pool = SharedPool::try_on(&process.shared_child("session")).expect("memory");
        pool.alloc_str("packed");
        pool.alloc([0_u64; 10]);
        view.watch(pool.downgrade());
        let document = json(&view).await;
        let row = &document["pools"][0];
        assert_eq!((&row["kind"], &row["path"][1]), (&"shared".into(), &"session".into()));
        assert!(row["created_at"].as_str().is_some_and(|place| place.contains("tests/view.rs:")));
        let address = format!("/pools.json?pool={}", row["id"].as_str().expect("an id"));
        let map: Value = serde_json::from_slice(ask(&view, &address).await.body()).expect("JSON");
        assert_eq!(map["blocks"][0]["size"], row["held_bytes"]);
        drop(pool);
        assert_eq!(ask(&view, &address).await.status(), 404);
        assert_eq!(json(&view).await["pools"].as_array().map(Vec::len), Some(0));
    });
}

/// A service on axum whose requests have pools, with the view beside it.
async fn serve(view: &View, layer: PoolLayer, kept: Arc<Mutex<Vec<RequestPool>>>) -> SocketAddr {
    let keep = move |pool: RequestPool| async move {
        pool.try_alloc_str("still needed").expect("memory");
        kept.lock().expect("no panic").push(pool);
        "kept"
    };
    let view = Router::new()
        .route_service("/pools", view.service())
        .route_service("/pools.json", view.service())
        .route_service("/metrics", view.service());
    let app = Router::new()
        .route("/keep", get(keep))
        .route("/hello", get(|pool: RequestPool| async move { pool.handles().to_string() }))
        .layer(layer)
        .merge(view);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[test]
fn in_axum_requests_that_are_kept_are_told_one_by_one_and_block_by_block() {
    common::plain(async {
        let process = Account::root("process");
        let view = View::builder(&process)
            .age_limit("request", Duration::from_millis(300))
            .age_limit("GET /hello", Duration::from_secs(600))
            .build();
        let kept: Arc<Mutex<Vec<RequestPool>>> = Arc::default();
        let web = process.shared_child("web");
        let layer = PoolLayer::new(&web).view(&view).by_route();
        let line = line!() - 1;
        let address = serve(&view, layer, Arc::clone(&kept)).await;
        let mut client = Client::connect(address).await;
        for _ in 0..5 {
            assert_eq!(client.get("/hello").await.status, 200);
            assert_eq!(client.get("/keep").await.text(), "kept");
        }
        // The client says `test` for a host, which the view does not go by.
        assert_eq!(client.get("/pools.json").await.status, 403);
        let document = loop {
            let document = json(&view).await;
            let accounts = document["accounts"].as_array().expect("rows");
            let row = accounts.iter().find(|row| row["path"][2] == "GET /keep").expect("requests");
            assert_eq!((&row["live"], &row["created"]), (&5.into(), &5.into()));
            assert_eq!((&row["unknown_bytes"], &row["blocks"]), (&0.into(), &5.into()));
            assert_eq!(row["age_limit_seconds"], 0.3);
            if row["over_age"] == 5 {
                break document;
            }
            tokio::task::yield_now().await;
        };
        let pools = document["pools"].as_array().expect("pools");
        assert_eq!(pools.iter().filter(|pool| pool["over_age"] == true).count(), 5);
        let first = kept.lock().expect("no panic")[0].clone();
        for pool in pools {
            let own = (&pool["kind"], &pool["name"], &pool["path"][2]);
            assert_eq!(own, (&"shared".into(), &"request".into(), &"GET /keep".into()));
            assert_eq!(pool["held_bytes"], first.held_bytes());
            assert_eq!(pool["used_bytes"], first.used_bytes());
            assert!(pool["age_seconds"].as_f64() > Some(0.2) && pool["peak_bytes"] == 4096);
            assert_eq!(pool["recent_peak_bytes"], 4096);
            assert!(
                pool["created_at"]
                    .as_str()
                    .is_some_and(|place| { place.ends_with(&format!("tests/view.rs:{line}")) })
            );
            // The map's, and not the view's.
            assert_eq!(pool["handles"], 1, "{pool}");
            let address = format!("/pools.json?pool={}", pool["id"].as_str().expect("an id"));
            let map: Value =
                serde_json::from_slice(ask(&view, &address).await.body()).expect("JSON");
            let block = &map["blocks"][0];
            assert_eq!(
                (&block["size"], &block["tail"]),
                (&4096.into(), &"still needed".len().into())
            );
        }
        drop(first);
        kept.lock().expect("no panic").clear();
        let document = json(&view).await;
        assert_eq!(document["pools"].as_array().map(Vec::len), Some(0), "{document}");
        assert_eq!(web.held(), 0);
    });
}

#[test]
fn connections_are_told_with_what_is_in_their_pools() {
    common::plain(async {
        let process = Account::root("process");
        let view = View::builder(&process).hosts(["test"]).build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let remember = |pool: ConnectionPool| async move {
            pool.try_alloc([7_u64; 10]).expect("memory");
            "remembered"
        };
        let app = Router::new()
            .route("/", get(remember))
            .layer(PoolLayer::new(&process).view(&view).under_connections())
            .into_make_service_with_connect_info::<ConnectionPool>();
        let listener = PoolListener::new(listener, &process).view(&view);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut client = Client::connect(address).await;
        assert_eq!(client.get("/").await.text(), "remembered");
        common::until("the request's end", || process.held() == 4096).await;
        let document = json(&view).await;
        let pools = document["pools"].as_array().expect("pools");
        assert_eq!(pools.len(), 1, "{document}");
        assert_eq!(
            (&pools[0]["name"], &pools[0]["used_bytes"]),
            (&"connection".into(), &80.into())
        );
        drop(client);
        common::until("its end", || process.held() == 0).await;
        assert_eq!(json(&view).await["pools"].as_array().map(Vec::len), Some(0));
    });
}

/// The view looks all the time; requests come and go, with pools that grow.
#[test]
fn pools_that_come_and_go_under_the_eyes_of_the_view_leave_nothing() {
    common::plain(async {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let pools = RequestPools::new(&process).view(&view);
        // Or the first look may take an account whose first pool begins meanwhile for one whose
        // pools it is never shown.
        let first = pools.try_begin(&http::Request::new(())).expect("memory");
        assert_eq!(json(&view).await["pools"][0]["kind"], "shared");
        drop(first);
        let work = |round: usize| {
            let pools = pools.clone();
            tokio::spawn(async move {
                for turn in 0..100 {
                    let request = http::Request::new(());
                    let pool = pools.try_begin(&request).expect("memory");
                    let other = pool.clone();
                    let grown = tokio::spawn(async move {
                        other.try_alloc_bytes(1000 * (turn % 60)).expect("memory");
                    });
                    let mut list = allocator_api2::vec::Vec::new_in(pool.handle());
                    list.extend(0..(round * turn) as u32);
                    grown.await.expect("no panic");
                    assert!(list.iter().copied().eq(0..(round * turn) as u32));
                }
            })
        };
        let all: Vec<_> = (0..16).map(work).collect();
        let mut seen = 0;
        while all.iter().any(|one| !one.is_finished()) {
            let document = json(&view).await;
            for pool in document["pools"].as_array().expect("pools") {
                seen += 1;
                assert_eq!(pool["kind"], "shared", "{pool}");
                assert!(pool["used_bytes"].as_u64() <= pool["held_bytes"].as_u64(), "{pool}");
                let address = format!("/pools.json?pool={}", pool["id"].as_str().expect("an id"));
                let map = ask(&view, &address).await;
                assert!(map.status() == 200 || map.status() == 404);
            }
        }
        for one in all {
            one.await.expect("no panic");
        }
        assert!(seen > 0);
        assert_eq!((process.held(), json(&view).await["pools_shown"].as_u64()), (0, Some(0)));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn in_axum_the_page_and_the_metrics_are_served_to_this_machine() {
    let process = Account::root("process");
    let view = View::builder(&process).hosts(["test"]).build();
    let address = serve(&view, PoolLayer::new(&process), Arc::default()).await;
    let mut client = Client::connect(address).await;
    let page = client.get("/pools").await;
    assert_eq!(page.status, 200);
    assert!(page.text().starts_with("<!doctype html>"));
    assert!(page.head.to_lowercase().contains("content-security-policy: default-src 'none'"));
    let text = client.get("/metrics").await;
    assert!(parsed(text.text()).len() > 3);
    assert_eq!(client.post("/pools.json", b"").await.status, 405);
    assert_eq!(client.get("/elsewhere").await.status, 404);
    // A request without its client's address is nobody's.
    let mut service = view.service();
    let request = http::Request::get("/pools").header(HOST, "localhost").body(()).expect("valid");
    let response = tower::Service::call(&mut service, request).await.expect("infallible");
    assert_eq!(response.status(), 403);
    let open = View::builder(&process).access(Access::Anyone).build();
    let request = http::Request::get("/pools").header(HOST, "localhost").body(()).expect("valid");
    let response = tower::Service::call(&mut open.service(), request).await.expect("infallible");
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn axum_tells_the_view_where_clients_are_and_who_is_not_told_shows_it_to_nobody() {
    let process = Account::root("process");
    let view = View::builder(&process).hosts(["test"]).build();
    let app = Router::new().route_service("/pools.json", view.service());
    let bind = || tokio::net::TcpListener::bind("127.0.0.1:0");
    let socket = bind().await.expect("a port");
    let pooled = bind().await.expect("a port");
    let untold = bind().await.expect("a port");
    let addresses = [&socket, &pooled, &untold].map(|one| one.local_addr().expect("an address"));
    let told = app.clone().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(socket, told).await });
    let told = app.clone().into_make_service_with_connect_info::<ConnectionPool>();
    let pooled = PoolListener::new(pooled, &process);
    tokio::spawn(async move { axum::serve(pooled, told).await });
    tokio::spawn(async move { axum::serve(untold, app).await });
    for (address, status) in addresses.into_iter().zip([200, 200, 403]) {
        let mut client = Client::connect(address).await;
        let answer = client.get("/pools.json").await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.text().contains("does not tell the view"), status == 403);
    }
    // From elsewhere it is not shown; and a service that knows better than the socket is believed.
    let here: SocketAddr = ([127, 0, 0, 1], 40_000).into();
    let far: SocketAddr = ([192, 0, 2, 1], 40_000).into();
    for (socket, told, status) in [
        (here, None, 200),
        (far, None, 403),
        (here, Some(Peer(far)), 403),
        (far, Some(Peer(here)), 200),
    ] {
        let mut request =
            http::Request::get("/pools").header(HOST, "localhost").body(()).expect("valid");
        request.extensions_mut().insert(ConnectInfo(socket));
        if let Some(told) = told {
            request.extensions_mut().insert(told);
        }
        let response = tower::Service::call(&mut view.service(), request).await;
        assert_eq!(response.expect("infallible").status(), status, "{socket} {told:?}");
    }
}

#[test]
fn a_thread_that_does_not_answer_is_said_to_be_silent_and_the_rest_is_told() {
    common::plain(async {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let (quiet, loud) = (process.child("quiet"), process.child("loud"));
        let (_pools, never_run) = view.local(&quiet);
        let held = Pool::on(&loud);
        held.alloc(1);
        let document = json(&view).await;
        assert_eq!(document["silent"], serde_json::json!([["process", "quiet"]]));
        let row = |name: &str| {
            let rows = document["accounts"].as_array().expect("rows");
            rows.iter().find(|row| row["path"][1] == name).expect("a row").clone()
        };
        assert!(row("quiet")["used_bytes"].is_null());
        assert_eq!(row("loud")["held_bytes"], 4096);
        // One that has ended is not asked again.
        drop(never_run);
        assert_eq!(json(&view).await["silent"], serde_json::json!([]));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thread_that_has_no_time_what_it_told_last_is_shown() {
    use std::sync::mpsc;
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let (told, wait_until_told) = mpsc::channel::<()>();
    let (blocked, wait_until_blocked) = mpsc::channel();
    let (go_on, wait_to_go_on) = mpsc::channel::<()>();
    let thread = std::thread::spawn({
        let (view, process) = (view.clone(), process.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let worker = process.child("worker");
                let (pools, answering) = view.local(&worker);
                let pool = std::rc::Rc::new(Pool::on(&worker));
                pool.alloc([0_u8; 1000]);
                pools.add(&pool);
                tokio::task::spawn_local(answering.run());
                while wait_until_told.try_recv().is_err() {
                    tokio::task::yield_now().await;
                }
                // A task that takes its thread for itself.
                blocked.send(()).expect("the test waits");
                wait_to_go_on.recv().expect("the test goes on");
            });
        }
    });
    let used = |document: &Value| {
        let rows = document["accounts"].as_array().expect("rows");
        rows.iter().find(|row| row["path"][1] == "worker").map(|row| row["used_bytes"].clone())
    };
    let before = loop {
        let document = json(&view).await;
        if used(&document).is_some_and(|used| used == 1000) {
            break document;
        }
    };
    told.send(()).expect("the thread runs");
    wait_until_blocked.recv().expect("the thread runs");
    let document = json(&view).await;
    assert_eq!(document["silent"], serde_json::json!([["process", "worker"]]));
    assert_eq!(used(&document), used(&before));
    assert_eq!(document["pools"][0]["id"], before["pools"][0]["id"]);
    // Its blocks are not to be had now, which is not to say that it is gone.
    let map = format!("/pools.json?pool={}", document["pools"][0]["id"].as_str().expect("an id"));
    assert_eq!(ask(&view, &map).await.status(), 503);
    go_on.send(()).expect("the thread waits");
    thread.join().expect("an end");
    // Its pools are gone with it, and so is what it told.
    let document = json(&view).await;
    assert_eq!(document["pools"].as_array().map(Vec::len), Some(0), "{document}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_threads_answering_ends_when_the_view_is_gone() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let process = Account::root("process");
            let view = View::builder(&process).build();
            let (pools, answering) = view.local(&process);
            let answering = tokio::task::spawn_local(answering.run());
            pools.add(&std::rc::Rc::new(Pool::on(&process)));
            assert_eq!(json(&view).await["silent"], serde_json::json!([]));
            drop(view);
            common::until("its end", || answering.is_finished()).await;
            answering.await.expect("no panic");
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn notes_of_pools_that_are_gone_are_forgotten_at_a_look_and_when_asked() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let process = Account::root("process");
            let view = View::builder(&process).build();
            let (pools, answering) = view.local(&process);
            tokio::task::spawn_local(answering.run());
            let noted = || {
                for _ in 0..5000 {
                    pools.add(&std::rc::Rc::new(Pool::on(&process)));
                }
                format!("{pools:?}")
            };
            assert_ne!(noted(), "Local { pools: 0 }");
            pools.sweep();
            assert_eq!(format!("{pools:?}"), "Local { pools: 0 }");
            assert_ne!(noted(), "Local { pools: 0 }");
            assert_eq!(json(&view).await["silent"], serde_json::json!([]));
            assert_eq!(format!("{pools:?}"), "Local { pools: 0 }");
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn no_pool_is_held_while_other_tasks_have_their_turn() {
    use std::cell::Cell;
    use std::rc::Rc;
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let process = Account::root("process");
            let view = View::builder(&process).build();
            let (pools, answering) = view.local(&process);
            tokio::task::spawn_local(answering.run());
            // More than are looked at in one turn, and than are told one by one in another.
            let many: Vec<_> = (0..500).map(|_| Rc::new(Pool::on(&process))).collect();
            for pool in &many {
                pools.add(pool);
            }
            let (turns, held) = (Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(0)));
            let (count, most) = (turns.clone(), held.clone());
            tokio::task::spawn_local(async move {
                loop {
                    let handles = many.iter().map(Rc::strong_count).max().unwrap_or(0);
                    most.set(most.get().max(handles));
                    count.set(count.get() + 1);
                    tokio::task::yield_now().await;
                }
            });
            let before = turns.get();
            assert_eq!(json(&view).await["pools_shown"], 500);
            assert!(turns.get() - before >= 500 / 64, "{}", turns.get() - before);
            assert_eq!(held.get(), 1, "handles on one pool, of which the view has none");
        })
        .await;
}

/// A pool that counts how often its figures were asked for.
struct Counting {
    pool: Pool,
    asked: std::rc::Rc<std::cell::Cell<u32>>,
}

impl Watched for Counting {
    fn gist(&self) -> Gist {
        self.asked.set(self.asked.get() + 1);
        self.pool.gist()
    }

    fn map(&self) -> BlockMap {
        self.pool.map()
    }

    fn account(&self) -> Option<Account> {
        Watched::account(&self.pool)
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_thread_with_many_pools_goes_on_with_its_work_while_it_tells() {
    use std::cell::Cell;
    use std::rc::Rc;
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let process = Account::root("process");
            let view = View::builder(&process).build();
            let (pools, answering) = view.local(&process);
            tokio::task::spawn_local(answering.run());
            let asked = Rc::new(Cell::new(0));
            let many: Vec<_> = (0..5000)
                .map(|_| {
                    let pool = Pool::on(&process);
                    let pool = Rc::new(Counting { pool, asked: asked.clone() });
                    pools.add(&pool);
                    pool
                })
                .collect();
            // Work that wants a turn again and again: how many pools were looked at meanwhile?
            let (most, all) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let (at_once, in_all) = (most.clone(), all.clone());
            tokio::task::spawn_local(async move {
                loop {
                    let looked = asked.take();
                    at_once.set(looked.max(at_once.get()));
                    in_all.set(in_all.get() + looked);
                    tokio::task::yield_now().await;
                }
            });
            let document = json(&view).await;
            assert_eq!(document["pools_shown"], 5000);
            assert!(document["pools"].as_array().is_some_and(|list| list.len() <= 200));
            assert!(all.get() >= 5000 && most.get() <= 2 * 64, "{} at once", most.get());
            drop(many);
        })
        .await;
}
