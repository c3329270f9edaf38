//! One request: its account and pool, the way to its answer, and its line in the log.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use cenote::{Account, AllocError, Buffer, Pool};
use cenote_web::park::RequestBody;
use http_body::Body as _;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode, Uri, Version};
use tracing::{Instrument, debug, debug_span, info, warn};

use super::body::{Body, Guarded};
use super::connection::{Connection, Peer};
use super::errors::Fault;
use super::path::{self, FilePath};
use super::root::{Opened, Root};
use super::text::Link;
use super::worker::Worker;
use super::{file, framing, listing, pools};

/// The first block of a request's pool: enough for the path and the headers of an ordinary request.
const FIRST_BLOCK: usize = 1024;

/// A request's body is of no use here. This much of it is read and dropped, so that the connection
/// can be kept; after that it is cheaper to close.
const BODY_DRAINED: u64 = 64 << 10;

/// The head of a request.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
}

/// What an answer is made from.
pub(crate) struct Request<'a> {
    pub(crate) head: &'a Head,
    pub(crate) pool: &'a Rc<Pool>,
    pub(crate) root: &'a Root,
    pub(crate) worker: &'a Worker,
    pub(crate) label: Label<'a>,
    account: &'a Account,
}

impl Request<'_> {
    /// How much more this request may hold, as far as can be told: others may take some of it.
    pub(crate) fn headroom(&self) -> usize {
        std::iter::successors(Some(self.account), |account| account.parent())
            .map(|account| {
                account.limit().map_or(usize::MAX, |limit| limit.saturating_sub(account.held()))
            })
            .min()
            .unwrap_or(usize::MAX)
    }
}

/// Who asks for what, as the log has it.
#[derive(Clone, Copy)]
pub(crate) struct Label<'a> {
    pub(crate) peer: &'a Peer,
    head: &'a Head,
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let path = self.head.uri.path();
        write!(f, "{} {} ", self.peer, self.head.method)?;
        // Escaped, so that a path can neither break the line nor colour the terminal. Most have nothing
        // that would be.
        let plain = |&byte: &u8| byte.is_ascii_graphic() && !b"\\'\"".contains(&byte);
        if path.len() <= SHOWN && path.as_bytes().iter().all(plain) {
            return f.write_str(path);
        }
        path.chars()
            .take(SHOWN)
            .try_for_each(|c| c.escape_default().try_for_each(|c| fmt::Write::write_char(f, c)))?;
        if path.len() > SHOWN { f.write_str("...") } else { Ok(()) }
    }
}

/// Formats a header's value in the request's pool.
///
/// hyper keeps values in a type of its own that must be `Send`, so these few bytes are copied once
/// more.
pub(crate) fn header_value(pool: &Pool, value: fmt::Arguments<'_>) -> Result<HeaderValue, Fault> {
    let text = pool.try_alloc_fmt(value)?;
    HeaderValue::from_str(text).map_err(|_| {
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "a header's value has control characters")
    })
}

/// A request that is being answered, until its response's body is gone.
pub(crate) struct Busy {
    connection: Rc<Connection>,
    account: Account,
    shape: &'static str,
}

impl Busy {
    fn new(connection: Rc<Connection>) -> Self {
        connection.progress.request_began();
        connection.seat.busy();
        let limit = connection.worker.shared.config.request_limit;
        let account = connection.account.child("request").with_limit(limit);
        Self { connection, account, shape: ERROR }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.connection.seat.idle();
        self.connection.asks_no_more();
        self.connection.worker.shared.view.note_request(self.shape, self.account.peak());
    }
}

/// What an answer is, for the metrics: there are no routes.
const FILE: &str = "file";
const LISTING: &str = "listing";
const REDIRECT: &str = "redirect";
const VIEW: &str = "view";
const ERROR: &str = "error";

/// Answers a request, whatever happens.
pub(crate) async fn serve(
    connection: Rc<Connection>,
    request: hyper::Request<RequestBody>,
) -> Result<Response<Guarded<Busy>>, Infallible> {
    let mut busy = Busy::new(connection.clone());
    let worker = &connection.worker;
    let shared = &worker.shared;
    worker.served.set(worker.served.get() + 1);
    let (head, body) = request.into_parts();
    let head =
        Head { method: head.method, uri: head.uri, version: head.version, headers: head.headers };
    connection.asks(&head.method, &head.uri);
    let label = Label { peer: &connection.peer, head: &head };
    let account = &busy.account;
    // Nothing is formatted, and no span made, unless it is going to be logged.
    let span = debug_span!("request", account = account.path(), number = account.number());
    let close = Cell::new(false);

    let answer = async {
        if let Err(fault) = framing::check(head.version, &head.headers) {
            close.set(true);
            return Err(fault);
        }
        // No answer needs the body.
        match left_over(&head, body) {
            LeftOver::Nothing => {}
            LeftOver::Some(body) => {
                let patience = shared.config.timeouts.body;
                tokio::task::spawn_local(drain(connection.clone(), body, patience));
            }
            LeftOver::TooMuch => close.set(true),
        }
        let pool = Rc::new(
            Pool::builder().name("request").first_block(FIRST_BLOCK).account(account).build()?,
        );
        connection.asks_with(worker.pools.add_for(&pool, &connection));
        let root = &*worker.root;
        let request = Request { head: &head, pool: &pool, root, worker, label, account };
        route(&request).await
    };
    let mut answer = answer.instrument(span.clone()).await;
    // The view needs no memory of a pool's, and is not to be refused by what it is there to show.
    if answer.as_ref().is_err_and(Fault::is_memory)
        && let Some(response) = pools::respond(shared, &head, &connection.peer).await
    {
        answer = Ok((VIEW, response));
    }
    let span = span.enter();
    let (shape, mut response) = match answer {
        Ok((shape, response)) => {
            debug!("{label}: {}", response.status());
            let failed = response.status().is_client_error();
            (if failed { ERROR } else { shape }, response)
        }
        Err(fault) => {
            if fault.status().is_server_error() {
                warn!("{label}: {}: {fault}", fault.status().as_str());
            } else {
                info!("{label}: {}: {fault}", fault.status().as_str());
            }
            if fault.is_refusal() {
                cenote_web::note_refused_request();
            }
            (ERROR, fault.response())
        }
    };
    connection.is_answered(response.status());
    worker.peaks.borrow_mut().close(account);
    drop(span);
    busy.shape = shape;
    let headers = response.headers_mut();
    headers.insert(header::DATE, worker.date.borrow_mut().now());
    let nosniff = const { HeaderValue::from_static("nosniff") };
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    if close.get() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| body.guarded(busy)))
}

/// The answer, and what it is.
async fn route(request: &Request<'_>) -> Result<(&'static str, Response<Body>), Fault> {
    let head = request.head;
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered"));
    }
    // For the view's paths as for a file's: so the request that asks is among those that are
    // shown, with what it holds.
    let path = path::decode(request.pool, head.uri.path())?;
    if let Some(response) = pools::respond(&request.worker.shared, head, request.label.peer).await {
        return Ok((VIEW, response));
    }
    let folder = match request.root.get(path.bytes)? {
        Opened::File(..) if path.folder => {
            return Err(Fault::new(StatusCode::NOT_FOUND, "a file, not a folder"));
        }
        Opened::File(file, meta) => {
            return Ok((FILE, file::respond(request, path.bytes, file, &meta)?));
        }
        Opened::Folder(..) if !path.folder => return Ok((REDIRECT, to_folder(request, path)?)),
        Opened::Folder(folder, _) => folder,
    };
    let index = index_of(request.pool, path.bytes)?;
    match request.root.get(index) {
        Ok(Opened::File(file, meta)) => {
            return Ok((FILE, file::respond(request, index, file, &meta)?));
        }
        Ok(Opened::Folder(..)) => {}
        Err(fault) if fault.status() == StatusCode::NOT_FOUND => {}
        Err(fault) => return Err(fault),
    }
    Ok((LISTING, listing::respond(request, path.bytes, &folder).await?))
}

/// Sends the client to the folder's own address, without which the links in its page would lead
/// astray.
fn to_folder(request: &Request<'_>, path: FilePath<'_>) -> Result<Response<Body>, Fault> {
    let (mark, query) = request.head.uri.query().map_or(("", ""), |query| ("?", query));
    // From the cleaned path: of what was asked for, two slashes at the beginning would be another
    // host.
    let place = header_value(request.pool, format_args!("/{}/{mark}{query}", Link(path.bytes)))?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, place);
    // Said here because hyper would leave it out of the answer to a HEAD.
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(response)
}

/// The path of a folder's index, in the request's pool.
fn index_of<'p>(pool: &'p Pool, folder: &[u8]) -> Result<&'p [u8], AllocError> {
    const NAME: &[u8] = b"/index.html";
    let mut path = Buffer::try_with_capacity(pool, folder.len() + NAME.len())?;
    path.try_extend_from_slice(folder)?;
    path.try_extend_from_slice(if folder.is_empty() { &NAME[1..] } else { NAME })?;
    Ok(path.into_slice())
}

/// What there is of a request's body.
enum LeftOver {
    Nothing,
    /// It is read and dropped, so that the connection can be kept.
    Some(RequestBody),
    /// It is longer than is worth reading, or need not be sent at all: a client that waits for leave
    /// to send it has the answer instead.
    TooMuch,
}

fn left_over(head: &Head, body: RequestBody) -> LeftOver {
    if body.is_end_stream() || head.headers.contains_key(header::EXPECT) {
        LeftOver::Nothing
    } else if body.size_hint().lower() > BODY_DRAINED {
        LeftOver::TooMuch
    } else {
        LeftOver::Some(body)
    }
}

/// Reads and drops the body of a request, while that is being answered and after. If it is malformed
/// or too long, or takes longer than `patience` altogether, hyper closes the connection after the
/// answer.
async fn drain(connection: Rc<Connection>, mut body: RequestBody, patience: Duration) {
    let mut left = BODY_DRAINED;
    let drained = tokio::time::timeout(patience, async {
        loop {
            let next = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            match next {
                None => return,
                Some(Err(error)) => {
                    debug!("{}: closed: a request's body: {error}", connection.peer);
                    return;
                }
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    let Some(rest) = left.checked_sub(length) else { return };
                    left = rest;
                }
            }
        }
    });
    if drained.await.is_err() {
        debug!("{}: closed: a request's body did not come in time", connection.peer);
    }
}
