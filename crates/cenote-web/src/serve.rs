//! [`serve`]: a service of axum's, whose idle connections are parked.

use std::convert::Infallible;
use std::fmt;
use std::future::{pending, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::serve::{Listener, TapIo};
use http::{Request, Response};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service;

#[cfg(feature = "http2")]
use crate::park::Reread;
use crate::park::{Connection, End, Left, Lot, Park, Parking, RequestBody};

/// Serves as `axum::serve` does, with idle connections parked: after five seconds without a
/// request all that hyper has of one is given back, and built anew when its client speaks.
///
/// What stays is the socket, a small record, and the connection's pool and account, if it has one.
/// With hyper alone a connection that was used once has 12 KiB, or 200 KiB if it was for an upload.
/// Clients cannot tell the difference.
///
/// `make_service` is what `axum::serve` takes: `app.into_make_service()`, or
/// `app.into_make_service_with_connect_info::<C>()`, where `C` is [`ConnectionPool`] with a
/// [`PoolListener`], or `SocketAddr`.
///
/// - Without a byte nothing of hyper's is built: a client that only connects costs a task, and after
///   five seconds not even that.
/// - The head of a request may take 30 seconds, the wait for it included; see
///   [`head_timeout`](Serve::head_timeout) and the other bounds. They go on while a connection is
///   parked.
/// - Upgraded connections, and those to which an upgrade was offered, are not parked, nor are
///   HTTP/2's (with the feature `http2`) and HTTP/1.0's.
/// - A second after many connections were parked, or when all are, the allocator is trimmed; half a
///   minute after any was parked or has ended, too.
///
/// ```no_run
/// # async fn serve(app: axum::Router) -> std::io::Result<()> {
/// use cenote::Account;
/// use cenote_web::{ConnectionPool, PoolListener};
/// use std::time::Duration;
/// let service = Account::root("service").with_limit(Some(256 << 20));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// let listener = PoolListener::new(listener, &service).limit(4 << 20);
/// let app = app.into_make_service_with_connect_info::<ConnectionPool>();
/// cenote_web::serve(listener, app)
///     .idle_timeout(Duration::from_secs(75))
///     .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or(()) })
///     .await
/// # }
/// ```
///
/// TLS is best ended before it. An IO of your own has to be [`Park`].
///
/// [`ConnectionPool`]: crate::ConnectionPool
/// [`PoolListener`]: crate::PoolListener
pub fn serve<L, M, S>(listener: L, make_service: M) -> Serve<L, M, S>
where
    L: Listener,
    M: for<'a> Service<Accepted<'a, L>, Error = Infallible, Response = S>,
{
    let http = http1::Builder::new();
    Serve {
        listener,
        make_service,
        http,
        set: Box::new(|parking| parking),
        stop: None,
        app: PhantomData,
    }
}

/// A connection that was accepted, as what makes services for connections sees it.
pub struct Accepted<'a, L: Listener> {
    io: &'a L::Io,
    address: &'a L::Addr,
}

impl<L: Listener> Accepted<'_, L> {
    /// The connection.
    pub fn io(&self) -> &L::Io {
        self.io
    }

    /// Where it comes from.
    pub fn remote_addr(&self) -> &L::Addr {
        self.address
    }
}

impl<L: Listener> fmt::Debug for Accepted<'_, L>
where
    L::Addr: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("remote_addr", self.address).finish_non_exhaustive()
    }
}

impl Connected<Accepted<'_, TcpListener>> for SocketAddr {
    fn connect_info(accepted: Accepted<'_, TcpListener>) -> Self {
        *accepted.remote_addr()
    }
}

impl<F> Connected<Accepted<'_, TapIo<TcpListener, F>>> for SocketAddr
where
    F: FnMut(&mut tokio::net::TcpStream) + Send + 'static,
{
    fn connect_info(accepted: Accepted<'_, TapIo<TcpListener, F>>) -> Self {
        *accepted.remote_addr()
    }
}

/// What [`serve`] returns: a service to be, which runs when it is awaited.
#[must_use = "it serves when it is awaited"]
pub struct Serve<L, M, S> {
    listener: L,
    make_service: M,
    http: http1::Builder,
    set: Box<dyn FnOnce(Parking) -> Parking + Send>,
    stop: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    app: PhantomData<fn() -> S>,
}

impl<L: Listener, M, S> Serve<L, M, S> {
    fn set(mut self, set: impl FnOnce(Parking) -> Parking + Send + 'static) -> Self {
        let before = self.set;
        self.set = Box::new(move |parking| set(before(parking)));
        self
    }

    /// How long a connection is idle before it is parked: five seconds, unless set. `None` parks
    /// none, which is then served as `axum::serve` does.
    pub fn park_after(self, idle: impl Into<Option<Duration>>) -> Self {
        let idle = idle.into();
        self.set(move |parking| parking.after(idle))
    }

    /// How long the head of a request may take; see [`Parking::head_timeout`].
    pub fn head_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.set(move |parking| parking.head_timeout(timeout))
    }

    /// How long a connection may be without a request: as long as a head may take, unless set.
    pub fn idle_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.set(move |parking| parking.idle_timeout(timeout))
    }

    /// After how long a connection is asked to end, once what is in flight is done. No bound, unless
    /// set.
    pub fn lifetime(self, lifetime: impl Into<Option<Duration>>) -> Self {
        let lifetime = lifetime.into();
        self.set(move |parking| parking.lifetime(lifetime))
    }

    /// The most that hyper buffers of a connection that is busy, each way; at least 8192.
    ///
    /// # Panics
    /// If it is less.
    pub fn max_buf_size(mut self, bytes: usize) -> Self {
        self.http.max_buf_size(bytes);
        self
    }

    /// How hyper is to serve HTTP/1, altogether. Its header timeout is not used;
    /// [`head_timeout`](Serve::head_timeout) is. Sets what
    /// [`max_buf_size`](Serve::max_buf_size) sets, too.
    pub fn http1(mut self, http: http1::Builder) -> Self {
        self.http = http;
        self
    }

    /// Stops when `signal` is done: accepts no more, closes parked connections, lets requests in
    /// flight finish, and then returns `Ok(())`. A request that has come over a parked connection is
    /// answered.
    pub fn with_graceful_shutdown(
        mut self,
        signal: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.stop = Some(Box::pin(signal));
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of the listener.
    pub fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }
}

impl<L: fmt::Debug, M, S> fmt::Debug for Serve<L, M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl<L, M, S> IntoFuture for Serve<L, M, S>
where
    L: Listener,
    L::Io: Park,
    <L::Io as Park>::Parked: Send,
    M: for<'a> Service<Accepted<'a, L>, Error = Infallible, Response = S> + Send + 'static,
    for<'a> <M as Service<Accepted<'a, L>>>::Future: Send,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

/// A service that takes bodies as axum does.
#[derive(Clone)]
pub(crate) struct Bodies<S>(S);

impl<S: Service<Request<Body>>> Service<Request<RequestBody>> for Bodies<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> S::Future {
        self.0.call(request.map(Body::new))
    }
}

#[cfg(feature = "http2")]
impl<S: Service<Request<Body>>> Service<Request<hyper::body::Incoming>> for Bodies<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<hyper::body::Incoming>) -> S::Future {
        self.0.call(request.map(Body::new))
    }
}

type App<S> = TowerToHyperService<Bodies<S>>;
type Io<L> = TokioIo<<L as Listener>::Io>;

async fn run<L, M, S>(serve: Serve<L, M, S>) -> io::Result<()>
where
    L: Listener,
    L::Io: Park,
    <L::Io as Park>::Parked: Send,
    M: for<'a> Service<Accepted<'a, L>, Error = Infallible, Response = S> + Send + 'static,
    for<'a> <M as Service<Accepted<'a, L>>>::Future: Send,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let Serve { mut listener, mut make_service, http, set, stop, .. } = serve;
    let parking = set(Parking::new(http)).find_http2(cfg!(feature = "http2"));
    let mut signal = stop.unwrap_or_else(|| Box::pin(pending()));
    let (stop, stopped) = watch::channel(false);
    let mut connections: JoinSet<End<Io<L>, App<S>>> = JoinSet::new();
    let mut lot: Lot<Io<L>, App<S>> = Lot::new()?.trim_with(|| {
        // It takes a while after a great peak. What the runtime's threads keep first: they may sleep.
        tokio::task::spawn_blocking(|| {
            cenote::Blocks::trim_all();
            cenote::System::trim()
        });
    });
    loop {
        tokio::select! {
            (io, address) = listener.accept() => {
                let service = {
                    let ready = poll_fn(|context| make_service.poll_ready(context)).await;
                    ready.unwrap_or_else(|error| match error {});
                    let accepted = Accepted { io: &io, address: &address };
                    make_service.call(accepted).await.unwrap_or_else(|error| match error {})
                };
                let service = TowerToHyperService::new(Bodies(service));
                let connection = parking.serve(TokioIo::new(io), service);
                connections.spawn(converse(connection, stopped.clone()));
            }
            Some(ended) = connections.join_next() => {
                // One that panicked is closed.
                if let Ok(End::Idle(idle)) = ended {
                    lot.park(idle);
                } else {
                    lot.ended();
                }
                if connections.is_empty() {
                    lot.trim_soon();
                }
            }
            left = lot.next() => {
                if let Left::Heard(idle) = left {
                    connections.spawn(converse(parking.resume(idle), stopped.clone()));
                }
            }
            () = &mut signal => break,
        }
    }
    drop(listener);
    stop.send_replace(true);
    for idle in lot.close() {
        connections.spawn(converse(parking.resume(idle), stopped.clone()));
    }
    while let Some(ended) = connections.join_next().await {
        // It ended before it was told to stop. Its client may have spoken since.
        if let Ok(End::Idle(idle)) = ended {
            connections.spawn(converse(parking.resume(idle), stopped.clone()));
        }
    }
    Ok(())
}

/// Serves a connection until it has ended or is idle.
async fn converse<I, S>(
    mut connection: Connection<I, App<S>>,
    mut stopped: watch::Receiver<bool>,
) -> End<I, App<S>>
where
    I: Park + hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    if *stopped.borrow() {
        connection.graceful_shutdown();
    }
    let end = {
        let mut stop = pin!(async {
            // An error means that the service has been dropped.
            let _ = stopped.wait_for(|&stop| stop).await;
        });
        tokio::select! {
            biased;
            end = &mut connection => end,
            () = &mut stop => {
                connection.graceful_shutdown();
                connection.await
            }
        }
    };
    match end {
        #[cfg(feature = "http2")]
        End::Http2 { io, read, service } => {
            http2(io, read, service, stopped).await;
            End::Closed
        }
        end => end,
    }
}

/// Serves a connection of HTTP/2's, which is not parked, to its end.
#[cfg(feature = "http2")]
async fn http2<I, S>(io: I, read: bytes::Bytes, service: App<S>, mut stopped: watch::Receiver<bool>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let mut http = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
    // For WebSockets.
    http.enable_connect_protocol();
    let mut connection = pin!(http.serve_connection(Reread::new(io, read), service));
    let mut stop = pin!(stopped.wait_for(|&stop| stop));
    tokio::select! {
        biased;
        _ = &mut connection => return,
        _ = &mut stop => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
