//! One connection: its account and pool, HTTP over its socket, and how it ends.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use cenote::{Account, Kept, Pool};
use cenote_web::park::{self, App, End, Hear, Idle, RequestBody};
use cenote_web::view::{Noted, Purpose, Who};
use hyper::http::uri::PathAndQuery;
use hyper::rt::{Read, Write};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
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
    /// Its pool, to the view.
    noted: Cell<Option<Noted>>,
    /// The request that is under way, for the view.
    asked: RefCell<Option<Asked>>,
}

/// A request that is under way, as it came: nothing of it is formatted unless somebody looks.
struct Asked {
    method: Method,
    path: Option<PathAndQuery>,
    /// Its pool, to the view.
    noted: Option<Noted>,
    status: Option<StatusCode>,
}

impl Connection {
    fn socket(&self, io: TokioIo<TcpStream>) -> Socket {
        Socket::new(io, self.progress.clone(), self.worker.shared.config.timeouts.write)
    }

    /// Keeps what is asked for until [`Connection::asks_no_more`]: the buffer that it was read into, too.
    pub(crate) fn asks(&self, method: &Method, uri: &Uri) {
        let (method, path) = (method.clone(), uri.path_and_query().cloned());
        self.asked.replace(Some(Asked { method, path, noted: None, status: None }));
    }

    pub(crate) fn asks_with(&self, noted: Noted) {
        if let Some(asked) = &mut *self.asked.borrow_mut() {
            asked.noted = Some(noted);
        }
    }

    pub(crate) fn is_answered(&self, status: StatusCode) {
        if let Some(asked) = &mut *self.asked.borrow_mut() {
            asked.status = Some(status);
        }
    }

    pub(crate) fn asks_no_more(&self) {
        self.asked.take();
    }
}

/// The connection's own pool is told with the request that is under way; the pool of one that is over, of
/// which the last bytes are still to be sent, with the client alone.
impl Purpose for Connection {
    fn who(&self) -> Who {
        let asked = self.asked.borrow();
        let who = asked.as_ref().map_or_else(Who::default, |asked| {
            let uri = asked.path.clone().map(Uri::from).unwrap_or_default();
            let who = Who::asking(&asked.method, &uri);
            asked.status.into_iter().fold(who, Who::with_status)
        });
        who.with_peer(self.peer.address)
    }

    fn who_of(&self, noted: Noted) -> Who {
        let noted = Some(noted);
        let under_way = self.asked.borrow().as_ref().is_some_and(|asked| asked.noted == noted);
        if under_way || self.noted.get() == noted {
            return self.who();
        }
        Who::default().with_peer(self.peer.address)
    }
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

/// A connection that is parked: no pool, since nothing would be in it but words for the log, and no
/// address, since the socket knows it. All that ten thousand of them cost is their accounts, nearly.
pub(crate) struct Parked {
    account: Account,
    seat: Seat,
}

impl Parked {
    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }
}

/// One that waits for its client.
pub(crate) type Waiting = Idle<TokioIo<TcpStream>, Parked>;

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
    let socket = connection.socket(TokioIo::new(stream));
    let http = worker.parking.serve(socket, Requests { connection: connection.clone(), serve });
    converse(connection, http).instrument(span).await
}

/// Serves one that was parked.
pub(crate) async fn resume<F>(
    worker: Rc<Worker>,
    waiting: Waiting,
    serve: F,
) -> End<Socket, Requests<F>>
where
    Requests<F>: App,
{
    let span = span(&waiting.service().account);
    // Without an address its client has gone.
    let Ok(address) = waiting.io().inner().peer_addr() else { return End::Closed };
    let idle = span.in_scope(|| {
        waiting.try_map(|io, Parked { account, seat }| {
            seat.unparked();
            let connection = open(&worker, account, address, seat).ok_or(())?;
            Ok::<_, ()>((connection.socket(io), Requests { connection, serve }))
        })
    });
    let Ok(idle) = idle else { return End::Closed };
    let connection = idle.service().connection.clone();
    converse(connection, worker.parking.resume(idle)).instrument(span).await
}

/// Goes on with one that was idle, and is not to be parked.
pub(crate) async fn go_on<F>(
    worker: Rc<Worker>,
    idle: Idle<Socket, Requests<F>>,
) -> End<Socket, Requests<F>>
where
    Requests<F>: App,
{
    let connection = idle.service().connection.clone();
    let span = span(&connection.account);
    converse(connection, worker.parking.resume(idle)).instrument(span).await
}

/// Whether nothing of a request refers to an idle connection any more.
pub(crate) fn may_be_parked<F>(idle: &Idle<Socket, Requests<F>>) -> bool {
    Rc::strong_count(&idle.service().connection) == 1
}

/// What there is to be parked of an idle connection; `None` for one that may not be.
pub(crate) fn park<F>(idle: Idle<Socket, Requests<F>>) -> Option<Waiting> {
    let parked = idle.try_map(|socket, requests| {
        let connection = Rc::into_inner(requests.connection).ok_or(())?;
        let Connection { worker, account, peer, seat, noted, .. } = connection;
        // The text is in the pool, which goes with it; and the note of it keeps its memory.
        drop(peer);
        if let Some(noted) = noted.get() {
            worker.pools.forget(noted);
        }
        Ok::<_, ()>((socket.into_io(), Parked { account, seat }))
    });
    parked.ok()
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
    let weak = Rc::downgrade(&pool);
    // A connection that cannot even hold this is served all the same: its requests will be told who
    // is at which limit.
    let text =
        Kept::<_, str>::try_new(pool, |pool| pool.try_alloc_fmt(format_args!("{address}"))).ok();
    let peer = Peer { address, text };
    let progress = Arc::default();
    let (noted, asked) = Default::default();
    let worker = worker.clone();
    let connection = Rc::new(Connection { worker, account, peer, progress, seat, noted, asked });
    if let Some(pool) = weak.upgrade() {
        connection.noted.set(Some(connection.worker.pools.add_for(&pool, &connection)));
    }
    Some(connection)
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
    let end = to_its_end(&mut http, told_to_end).await;
    match &end {
        End::Failed(error) => ended(&connection, error),
        End::Late(_) => late(&connection),
        _ => {}
    }
    end
}

/// Drives a connection until it has ended or is idle. Once it is told to end, it ends when what is
/// in flight is done.
async fn to_its_end<I, S: App>(
    http: &mut park::Connection<I, S>,
    told_to_end: impl Future<Output = ()>,
) -> End<I, S>
where
    I: Hear + Read + Write + Unpin + Send + 'static,
{
    tokio::select! {
        biased;
        end = &mut *http => end,
        () = told_to_end => {
            http.graceful_shutdown();
            http.await
        }
    }
}

/// Says that a connection was closed since its time was over.
fn late(connection: &Connection) {
    let peer = &connection.peer;
    if connection.progress.mid_request() {
        info!("{peer}: closed: the head of a request did not come in time");
    } else {
        debug!("{peer}: closed: no further request");
    }
}

/// Says that one was that was parked.
pub(crate) fn late_parked(socket: &std::net::TcpStream) {
    match socket.peer_addr() {
        Ok(peer) => debug!("{peer}: closed: no further request"),
        Err(error) => debug!("a client that has gone: closed: no further request ({error})"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use cenote_web::park::Parking;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::time::Duration;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// One connection in this thread's runtime, which asks the system who has spoken only while the
    /// test waits for something.
    async fn a_client_that_speaks_before_the_server_is_told(speaks: bool) -> (bool, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut client = std::net::TcpStream::connect(address).expect("it listens");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let (stream, _) = listener.accept().await.expect("a client");
        let service = service_fn(|_: Request<RequestBody>| async {
            Ok::<_, Infallible>(Response::new("answer".to_owned()))
        });
        let parking = Parking::new(http1::Builder::new());
        let mut http = parking.serve(TokioIo::new(stream), service);
        // Once it has been answered, hyper has the connection.
        client.write_all(REQUEST).expect("it is open");
        client.set_nonblocking(true).expect("a socket");
        let answered = async {
            while matches!(client.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = &mut http => panic!("it stays open"),
            () = answered => {}
        }
        client.set_nonblocking(false).expect("a socket");
        if speaks {
            client.write_all(REQUEST).expect("it is open");
        }
        let end = to_its_end(&mut http, async {}).await;
        let closed = matches!(end, End::Closed);
        drop(http);
        let mut text = String::new();
        client.read_to_string(&mut text).expect("it is not reset");
        (closed, text)
    }

    #[test]
    fn a_client_that_has_spoken_is_answered_before_its_connection_is_closed() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_io().enable_time().build().expect("descriptors");
        for (speaks, answers) in [(false, 1), (true, 2)] {
            let (closed, text) =
                runtime.block_on(a_client_that_speaks_before_the_server_is_told(speaks));
            assert!(closed);
            assert_eq!(text.matches("HTTP/1.1 200 OK").count(), answers, "{text}");
        }
    }
}
