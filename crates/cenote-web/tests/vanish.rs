//! Proves that ten thousand requests through the layer leave nothing behind, with clients that
//! vanish before, in the middle of, and after what they ask: no pool lives on, no byte is
//! charged; and that at steady state the pools take no block from the system, wherever their
//! requests were begun, worked on and ended, and although a view looks into them all the while.
//!
//! A program of its own, since it replaces the global allocator by one that counts.

mod common;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use cenote::inspect::AccountSnapshot;
use cenote::{Account, SharedBuffer, SharedPool};
use cenote_web::json::{self, PoolVec};
use cenote_web::view::View;
use cenote_web::{ConnectionPool, Error, PoolBytes, PoolLayer, PoolListener, RequestPool};
use common::{Client, until};
use http_body::Frame;
use serde::{Deserialize, Serialize};
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Counting;

static BLOCKS: AtomicU64 = AtomicU64::new(0);
static LOOKED: AtomicBool = AtomicBool::new(false);

/// Whether this is what pools' blocks are to the system: aligned to 16, a power of two from 256 bytes on
/// or a multiple of 16 KiB; or a run that is cut into up to 128 blocks, a MiB at most, with room to
/// align them and what is known of the run. Nothing else here asks for that. Not runs of 512 bytes, which
/// are what accounts come from: made by one thread and freed by another, they gather in its cache until
/// that is full.
fn is_block(layout: Layout) -> bool {
    let size = layout.size();
    let is_class = size.is_power_of_two() || size.is_multiple_of(16 << 10);
    let is_run = |block: usize, align: usize| {
        let blocks = block * (128.min((1 << 20) / block));
        (1..=128).contains(&size.saturating_sub(blocks + align))
    };
    let is_run = || {
        (8..=16).filter(|shift| *shift != 9).any(|shift| is_run(1 << shift, 1 << shift))
            || [20, 24, 28, 40, 48, 56].iter().any(|kib| is_run(kib << 10, 4096))
    };
    layout.align() == 16 && (is_class && size >= 256 || is_run())
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_block(layout) {
            BLOCKS.fetch_add(1, SeqCst);
        }
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

#[derive(Deserialize)]
struct Asked<'p> {
    name: &'p str,
    count: usize,
    #[serde(borrow)]
    words: PoolVec<&'p str>,
}

#[derive(Serialize)]
struct Answered<'p> {
    name: &'p str,
    lines: PoolVec<&'p str>,
}

/// Parses, works on another thread for a while, and answers with some 10 KB.
async fn work(pool: RequestPool, body: PoolBytes) -> Result<Response, Error> {
    let other = pool.clone();
    let bytes = tokio::task::spawn_blocking(move || -> Result<_, Error> {
        let asked: Asked<'_> = body.json()?;
        let mut lines = PoolVec::new_in(other.handle());
        for number in 0..asked.count {
            let word = asked.words[number % asked.words.len()];
            lines.try_push(&*other.try_alloc_fmt(format_args!("{number}: {word}"))?)?;
        }
        json::to_bytes(&other, &Answered { name: asked.name, lines })
    });
    let bytes = bytes.await.expect("it does not panic")?;
    tokio::task::yield_now().await;
    let mut note = SharedBuffer::new(pool.handle());
    note.try_extend_from_slice(&bytes[..100])?;
    tokio::task::yield_now().await;
    Ok(json::bytes_response(bytes))
}

/// More of the same piece of pool memory than a socket takes at once.
struct Endless(Bytes, usize);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.1 == 0 {
            return Poll::Ready(None);
        }
        self.1 -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

async fn endless(pool: RequestPool) -> Result<Response, Error> {
    let piece = pool.try_freeze_copy(&[b'x'; 8192])?;
    Ok(Response::new(axum::body::Body::new(Endless(piece, 4000))))
}

fn asked(me: usize, round: usize) -> Vec<u8> {
    let words: Vec<_> = (0..40).map(|word| format!("\"w\\u0061rd-{me}-{word}\"")).collect();
    format!("{{\"name\": \"{me}-{round}\", \"count\": 500, \"words\": [{}]}}", words.join(", "))
        .into_bytes()
}

/// One client for `rounds` requests, each of which ends in one of six ways.
async fn client(address: SocketAddr, me: usize, rounds: usize) {
    let mut kept: Option<Client> = None;
    for round in 0..rounds {
        let body = asked(me, round);
        let mut client = match kept.take() {
            Some(client) => client,
            None => Client::connect(address).await,
        };
        match (me + round) % 6 {
            // In the middle of the request's body.
            0 => {
                let head =
                    format!("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = client.stream.write_all(head.as_bytes()).await;
                let _ = client.stream.write_all(&body[..body.len() / 2]).await;
            }
            // Without waiting for the answer.
            1 => client.send("POST", "/", &body).await,
            // In the middle of the answer.
            2 => {
                client.send("GET", "/", b"").await;
                let mut some = [0; 3000];
                let _ = client.stream.read_exact(&mut some).await;
            }
            // With a reset instead of an end.
            3 => {
                client.send("POST", "/", &body).await;
                let linger = socket2::SockRef::from(&client.stream);
                linger.set_linger(Some(std::time::Duration::ZERO)).expect("a socket");
            }
            // As it should be.
            _ => {
                let answer = client.post("/", &body).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                assert!(answer.text().ends_with(&format!("\"499: ward-{me}-19\"]}}")));
                kept = Some(client);
            }
        }
    }
}

fn live_below(account: &AccountSnapshot) -> usize {
    account.live + account.children.iter().map(live_below).sum::<usize>()
}

fn created_below(account: &AccountSnapshot) -> u64 {
    let below = account.children.iter().chain(&account.closed);
    account.created + below.map(created_below).sum::<u64>()
}

/// How many pools of requests were made under this account so far.
fn requests(account: &AccountSnapshot) -> u64 {
    let below = account.children.iter().chain(&account.closed);
    let own = if account.name == "request" { account.created } else { 0 };
    own + below.map(requests).sum::<u64>()
}

fn prime() {
    let pools: Vec<_> = (0..100).map(|_| SharedPool::new()).collect();
    for pool in &pools {
        for _ in 0..60 {
            pool.alloc_bytes(500);
        }
        pool.alloc_bytes(32 << 10);
        pool.alloc_bytes(30_000);
    }
}

async fn crowd(address: SocketAddr, clients: usize, rounds: usize) {
    let all: Vec<_> = (0..clients).map(|me| tokio::spawn(client(address, me, rounds))).collect();
    for one in all {
        one.await.expect("no client fails");
    }
}

#[test]
fn ten_thousand_requests_whose_clients_vanish_leave_no_pool_and_take_no_block() {
    // The clients on threads of their own: they have no pools, and do not take the service's.
    let clients = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // What blocks are taken is what is looked at.
    let service = tokio::runtime::Builder::new_multi_thread()
        .on_thread_start(common::unwatched)
        .worker_threads(4)
        .max_blocking_threads(3)
        .enable_all()
        .build()
        .unwrap();
    let account = Account::root("service").with_limit(Some(256 << 20));
    // Somebody looks all the while, into pools that end while they are looked at.
    let view = View::builder(&account).build();
    let looking = view.clone();
    let watching = service.spawn(async move {
        let mut looks = 0_u64;
        // Twenty times as often as the page does.
        let mut next = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            next.tick().await;
            let mut headers = http::HeaderMap::new();
            headers.insert(http::header::HOST, http::HeaderValue::from_static("localhost"));
            let address = http::Uri::from_static("/pools.json");
            let peer = Some([127, 0, 0, 1].into());
            let answer = looking.answer(&http::Method::GET, &address, &headers, peer);
            let status = answer.expect("a path of the view's").await.status();
            assert_eq!(status, 200);
            looks += 1;
            if looks >= 10 {
                LOOKED.store(true, SeqCst);
            }
        }
    });
    let listener = service.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let app: Router = Router::new()
        .route("/", post(work).get(endless))
        .layer(DefaultBodyLimit::max(64 << 10))
        .layer(PoolLayer::new(&account).under_connections().limit(1 << 20).view(&view));
    let app = app.into_make_service_with_connect_info::<ConnectionPool>();
    let listener = PoolListener::new(listener, &account).limit(4 << 20).view(&view);
    service.spawn(async move { axum::serve(listener, app).await });

    clients.block_on(async {
        crowd(address, 12, 100).await;
        until("all of the first are gone", || live_below(&account.snapshot()) == 0).await;
        // As many blocks as the crowd may ever have in use at one moment, which chance decides:
        // what is looked for is a request that takes one although others gave theirs back.
        service.spawn_blocking(prime).await.expect("it does not panic");
        let (before, begun) = (BLOCKS.load(SeqCst), requests(&account.snapshot()));
        assert!(before > 0, "blocks that are taken are noticed");
        crowd(address, 12, 950).await;
        // A client that is gone may still wait to be accepted, and be a pool for a moment.
        until("all are gone, and hold nothing", || {
            live_below(&account.snapshot()) == 0 && account.held() == 0
        })
        .await;
        let snapshot = account.snapshot();
        let made = requests(&snapshot) - begun;
        let blocks = BLOCKS.load(SeqCst) - before;
        println!(
            "{made} requests, {} pools, {blocks} blocks from the system",
            created_below(&snapshot)
        );
        assert!(made >= 10_000, "{made} requests");
        assert_eq!(account.refused(), 0);
        assert_eq!(blocks, 0);
        assert!(LOOKED.load(SeqCst) && !watching.is_finished(), "the view looked");
    });
}
