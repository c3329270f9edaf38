//! [`PoolLayer`]: a pool for each request, as a layer of tower's.

use crate::peaks::Ending;
use crate::pools::{RequestPools, poll_work};
use crate::refusal::{self, Refused};
use crate::span::Span;
use crate::{Asked, Error, PoolBody};
use bytes::Bytes;
use cenote::{Account, SharedPoolBuilder};
use http::{Request, Response};
use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_layer::Layer;
use tower_service::Service;

/// Gives each request an account and a pool, in its extensions, for as long as anything of its
/// response is there.
///
/// - The account is a new one under that given to [`PoolLayer::new`], so a limit is each
///   request's own, and views show who holds what. The pool is a
///   [`SharedPool`](cenote::SharedPool), a handle on which is in the request's extensions: see
///   [`RequestPool`](crate::RequestPool).
/// - A request that is refused memory is answered with 503 and the account's name, or as
///   [`on_refusal`](PoolLayer::on_refusal) says: where its pool cannot be made, where its
///   handler returns an [`Error`], and where that panics in a call without `try_`, or by
///   unwrapping a refusal (if unwinding is on). A layer inside of this one that catches
///   panics makes a 500 of that; as an answer to a request that was refused memory it is taken for
///   the refusal. A panic whose words only read like a refusal is none.
/// - The pool ends when the response's body is dropped, after it was sent or when the client
///   has gone, and with it all else that keeps it.
///
/// - With the feature `view`, a request that needed unusually much, for one of its name, is a
///   warning of `tracing`: see [`Peaks`](crate::view::events::Peaks).
///
/// Each request costs a block of its thread's cache and one small allocation, for its account.
///
/// Works wherever tower's layers do, such as `axum::Router::layer`; with hyper alone, wrap the
/// service in `hyper_util::service::TowerToHyperService`, or use [`RequestPools`].
#[derive(Clone, Debug)]
pub struct PoolLayer {
    pools: RequestPools,
}

impl PoolLayer {
    /// Requests' accounts are named `request` and are under this one. It is charged from all
    /// threads, so it is best a root or a [`shared_child`](Account::shared_child).
    ///
    /// Accounts and pools say that they were made where this is called.
    #[must_use]
    #[track_caller]
    pub fn new(account: &Account) -> Self {
        Self { pools: RequestPools::new(account) }
    }

    /// How many bytes a request may hold; as many as the account above may, unless set.
    #[must_use]
    pub fn limit(self, bytes: usize) -> Self {
        Self { pools: self.pools.limit(bytes) }
    }

    /// What requests' accounts are called; `request` unless set.
    #[must_use]
    pub fn name(self, name: impl Into<Cow<'static, str>>) -> Self {
        Self { pools: self.pools.name(name) }
    }

    /// Has requests' accounts named by method and route, such as `GET /notes/{id}`; see
    /// [`RequestPools::by_route`].
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn by_route(self) -> Self {
        Self { pools: self.pools.by_route() }
    }

    /// Has requests' accounts named by `choose`; see [`RequestPools::name_by`].
    #[must_use]
    pub fn name_by(
        self,
        choose: impl Fn(&Asked<'_>) -> Option<Cow<'static, str>> + Send + Sync + 'static,
    ) -> Self {
        Self { pools: self.pools.name_by(choose) }
    }

    /// Shows this view the requests' pools; see [`RequestPools::view`].
    #[cfg(feature = "view")]
    #[must_use]
    pub fn view(self, view: &crate::view::View) -> Self {
        Self { pools: self.pools.view(view) }
    }

    /// The sizes of requests' pools, and what they are called: what
    /// `SharedPool::builder()…shared()` gives.
    #[must_use]
    pub fn sizes(self, builder: SharedPoolBuilder<'static>) -> Self {
        Self { pools: self.pools.sizes(builder) }
    }

    /// Puts the account of a request that came over a [`PoolListener`](crate::PoolListener)
    /// under its connection's.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn under_connections(self) -> Self {
        Self { pools: self.pools.under_connections() }
    }

    /// Chooses the response to a request that was refused memory.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use cenote_web::PoolLayer;
    /// # let account = cenote::Account::root("service");
    /// let layer = PoolLayer::new(&account).limit(64 << 10).on_refusal(|error| {
    ///     let mut response = http::Response::new(Bytes::from(format!("{error}")));
    ///     *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
    ///     response
    /// });
    /// ```
    #[must_use]
    pub fn on_refusal(
        self,
        choose: impl Fn(&Error) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self { pools: self.pools.on_refusal(choose) }
    }
}

impl From<RequestPools> for PoolLayer {
    fn from(pools: RequestPools) -> Self {
        Self { pools }
    }
}

impl<S> Layer<S> for PoolLayer {
    type Service = PoolService<S>;
    fn layer(&self, inner: S) -> PoolService<S> {
        PoolService { inner, pools: self.pools.clone() }
    }
}

/// A service whose requests have pools: what [`PoolLayer`] makes.
#[derive(Clone, Debug)]
pub struct PoolService<S> {
    inner: S,
    pools: RequestPools,
}

impl<S, B, R> Service<Request<B>> for PoolService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<PoolBody<R>>;
    type Error = S::Error;
    type Future = PoolFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> PoolFuture<S::Future> {
        let state = match self.pools.begin(&request) {
            Ok(ending) => {
                request.extensions_mut().insert(ending.pool.clone());
                let span = Span::of(ending.pool.account());
                let inner = &mut self.inner;
                match span.within(|| refusal::catch(&ending.pool, || inner.call(request))) {
                    Ok(work) => State::Working { work, ending: Some(ending), met: false, span },
                    Err(refused) => State::Panicked { failed: Some((ending, refused)) },
                }
            }
            Err(error) => State::Refused { error: error.into() },
        };
        PoolFuture { state, pools: self.pools.clone() }
    }
}

pin_project_lite::pin_project! {
    /// The response of a [`PoolService`], to come.
    #[derive(Debug)]
    pub struct PoolFuture<F> {
        #[pin]
        state: State<F>,
        pools: RequestPools,
    }
}

pin_project_lite::pin_project! {
    #[project = StateProjected]
    #[derive(Debug)]
    enum State<F> {
        // The work before the pool, which it may borrow from handles of.
        Working { #[pin] work: F, ending: Option<Ending>, met: bool, span: Span },
        // Before there was a future.
        Panicked { failed: Option<(Ending, Refused)> },
        Refused { error: Error },
    }
}

impl<F, R, E> Future for PoolFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<PoolBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state.project() {
            StateProjected::Working { work, ending, met, span } => {
                let pool = &ending.as_ref().expect("polled after it was ready").pool;
                let outcome = ready!(span.within(|| poll_work(pool, work, met, context)));
                let ending = ending.take().expect("it was just there");
                Poll::Ready(this.pools.finish(ending, *met, outcome))
            }
            StateProjected::Panicked { failed } => {
                let (ending, refused) = failed.take().expect("polled after it was ready");
                Poll::Ready(this.pools.finish(ending, true, Err(refused)))
            }
            StateProjected::Refused { error } => Poll::Ready(Ok(this.pools.refuse(error))),
        }
    }
}
