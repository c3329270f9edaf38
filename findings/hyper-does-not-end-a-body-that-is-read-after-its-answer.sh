#!/usr/bin/env bash
# hyper 1.12.0 (with hyper-util 0.1.21, tokio 1.54.1), HTTP/1.1 server.
#
# A good guess: a request's body may be read after the response was sent (by a task that drains it, so that
# the connection can be kept), and whoever reads frame by frame sees the end after the last byte.
# Seen: where the body comes in more than one piece, all of its bytes arrive, and then the next frame
# neither comes nor is refused: the reader waits until the client sends its next request. A body in one
# piece ends at once. `Body::is_end_stream` knows of the end in both cases: ask it before each frame.
# Printed is, for bodies of 2,000 and 60,000 bytes, whether the reader saw the end within 500 ms, what
# `is_end_stream` said by then, and whether it saw the end once another request had been sent:
#   2000: end true; is_end_stream true; after another request: end true
#   60000: end false; is_end_stream true; after another request: end true
#
# Fails if that changes. Needs cargo and the crate registry.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "late"
version = "0.0.0"
edition = "2021"
[dependencies]
hyper = { version = "=1.12.0", features = ["http1", "server"] }
hyper-util = { version = "=0.1.21", features = ["tokio"] }
http-body-util = "=0.1.5"
tokio = { version = "=1.54.1", features = ["rt", "net", "io-util", "macros", "sync", "time"] }
[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
use http_body_util::{BodyExt, Full};
use hyper::{body::{Body, Bytes, Incoming}, server::conn::http1, service::service_fn, Request, Response};
use std::{convert::Infallible, time::Duration};
use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}, sync::mpsc, time::timeout};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for size in [2_000, 60_000] {
        let (say, mut hear) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = service_fn(move |request: Request<Incoming>| {
            let (say, mut body) = (say.clone(), request.into_body());
            if !body.is_end_stream() {
                tokio::spawn(async move {
                    let mut left = size;
                    while left > 0 {
                        left -= body.frame().await.unwrap().unwrap().into_data().unwrap().len();
                    }
                    let _ = say.send(body.is_end_stream());
                    let _ = say.send(body.frame().await.is_none());
                });
            }
            async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok")))) }
        });
        tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(listener.accept().await.unwrap().0);
            let _ = http1::Builder::new().serve_connection(io, service).await;
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b'x'; size]).await.unwrap();
        let mut answer = [0; 512];
        assert!(client.read(&mut answer).await.unwrap() > 0);
        let known = hear.recv().await.unwrap();
        let end = timeout(Duration::from_millis(500), hear.recv()).await.is_ok();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(client.read(&mut answer).await.unwrap() > 0);
        let later = end || timeout(Duration::from_millis(500), hear.recv()).await.is_ok();
        println!("{size}: end {end}; is_end_stream {known}; after another request: end {later}");
    }
}
RUST
cd "$dir"
cargo run -q > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
2000: end true; is_end_stream true; after another request: end true
60000: end false; is_end_stream true; after another request: end true
EXPECTED
