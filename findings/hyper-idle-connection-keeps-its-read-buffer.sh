#!/usr/bin/env bash
# hyper 1.12.0 (with hyper-util 0.1.21, tokio 1.54.1), HTTP/1.1 server.
#
# A good guess: once a request is answered and the connection waits for the next one, it holds what
# an idle connection needs, whatever the request was.
# Seen: a kept-alive connection that took one upload of 300 kB in pieces goes on holding a read
# buffer about as large as the largest it ever had, for as long as it lives. Printed are the bytes of
# the allocator that one idle connection holds (a few hundred of them are the client's socket):
#   small 18320
#   upload 264120
# `max_buf_size` bounds it; nothing gives it back.
#
# Fails if an idle connection holds less than 100,000 bytes after the upload, or more than 25,000
# after the small request. Needs cargo and the crate registry.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "idle"
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
use http_body_util::{BodyExt, Full};
use hyper::{body::{Bytes, Incoming}, server::conn::http1, service::service_fn, Request, Response};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Counting;
static HELD: AtomicIsize = AtomicIsize::new(0);
// SAFETY: passed on to the system, with a count beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as isize, Relaxed);
        System.alloc(layout)
    }
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as isize, Relaxed);
        System.dealloc(start, layout)
    }
}
#[global_allocator]
static ALLOCATOR: Counting = Counting;

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(Response::new(Full::new(Bytes::from_static(b"ok"))))
}

/// Sends one request in pieces and reads its answer; the connection stays open.
async fn ask(stream: &mut TcpStream, request: &[u8]) {
    for piece in request.chunks(64 << 10) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let (mut answer, mut buffer) = (0, [0; 512]);
    while !buffer[..answer].ends_with(b"ok") {
        answer += stream.read(&mut buffer[answer..]).await.unwrap();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(http1::Builder::new().serve_connection(io, service_fn(answer)));
        }
    });
    let small = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec();
    let mut upload = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n".to_vec();
    upload.resize(upload.len() + 300_000, b'x');
    for (name, request) in [("small", &small), ("upload", &upload)] {
        // Once before, for what is made only once.
        let mut first = TcpStream::connect(address).await.unwrap();
        ask(&mut first, request).await;
        let mut streams = Vec::with_capacity(20);
        let before = HELD.load(Relaxed);
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            ask(&mut stream, request).await;
            streams.push(stream);
        }
        println!("{name} {}", (HELD.load(Relaxed) - before) / 20);
    }
}
RUST
cd "$dir"
cargo run -q > seen
cat seen
small=$(awk '$1 == "small" {print $2}' seen)
upload=$(awk '$1 == "upload" {print $2}' seen)
[ "$small" -lt 25000 ] && [ "$upload" -gt 100000 ] || { echo "changed"; exit 1; }
