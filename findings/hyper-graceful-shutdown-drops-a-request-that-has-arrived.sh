#!/usr/bin/env bash
# hyper 1.12.0 (with hyper-util 0.1.21, tokio 1.54.1), HTTP/1.1 server on a runtime of one thread.
#
# A good guess: `graceful_shutdown()` ends an idle kept-alive connection only once no request is there, so a
# request whose bytes the kernel had before the call is answered.
# Seen: hyper closes an idle connection without reading. Whether a request is read first depends on whether
# the runtime has asked the system since it came, and the connection was polled after that: if not, the
# socket is closed with the request unread, and the client's read ends in a reset, or in an end without an
# answer; after a turn of the runtime and a poll it is answered.
# Printed is how many requests of two are answered, the second having arrived before the call:
#   told at once: 1 of 2
#   told after a turn of the runtime, and a poll: 2 of 2
#
# Fails if that changes. Needs cargo and the crate registry.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "shutdown"
version = "0.0.0"
edition = "2021"
[dependencies]
hyper = { version = "=1.12.0", features = ["http1", "server"] }
hyper-util = { version = "=0.1.21", features = ["tokio"] }
http-body-util = "=0.1.5"
tokio = { version = "=1.54.1", features = ["rt", "net", "macros", "time"] }
[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
use http_body_util::Full;
use hyper::{body::{Bytes, Incoming}, server::conn::http1, service::service_fn, Request, Response};
use std::{convert::Infallible, future::Future, io::{Read, Write}, pin::pin, task::Poll};
use tokio::{net::TcpListener, task::yield_now};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for (name, turn) in [("at once", false), ("after a turn of the runtime, and a poll", true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Not the runtime's: what the client does is nothing that the runtime sees.
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let io = hyper_util::rt::TokioIo::new(listener.accept().await.unwrap().0);
        let service = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"answer"))))
        });
        let mut connection = pin!(http1::Builder::new().serve_connection(io, service));
        client.write_all(REQUEST).unwrap();
        client.set_nonblocking(true).unwrap();
        // Served until the first answer is there; then it is idle.
        while client.peek(&mut [0]).is_err() {
            std::future::poll_fn(|context| Poll::Ready(assert!(connection.as_mut().poll(context).is_pending()))).await;
            yield_now().await;
        }
        client.set_nonblocking(false).unwrap();
        // On this machine's own interface it is there when the call returns.
        client.write_all(REQUEST).unwrap();
        if turn {
            yield_now().await;
            let again = std::future::poll_fn(|context| Poll::Ready(connection.as_mut().poll(context)));
            assert!(again.await.is_pending());
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
        let mut seen = Vec::new();
        let _ = client.read_to_end(&mut seen);
        let answers = String::from_utf8_lossy(&seen).matches("HTTP/1.1 200").count();
        println!("told {name}: {answers} of 2");
    }
}
RUST
cd "$dir"
cargo run -q > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
told at once: 1 of 2
told after a turn of the runtime, and a poll: 2 of 2
EXPECTED
