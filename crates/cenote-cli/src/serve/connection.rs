//! One connection: its account and pool, HTTP over its socket, and how it ends.

use std::error::Error as _;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use cenote::{Account, Kept, Pool};
use hyper::service::service_fn;
use tokio::net::TcpStream;
use tracing::{Instrument, debug, debug_span, info, warn};

use super::places::Seat;
use super::request;
use super::socket::{Progress, Socket};
use super::worker::{Worker, stopped};

/// The first block of a connection's pool, which holds little.
const FIRST_BLOCK: usize = 256;

/// What the requests of a connection share.
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) account: Account,
    pub(crate) peer: Peer,
    pub(crate) progress: Rc<Progress>,
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

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, stream: TcpStream, address: SocketAddr, seat: Seat) {
    let limit = worker.shared.config.connection_limit;
    let account = worker.account.child("connection").with_limit(limit);
    // Its path is formatted only where spans of this level are kept.
    let span = debug_span!("connection", account = account.path(), number = account.number());
    converse(worker, account, stream, address, seat).instrument(span).await;
}

async fn converse(
    worker: Rc<Worker>,
    account: Account,
    stream: TcpStream,
    address: SocketAddr,
    seat: Seat,
) {
    let config = &worker.shared.config;
    let pool =
        match Pool::builder().name("connection").first_block(FIRST_BLOCK).account(&account).build()
        {
            Ok(pool) => Rc::new(pool),
            Err(error) => return warn!("{address}: a connection's pool cannot be made: {error}"),
        };
    worker.pools.add(&pool);
    // A connection that cannot even hold this is served all the same: its requests will be told who
    // is at which limit.
    let text =
        Kept::<_, str>::try_new(pool, |pool| pool.try_alloc_fmt(format_args!("{address}"))).ok();
    let peer = Peer { address, text };
    // Small responses should not wait for company; that it fails on a socket already closed is of
    // no interest.
    let _ = stream.set_nodelay(true);
    let progress = Rc::new(Progress::default());
    let socket = Socket::new(stream, progress.clone(), config.timeouts.write);
    let connection = Rc::new(Connection { worker: worker.clone(), account, peer, progress, seat });

    let service = service_fn(|request| request::serve(connection.clone(), request));
    let mut http = pin!(worker.http.serve_connection(socket, service));
    let mut stop = worker.stop.clone();
    let told_to_end = async {
        tokio::select! {
            () = stopped(&mut stop) => {}
            () = connection.seat.asked_to_leave() => connection.progress.hurry(),
        }
    };
    let result = tokio::select! {
        result = http.as_mut() => result,
        () = told_to_end => {
            // The client may just have spoken. So look first, and once again when the runtime has
            // asked the system who has: hyper closes a connection unread on which nothing has come.
            let mut now = async || poll_fn(|cx| Poll::Ready(http.as_mut().poll(cx))).await;
            let mut state = now().await;
            if state.is_pending() {
                tokio::task::yield_now().await;
                state = now().await;
            }
            match state {
                Poll::Ready(result) => result,
                // There is nothing to wait for.
                Poll::Pending if !connection.progress.heard() => Ok(()),
                Poll::Pending => {
                    http.as_mut().graceful_shutdown();
                    http.await
                }
            }
        }
    };
    if let Err(error) = result {
        ended(&connection, &error);
    }
}

/// Says why a connection ended before its time: one line, unless there is one already.
fn ended(connection: &Connection, error: &hyper::Error) {
    let peer = &connection.peer;
    let system = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if error.is_user() {
        // A body that could not be finished, and said so.
    } else if error.is_timeout() {
        if connection.progress.mid_request() {
            info!("{peer}: closed: the head of a request did not come in time");
        } else {
            debug!("{peer}: closed: no further request");
        }
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
