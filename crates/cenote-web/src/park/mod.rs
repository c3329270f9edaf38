//! Connections of hyper's that are taken apart while they are idle.
//!
//! A kept-alive connection of hyper's keeps its buffers, 10 KiB and more, for as long as it
//! lives. Here it is *parked* once nothing has been under way for some seconds: hyper's part of it
//! goes, and what stays is the socket, the service (which holds the connection's pool, if it has
//! one) and a few words. The first byte that comes builds it anew. A client cannot tell, but for
//! how long it takes: every condition for it is in `docs/design/parking.md`.
//!
//! With axum, [`serve`](crate::serve) does all of this. This is what it is made of, for services on
//! hyper alone:
//!
//! - [`Parking`] is how connections are to be served: hyper's builder, and the bounds.
//! - [`Connection`] serves one, and ends when that has ended, or is [`Idle`].
//! - [`Lot`] keeps all that are idle in one place, and says which are heard from.
//!
//! ```
//! # use std::convert::Infallible;
//! # use cenote_web::park::{self, End, Left, Lot, Parking};
//! use hyper_util::rt::TokioIo;
//! use tokio::task::JoinSet;
//!
//! async fn hello(_: http::Request<park::RequestBody>) -> Result<http::Response<String>, Infallible> {
//!     Ok(http::Response::new("hello".into()))
//! }
//!
//! async fn serve(listener: tokio::net::TcpListener) -> std::io::Result<()> {
//!     let parking = Parking::new(hyper::server::conn::http1::Builder::new());
//!     let mut connections = JoinSet::new();
//!     let mut lot = Lot::new()?;
//!     loop {
//!         tokio::select! {
//!             accepted = listener.accept() => {
//!                 let io = TokioIo::new(accepted?.0);
//!                 connections.spawn(parking.serve(io, hyper::service::service_fn(hello)));
//!             }
//!             Some(Ok(End::Idle(idle))) = connections.join_next() => {
//!                 let _ = lot.park(idle); // where that fails the connection is closed
//!             }
//!             left = lot.next() => if let Left::Heard(idle) = left {
//!                 connections.spawn(parking.resume(idle));
//!             }
//!         }
//!     }
//! }
//! ```

mod alarm;
mod connection;
mod lot;
mod reread;
mod slots;
mod socket;
mod times;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::http1;
use hyper::service::Service;

pub use connection::{Bound, Connection, End, Idle};
pub use lot::{Left, Lot};
pub use reread::Reread;
pub use socket::{Hear, Park};
pub use watch::RequestBody;

/// An error of any kind.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What answers requests: every [`Service`] of hyper's that takes [`RequestBody`]s, and whose
/// bodies and errors hyper can send.
pub trait App:
    Service<Request<RequestBody>, Response = Response<Self::ResBody>, Error: Into<BoxError>>
{
    /// The body of its responses.
    type ResBody: Body<Error: Into<BoxError>> + 'static;
}

impl<S, B> App for S
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    type ResBody = B;
}

/// How connections are served, and when they are parked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Parking {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    http: http1::Builder,
    /// For heads with more headers than that takes.
    wide: Option<http1::Builder>,
    after: Option<Duration>,
    head: Option<Duration>,
    idle: Option<Duration>,
    lifetime: Option<Duration>,
    http2: bool,
}

impl Parking {
    /// Connections of HTTP/1 as this builder makes them. Parked after five seconds; a request's
    /// head may take thirty seconds, the wait for it included; no other bounds.
    ///
    /// The builder needs no timer, and a `header_read_timeout` of its own is not used:
    /// [`head_timeout`](Parking::head_timeout) is, which goes on while a connection is parked.
    #[must_use]
    pub fn new(mut http: http1::Builder) -> Self {
        http.header_read_timeout(None);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let (after, head) = (seconds(5), seconds(30));
        Self {
            inner: Arc::new(Inner {
                http,
                wide: None,
                after,
                head,
                idle: None,
                lifetime: None,
                http2: false,
            }),
        }
    }

    fn set(mut self, set: impl FnOnce(&mut Inner)) -> Self {
        set(Arc::make_mut(&mut self.inner));
        self
    }

    /// How long a connection is idle before it is parked; `None` parks none. At once, with
    /// zero, costs some 4,000 instructions a request.
    #[must_use]
    pub fn after(self, idle: impl Into<Option<Duration>>) -> Self {
        self.set(|inner| inner.after = idle.into())
    }

    /// Whether connections are parked the moment that they are idle.
    fn is_eager(&self) -> bool {
        self.inner.after == Some(Duration::ZERO)
    }

    /// How long the head of a request may take: from the end of what was before it, or, where an
    /// [`idle_timeout`](Parking::idle_timeout) bounds the wait for it, from its first byte that
    /// is seen.
    #[must_use]
    pub fn head_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.set(|inner| inner.head = timeout.into())
    }

    /// How long a connection may be without a request, parked or not; as long as a head may take,
    /// unless set.
    #[must_use]
    pub fn idle_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.set(|inner| inner.idle = timeout.into())
    }

    /// After how long a connection is asked to end: what is in flight is finished, and nothing
    /// begun after it.
    #[must_use]
    pub fn lifetime(self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.set(|inner| inner.lifetime = lifetime.into())
    }

    /// How many headers a request may have, beyond what the builder says (100, unless it was told
    /// otherwise).
    ///
    /// hyper prepares room for all of them before each head, at some ten instructions a header. So
    /// connections are served as the builder says; one on which a head with more has come is served
    /// by a hyper that takes so many, from that head on and until it is parked.
    ///
    /// What the builder says counts for a head that comes while the socket has not taken the answer
    /// before it, and on a connection over which an upgrade has been offered and not taken.
    #[must_use]
    pub fn max_headers(self, most: usize) -> Self {
        self.set(|inner| {
            let mut wide = inner.http.clone();
            wide.max_headers(most);
            inner.wide = Some(wide);
        })
    }

    /// Whether to look for HTTP/2's first bytes; a connection with them ends with
    /// [`End::Http2`]. Without, it is refused as hyper does.
    #[must_use]
    pub fn find_http2(self, find: bool) -> Self {
        self.set(|inner| inner.http2 = find)
    }

    /// Serves a new connection. Nothing of hyper's is there before its first byte.
    pub fn serve<I: Hear, S: App>(&self, io: I, service: S) -> Connection<I, S> {
        Connection::new(self.clone(), io, service)
    }

    /// Serves one that was idle: that [is heard from](Left::Heard), or that is to be waited for by
    /// this future after all.
    pub fn resume<I: Hear, S: App>(&self, idle: Idle<I, S>) -> Connection<I, S> {
        Connection::resumed(self.clone(), idle)
    }
}
