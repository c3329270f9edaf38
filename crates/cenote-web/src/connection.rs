//! [`ConnectionPool`]: a pool for each connection, by way of axum's `Connected`.

use axum::extract::FromRequestParts;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::serve::{IncomingStream, Listener};
use cenote::{Account, SharedPool, SharedPoolBuilder};
use http::Request;
use http::request::Parts;
use std::any::Any;
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
#[cfg(feature = "view")]
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::MissingPool;

/// A listener whose connections have an account and a pool each.
///
/// Where a connection's pool cannot be had, its account's parent being at its limit, the parent
/// counts the refusal, and the connection is served all the same: its requests are to be told who is
/// at which limit, and the [view](crate::view) is to answer. Its pool is then one apart, named and
/// accounted as `connection without room`, of 256 bytes that do not grow.
///
/// ```no_run
/// # async fn serve(app: axum::Router) -> std::io::Result<()> {
/// use cenote::Account;
/// use cenote_web::{ConnectionPool, PoolListener};
/// let service = Account::root("service").with_limit(Some(256 << 20));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// let listener = PoolListener::new(listener, &service).limit(4 << 20);
/// let app = app.into_make_service_with_connect_info::<ConnectionPool>();
/// axum::serve(listener, app).await
/// # }
/// ```
#[derive(Debug)]
pub struct PoolListener<L> {
    listener: L,
    parent: Account,
    name: Cow<'static, str>,
    limit: Option<usize>,
    builder: SharedPoolBuilder<'static>,
    /// Where the service said that its connections are to have pools.
    place: &'static Location<'static>,
    #[cfg(feature = "view")]
    view: Option<crate::view::View>,
}

impl<L> PoolListener<L> {
    /// Connections' accounts are named `connection` and are under this one.
    ///
    /// Accounts and pools say that they were made where this is called.
    #[must_use]
    #[track_caller]
    pub fn new(listener: L, account: &Account) -> Self {
        Self {
            listener,
            parent: account.clone(),
            name: Cow::Borrowed("connection"),
            limit: None,
            builder: SharedPoolBuilder::DEFAULT.name("connection"),
            place: Location::caller(),
            #[cfg(feature = "view")]
            view: None,
        }
    }

    /// How many bytes a connection may hold, with the requests under it.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = Some(bytes);
        self
    }

    /// What connections' accounts are called; `connection` unless set.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Shows this view the connections' pools, with the client's address; see
    /// [`RequestPools::view`](crate::RequestPools::view). It takes a small allocation for each connection.
    #[cfg(feature = "view")]
    #[must_use]
    pub fn view(mut self, view: &crate::view::View) -> Self {
        self.view = Some(view.clone());
        self
    }

    /// The sizes of connections' pools: what `SharedPool::builder()…shared()` gives. Small ones, if
    /// there are to be many connections.
    #[must_use]
    pub fn sizes(mut self, builder: SharedPoolBuilder<'static>) -> Self {
        self.builder = builder;
        self
    }
}

impl<L: Listener> Listener for PoolListener<L>
where
    L::Addr: 'static,
{
    type Io = PoolIo<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (io, address) = self.listener.accept().await;
            // Not a shared one: threads would keep reserves of it, each for a connection after
            // the other. Charged from another thread than this it costs an atomic operation.
            let account = self.parent.child_at(self.name.clone(), self.place);
            account.set_limit(self.limit);
            let pool = self.builder.made_at(self.place).try_build_on(&account);
            if let Ok(pool) = pool.or_else(|_| without_room(self.place)) {
                let peer: Option<SocketAddr> = (&address as &dyn Any).downcast_ref().copied();
                #[cfg(feature = "view")]
                if let Some(view) = &self.view {
                    let caller = peer.map(|peer| Arc::new(crate::asked::Caller(peer)) as Arc<_>);
                    view.watch_shared(&pool, caller);
                }
                return (PoolIo { io, pool: ConnectionPool { pool, peer } }, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }
}

/// A pool on an account apart, of which next to nothing can be had. It is small beside what else a
/// connection takes.
fn without_room(place: &'static Location<'static>) -> Result<SharedPool, ()> {
    const NAME: &str = "connection without room";
    const SMALL: usize = 256;
    let account = Account::root(NAME).with_limit(Some(SMALL));
    let sizes = SharedPool::builder().name(NAME).first_block(SMALL).shared().map_err(drop)?;
    sizes.made_at(place).try_build_on(&account).map_err(drop)
}

/// A connection, and its pool.
#[derive(Debug)]
pub struct PoolIo<I> {
    io: I,
    pool: ConnectionPool,
}

impl<I> PoolIo<I> {
    /// The connection's pool.
    pub fn pool(&self) -> &ConnectionPool {
        &self.pool
    }

    /// The connection itself.
    pub fn get_ref(&self) -> &I {
        &self.io
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for PoolIo<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for PoolIo<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

/// The pool of the connection that a request came over: for what lives as long as the
/// connection does, such as who is logged in.
///
/// An extractor, where the service was made with
/// `into_make_service_with_connect_info::<ConnectionPool>()` and served by a [`PoolListener`].
/// What a request puts into it stays until the connection ends: put in little, and once.
#[derive(Clone, Debug)]
pub struct ConnectionPool {
    pool: SharedPool,
    peer: Option<SocketAddr>,
}

impl ConnectionPool {
    /// The pool of the connection of this request, if it has one.
    pub fn of<B>(request: &Request<B>) -> Option<&Self> {
        request.extensions().get::<ConnectInfo<Self>>().map(|info| &info.0)
    }

    /// The handle itself, for collections.
    #[must_use]
    pub fn handle(&self) -> SharedPool {
        self.pool.clone()
    }

    /// The client's address; `None` where connections do not come from one, such as those of a
    /// Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

impl Deref for ConnectionPool {
    type Target = SharedPool;
    fn deref(&self) -> &SharedPool {
        &self.pool
    }
}

impl<L: Listener> Connected<IncomingStream<'_, PoolListener<L>>> for ConnectionPool
where
    L::Addr: 'static,
{
    fn connect_info(stream: IncomingStream<'_, PoolListener<L>>) -> Self {
        stream.io().pool().clone()
    }
}

#[cfg(all(feature = "serve", target_os = "linux"))]
mod parked {
    use super::{ConnectionPool, Listener, PoolIo, PoolListener};
    use crate::park::{Hear, Park};
    use axum::extract::connect_info::Connected;
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::task::{Context, Poll};

    impl<L: Listener> Connected<crate::Accepted<'_, PoolListener<L>>> for ConnectionPool
    where
        L::Addr: 'static,
    {
        fn connect_info(accepted: crate::Accepted<'_, PoolListener<L>>) -> Self {
            accepted.io().pool().clone()
        }
    }

    /// A parked connection, and its pool.
    #[derive(Debug)]
    pub struct ParkedPoolIo<P> {
        socket: P,
        pool: ConnectionPool,
    }

    impl<P: AsFd> AsFd for ParkedPoolIo<P> {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.socket.as_fd()
        }
    }

    impl<I: Hear> Hear for PoolIo<I> {
        fn poll_heard(&self, context: &mut Context<'_>) -> Poll<()> {
            self.io.poll_heard(context)
        }

        fn is_heard(&self) -> bool {
            self.io.is_heard()
        }
    }

    impl<I: Park> Park for PoolIo<I> {
        type Parked = ParkedPoolIo<I::Parked>;

        fn park(self) -> io::Result<Self::Parked> {
            Ok(ParkedPoolIo { socket: self.io.park()?, pool: self.pool })
        }

        fn unpark(parked: Self::Parked) -> io::Result<Self> {
            Ok(Self { io: I::unpark(parked.socket)?, pool: parked.pool })
        }
    }
}

impl<S: Sync> FromRequestParts<S> for ConnectionPool {
    type Rejection = MissingPool;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingPool> {
        let info = parts.extensions.get::<ConnectInfo<Self>>();
        info.map(|info| info.0.clone()).ok_or(MissingPool::Connection)
    }
}
