//! The same service twice: on hyper as it is, and with connections parked.

use bytes::Bytes;
use cenote_web::park::{End, Left, Lot, Parking};
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{JoinSet, yield_now};

pub(crate) struct Servers {
    pub(crate) plain: SocketAddr,
    pub(crate) parked: SocketAddr,
    /// How often a connection was parked, and how often woken.
    pub(crate) parks: Arc<AtomicU64>,
    pub(crate) wakes: Arc<AtomicU64>,
}

/// A head may have so many.
pub(crate) const MANY_HEADERS: usize = 300;

/// How both are set up.
pub(crate) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.half_close(true);
    http
}

fn listener() -> (TcpListener, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("there are descriptors");
    // So that no socket takes a large answer at once, however generous the system is.
    socket.set_send_buffer_size(128 << 10).expect("a small buffer");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let listener = socket.listen(128).expect("it is bound");
    let address = listener.local_addr().expect("it has one");
    (listener, address)
}

impl Servers {
    /// The parked one parks at every idle moment. hyper has room for so many headers at once, the
    /// parked one when they come.
    pub(crate) async fn start() -> Self {
        let mut wide = http();
        wide.max_headers(MANY_HEADERS);
        let parking = Parking::new(http()).max_headers(MANY_HEADERS).after(Duration::ZERO);
        Self::with(wide, parking).await
    }

    pub(crate) async fn with(bare: http1::Builder, parking: Parking) -> Self {
        let (listener, plain) = listener();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let count = Arc::new(AtomicU64::new(0));
                let service = service_fn(move |request| answer(count.clone(), request));
                let http = bare.serve_connection(TokioIo::new(stream), service).with_upgrades();
                tokio::spawn(http);
            }
        });
        let (listener, parked) = self::listener();
        let (parks, wakes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        tokio::spawn(serve(listener, parking, parks.clone(), wakes.clone()));
        Self { plain, parked, parks, wakes }
    }
}

async fn serve(
    listener: TcpListener,
    parking: Parking,
    parks: Arc<AtomicU64>,
    wakes: Arc<AtomicU64>,
) {
    let mut connections = JoinSet::new();
    let mut lot = Lot::new().expect("there are descriptors");
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let io = TokioIo::new(accepted.expect("a connection").0);
                let count = Arc::new(AtomicU64::new(0));
                let service = service_fn(move |request| answer(count.clone(), request));
                connections.spawn(parking.serve(io, service));
            }
            Some(end) = connections.join_next() => {
                if let End::Idle(idle) = end.expect("no panic") {
                    parks.fetch_add(1, Relaxed);
                    lot.park(idle);
                }
            }
            left = lot.next() => if let Left::Heard(idle) = left {
                wakes.fetch_add(1, Relaxed);
                connections.spawn(parking.resume(idle));
            }
        }
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn text(text: String) -> Answer {
    Response::new(Full::from(text).boxed_unsync())
}

/// Answers with how many requests its connection has had, and what the path asks for.
pub(crate) async fn answer<B>(
    counter: Arc<AtomicU64>,
    request: Request<B>,
) -> Result<Answer, Infallible>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let count = counter.fetch_add(1, Relaxed) + 1;
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/echo" => match request.into_body().collect().await {
            Ok(body) => {
                let body = body.to_bytes();
                text(format!("{count} echo {} {}", body.len(), String::from_utf8_lossy(&body)))
            }
            Err(_) => text(format!("{count} a body that broke")),
        },
        "/drop" => {
            drop(request);
            text(format!("{count} dropped"))
        }
        // Looks for the body once, and lets go of it then.
        "/glance" => {
            let mut body = request.into_body();
            let mut looks = 0;
            poll_fn(|context| {
                looks += 1;
                let frame = Pin::new(&mut body).poll_frame(context);
                if looks > 1 || frame.is_ready() {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            drop(body);
            text(format!("{count} glanced"))
        }
        // Answers, and reads the body afterwards.
        "/hold" => {
            tokio::spawn(async move {
                yield_now().await;
                let _ = request.into_body().collect().await;
            });
            text(format!("{count} held"))
        }
        // Answers, and keeps the body for a while when all of it has come.
        "/linger" => {
            tokio::spawn(async move {
                let mut body = request.into_body();
                while !body.is_end_stream() && body.frame().await.is_some() {}
                tokio::time::sleep(Duration::from_millis(3500)).await;
            });
            text(format!("{count} lingers"))
        }
        // Answers, and reads the body to its end afterwards.
        "/swallow" => {
            tokio::spawn(async move {
                let mut body = request.into_body();
                while body.frame().await.is_some() {}
            });
            text(format!("{count} swallows"))
        }
        // Answers, and drops the body afterwards.
        "/let-go" => {
            tokio::spawn(async move {
                for _ in 0..count % 4 {
                    yield_now().await;
                }
                drop(request);
            });
            text(format!("{count} let go"))
        }
        "/stream" => {
            let mut left = 5;
            let frames = frames_of(move || {
                left -= 1;
                (left > 0).then(|| Bytes::from(format!("{count} piece {left}\n")))
            });
            Response::new(frames)
        }
        // As hyper itself says it of a head with too many headers.
        "/refused" => {
            let mut answer = text(String::new());
            *answer.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            answer
        }
        "/big" => Response::new(Full::from(vec![b'b'; 3 << 20]).boxed_unsync()),
        "/close" => {
            let mut answer = text(format!("{count} closing"));
            let close = header::HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
            answer
        }
        "/upgrade" => {
            let upgrade = hyper::upgrade::on(request);
            tokio::spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                let mut io = TokioIo::new(upgraded);
                let mut bytes = [0; 64];
                while let Ok(length @ 1..) = io.read(&mut bytes).await {
                    let said = [b"up:", &bytes[..length]].concat();
                    if io.write_all(&said).await.is_err() {
                        return;
                    }
                }
                let _ = io.shutdown().await;
            });
            let mut answer = text(String::new());
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let proto = header::HeaderValue::from_static("up");
            answer.headers_mut().insert(header::UPGRADE, proto);
            let upgrade = header::HeaderValue::from_static("upgrade");
            answer.headers_mut().insert(header::CONNECTION, upgrade);
            answer
        }
        "/head" => {
            let mut answer = text(String::new());
            answer.headers_mut().insert("x-count", header::HeaderValue::from(count));
            answer
        }
        // Answers, and waits for the upgrade that was offered. Counts much when that is decided.
        "/offer" => {
            let upgrade = hyper::upgrade::on(request);
            tokio::spawn(async move {
                let _ = upgrade.await;
                counter.fetch_add(1000, Relaxed);
            });
            text(format!("{count} maybe later"))
        }
        path => text(format!("{count} {path}")),
    })
}

/// A body of frames, with a while between them.
fn frames_of(
    next: impl FnMut() -> Option<Bytes> + Send + 'static,
) -> UnsyncBoxBody<Bytes, Infallible> {
    struct Frames<F>(F, bool);
    impl<F: FnMut() -> Option<Bytes> + Unpin> Body for Frames<F> {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let this = self.get_mut();
            this.1 = !this.1;
            if this.1 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready((this.0)().map(|bytes| Ok(Frame::data(bytes))))
        }
    }
    let next: Box<dyn FnMut() -> Option<Bytes> + Send> = Box::new(next);
    Frames(next, false).boxed_unsync()
}
