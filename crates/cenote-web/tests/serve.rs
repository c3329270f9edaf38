//! `cenote_web::serve` with real clients: what a connection has stays the same while it is parked,
//! and ends with it; a stop reaches parked connections and loses no answer.

mod common;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use cenote::Account;
use cenote_web::view::View;
use cenote_web::{ConnectionPool, PoolBytes, PoolLayer, PoolListener, RequestPool, serve};
use common::Client;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// Which connection this is, and what is in its pool.
async fn whose(connection: ConnectionPool, pool: RequestPool) -> String {
    let account = connection.account().expect("it has one");
    let under = pool.account().and_then(Account::parent).is_some_and(|above| *above == *account);
    let before = connection.used_bytes();
    connection.try_alloc_str("something to keep").expect("there is room");
    format!("{} {under} {} {before}", account.number(), connection.peer().expect("TCP").port())
}

async fn long(body: PoolBytes) -> String {
    body.len().to_string()
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has one");
    (listener, address)
}

#[test]
fn a_connections_pool_and_account_are_the_same_after_it_was_parked_and_end_with_it() {
    common::plain(async {
        let service = Account::root("service");
        let view = View::builder(&service).build();
        let app = Router::new()
            .route("/", get(whose))
            .route("/long", post(long))
            .layer(PoolLayer::new(&service).under_connections());
        let (listener, address) = listener().await;
        let listener = PoolListener::new(listener, &service).view(&view);
        let app = app.into_make_service_with_connect_info::<ConnectionPool>();
        tokio::spawn(serve(listener, app).park_after(Duration::ZERO).into_future());
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = Client::connect(address).await;
            let port = client.stream.local_addr().expect("it has one").port();
            let first = client.get("/").await.text().to_owned();
            clients.push((client, port, first));
        }
        let mut accounts = std::collections::HashSet::new();
        for (client, port, first) in &mut clients {
            client.send("POST", "/long", &[b'x'; 30_000]).await;
            assert_eq!(client.answer().await.text(), "30000");
            let parts = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
            let (first, then) = (parts(first), parts(client.get("/").await.text()));
            assert_eq!((&first[..3], first[1].as_str()), (&then[..3], "true"));
            assert_eq!(first[2], port.to_string());
            let used = |parts: &[String]| parts[3].parse::<usize>().expect("a number");
            assert_eq!(used(&then), used(&first) + "something to keep".len());
            accounts.insert(first[0].clone());
        }
        assert_eq!(accounts.len(), clients.len());
        assert!(service.held() > 0);
        drop(clients);
        while service.held() > 0 {
            yield_now().await;
        }
    });
}

#[test]
fn a_service_without_pools_is_told_its_clients_addresses() {
    common::plain(async {
        let app = Router::new().route(
            "/",
            get(|ConnectInfo(address): ConnectInfo<SocketAddr>| async move { address.to_string() }),
        );
        let (listener, address) = listener().await;
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let serve = serve(listener, app).park_after(Duration::ZERO).max_buf_size(8192);
        assert_eq!(serve.local_addr().expect("it has one"), address);
        tokio::spawn(serve.into_future());
        let mut client = Client::connect(address).await;
        let own = client.stream.local_addr().expect("it has one").to_string();
        for _ in 0..3 {
            assert_eq!(client.get("/").await.text(), own);
        }
    });
}

#[test]
fn a_stop_closes_parked_connections_answers_those_that_spoke_and_waits_for_those_in_flight() {
    common::plain(async {
        let (inside, let_go) =
            (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let (within, go) = (inside.clone(), let_go.clone());
        let app = Router::new().route("/", get(|| async { "quick" })).route(
            "/slow",
            get(move || async move {
                within.notify_one();
                go.notified().await;
                "slow"
            }),
        );
        let (listener, address) = listener().await;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = serve(listener, app.into_make_service())
            .park_after(Duration::ZERO)
            .with_graceful_shutdown(async { stopped.await.expect("a stop") });
        let serve = tokio::spawn(serve.into_future());
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = Client::connect(address).await;
            assert_eq!(client.get("/").await.text(), "quick");
            clients.push(client);
        }
        // One that never said a word, and one that is being served.
        let mut mute = TcpStream::connect(address).await.expect("it listens");
        let mut slow = Client::connect(address).await;
        slow.send("GET", "/slow", b"").await;
        inside.notified().await;
        // Half of the others speak, and then it is to stop at once.
        for client in &mut clients[..10] {
            client.send("GET", "/", b"").await;
        }
        stop.send(()).expect("it runs");
        for (index, client) in clients.iter_mut().enumerate() {
            if index < 10 {
                assert_eq!(client.answer().await.text(), "quick");
            }
            assert_eq!(client.stream.read(&mut [0]).await.expect("it ends in order"), 0);
        }
        assert_eq!(mute.read(&mut [0]).await.expect("it ends in order"), 0);
        let_go.notify_one();
        assert_eq!(slow.answer().await.text(), "slow");
        serve.await.expect("no panic").expect("no error");
        assert!(TcpStream::connect(address).await.is_err());
    });
}

/// The first bytes of HTTP/2: its preface, and settings, of which there are none.
#[cfg(feature = "http2")]
#[test]
fn http_2_is_told_by_its_first_bytes_in_whatever_pieces() {
    use tokio::io::AsyncWriteExt;
    common::plain(async {
        let (listener, address) = listener().await;
        let app = Router::new().route("/", get(|| async { "quick" }));
        let serve = serve(listener, app.into_make_service()).park_after(Duration::ZERO);
        tokio::spawn(serve.into_future());
        let first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        for cut in 1..first.len() {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.set_nodelay(true).expect("a socket");
            stream.write_all(&first[..cut]).await.expect("it listens");
            yield_now().await;
            stream.write_all(&first[cut..]).await.expect("it listens");
            // Its own settings: a frame of kind 4 on stream 0.
            let mut frame = [0; 9];
            stream.read_exact(&mut frame).await.expect("it speaks HTTP/2");
            assert_eq!((frame[3], &frame[5..]), (4, &[0; 4][..]));
        }
        // What begins alike is of HTTP/1.
        let mut client = Client::connect(address).await;
        client.stream.write_all(b"PRI").await.expect("it listens");
        yield_now().await;
        client.stream.write_all(b"NT / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it listens");
        assert_eq!(client.answer().await.status, 405);
    });
}
