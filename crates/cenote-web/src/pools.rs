//! [`RequestPools`]: an account and a pool for each request, whatever the service is made of.

use crate::span::Span;
use crate::{Error, PoolBody};
use bytes::Bytes;
use cenote::{Account, AllocError, SharedPool, SharedPoolBuilder};
use http::{HeaderValue, Request, Response, header};
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

/// The pool of a request: a handle on it.
///
/// It is in the request's extensions, where [`RequestPools`] and the layer put it, and an
/// extractor of axum's. As a [`SharedPool`] it is `Clone`, `Send` and `Sync`: keep it across
/// `.await`, give clones to tasks and collections. Its blocks go back when all handles have
/// gone and the response has been sent.
#[derive(Clone, Debug)]
pub struct RequestPool(SharedPool);

impl RequestPool {
    /// The pool of this request, if there is one.
    pub fn of<B>(request: &Request<B>) -> Option<&Self> {
        request.extensions().get()
    }

    /// The handle itself, for collections.
    #[must_use]
    pub fn handle(&self) -> SharedPool {
        self.0.clone()
    }

    /// Makes a refusal of what a collection's `try_reserve` returned, whichever collection it
    /// is.
    ///
    /// ```
    /// use cenote_web::{Error, RequestPool};
    /// fn collect(pool: &RequestPool) -> Result<(), Error> {
    ///     let mut list = allocator_api2::vec::Vec::new_in(pool.handle());
    ///     pool.or_refused(list.try_reserve(100))?;
    ///     list.push(1);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Collection`], with the pool's account, where `result` is an error.
    pub fn or_refused<T, E>(&self, result: Result<T, E>) -> Result<T, Error> {
        result.map_err(|_| Error::Collection(self.account().cloned()))
    }
}

impl Deref for RequestPool {
    type Target = SharedPool;
    fn deref(&self) -> &SharedPool {
        &self.0
    }
}

impl AsRef<SharedPool> for RequestPool {
    fn as_ref(&self) -> &SharedPool {
        &self.0
    }
}

type OnRefusal = dyn Fn(&Error) -> Response<Bytes> + Send + Sync;

/// Makes an account and a pool for each request: what [`PoolLayer`](crate::PoolLayer) is made
/// of, for services without tower.
///
/// Cloning it is cheap. With hyper alone:
///
/// ```
/// use bytes::Bytes;
/// use cenote::Account;
/// use cenote_web::{Error, RequestPool, RequestPools};
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use std::convert::Infallible;
///
/// async fn hello<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
///     let pool = RequestPool::of(&request).expect("`serve` put it there");
///     let text = pool.try_freeze_fmt(format_args!("you asked for {}", request.uri()));
///     Ok(Response::new(Full::new(text.unwrap_or_default())))
/// }
///
/// let pools = RequestPools::new(&Account::root("service")).limit(1 << 20);
/// let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
///     let pools = pools.clone();
///     async move { pools.serve(request, hello).await }
/// });
/// # let _ = service;
/// ```
#[derive(Clone)]
pub struct RequestPools {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    parent: Account,
    name: Cow<'static, str>,
    limit: Option<usize>,
    builder: SharedPoolBuilder<'static>,
    #[cfg(feature = "axum")]
    under_connections: bool,
    on_refusal: Arc<OnRefusal>,
    #[cfg(feature = "view")]
    view: Option<crate::view::View>,
}

impl RequestPools {
    /// Requests' accounts are named `request` and are under this one. It is charged from all
    /// threads, so it is best a root or a [`shared_child`](Account::shared_child).
    #[must_use]
    pub fn new(account: &Account) -> Self {
        let inner = Inner {
            parent: account.clone(),
            name: Cow::Borrowed("request"),
            limit: None,
            builder: SharedPoolBuilder::DEFAULT,
            #[cfg(feature = "axum")]
            under_connections: false,
            on_refusal: Arc::new(refusal),
            #[cfg(feature = "view")]
            view: None,
        };
        Self { inner: Arc::new(inner) }
    }

    fn set(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }

    /// How many bytes a request may hold; as many as the account above may, unless set.
    #[must_use]
    pub fn limit(self, bytes: usize) -> Self {
        self.set(|inner| inner.limit = Some(bytes))
    }

    /// What requests' accounts are called; `request` unless set.
    #[must_use]
    pub fn name(self, name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        self.set(|inner| inner.name = name)
    }

    /// The sizes of requests' pools: what `SharedPool::builder()…shared()` gives.
    #[must_use]
    pub fn sizes(self, builder: SharedPoolBuilder<'static>) -> Self {
        self.set(|inner| inner.builder = builder)
    }

    /// Puts the account of a request that came over a [`PoolListener`](crate::PoolListener)
    /// under its connection's.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn under_connections(self) -> Self {
        self.set(|inner| inner.under_connections = true)
    }

    /// Chooses the response to a request that was refused memory, here or in the handler; 503
    /// with the error's text unless set.
    #[must_use]
    pub fn on_refusal(
        self,
        choose: impl Fn(&Error) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.set(|inner| inner.on_refusal = Arc::new(choose))
    }

    /// Has this view tell how old requests are: their accounts are stamped with the time as
    /// they begin.
    #[cfg(feature = "view")]
    #[must_use]
    pub fn view(self, view: &crate::view::View) -> Self {
        self.set(|inner| inner.view = Some(view.clone()))
    }

    /// An account and a pool for one request.
    ///
    /// # Errors
    /// Where the pool's first block cannot be had.
    pub fn try_begin<B>(&self, request: &Request<B>) -> Result<RequestPool, AllocError> {
        let inner = &*self.inner;
        let account = inner.account_above(request).child(inner.name.clone());
        account.set_limit(inner.limit);
        #[cfg(feature = "view")]
        if let Some(view) = &inner.view {
            view.stamp(&account);
        }
        inner.builder.try_build_on(&account).map(RequestPool)
    }

    /// The response to a request that was refused.
    #[must_use]
    pub fn refuse<R>(&self, error: &Error) -> Response<PoolBody<R>> {
        (self.inner.on_refusal)(error).map(PoolBody::refusal)
    }

    /// Gives the request a pool, in its extensions, and has `handler` answer it.
    ///
    /// # Errors
    /// Those of `handler`.
    pub async fn serve<B, R, E, F>(
        &self,
        mut request: Request<B>,
        handler: impl FnOnce(Request<B>) -> F,
    ) -> Result<Response<PoolBody<R>>, E>
    where
        F: Future<Output = Result<Response<R>, E>>,
    {
        let pool = match self.try_begin(&request) {
            Ok(pool) => pool,
            Err(error) => return Ok(self.refuse(&error.into())),
        };
        request.extensions_mut().insert(pool.clone());
        let span = Span::of(pool.account());
        let mut work = pin!(span.within(|| handler(request)));
        let poll = |context: &mut Context<'_>| {
            span.within(|| self.poll_work(&pool, work.as_mut(), context))
        };
        let outcome = poll_fn(poll).await;
        self.finish(pool, outcome)
    }

    /// Polls what works on a request; a refusal that panics is one that is returned.
    pub(crate) fn poll_work<F: Future>(
        &self,
        pool: &RequestPool,
        work: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<Outcome<F::Output>> {
        match catch_unwind(AssertUnwindSafe(|| work.poll(context))) {
            Ok(poll) => poll.map(Outcome::Done),
            Err(payload) if is_refusal(pool, &*payload) => {
                Poll::Ready(Outcome::Refused(Error::Collection(pool.account().cloned()), payload))
            }
            Err(payload) => resume_unwind(payload),
        }
    }

    /// The response, with a body that keeps the pool.
    pub(crate) fn finish<R, E>(
        &self,
        pool: RequestPool,
        outcome: Outcome<Result<Response<R>, E>>,
    ) -> Result<Response<PoolBody<R>>, E> {
        match outcome {
            Outcome::Done(result) => {
                let response = result?;
                #[cfg(feature = "axum")]
                if let Some(refused) = response.extensions().get::<crate::error::WasRefused>() {
                    return Ok(self.refuse(&refused.0));
                }
                Ok(response.map(|body| PoolBody::new(body, pool.0)))
            }
            Outcome::Refused(error, payload) => {
                let mut response = self.refuse(&error);
                // The words of the panic say which account it was, and its figures.
                let text = payload.downcast_ref::<String>();
                if let (Some(text), true) = (text, response.extensions().get::<Plain>().is_some()) {
                    response = plain(format!("{text}\n")).map(PoolBody::refusal);
                }
                Ok(response)
            }
        }
    }
}

/// What became of the work on a request.
pub(crate) enum Outcome<T> {
    Done(T),
    /// It panicked with this, since memory was refused.
    Refused(Error, Box<dyn Any + Send>),
}

impl Inner {
    fn account_above<'a, B>(&'a self, _request: &'a Request<B>) -> &'a Account {
        #[cfg(feature = "axum")]
        if self.under_connections
            && let Some(connection) = crate::ConnectionPool::of(_request)
            && let Some(account) = connection.account()
        {
            return account;
        }
        &self.parent
    }
}

/// Whether a panic is that of a call without `try_` at a limit of this pool's account, or of
/// one above it.
fn is_refusal(pool: &RequestPool, payload: &(dyn Any + Send)) -> bool {
    let Some(text) = payload.downcast_ref::<String>() else { return false };
    let mut at = pool.account();
    while let Some(account) = at {
        if text.starts_with(&format!("account {} is at its limit of ", account.path())) {
            return true;
        }
        at = account.parent();
    }
    false
}

/// Marks the response that is made where the service chose none.
#[derive(Clone)]
struct Plain;

fn refusal(error: &Error) -> Response<Bytes> {
    plain(format!("{error}\n"))
}

fn plain(text: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.extensions_mut().insert(Plain);
    response
}

impl fmt::Debug for RequestPools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestPools")
            .field("account", &self.inner.parent)
            .field("name", &self.inner.name)
            .field("limit", &self.inner.limit)
            .finish_non_exhaustive()
    }
}
