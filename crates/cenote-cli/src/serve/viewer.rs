//! The view on a listener of its own: a thread that shares nothing with the workers, so that it
//! answers when they are blocked, or at a limit.

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::body::Body;
use super::worker::{Alive, stopped};
use super::{Shared, framing};

/// So many look at once; others wait.
const MOST: usize = 32;
/// A connection is closed after so long without a request, and after so long altogether.
const PATIENCE: Duration = Duration::from_secs(10);
const LIFETIME: Duration = Duration::from_secs(600);
/// Wait this long when nothing can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// The life of the view's thread, until `stop`.
pub(crate) fn run(
    shared: Arc<Shared>,
    listener: TcpListener,
    stop: watch::Receiver<bool>,
    alive: Alive,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    match runtime {
        Ok(runtime) => LocalSet::new().block_on(&runtime, serve(shared, listener, stop)),
        Err(error) => warn!("the view has no runtime: {error}"),
    }
    drop(alive);
}

async fn serve(shared: Arc<Shared>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!("the view cannot listen: {error}"),
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(64 << 10);
    let (http, seats) = (Rc::new(http), Arc::new(Semaphore::new(MOST)));
    loop {
        let seat = tokio::select! {
            seat = seats.clone().acquire_owned() => seat,
            () = stopped(&mut stop) => return,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        let (stream, address) = match accepted {
            Ok(client) => client,
            Err(error) => {
                if let Some(times) = shared.unaccepted.note() {
                    warn!("the view's connections cannot be accepted ({times} times): {error}");
                }
                sleep(PAUSE).await;
                continue;
            }
        };
        let (shared, http) = (shared.clone(), http.clone());
        tokio::task::spawn_local(async move {
            let _seat = seat;
            let answer = service_fn(|request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(respond(&shared, &request, address.ip()).await) }
            });
            let serving = pin!(http.serve_connection(TokioIo::new(stream), answer));
            // How a client leaves is of no interest.
            let _ = timeout(LIFETIME, serving).await;
        });
    }
}

async fn respond<B>(
    shared: &Shared,
    request: &hyper::Request<B>,
    peer: std::net::IpAddr,
) -> Response<Body> {
    if let Err(fault) = framing::check(request.version(), request.headers()) {
        return fault.response();
    }
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    if let Some(answer) = shared.view.answer(method, uri, headers, Some(peer)) {
        return answer.await.map(Body::words);
    }
    let words = Bytes::from_static(b"404 Not Found\nhere are /pools, /pools.json and /metrics\n");
    let mut response = Response::new(Body::words(words));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
