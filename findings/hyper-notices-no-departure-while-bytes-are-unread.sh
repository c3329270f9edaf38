#!/usr/bin/env bash
# hyper 1.12.0 (with hyper-util 0.1.21, tokio 1.54.1), HTTP/1.1 server.
#
# A good guess: when the client closes its connection while the handler waits, hyper drops the
# handler's future, so that whatever it holds goes at once.
# Seen: so it is, as long as nothing but the end is to be read. With two bytes behind the request
# that hyper has not used (one CRLF, which the protocol allows between requests), it does not look at
# the socket again until the handler is done: the handler goes on for a client that has left.
# Printed is what became of the handler once the client had closed its socket for 500 ms:
#   nothing behind the request: dropped
#   a CRLF behind the request: runs on
#
# Fails if that changes. Needs cargo and the crate registry.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "departure"
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
use http_body_util::Empty;
use hyper::{body::{Bytes, Incoming}, server::conn::http1, service::service_fn, Request, Response};
use std::{convert::Infallible, time::Duration};
use tokio::{io::AsyncWriteExt, net::{TcpListener, TcpStream}, sync::mpsc, time::timeout};

/// Says that it is gone when it is dropped.
struct Gone(mpsc::UnboundedSender<&'static str>);
impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for (name, behind) in [("nothing", ""), ("a CRLF", "\r\n")] {
        let (say, mut hear) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = service_fn(move |_: Request<Incoming>| {
            let say = say.clone();
            async move {
                let _ = say.send("runs");
                let _gone = Gone(say);
                std::future::pending::<()>().await;
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(listener.accept().await.unwrap().0);
            let _ = http1::Builder::new().serve_connection(io, service).await;
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(format!("GET / HTTP/1.1\r\nhost: x\r\n\r\n{behind}").as_bytes()).await.unwrap();
        assert_eq!(hear.recv().await, Some("runs"));
        drop(client);
        let seen = timeout(Duration::from_millis(500), hear.recv()).await;
        println!("{name} behind the request: {}", seen.ok().flatten().unwrap_or("runs on"));
    }
}
RUST
cd "$dir"
cargo run -q > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
nothing behind the request: dropped
a CRLF behind the request: runs on
EXPECTED
