//! The view as a service of tower: to be mounted in axum, or served by itself.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, Request, Response, StatusCode};
use http_body_util::Full;

use super::View;
use super::answer::{self, Answer};

/// The client's address, as an extension of a request: put it there so that [`ViewService`]
/// knows who asks, where nothing else says so, or to know better.
///
/// ```
/// use cenote_web::view::Peer;
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Peer(([127, 0, 0, 1], 40_000).into()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A [`View`] as a `tower` service: answers `/pools`, `/pools.json` and `/metrics`, and 404 for
/// every other path. Made by [`View::service`].
#[derive(Clone, Debug)]
pub struct ViewService(View);

impl View {
    /// The view as a `tower` service, for `axum::Router::route_service` and the like.
    ///
    /// Unless anyone may look, requests must say where they come from: by a [`Peer`] among their
    /// extensions, or by what axum puts there for
    /// `into_make_service_with_connect_info::<SocketAddr>()`, or `::<ConnectionPool>()`. Those that
    /// do not are answered with 403.
    ///
    /// A proxy on this machine is a client of this machine, whoever asks it: keep it from these
    /// paths, or put a [`Peer`] there from what it says.
    #[must_use]
    pub fn service(&self) -> ViewService {
        ViewService(self.clone())
    }
}

impl<B> tower_service::Service<Request<B>> for ViewService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Served;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Served {
        let peer = peer(request.extensions()).map(|peer| peer.ip());
        match self.0.answer(request.method(), request.uri(), request.headers(), peer) {
            Some(answer) => Served(Inner::Answer(answer)),
            None => {
                let nothing = answer::respond(
                    StatusCode::NOT_FOUND,
                    http::HeaderValue::from_static("text/plain"),
                    Bytes::from_static(b"not found\n"),
                );
                Served(Inner::Nothing(ready(nothing)))
            }
        }
    }
}

/// Where a request comes from, by who knows best.
pub(crate) fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    let told = extensions.get::<Peer>().map(|peer| peer.0);
    #[cfg(feature = "axum")]
    let told = {
        use axum::extract::ConnectInfo;
        let socket = || extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let pool = || extensions.get::<ConnectInfo<crate::ConnectionPool>>()?.0.peer();
        told.or_else(socket).or_else(pool)
    };
    told
}

/// The future of [`ViewService`].
#[derive(Debug)]
pub struct Served(Inner);

#[derive(Debug)]
enum Inner {
    Answer(Answer),
    Nothing(Ready<Response<Bytes>>),
}

impl Future for Served {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match &mut self.get_mut().0 {
            Inner::Answer(answer) => Pin::new(answer).poll(cx),
            Inner::Nothing(nothing) => Pin::new(nothing).poll(cx),
        };
        response.map(|response| Ok(response.map(Full::new)))
    }
}
