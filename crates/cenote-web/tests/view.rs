//! The view mounted in axum, over sockets, on the multi-thread runtime.

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use cenote::{Account, Pool, SharedPool};
use cenote_web::view::{Access, BlockMap, Gist, Peer, View, Watched};
use cenote_web::{ConnectionPool, PoolLayer, PoolListener, RequestPool, RequestPools};
use common::Client;
use common::scrape::{ask, parsed};
use http::header::HOST;
use serde_json::Value;

async fn json(view: &View) -> Value {
    serde_json::from_slice(ask(view, "/pools.json").await.body()).expect("JSON")
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
