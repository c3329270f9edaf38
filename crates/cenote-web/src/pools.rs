//! [`RequestPools`]: an account and a pool for each request, whatever the service is made of.

use crate::asked::AskedFor;
use crate::naming::{Asked, Naming};
use crate::peaks::{Ending, RequestPeaks, Route};
use crate::refusal::{self, OnRefusal, Refused};
use crate::span::Span;
use crate::{Error, PoolBody};
use bytes::Bytes;
use cenote::{Account, AllocError, SharedPool, SharedPoolBuilder};
use http::{Request, Response};
use std::borrow::Cow;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::panic::Location;
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
pub struct RequestPool {
    pool: SharedPool,
    /// How often accounts above its own had refused something when the request began.
    refused_before: u64,
}

impl RequestPool {
    pub(crate) fn new(pool: SharedPool) -> Self {
        let refused_before = refusal::above_of(&pool);
        Self { pool, refused_before }
    }

    pub(crate) fn refused_before(&self) -> u64 {
        self.refused_before
    }

    /// The pool of this request, if there is one.
    pub fn of<B>(request: &Request<B>) -> Option<&Self> {
        request.extensions().get()
    }

    /// The handle itself, for collections.
    #[must_use]
    pub fn handle(&self) -> SharedPool {
        self.pool.clone()
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
        &self.pool
    }
}

impl AsRef<SharedPool> for RequestPool {
    fn as_ref(&self) -> &SharedPool {
        &self.pool
    }
}

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
    /// Where the service said that its requests are to have pools.
    place: &'static Location<'static>,
    name: Cow<'static, str>,
    naming: Option<Arc<Naming>>,
    limit: Option<usize>,
    builder: SharedPoolBuilder<'static>,
    #[cfg(feature = "axum")]
    under_connections: bool,
    on_refusal: Arc<OnRefusal>,
    peaks: RequestPeaks,
    #[cfg(feature = "view")]
    view: Option<crate::view::View>,
}

impl RequestPools {
    /// Requests' accounts are named `request` and are under this one. It is charged from all
    /// threads, so it is best a root or a [`shared_child`](Account::shared_child).
    ///
    /// Accounts and pools say that they were made where this is called.
    #[must_use]
    #[track_caller]
    pub fn new(account: &Account) -> Self {
        let inner = Inner {
            parent: account.clone(),
            place: Location::caller(),
            name: Cow::Borrowed("request"),
            naming: None,
            limit: None,
            builder: SharedPoolBuilder::DEFAULT.name("request"),
            #[cfg(feature = "axum")]
            under_connections: false,
            on_refusal: Arc::new(refusal::response),
            peaks: RequestPeaks::default(),
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

    /// Has requests' accounts named by `choose`, so that views, metrics and refusals tell which
    /// requests they are: by tenant, by kind of work. Where it returns `None`, and beyond 48
    /// names of at most 100 bytes, first come, first served, they are named as all are; so names
    /// may be made of what clients send, but better are not.
    ///
    /// Costs a read lock for each request, and for names that are not `'static` what it takes to
    /// make one.
    ///
    /// ```
    /// use cenote::Account;
    /// use cenote_web::RequestPools;
    /// let pools = RequestPools::new(&Account::root("service"))
    ///     .name_by(|asked| asked.uri.path().starts_with("/reports/").then(|| "report".into()));
    /// let request = http::Request::get("/reports/7").body(())?;
    /// let pool = pools.try_begin(&request)?;
    /// assert_eq!(pool.account().map(|account| account.path()).as_deref(), Some("service/report"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn name_by(
        self,
        choose: impl Fn(&Asked<'_>) -> Option<Cow<'static, str>> + Send + Sync + 'static,
    ) -> Self {
        self.set(|inner| inner.naming = Some(Arc::new(Naming::new(choose))))
    }

    /// Has requests' accounts named by method and route, such as `GET /notes/{id}`: as
    /// [`name_by`](RequestPools::name_by), by what [`Asked::route`] returns. Where no route was
    /// taken yet they are named as all are: put the layer where axum knows the route, by
    /// `Router::layer` or `Router::route_layer`, not around the whole router.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn by_route(self) -> Self {
        self.name_by(|asked| asked.route().map(Cow::Owned))
    }

    /// The sizes of requests' pools, and what they are called: what
    /// `SharedPool::builder()…shared()` gives.
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

    /// Shows this view the requests' pools: how much of each is used, its blocks, its age, and
    /// how many handles hold it. The view looks into them from a thread of its own, without
    /// keeping them or making anyone wait; see [`View::watch`](crate::view::View::watch). Their rows
    /// say whose they are, also where somebody keeps a pool after its request: the method and
    /// the route that axum matched, or else the [shape of the path](crate::view::Who::asking), the status once
    /// there is one, and the client's address where the request tells it, by a
    /// [`Peer`](crate::view::Peer) or by axum's `ConnectInfo` of a `SocketAddr` or a `ConnectionPool`. It takes
    /// a small allocation for each request, and without a route another for the path.
    ///
    /// As a request ends, what its account held at most is counted in the view's metrics, as
    /// `cenote_request_bytes`, by route: the method and the path that axum matched, as in
    /// `GET /notes/{id}`, or else the name that [`name_by`](RequestPools::name_by) chose; `(none)`
    /// without either. 64 routes of at most 128 bytes are told apart, first come, first served, in
    /// 20 KiB at most, for which no account is charged; the rest is `(others)`. A request that was
    /// refused, or that nobody wanted any more, is counted as well; one that was
    /// [begun](RequestPools::try_begin) without [`serve`](RequestPools::serve) or the layer is not.
    #[cfg(feature = "view")]
    #[must_use]
    pub fn view(self, view: &crate::view::View) -> Self {
        self.set(|inner| {
            inner.view = Some(view.clone());
            inner.peaks = RequestPeaks::of(view);
        })
    }

    /// An account and a pool for one request.
    ///
    /// # Errors
    /// Where the pool's first block cannot be had.
    pub fn try_begin<B>(&self, request: &Request<B>) -> Result<RequestPool, AllocError> {
        self.make(request).map(|(pool, ..)| pool)
    }

    /// The same, to be worked on and finished.
    pub(crate) fn begin<B>(&self, request: &Request<B>) -> Result<Ending, AllocError> {
        let (pool, route, asked) = self.make(request)?;
        Ok(Ending::new(pool, self.inner.peaks.clone(), route, asked))
    }

    fn make<B>(&self, request: &Request<B>) -> Result<(RequestPool, Route, AskedFor), AllocError> {
        let inner = &*self.inner;
        let name = inner.naming.as_ref().and_then(|naming| naming.name(request));
        let route = inner.peaks.route(request, name.as_deref());
        let name = name.unwrap_or_else(|| inner.name.clone());
        let account = inner.account_above(request).child_at(name, inner.place);
        account.set_limit(inner.limit);
        // One that is refused here has ended, and held nothing.
        let pool = inner
            .builder
            .made_at(inner.place)
            .try_build_on(&account)
            .inspect_err(|_| inner.peaks.note(&account, route))?;
        #[cfg(feature = "view")]
        let asked = inner.view.as_ref().map_or_else(AskedFor::default, |view| {
            let asked = AskedFor::of(request);
            view.watch_shared(&pool, asked.purpose());
            asked
        });
        #[cfg(not(feature = "view"))]
        let asked = AskedFor::default();
        Ok((RequestPool::new(pool), route, asked))
    }

    /// The response to a request that was refused, which is counted: see
    /// [`requests_refused`](crate::requests_refused).
    #[must_use]
    pub fn refuse<R>(&self, error: &Error) -> Response<PoolBody<R>> {
        refusal::note_refused_request();
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
        let ending = match self.begin(&request) {
            Ok(ending) => ending,
            Err(error) => return Ok(self.refuse(&error.into())),
        };
        let pool = &ending.pool;
        request.extensions_mut().insert(pool.clone());
        let span = Span::of(pool.account());
        let mut met = false;
        let outcome = match span.within(|| refusal::catch(pool, || handler(request))) {
            Ok(work) => {
                let mut work = pin!(work);
                let poll = |context: &mut Context<'_>| {
                    span.within(|| poll_work(pool, work.as_mut(), &mut met, context))
                };
                poll_fn(poll).await
            }
            Err(refused) => Err(refused),
        };
        self.finish(ending, met, outcome)
    }

    /// The response, with a body that keeps the pool, and its status for the view. `met` is whether
    /// the work was refused memory where it was polled.
    pub(crate) fn finish<R, E>(
        &self,
        mut ending: Ending,
        met: bool,
        outcome: Outcome<Result<Response<R>, E>>,
    ) -> Result<Response<PoolBody<R>>, E> {
        let asked = std::mem::take(&mut ending.asked);
        let response = self.conclude(ending, met, outcome)?;
        asked.answered(response.status());
        Ok(response)
    }

    fn conclude<R, E>(
        &self,
        mut ending: Ending,
        met: bool,
        outcome: Outcome<Result<Response<R>, E>>,
    ) -> Result<Response<PoolBody<R>>, E> {
        match outcome {
            Ok(result) => {
                let response = result?;
                #[cfg(feature = "axum")]
                if let Some(refused) = response.extensions().get::<crate::error::WasRefused>() {
                    return Ok(self.refuse(&refused.0));
                }
                if refusal::was_caught(response.status(), &ending.pool, met) {
                    return Ok(self.refuse(&Error::Caught(ending.pool.account().cloned())));
                }
                ending.answered = true;
                Ok(response.map(|body| PoolBody::of_request(body, ending)))
            }
            Err(refused) => {
                refusal::note_refused_request();
                Ok(refused.response((self.inner.on_refusal)(&refused.error)))
            }
        }
    }
}

/// Polls what works on a request; a refusal that panics is one that is returned. Notes in `met`
/// whether there was one.
pub(crate) fn poll_work<F: Future>(
    pool: &RequestPool,
    work: Pin<&mut F>,
    met: &mut bool,
    context: &mut Context<'_>,
) -> Poll<Outcome<F::Output>> {
    let before = Account::refusals_of_this_thread();
    let polled = refusal::catch(pool, || work.poll(context));
    *met |= Account::refusals_of_this_thread() != before;
    match polled {
        Ok(poll) => poll.map(Ok),
        Err(refused) => Poll::Ready(Err(refused)),
    }
}

/// What became of the work on a request: what it returned, or that it panicked since memory was
/// refused.
pub(crate) type Outcome<T> = Result<T, Refused>;

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

impl fmt::Debug for RequestPools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestPools")
            .field("account", &self.inner.parent)
            .field("name", &self.inner.name)
            .field("limit", &self.inner.limit)
            .finish_non_exhaustive()
    }
}
