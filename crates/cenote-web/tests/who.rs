//! Proves that the view says whose pools are: what was asked for, what it was answered with, and by whom it was asked.

mod common;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use cenote::{Account, Pool, SharedPool};
use cenote_web::view::{Noted, Peer, PoolRow, Purpose, View, Who};
use cenote_web::{ConnectionPool, Error, PoolLayer, PoolListener, RequestPool, RequestPools};
use common::Client;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use std::convert::Infallible;

type Kept = Arc<Mutex<Vec<RequestPool>>>;

/// The rows of pools of this name.
async fn rows(view: &View, name: &str) -> Vec<PoolRow> {
    let look = view.look().await.expect("a look");
    look.pools.iter().filter(|row| row.name == name).cloned().collect()
}

fn told(row: &PoolRow) -> (Option<&str>, Option<u16>, Option<&str>) {
    (row.request.as_deref(), row.status, row.peer.as_deref())
}

/// Serves requests whose pools are kept.
async fn serve(layer: PoolLayer, kept: Kept) -> SocketAddr {
    let also = kept.clone();
    let keep = move |pool: RequestPool| async move {
        kept.lock().expect("no panic").push(pool);
        StatusCode::ACCEPTED
    };
    let greedy = move |pool: RequestPool| async move {
        also.lock().expect("no panic").push(pool.clone());
        pool.try_alloc_zeroed_bytes(1 << 20)?;
        Ok::<_, Error>("there is room")
    };
    let app = Router::new()
        .route("/notes/{id}", get(keep.clone()).post(keep.clone()))
        .route("/greedy", get(greedy))
        .fallback(keep)
        .layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[test]
fn a_pool_that_outlives_its_request_says_whose_it_was() {
    common::plain(async {
        for hidden in [false, true] {
            let process = Account::root("process");
            let view = View::builder(&process);
            let view = if hidden { view.hide_peers() } else { view }.build();
            let kept = Kept::default();
            let layer = PoolLayer::new(&process.shared_child("web")).limit(64 << 10).view(&view);
            let layer = layer.on_refusal(|_| {
                let mut response = Response::new(Bytes::from_static(b"too much"));
                *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                response
            });
            let address = serve(layer, kept.clone()).await;
            for (path, status, wanted) in [
                ("/notes/27?key=secret", 202, "GET /notes/{id}"),
                ("/elsewhere/27", 202, "GET /elsewhere/N"),
                ("/greedy", 413, "GET /greedy"),
            ] {
                let mut client = Client::connect(address).await;
                assert_eq!(client.get(path).await.status, status);
                drop(client);
                let rows = rows(&view, "request").await;
                let [row] = &rows[..] else { panic!("{path}: {rows:?}") };
                let (request, answered, peer) = told(row);
                assert_eq!((request, answered), (Some(wanted), Some(status)));
                assert_eq!(peer.is_some_and(|peer| peer.starts_with("127.0.0.1:")), !hidden);
                assert_eq!(peer.is_none(), hidden);
                kept.lock().expect("no panic").clear();
            }
        }
    });
}

#[test]
fn without_a_router_it_is_the_paths_shape_and_its_status_once_there_is_one() {
    common::plain(async {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let pools = RequestPools::new(&process.shared_child("web")).limit(8 << 10).view(&view);
        let peer: SocketAddr = ([10, 0, 0, 7], 4711).into();
        let mut request = Request::new(());
        *request.uri_mut() = format!("/a/{}/{}?x", 7, "x".repeat(1000)).parse().expect("a path");
        request.extensions_mut().insert(Peer(peer));
        let keep = Kept::default();
        let seen = Mutex::new(Vec::new());
        let answer = async |request: Request<()>| {
            let pool = RequestPool::of(&request).expect("its own").clone();
            let refused = pool.try_alloc_zeroed_bytes(64 << 10).is_err();
            keep.lock().expect("no panic").push(pool);
            *seen.lock().expect("no panic") = rows(&view, "request").await;
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = StatusCode::from_u16(500 + u16::from(!refused)).expect("one");
            Ok::<_, Infallible>(response)
        };
        let response = pools.serve(request, answer).await.expect("an answer");
        let seen = seen.into_inner().expect("no panic");
        let wanted = format!("GET /a/N/{}...", "x".repeat(88));
        assert_eq!(told(&seen[0]), (Some(&*wanted), None, Some("10.0.0.7:4711")));
        // What was refused memory and became an error is answered for it.
        assert_eq!(response.status(), 503);
        drop(response);
        let rows = rows(&view, "request").await;
        assert_eq!(told(&rows[0]), (Some(&*wanted), Some(503), Some("10.0.0.7:4711")));
    });
}

#[test]
fn connections_say_where_their_clients_are_and_their_requests_too() {
    common::plain(async {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let kept = Kept::default();
        let keeps = kept.clone();
        let app = Router::new()
            .route(
                "/keep",
                get(async move |info: ConnectInfo<ConnectionPool>, pool: RequestPool| {
                    keeps.lock().expect("no panic").push(pool);
                    info.0.peer().map(|peer| peer.to_string()).unwrap_or_default()
                }),
            )
            .layer(PoolLayer::new(&process).view(&view).under_connections());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let listener = PoolListener::new(listener, &process).view(&view);
        let app = app.into_make_service_with_connect_info::<ConnectionPool>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut client = Client::connect(address).await;
        let peer = client.get("/keep").await.text().to_owned();
        let [connections, requests] =
            [rows(&view, "connection").await, rows(&view, "request").await];
        assert_eq!(told(&connections[0]), (None, None, Some(&*peer)));
        assert_eq!(told(&requests[0]), (Some("GET /keep"), Some(200), Some(&*peer)));
        drop(kept);
    });
}

/// A job of several pools, that can tell them apart.
#[derive(Default)]
struct Job {
    first: RefCell<Option<Noted>>,
}

impl Purpose for Job {
    fn who(&self) -> Who {
        Who::of("\u{1b}[2Jjob")
    }

    fn who_of(&self, noted: Noted) -> Who {
        if *self.first.borrow() == Some(noted) { Who::of("the first") } else { self.who() }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_threads_own_pools_are_told_with_whose_they_are_while_that_is_there() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let (pools, answering) = view.local(&process);
            tokio::task::spawn_local(answering.run());
            let job = Rc::new(Job::default());
            let weak = Rc::downgrade(&job);
            let [first, second, third] = [(); 3].map(|()| Rc::new(Pool::on(&process)));
            *job.first.borrow_mut() = Some(pools.add_for(&first, &job));
            let noted = pools.add_for(&second, &job);
            pools.add(&third);
            let look = view.look().await.expect("a look");
            let mut all: Vec<_> = look.pools.iter().map(|row| row.request.clone()).collect();
            all.sort();
            let wanted = [None, Some("\\u{1b}[2Jjob".to_owned()), Some("the first".to_owned())];
            assert_eq!(all, wanted);
            // Nothing is kept of what is forgotten.
            assert_eq!(weak.weak_count(), 3);
            pools.forget(noted);
            assert_eq!(weak.weak_count(), 2);
            drop(first);
            pools.sweep();
            assert_eq!(weak.weak_count(), 1);
            drop((job, second, third));
        })
        .await;
}

#[tokio::test]
async fn whoever_is_given_with_a_shared_pool_is_asked_until_the_pool_is_gone() {
    struct Session;
    impl Purpose for Session {
        fn who(&self) -> Who {
            Who::of("session").with_status(StatusCode::OK).with_peer(([10, 0, 0, 7], 1).into())
        }
    }
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let pool = SharedPool::try_on(&process).expect("memory");
    let session = Arc::new(Session);
    view.watch_for(pool.downgrade(), session.clone());
    let look = view.look().await.expect("a look");
    assert_eq!(told(&look.pools[0]), (Some("session"), Some(200), Some("10.0.0.7:1")));
    assert_eq!(Arc::strong_count(&session), 2);
    drop(pool);
    assert!(view.look().await.expect("a look").pools.is_empty());
    assert_eq!(Arc::strong_count(&session), 1);
}
