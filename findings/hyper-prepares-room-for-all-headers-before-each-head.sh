#!/usr/bin/env bash
# hyper 1.12.0 (with hyper-util 0.1.21, tokio 1.54.1, http-body-util 0.1.5), HTTP/1.1 server.
#
# A good guess: `http1::Builder::max_headers` is a bound, which costs nothing until a request has so many headers.
# Seen: above 100, which is what it is unless set, hyper allocates and fills room for all of them before it
# looks at each head, however few there are. With 8,192 (as many as a generous limit for heads would hold)
# that is 524,288 bytes, and about ten instructions for each of the 8,192 (callgrind, in a file server).
# Printed is what is allocated for each of 100 requests with one header on one connection, beyond what
# is with the default:
#   default: 0
#   100: 0
#   101: 6464
#   8192: 524288
#
# Fails if that changes. Needs cargo and the crate registry.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "room"
version = "0.0.0"
edition = "2021"
[dependencies]
hyper = { version = "=1.12.0", features = ["http1", "server"] }
hyper-util = { version = "=0.1.21", features = ["tokio"] }
http-body-util = "=0.1.5"
tokio = { version = "=1.54.1", features = ["rt", "net", "io-util", "macros"] }
[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
use http_body_util::Full;
use hyper::{body::{Bytes, Incoming}, server::conn::http1, service::service_fn, Request, Response};
use std::alloc::{GlobalAlloc, Layout, System};
use std::{convert::Infallible, sync::atomic::{AtomicUsize, Ordering::Relaxed}};
use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
struct Counting;
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Relaxed);
        System.alloc(layout)
    }
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        System.dealloc(start, layout)
    }
}
#[global_allocator]
static ALLOCATOR: Counting = Counting;

const REQUESTS: usize = 100;

async fn for_each_request(most: Option<usize>) -> usize {
    let mut http = http1::Builder::new();
    if let Some(most) = most {
        http.max_headers(most);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let service = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        });
        let io = hyper_util::rt::TokioIo::new(listener.accept().await.unwrap().0);
        let _ = http.serve_connection(io, service).await;
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    let mut answer = [0; 512];
    let mut before = 0;
    // The first few make buffers for all.
    for request in 0..10 + REQUESTS {
        if request == 10 {
            before = ALLOCATED.load(Relaxed);
        }
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(client.read(&mut answer).await.unwrap() > 0);
    }
    let allocated = ALLOCATED.load(Relaxed) - before;
    server.abort();
    allocated / REQUESTS
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let default = for_each_request(None).await;
    println!("default: 0");
    for most in [100, 101, 8192] {
        println!("{most}: {}", for_each_request(Some(most)).await - default);
    }
}
RUST
cd "$dir"
cargo run -q > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
default: 0
100: 0
101: 6464
8192: 524288
EXPECTED
