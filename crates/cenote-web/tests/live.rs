//! Proves that the example's handlers, which live as long as their clients do, hold no more after many
//! messages than after one, and what their limits do; and that the recipes show it as it is.

#[allow(dead_code, unreachable_pub, reason = "the example's `main` is not run here")]
#[path = "../examples/live.rs"]
mod live;

mod common;

use cenote::inspect::AccountSnapshot;
use cenote::{Account, SharedPool};
use cenote_web::view::View;
use cenote_web::{ConnectionPool, PoolListener};
use common::until;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a socket has reserved, for buffers that are in no pool.
const RESERVED: usize = 2 * (16 << 10) + (64 << 10);

/// Runs a test with the service.
fn with_service<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr, Account) -> F) {
    common::plain(async {
        let account = Account::root("live").with_limit(Some(64 << 20));
        let view = View::builder(&account).hosts(["test"]).build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = live::app(&view, live::Room::new(&account));
        let app = app.into_make_service_with_connect_info::<ConnectionPool>();
        let listener = PoolListener::new(listener, &account).view(&view);
        tokio::spawn(async move { axum::serve(listener, app).await });
        test(address, account.clone()).await;
        until("the end of all", || account.held() == 0).await;
    });
}

/// What the accounts of this name hold together.
fn held(account: &Account, name: &str) -> usize {
    fn sum(account: &AccountSnapshot, name: &str) -> usize {
        let own = if account.name == name { account.held_bytes } else { 0 };
        own + account.children.iter().map(|child| sum(child, name)).sum::<usize>()
    }
    sum(&account.snapshot(), name)
}

/// Reads up to and with these bytes.
async fn read_to(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        read.push(stream.read_u8().await.expect("it goes on"));
    }
    read
}

const UPGRADE: &[u8] =
    b"GET /socket HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
      sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A WebSocket, as bytes.
struct Socket(TcpStream);

impl Socket {
    async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(UPGRADE).await.expect("it listens");
        let head = read_to(&mut stream, b"\r\n\r\n").await;
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    /// Masked by nothing, as a mask may be.
    async fn send(&mut self, text: &str) {
        let length = u16::try_from(text.len()).expect("no longer than the tests'");
        let mut frame = vec![0x81];
        match length {
            0..126 => frame.push(0x80 | length as u8),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).await.expect("it listens");
    }

    /// What kind of message comes, and its payload.
    async fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).await.expect("a frame");
        assert!(head[1] < 126, "a short one, not masked");
        let mut payload = vec![0; head[1].into()];
        self.0.read_exact(&mut payload).await.expect("a frame");
        (head[0], payload)
    }
}

#[test]
fn a_socket_holds_no_more_after_many_messages_than_after_one() {
    with_service(async |address, account| {
        let mut socket = Socket::connect(address).await;
        for number in 0..300 {
            socket.send(&"word ".repeat(number * 30)).await;
            let (kind, payload) = socket.receive().await;
            let answer = String::from_utf8(payload).expect("text");
            assert_eq!((kind, answer), (0x81, format!("{} words", number * 30)));
            until("the message's end", || held(&account, "socket") == RESERVED).await;
        }
        // It is its connection's, and counts against that.
        assert!(held(&account, "connection") >= RESERVED);
        // The request that it began as has ended.
        assert_eq!(held(&account, "GET /socket"), 0);
    });
}

#[test]
fn a_message_that_needs_too_much_closes_its_socket_and_no_other() {
    with_service(async |address, account| {
        let mut other = Socket::connect(address).await;
        let mut socket = Socket::connect(address).await;
        // Each word takes eight times as much as it is long.
        socket.send(&"a ".repeat(32_000)).await;
        let (kind, payload) = socket.receive().await;
        assert_eq!((kind, &payload[..2]), (0x88, &1013_u16.to_be_bytes()[..]), "try again later");
        drop(socket);
        until("its end", || held(&account, "socket") == RESERVED).await;
        other.send("still here").await;
        assert_eq!(other.receive().await, (0x81, b"2 words".to_vec()));
    });
}

#[test]
fn a_service_that_is_at_its_limit_takes_no_more_sockets() {
    with_service(async |address, account| {
        let _socket = Socket::connect(address).await;
        let full = account.try_reserve((64 << 20) - 2 * RESERVED).expect("there is room");
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(UPGRADE).await.expect("it listens");
        let head = read_to(&mut stream, b"\r\n\r\n").await;
        assert!(head.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&head));
        drop(full);
        let mut socket = Socket::connect(address).await;
        socket.send("there is room").await;
        assert_eq!(socket.receive().await, (0x81, b"3 words".to_vec()));
    });
}

/// A client of the events, that has had the first.
async fn listen(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: test\r\n\r\n").await.expect("it listens");
    let head = read_to(&mut stream, b" others\n\n").await;
    let head = String::from_utf8(head).expect("text");
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    stream
}

#[test]
fn all_hear_what_one_says_and_nothing_of_it_stays() {
    with_service(async |address, account| {
        let mut listeners = [listen(address).await, listen(address).await];
        let mut socket = Socket::connect(address).await;
        for number in 0..100 {
            socket.send(&format!("number {number}\r\nand \rmore")).await;
            socket.receive().await;
            for stream in &mut listeners {
                let event = read_to(stream, b"\n\n").await;
                let event = String::from_utf8(event).expect("text");
                let lines: Vec<_> =
                    event.lines().filter(|line| line.starts_with("data: ")).collect();
                let first = format!("data: number {number}");
                assert_eq!(lines, [&first, "data: ", "data: and ", "data: more"], "{event:?}");
            }
        }
        // Nobody is left that has not been sent it.
        until("the events' end", || held(&account, "events") == 0).await;
    });
}

#[test]
fn who_listens_too_slowly_misses_some_and_holds_little() {
    with_service(async |address, account| {
        let stuck = listen(address).await;
        let mut socket = Socket::connect(address).await;
        // More than the system buffers between the two.
        let long = "x".repeat(60_000);
        let pool = SharedPool::try_on(&Account::root("one")).expect("memory");
        pool.try_freeze_fmt(format_args!("data: {long}\n\n")).expect("memory");
        let (one, mut most) = (pool.held_bytes(), 0);
        for _ in 0..400 {
            socket.send(&long).await;
            socket.receive().await;
            most = most.max(held(&account, "events"));
        }
        // What waits, and what hyper has taken to be written.
        assert!(most > 16 * one && most <= 40 * one, "{most} for {one} each");
        drop(stuck);
    });
}
