#!/usr/bin/env bash
# hyper 1.12.0 (with hyper-util 0.1.21, tokio 1.54.1), server.
#
# A good guess: whoever drives a connection's future drives its requests, so that what is set around
# the polling of the connection (a task-local, a span, an account) is seen by handler and body.
# Seen: true of HTTP/1.1. With HTTP/2 hyper hands each stream to its executor: the handler runs in
# another task than the connection, and the response's body is polled there as well, after the
# handler's future is gone, so that what was set around the handler's future is not there either.
# Printed is, for each version, whether the handler and the body see a task-local set around the
# connection, and whether the body sees one set around the handler:
#   http1 connection: handler true body true; handler: body false
#   http2 connection: handler false body false; handler: body false
#
# Fails if any of that changes. Needs cargo and the crate registry.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "scopes"
version = "0.0.0"
edition = "2021"
[dependencies]
hyper = { version = "=1.12.0", features = ["http1", "http2", "server", "client"] }
hyper-util = { version = "=0.1.21", features = ["tokio"] }
http-body-util = "=0.1.5"
tokio = { version = "=1.54.1", features = ["rt", "net", "macros"] }
[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::{client, server, service::service_fn, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{convert::Infallible, pin::Pin, sync::Mutex, task::{Context, Poll}};
use tokio::net::{TcpListener, TcpStream};

tokio::task_local! { static CONNECTION: (); static HANDLER: (); }
/// Connection's seen by handler and body, handler's seen by body.
static SEEN: Mutex<[bool; 3]> = Mutex::new([false; 3]);

struct Answer(bool);
impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut seen = SEEN.lock().unwrap();
        seen[1] = CONNECTION.try_with(|_| ()).is_ok();
        seen[2] = HANDLER.try_with(|_| ()).is_ok();
        let first = !std::mem::replace(&mut self.0, true);
        Poll::Ready(first.then(|| Ok(Frame::data(Bytes::from_static(b"ok")))))
    }
}

async fn answer(_: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    HANDLER.scope((), async {
        SEEN.lock().unwrap()[0] = CONNECTION.try_with(|_| ()).is_ok();
        Ok(Response::new(Answer(false)))
    }).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for version in [1, 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let io = TokioIo::new(listener.accept().await.unwrap().0);
            let service = service_fn(answer);
            CONNECTION.scope((), async {
                let _ = match version {
                    1 => server::conn::http1::Builder::new().serve_connection(io, service).await,
                    _ => server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
                };
            }).await
        });
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let request = Request::get("http://127.0.0.1/").header("host", "x").body(Empty::<Bytes>::new()).unwrap();
        let response = if version == 1 {
            let (mut sender, connection) = client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
        let [handler, body, of_handler] = *SEEN.lock().unwrap();
        println!("http{version} connection: handler {handler} body {body}; handler: body {of_handler}");
    }
}
RUST
cd "$dir"
cargo run -q > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
http1 connection: handler true body true; handler: body false
http2 connection: handler false body false; handler: body false
EXPECTED
