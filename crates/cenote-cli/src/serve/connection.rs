//! One connection: its account and pool, HTTP over its socket, and how it ends.

use std::convert::Infallible;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use cenote::{Account, Kept, Pool};
use cenote_web::park::{self, App, End, Idle, RequestBody};
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::net::TcpStream;
use tracing::{Instrument, Span, debug, debug_span, info, warn};

use super::places::Seat;
use super::socket::{Progress, Socket};
use super::worker::{Worker, stopped};

/// The first block of a connection's pool, which holds little.
const FIRST_BLOCK: usize = 256;

/// What the requests of a connection share.
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) account: Account,
    pub(crate) peer: Peer,
    pub(crate) progress: Arc<Progress>,
    pub(crate) seat: Seat,
}

/// A client's address. Its text is in the connection's pool: made once, for all lines of the log.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    text: Option<Kept<Rc<Pool>, str>>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None => self.address.fmt(f),
        }
    }
}

/// What answers the requests of a connection.
pub(crate) struct Requests<F> {
    pub(crate) connection: Rc<Connection>,
    serve: F,
}

impl<F, A, B> Service<Request<RequestBody>> for Requests<F>
where
    F: Fn(Rc<Connection>, Request<RequestBody>) -> A,
    A: Future<Output = Result<Response<B>, Infallible>>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = A;

    fn call(&self, request: Request<RequestBody>) -> A {
        (self.serve)(self.connection.clone(), request)
    }
}

/// Serves a connection, by `serve`, until it has ended or is idle.
pub(crate) async fn serve<F>(
    worker: Rc<Worker>,
    stream: TcpStream,
    address: SocketAddr,
    seat: Seat,
    serve: F,
) -> End<Socket, Requests<F>>
where
    Requests<F>: App,
{
    let limit = worker.shared.config.connection_limit;
    let account = worker.account.child("connection").with_limit(limit);
    let span = span(&account);
    let Some(connection) = span.in_scope(|| open(&worker, account, address, seat)) else {
        return End::Closed;
    };
    // Small responses should not wait for company; that it fails on a socket already closed is of
    // no interest.
    let _ = stream.set_nodelay(true);
    let progress = connection.progress.clone();
    let socket = Socket::new(stream, progress, worker.shared.config.timeouts.write);
    let http = worker.parking.serve(socket, Requests { connection: connection.clone(), serve });
    converse(connection, http).instrument(span).await
}

/// Serves one that was parked.
pub(crate) async fn resume<F>(
    worker: Rc<Worker>,
    idle: Idle<Socket, Requests<F>>,
) -> End<Socket, Requests<F>>
where
    Requests<F>: App,
{
    let connection = idle.service().connection.clone();
    connection.seat.unparked();
    let span = span(&connection.account);
    converse(connection, worker.parking.resume(idle)).instrument(span).await
}

/// Its path is formatted only where spans of this level are kept.
fn span(account: &Account) -> Span {
    debug_span!("connection", account = account.path(), number = account.number())
}

fn open(
    worker: &Rc<Worker>,
    account: Account,
    address: SocketAddr,
    seat: Seat,
) -> Option<Rc<Connection>> {
    let pool = Pool::builder().name("connection").first_block(FIRST_BLOCK).account(&account);
    let pool = match pool.build() {
        Ok(pool) => Rc::new(pool),
        Err(error) => {
            warn!("{address}: a connection's pool cannot be made: {error}");
            return None;
        }
    };
    worker.pools.add(&pool);
    // A connection that cannot even hold this is served all the same: its requests will be told who
    // is at which limit.
    let text =
        Kept::<_, str>::try_new(pool, |pool| pool.try_alloc_fmt(format_args!("{address}"))).ok();
    let peer = Peer { address, text };
    let progress = Arc::default();
    Some(Rc::new(Connection { worker: worker.clone(), account, peer, progress, seat }))
}

async fn converse<F>(
    connection: Rc<Connection>,
    mut http: park::Connection<Socket, Requests<F>>,
) -> End<Socket, Requests<F>>
where
    Requests<F>: App,
{
    let mut stop = connection.worker.stop.clone();
    if *stop.borrow() || connection.seat.asked() {
        http.graceful_shutdown();
    }
    let told_to_end = async {
        tokio::select! {
            () = stopped(&mut stop) => {}
            () = connection.seat.asked_to_leave() => connection.progress.hurry(),
        }
    };
    let end = tokio::select! {
        biased;
        end = &mut http => end,
        () = told_to_end => {
            // The client may just have spoken. So it is looked at once again when the runtime has
            // asked the system who has: hyper closes a connection unread on which nothing has come.
            tokio::task::yield_now().await;
            http.graceful_shutdown();
            http.await
        }
    };
    match &end {
        End::Failed(error) => ended(&connection, error),
        End::Late(_) => late(&connection),
        _ => {}
    }
    end
}

/// Says that a connection was closed since its time was over.
pub(crate) fn late(connection: &Connection) {
    let peer = &connection.peer;
    if connection.progress.mid_request() {
        info!("{peer}: closed: the head of a request did not come in time");
    } else {
        debug!("{peer}: closed: no further request");
    }
}

/// Says why a connection ended before its time: one line, unless there is one already.
fn ended(connection: &Connection, error: &hyper::Error) {
    let peer = &connection.peer;
    let system = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if error.is_user() {
        // A body that could not be finished, and said so.
    } else if error.is_parse_too_large() {
        info!("{peer}: 431: the head of a request is too large");
    } else if error.is_parse() {
        info!("{peer}: 400: {error}");
    } else if system.is_some_and(|system| system.kind() == io::ErrorKind::TimedOut) {
        info!("{peer}: closed: the client stopped taking the response");
    } else if error.is_incomplete_message() {
        info!("{peer}: the client left in the middle of a request");
    } else {
        info!(
            "{peer}: the client left: {}",
            system.map_or_else(|| error.to_string(), ToString::to_string)
        );
    }
}
