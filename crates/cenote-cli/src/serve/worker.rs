//! A worker: a thread with a runtime, a listener, an account and a pool of its own. Nothing it
//! allocates from is ever shared with another.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

use cenote::{Account, AllocError, Blocks, Kept, Pool, System};
use cenote_web::park::{End, Left, Lot, Parking};
use cenote_web::view::events::Peaks;
use cenote_web::view::{Answering, Local};
use hyper::server::conn::http1;
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::sync::{mpsc::UnboundedSender, watch};
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tracing::{debug, error, warn};

use super::date::Date;
use super::errors::StartError;
use super::host::Verdict;
use super::places::{Line, Seat};
use super::root::Root;
use super::{Shared, connection, request};

/// A request's line and headers may be this long together.
const HEAD_LIMIT: usize = 32 << 10;
/// A request may have so many headers: as many of the smallest as fit into a head. hyper's own bound
/// is 100.
const HEADERS_LIMIT: usize = HEAD_LIMIT / b"a:\r\n".len();
/// What hyper may buffer of a connection: incoming, and outgoing beyond the socket's own buffer.
const BUFFER_LIMIT: usize = 64 << 10;
/// After a whole one of these without a request or the end of a connection, cached blocks go back to
/// the system, and what this thread keeps in reserve of the process's account to that. When all
/// workers have come to this, the C library is asked to give back what it keeps: the buffers of
/// connections that have left are there, some 15 KiB for each.
const IDLE: Duration = Duration::from_secs(1);
/// Wait this long when a connection cannot be accepted: the reason, too many open files, takes a
/// while to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the connections of a worker share.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: usize,
    pub(crate) account: Account,
    /// The served folder, opened by this worker and closed by its pool.
    pub(crate) root: Kept<Rc<Pool>, Root>,
    /// The pools of this thread, for the view.
    pub(crate) pools: Local,
    /// What requests usually need at most.
    pub(crate) peaks: RefCell<Peaks>,
    pub(crate) parking: Parking,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) line: Rc<Line>,
    pub(crate) date: RefCell<Date>,
    /// Requests so far.
    pub(crate) served: Cell<u64>,
}

/// What a worker's thread starts with.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: usize,
    pub(crate) listener: TcpListener,
    pub(crate) stop: watch::Receiver<bool>,
    /// Where to say that it serves, or why it cannot.
    pub(crate) ready: mpsc::Sender<Result<(), StartError>>,
    /// Until the worker is at its end.
    pub(crate) alive: Option<Alive>,
}

/// Tells when its thread is at its end: once it is dropped, be it by a panic.
pub(crate) struct Alive {
    name: String,
    ends: UnboundedSender<String>,
}

impl Alive {
    pub(crate) fn new(name: String, ends: UnboundedSender<String>) -> Self {
        Self { name, ends }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // When all are being stopped nobody listens any more.
        let _ = self.ends.send(std::mem::take(&mut self.name));
    }
}

/// Waits until the server is told to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is the same.
    let _ = stop.wait_for(|&stop| stop).await;
}

impl Worker {
    fn new(start: &Start) -> Result<(Self, Answering), StartError> {
        let Start { shared, index, stop, .. } = start;
        // Made here and not by the main thread: an account is cheapest on the thread that made it.
        let account = shared.process.child(format!("worker-{index}"));
        let pool = Pool::builder().name("worker").account(&account).build();
        let pool = Rc::new(pool.map_err(|error| StartError(error.to_string()))?);
        let folder = &shared.config.root;
        let root = Root::open(folder)
            .map_err(|error| StartError(format!("{}: {error}", folder.display())))?;
        let root = Kept::try_new(pool.clone(), |pool| pool.try_own(root))
            .map_err(|error: AllocError| StartError(error.to_string()))?;
        shared.view.stamp(&account);
        let (pools, answering) = shared.view.local(&account);
        pools.add(&pool);
        let mut http = http1::Builder::new();
        http.max_header_size(HEAD_LIMIT)
            .max_buf_size(BUFFER_LIMIT)
            // A client may shut its side once it has asked; it still wants the answer.
            .half_close(true);
        let timeouts = &shared.config.timeouts;
        let parking = Parking::new(http)
            .max_headers(HEADERS_LIMIT)
            .after(shared.config.park_after)
            .head_timeout(timeouts.header);
        let (shared, stop) = (shared.clone(), stop.clone());
        let line = Line::new(shared.places.clone(), *index);
        let worker = Self {
            shared,
            index: *index,
            account,
            root,
            pools,
            peaks: RefCell::default(),
            parking,
            stop,
            line,
            date: RefCell::default(),
            served: Cell::new(0),
        };
        Ok((worker, answering))
    }
}

/// The life of a worker's thread. Returns how many connections had to be cut off at the end.
pub(crate) fn run(start: Start) -> usize {
    let runtime =
        match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                // The other end is gone only if another worker has failed before.
                let _ =
                    start.ready.send(Err(StartError(format!("a runtime cannot be made: {error}"))));
                return 0;
            }
        };
    LocalSet::new().block_on(&runtime, serve(start))
}

async fn serve(mut start: Start) -> usize {
    let ready = Worker::new(&start).and_then(|(worker, answering)| {
        let listener = start.listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        Ok((
            Rc::new(worker),
            answering,
            listener.map_err(|error| StartError(format!("cannot listen: {error}")))?,
            Lot::new().map_err(|error| StartError(format!("cannot park: {error}")))?,
        ))
    });
    let (worker, answering, listener, mut lot) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            let _ = start.ready.send(Err(error));
            return 0;
        }
    };
    let _ = start.ready.send(Ok(()));
    // Ends with the runtime.
    tokio::task::spawn_local(answering.run());
    let mut connections = JoinSet::new();
    let mut tick = interval(IDLE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut left, mut done_before) = (0_u64, 0);
    let mut trimmed = true;
    // A client for whom there is no seat yet. While it waits nobody else is accepted.
    let mut waiting = None;
    loop {
        for place in worker.line.parked_that_are_to_leave() {
            if let Some(waiting) = lot.remove(place as usize) {
                let resumed = connection::resume(worker.clone(), waiting, request::serve);
                connections.spawn_local(resumed);
            }
        }
        if let Some((stream, address)) = waiting.take() {
            match admit(&worker) {
                Admitted::To(seat) => {
                    connections.spawn_local(connection::serve(
                        worker.clone(),
                        stream,
                        address,
                        seat,
                        request::serve,
                    ));
                }
                Admitted::Later => waiting = Some((stream, address)),
                Admitted::Never => refuse(&stream),
            }
        }
        tokio::select! {
            accepted = listener.accept(), if waiting.is_none() => match accepted {
                Ok(client) => waiting = Some(client),
                Err(error) if gone(&error) => debug!("a client left before it was served: {error}"),
                Err(error) if broken(&error) => {
                    error!("worker-{} cannot accept connections any more: {error}", worker.index);
                    // Who runs the server stops all; those that are connected are served till then.
                    drop(start.alive.take());
                    stopped(&mut start.stop).await;
                    break;
                }
                Err(error) => {
                    if let Some(times) = worker.shared.unaccepted.note() {
                        warn!("connections cannot be accepted ({times} times): {error}");
                    }
                    worker.line.ask_longest();
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            () = worker.line.rung() => {}
            // To be parked is to leave, too: what hyper had of it is free, and to be given back.
            Some(ended) = connections.join_next() => {
                left += 1;
                if let Some(End::Idle(idle)) = note(ended) {
                    if !connection::may_be_parked(&idle) {
                        connections.spawn_local(connection::go_on(worker.clone(), idle));
                    } else if let Some(waiting) = connection::park(idle) {
                        let seat = waiting.service().seat().at();
                        if let Some(place) = lot.park(waiting) {
                            worker.line.parked(seat, place as u32);
                        }
                    }
                }
            }
            gone = lot.next() => match gone {
                Left::Heard(waiting) => {
                    let resumed = connection::resume(worker.clone(), waiting, request::serve);
                    connections.spawn_local(resumed);
                }
                Left::Late { socket, .. } => {
                    left += 1;
                    connection::late_parked(&socket);
                }
            },
            _ = tick.tick() => {
                // Of the other workers' blocks, too: they may be stuck in something.
                Blocks::decay();
                let done = worker.served.get() + left;
                let idle = done == done_before;
                done_before = done;
                match (idle, trimmed) {
                    (true, false) => rest(&worker),
                    (false, true) => {
                        worker.shared.busy.fetch_add(1, Relaxed);
                    }
                    _ => {}
                }
                trimmed = idle;
            }
            () = stopped(&mut start.stop) => break,
        }
    }
    // Connections that the kernel has accepted would be reset with the listener: their clients
    // think they are served.
    let mut next = match waiting {
        None => accept_now(&listener).await,
        waiting => waiting,
    };
    while let Some((stream, address)) = next {
        let seat = worker.line.seat_anyway();
        connections.spawn_local(connection::serve(
            worker.clone(),
            stream,
            address,
            seat,
            request::serve,
        ));
        next = accept_now(&listener).await;
    }
    drop((listener, start.listener));
    for waiting in lot.close() {
        connections.spawn_local(connection::resume(worker.clone(), waiting, request::serve));
    }
    let deadline = Instant::now() + worker.shared.config.timeouts.stop;
    while let Ok(Some(ended)) = timeout_at(deadline, connections.join_next()).await {
        // It became idle before it was told to stop.
        if let Some(End::Idle(idle)) = note(ended) {
            connections.spawn_local(connection::go_on(worker.clone(), idle));
        }
    }
    let cut = connections.len();
    connections.shutdown().await;
    cut
}

/// A client that the kernel has already accepted.
async fn accept_now(listener: &tokio::net::TcpListener) -> Option<(TcpStream, SocketAddr)> {
    poll_fn(|cx| match listener.poll_accept(cx) {
        Poll::Ready(Ok(client)) => Poll::Ready(Some(client)),
        _ => Poll::Ready(None),
    })
    .await
}

/// What becomes of a new client.
enum Admitted {
    To(Seat),
    /// Once somebody has left.
    Later,
    Never,
}

fn admit(worker: &Worker) -> Admitted {
    let shared = &*worker.shared;
    match shared.memory.look() {
        Verdict::Room => shared.places.grow(),
        Verdict::Same => {}
        Verdict::Over(what) => {
            if let Some(times) = shared.squeezed.note() {
                let s = if times == 1 { "" } else { "s" };
                warn!("{what} ({times} time{s}): idle connections are closed, new ones refused");
            }
            let most = shared.places.shrink();
            for _ in 0..most {
                if !worker.line.ask_longest() {
                    break;
                }
            }
            // What those held that were asked before is of use once it has gone back.
            System::trim();
        }
    }
    if let Some(seat) = worker.line.seat() {
        return Admitted::To(seat);
    }
    if shared.places.shrunk() {
        if worker.line.nobody_can_leave() {
            worker.line.wait_no_more();
            return Admitted::Never;
        }
    } else if let Some(times) = shared.crowded.note() {
        let (most, s) = (shared.places.most(), if times == 1 { "" } else { "s" });
        warn!(
            "all {most} connections are there ({times} time{s}): for a new one, the one that is \
             idle for longest is closed"
        );
    }
    Admitted::Later
}

/// Tells a client that there is no memory for it. Its request, if it is there already, is read:
/// else it would be told nothing but that the connection is reset.
fn refuse(stream: &TcpStream) {
    let _ = stream.try_read(&mut [0; 4096]);
    let _ = stream.try_write(
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
}

/// Gives back what is not needed now.
fn rest(worker: &Worker) {
    Account::settle();
    worker.pools.sweep();
    let trimmed = Blocks::trim();
    debug!("worker-{}: idle, {trimmed} bytes of blocks given back", worker.index);
    // The last one to go idle: nobody waits for it.
    if worker.shared.busy.fetch_sub(1, Relaxed) == 1 {
        System::trim();
    }
}

/// Whether accepting failed because of that one client.
fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// Whether the listener itself is no good: it will not get better. One that was handed to the
/// process is shared with who handed it over, who may have shut it down.
fn broken(error: &io::Error) -> bool {
    let error = Errno::from_io_error(error);
    matches!(error, Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP))
}

/// A panic ends the connection it happened on, not the server.
fn note<E>(ended: Result<E, JoinError>) -> Option<E> {
    ended.map_err(|failed| error!("a connection was dropped: {failed}")).ok()
}
