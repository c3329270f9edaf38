//! Proves what the layer and the extractors promise, over sockets on the multi-thread runtime:
//! a pool and an account for each request, until its response has been sent; one for each
//! connection; and a refusal that is the response the service chose, wherever it happens.

mod common;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use cenote::{Account, Freeze, SharedPool};
use cenote_web::json::{self, PoolMap, PoolVec};
use cenote_web::{
    ConnectionPool, Error, PoolBytes, PoolLayer, PoolListener, RequestPool, RequestPools,
};
use common::{Client, until};
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_say_where_the_service_asked_for_them_and_for_which_route() {
    async fn who(pool: RequestPool) -> String {
        let account = pool.account().unwrap();
        let places = [account.created_at(), pool.created_at()];
        assert!(places.iter().all(|place| place.file() == file!()));
        format!("{} {} {}", account.path(), places[0].line(), places[1].line())
    }
    let service = Account::root("service");
    let layer = PoolLayer::new(&service).by_route();
    let line = line!() - 1;
    let app = Router::new()
        .route("/notes/{id}", get(who).post(who))
        .nest("/inner", Router::new().route("/deep/{*rest}", get(who)))
        .fallback(who)
        .layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let listener = PoolListener::new(listener, &service);
    let connection_line = line!() - 1;
    let look = move |pool: ConnectionPool| async move { tell.send(pool.created_at()).unwrap() };
    let app = app.route("/connection", get(look));
    let app = app.into_make_service_with_connect_info::<ConnectionPool>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut client = Client::connect(address).await;
    for (path, name) in [
        ("/notes/1", "GET /notes/{id}"),
        ("/notes/2", "GET /notes/{id}"),
        ("/inner/deep/er", "GET /inner/deep/{*rest}"),
        ("/nowhere", "request"),
    ] {
        assert_eq!(client.get(path).await.text(), format!("service/{name} {line} {line}"));
    }
    let posted = client.post("/notes/1", b"").await;
    assert_eq!(posted.text(), format!("service/POST /notes/{{id}} {line} {line}"));
    client.get("/connection").await;
    let place = told.recv().await.unwrap();
    assert_eq!((place.file(), place.line()), (file!(), connection_line));
    // What is left of them is told by name.
    drop(client);
    until("their end", || service.held() == 0).await;
    let mut names: Vec<_> = service.snapshot().closed.iter().map(|one| one.name.clone()).collect();
    names.sort();
    let routes = ["GET /inner/deep/{*rest}", "GET /notes/{id}", "POST /notes/{id}"];
    assert_eq!(names, [&routes[..], &["connection", "request"]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_refused_before_it_gives_a_future_is_a_503_too() {
    let service = Account::root("service");
    let greedy = tower::service_fn(|request: Request<Body>| {
        RequestPool::of(&request).unwrap().alloc_bytes(100_000);
        std::future::ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    });
    let layer = PoolLayer::new(&service).limit(60_000);
    let app = Router::new().route_service("/", greedy).layer(layer);
    let mut client = Client::connect(serve(app).await).await;
    let answer = client.get("/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().starts_with("account service/request is at its limit of 60000 bytes"));
    until("its end", || service.held() == 0).await;
}

/// A body whose frames come when the test says so.
struct Told(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[test]
fn each_request_has_an_account_of_its_own_under_the_services() {
    common::plain(async {
        async fn who(pool: RequestPool) -> String {
            let text = pool.alloc_str("held across an await");
            tokio::task::yield_now().await;
            let account = pool.account().unwrap();
            format!("{} {} {:?} {}", account.path(), account.live(), account.limit(), text.len())
        }
        let service = Account::root("service");
        let layer = PoolLayer::new(&service).name("ask").limit(70_000);
        let address = serve(Router::new().route("/", get(who)).layer(layer)).await;
        let mut client = Client::connect(address).await;
        for _ in 0..3 {
            assert_eq!(client.get("/").await.text(), "service/ask 1 Some(70000) 20");
        }
        until("its end", || service.held() == 0).await;
        let closed = &service.snapshot().closed[0];
        assert_eq!((closed.name.as_str(), closed.created, closed.live), ("ask", 3, 0));
        assert!(closed.peak_bytes >= 4096 && closed.peak_bytes < 70_000);
    });
}

#[test]
fn a_pool_is_there_until_its_response_has_been_sent_and_no_longer() {
    common::plain(async {
        let (tell, told) = mpsc::unbounded_channel();
        let body = Arc::new(Mutex::new(Some(told)));
        let (give, mut given) = mpsc::unbounded_channel();
        let service = Account::root("service");
        let handler = move |pool: RequestPool| async move {
            give.send(pool.handle()).unwrap();
            let told = body.lock().unwrap().take().unwrap();
            Body::new(Told(told))
        };
        let app = Router::new().route("/", get(handler)).layer(PoolLayer::new(&service));
        let address = serve(app).await;
        let mut client = Client::connect(address).await;
        client.send("GET", "/", b"").await;
        let pool = given.recv().await.unwrap();
        let account = pool.account().unwrap().clone();
        tell.send(pool.try_freeze_copy(b"first ").unwrap()).unwrap();
        tell.send(pool.try_freeze_copy(b"second").unwrap()).unwrap();
        drop(pool);
        // The handler has returned: the body alone keeps the pool.
        assert_eq!((account.live(), service.held()), (1, 4096));
        drop(tell);
        assert_eq!(client.answer().await.text(), "first second");
        until("its end", || account.live() == 0 && service.held() == 0).await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_ends_the_pool_of_what_it_was_sent() {
    let (tell, told) = mpsc::unbounded_channel();
    let body = Arc::new(Mutex::new(Some(told)));
    let service = Account::root("service");
    let handler = move || async move { Body::new(Told(body.lock().unwrap().take().unwrap())) };
    let app = Router::new().route("/", get(handler)).layer(PoolLayer::new(&service));
    let mut client = Client::connect(serve(app).await).await;
    client.send("GET", "/", b"").await;
    until("the request", || service.held() > 0).await;
    drop(client);
    until("its end", || {
        let _ = tell.send(Bytes::from_static(&[b'x'; 4096]));
        service.held() == 0
    })
    .await;
}

/// The ways of asking for too much that need no body.
const GREEDY: [&str; 10] = [
    "/question-mark",
    "/later",
    "/panicking",
    "/vector",
    "/writing",
    "/push",
    "/extend",
    "/insert",
    "/unwrapped",
    "/task",
];

/// Handlers that ask for too much, in every way there is.
fn greedy() -> Router {
    async fn question_mark(pool: RequestPool) -> Result<Bytes, Error> {
        pool.try_alloc_bytes(100_000)?;
        Ok(Bytes::new())
    }
    async fn later(pool: RequestPool) -> Result<Bytes, Error> {
        tokio::task::yield_now().await;
        let work = tokio::task::spawn_blocking(move || {
            pool.try_alloc_bytes(100_000)?;
            Ok(Bytes::new())
        });
        work.await.unwrap()
    }
    async fn panicking(pool: RequestPool) -> Bytes {
        tokio::task::yield_now().await;
        pool.alloc_zeroed_bytes(100_000);
        Bytes::new()
    }
    async fn vector(pool: RequestPool) -> Result<Bytes, Error> {
        let mut list = allocator_api2::vec::Vec::<u64, _>::new_in(pool.handle());
        pool.or_refused(list.try_reserve(100_000))?;
        Ok(Bytes::new())
    }
    async fn writing(pool: RequestPool) -> Result<Response, Error> {
        json::response(&pool, &vec!["text"; 100_000])
    }
    async fn map(body: PoolBytes) -> Result<String, Error> {
        let map: PoolMap<&str, u64> = body.json()?;
        Ok(map.len().to_string())
    }
    async fn push(pool: RequestPool) -> Bytes {
        let mut list = PoolVec::new_in(pool.handle());
        tokio::task::yield_now().await;
        for number in 0..100_000_u64 {
            list.push(number);
        }
        Bytes::new()
    }
    async fn extend(pool: RequestPool) -> Bytes {
        let mut list = PoolVec::new_in(pool.handle());
        list.extend((0..100_000_u64).map(|number| [number; 2]));
        Bytes::new()
    }
    async fn insert(pool: RequestPool) -> Bytes {
        let mut map = PoolMap::new_in(pool.handle());
        for number in 0..100_000_u64 {
            *map.entry(number % 50_000).or_insert(0) += number;
        }
        Bytes::new()
    }
    async fn unwrapped(pool: RequestPool) -> Bytes {
        pool.try_alloc_bytes(100_000).unwrap();
        Bytes::new()
    }
    async fn task(pool: RequestPool) -> Bytes {
        let task = tokio::spawn(async move {
            tokio::task::yield_now().await;
            pool.alloc_bytes(100_000);
        });
        task.await.unwrap();
        Bytes::new()
    }
    async fn bug() -> Bytes {
        panic!("a bug")
    }
    Router::new()
        .route("/question-mark", get(question_mark))
        .route("/later", get(later))
        .route("/panicking", get(panicking))
        .route("/vector", get(vector))
        .route("/writing", get(writing))
        .route("/push", get(push))
        .route("/extend", get(extend))
        .route("/insert", get(insert))
        .route("/unwrapped", get(unwrapped))
        .route("/task", get(task))
        .route("/map", post(map))
        .route("/body", post(|body: PoolBytes| async move { body.freeze() }))
        .route("/bug", get(bug))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_anywhere_in_the_handler_is_a_503_with_the_accounts_name() {
    let service = Account::root("service");
    let app = greedy().layer(PoolLayer::new(&service).limit(60_000));
    let address = serve(app).await;
    let mut client = Client::connect(address).await;
    for path in GREEDY {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.text().starts_with("account service/request "), "{path}: {}", answer.text());
        assert_eq!(answer.text().lines().count(), 1, "{path}: {}", answer.text());
        assert!(answer.head.contains("text/plain"), "{path}: {}", answer.head);
    }
    let entries: Vec<_> = (0..6000).map(|number| format!("\"{number}\": {number}")).collect();
    let large = format!("{{{}}}", entries.join(","));
    for path in ["/map", "/body"] {
        let answer = client.post(path, large.as_bytes()).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.text().contains("service/request"), "{path}: {}", answer.text());
        client = Client::connect(address).await;
    }
    // What is not too much is served.
    assert_eq!(client.post("/body", b"small").await.text(), "small");
    assert_eq!(client.post("/map", br#"{"a": 1, "b": 2, "a": 3}"#).await.text(), "2");
    until("the end of all", || service.held() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_chooses_what_a_refusal_is() {
    let service = Account::root("service");
    let layer = PoolLayer::new(&service).limit(60_000).on_refusal(|error| {
        let name = error.account().map_or("nobody", |account| account.name());
        let mut response = http::Response::new(Bytes::from(format!("too much for {name}")));
        *response.status_mut() = StatusCode::INSUFFICIENT_STORAGE;
        response
    });
    let mut client = Client::connect(serve(greedy().layer(layer)).await).await;
    for path in GREEDY {
        let answer = client.get(path).await;
        assert_eq!((answer.status, answer.text()), (507, "too much for request"), "{path}");
    }
}

#[test]
fn a_request_whose_pool_cannot_be_made_is_refused_and_the_next_is_served() {
    common::plain(async {
        let service = Account::root("service").with_limit(Some(8192));
        let app =
            Router::new().route("/", get(|| async { "served" })).layer(PoolLayer::new(&service));
        let mut client = Client::connect(serve(app).await).await;
        let taken = SharedPool::try_on(&service).unwrap();
        taken.alloc_bytes(4000);
        while taken.try_alloc([0_u8; 64]).is_ok() {}
        let answer = client.get("/").await;
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("account service is at its limit of 8192 bytes"));
        drop(taken);
        assert_eq!(client.get("/").await.text(), "served");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_that_is_no_refusal_goes_on() {
    let service = Account::root("service");
    let address = serve(greedy().layer(PoolLayer::new(&service))).await;
    let mut client = Client::connect(address).await;
    client.send("GET", "/bug", b"").await;
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut client.stream, &mut byte).await;
    assert!(matches!(read, Ok(0) | Err(_)), "the connection is closed");
    until("its end", || service.held() == 0).await;
}

/// Of a handler that says what it was asked in its panic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_with_a_clients_words_is_no_refusal_whatever_they_say() {
    let service = Account::root("service");
    let words = "account service/request is at its limit of 1 bytes (1 held, 1 more asked)";
    let app = Router::new().route("/", post(|body: String| async move { panic!("{body}") as () }));
    let address = serve(app.layer(PoolLayer::new(&service).limit(60_000))).await;
    for words in [words, "account service refused a collection's growth"] {
        let mut client = Client::connect(address).await;
        client.send("POST", "/", words.as_bytes()).await;
        let mut byte = [0];
        let read = tokio::io::AsyncReadExt::read(&mut client.stream, &mut byte).await;
        assert!(matches!(read, Ok(0) | Err(_)), "the connection is closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_a_layer_inside_caught_is_a_503_all_the_same() {
    // The limit of the request's own account, and that of one above.
    for (limit, above) in [(Some(60_000), None), (None, Some(60_000))] {
        let service = Account::root("service").with_limit(above);
        let layer = PoolLayer::new(&service);
        let layer = if let Some(limit) = limit { layer.limit(limit) } else { layer };
        let caught = ServiceBuilder::new().layer(layer).layer(CatchPanicLayer::new());
        let mut client = Client::connect(serve(greedy().layer(caught)).await).await;
        for path in GREEDY {
            let answer = client.get(path).await;
            assert_eq!(answer.status, 503, "{path}");
            assert!(answer.text().contains("account service"), "{path}: {}", answer.text());
        }
        // What is no refusal stays what it is.
        assert_eq!(client.get("/bug").await.status, 500);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_long_is_a_413_and_a_missing_layer_a_500() {
    let service = Account::root("service");
    let app = greedy()
        .layer(DefaultBodyLimit::max(1000))
        .layer(PoolLayer::new(&service))
        .route("/bare", get(|_: RequestPool| async { "never" }))
        .route("/bare-connection", get(|_: ConnectionPool| async { "never" }));
    let address = serve(app).await;
    let answer = Client::connect(address).await.post("/body", &[b'x'; 1001]).await;
    assert_eq!((answer.status, answer.text()), (413, "the request's body is too long\n"));
    let mut client = Client::connect(address).await;
    let answer = client.get("/bare").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("PoolLayer"));
    let answer = client.get("/bare-connection").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("PoolListener"));
}

/// hyper reads a connection no further while a request is under way, and what is unread hides the
/// end behind it: of a client that has gone it learns by the end alone. So handlers need a bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_with_something_unread_is_noticed_only_when_the_handlers_time_is_over() {
    for (behind, seconds, is_late) in [("", 600.0, false), ("\r\n", 0.5, true)] {
        let late = Arc::new(AtomicBool::new(false));
        let noted = late.clone();
        let bound = from_fn(move |request: axum::extract::Request, next: Next| {
            let noted = noted.clone();
            async move {
                let bound = Duration::from_secs_f64(seconds);
                let answer = tokio::time::timeout(bound, next.run(request)).await;
                noted.store(answer.is_err(), Relaxed);
                answer.unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response())
            }
        });
        let waits = |pool: RequestPool| async move {
            pool.alloc_bytes(1000);
            std::future::pending::<()>().await;
        };
        let service = Account::root("service");
        let app = Router::new().route("/", get(waits)).layer(PoolLayer::new(&service));
        let mut client = Client::connect(serve(app.layer(bound)).await).await;
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n\r\n{behind}");
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, text.as_bytes()).await.unwrap();
        until("the request", || service.held() > 0).await;
        drop(client);
        until("its end", || service.held() == 0).await;
        if is_late {
            until("the word of it", || late.load(Relaxed)).await;
        }
        assert_eq!(late.load(Relaxed), is_late, "{behind:?}");
    }
}

#[test]
fn requests_of_a_connection_share_its_pool_and_are_under_its_account() {
    common::plain(async {
        async fn who(connection: ConnectionPool, request: RequestPool) -> impl IntoResponse {
            connection.alloc_str("remembered for the connection");
            format!(
                "{} {} {}",
                request.account().unwrap().path(),
                connection.used_bytes(),
                connection.account().unwrap().limit().unwrap(),
            )
        }
        let service = Account::root("service");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sizes = SharedPool::builder().first_block(512).shared().unwrap();
        let listener =
            PoolListener::new(listener, &service).name("socket").limit(99_999).sizes(sizes);
        let app = Router::new()
            .route("/", get(who))
            .layer(PoolLayer::new(&service).under_connections())
            .into_make_service_with_connect_info::<ConnectionPool>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let (mut one, mut two) = (Client::connect(address).await, Client::connect(address).await);
        assert_eq!(one.get("/").await.text(), "service/socket/request 29 99999");
        assert_eq!(one.get("/").await.text(), "service/socket/request 58 99999");
        assert_eq!(two.get("/").await.text(), "service/socket/request 29 99999");
        until("the requests' end", || service.held() == 1024).await;
        drop((one, two));
        until("the connections' end", || service.held() == 0).await;
    });
}

#[test]
fn a_connection_whose_pool_cannot_be_made_is_told_so_and_sees_the_view() {
    common::plain(async {
        async fn who(pool: ConnectionPool) -> Result<String, Error> {
            pool.try_alloc_bytes(1000)?;
            Ok(pool.account().unwrap().path().to_string())
        }
        let service = Account::root("service").with_limit(Some(12_000));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", get(who));
        #[cfg(feature = "view")]
        let view = cenote_web::view::View::builder(&service).hosts(["test"]).build();
        #[cfg(feature = "view")]
        let app = app.route_service("/metrics", view.service());
        let app = app.into_make_service_with_connect_info::<ConnectionPool>();
        let listener = PoolListener::new(listener, &service);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut clients = Vec::new();
        let told = loop {
            let mut client = Client::connect(address).await;
            let answer = client.get("/").await;
            clients.push(client);
            // The pool may just have found room, and its first allocation none.
            if answer.status == 503 && !answer.text().starts_with("account service is") {
                break answer.text().to_owned();
            }
            assert!(clients.len() < 20, "{}", answer.text());
        };
        assert!(clients.len() > 1);
        assert!(
            told.starts_with("account connection without room is at its limit of 256"),
            "{told}"
        );
        assert!(service.refused() >= 1);
        #[cfg(feature = "view")]
        {
            let metrics = clients.last_mut().unwrap().get("/metrics").await;
            assert_eq!(metrics.status, 200);
            assert!(metrics.text().contains("cenote_pool_refused_total{account=\"service\"} "));
        }
        drop(clients);
        until("their end", || service.held() == 0).await;
        assert_eq!(Client::connect(address).await.get("/").await.text(), "service/connection");
    });
}

async fn hello(
    request: Request<hyper::body::Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let pool = RequestPool::of(&request).unwrap().clone();
    let (parts, body) = request.into_parts();
    let asked = body.collect().await.unwrap().to_bytes();
    if parts.uri.path() == "/greedy" {
        pool.alloc_bytes(1 << 20);
    }
    let account = pool.account().unwrap().path();
    let text = pool.try_freeze_fmt(format_args!("{account} {}", asked.len())).unwrap();
    Ok(http::Response::new(Full::new(text)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hyper_alone_is_enough() {
    let account = Account::root("service");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pools = RequestPools::new(&account).limit(100_000);
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let pools = pools.clone();
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                // Both ways: the function, and the layer.
                if number % 2 == 0 {
                    let service = hyper::service::service_fn(move |request| {
                        let pools = pools.clone();
                        async move { pools.serve(request, hello).await }
                    });
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                } else {
                    let service =
                        ServiceBuilder::new().layer(PoolLayer::from(pools)).service_fn(hello);
                    let service = TowerToHyperService::new(service);
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                }
            });
        }
    });
    for _ in 0..2 {
        let mut client = Client::connect(address).await;
        assert_eq!(client.post("/", b"12345").await.text(), "service/request 5");
        let refused = client.get("/greedy").await;
        assert_eq!(refused.status, 503);
        assert!(refused.text().contains("account service/request is at its limit of 100000"));
        assert_eq!(client.get("/").await.text(), "service/request 0");
    }
    until("the end of all", || account.held() == 0).await;
}

#[test]
fn what_idle_blocking_threads_keep_in_reserve_is_refused_to_no_request() {
    const THREADS: usize = 64;
    const REPORT: usize = 16 << 20;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(THREADS).enable_all().build();
    runtime.expect("there are threads").block_on(async {
        let all_there = Arc::new(std::sync::Barrier::new(THREADS));
        let small = async move |pool: RequestPool| -> Result<Bytes, Error> {
            let work = tokio::task::spawn_blocking(move || {
                pool.try_alloc_bytes(1000)?;
                // So that each thread has one of them.
                all_there.wait();
                Ok(Bytes::new())
            });
            work.await.unwrap()
        };
        let report = async |pool: RequestPool| -> Result<String, Error> {
            let work = tokio::task::spawn_blocking(move || {
                Ok(pool.try_alloc_bytes(REPORT)?.len().to_string())
            });
            work.await.unwrap()
        };
        let service = Account::root("service").with_limit(Some(2 * REPORT));
        let app = Router::new().route("/small", get(small)).route("/report", get(report));
        let address = serve(app.layer(PoolLayer::new(&service))).await;
        let mut clients = Vec::new();
        for _ in 0..THREADS {
            let mut client = Client::connect(address).await;
            client.send("GET", "/small", b"").await;
            clients.push(client);
        }
        for client in &mut clients {
            assert_eq!(client.answer().await.status, 200);
        }
        let answer = clients[0].get("/report").await;
        assert_eq!((answer.status, answer.text()), (200, "16777216"));
        until("the requests are over", || service.held() == 0).await;
        let error = service.try_reserve(2 * REPORT + 1).unwrap_err();
        assert!(error.to_string().contains("(0 held, 33554433 more asked)"), "{error}");
        assert!(service.try_reserve(2 * REPORT).is_ok(), "nobody holds anything");
    });
}
