//! A request in a pool, of which there is one for each request and each connection.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Buf;
use cenote::{Account, AllocError, Kept, Pool};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{ACCEPT_RANGES, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED};
use hyper::{Request, Response, StatusCode};

use super::{Memory, Requests};

/// Most that a request may hold, in bytes, and a connection with its requests.
const LIMITS: [usize; 2] = [8 << 20, 16 << 20];

/// A connection's pool and account.
pub(super) struct Connection {
    folder: Rc<Path>,
    accounts: Option<Accounts>,
    /// Small, as connections hold little.
    _pool: Pool,
}

struct Accounts {
    connection: Account,
    /// Where one is for all of its requests.
    requests: Option<Account>,
}

impl Accounts {
    fn new(worker: &Account, requests: Requests) -> Self {
        let connection = worker.child("connection").with_limit(Some(LIMITS[1]));
        let all = (requests == Requests::OneForAll).then(|| Self::below(&connection));
        Self { connection, requests: all }
    }

    fn below(connection: &Account) -> Account {
        connection.child("request").with_limit(Some(LIMITS[0]))
    }

    fn request(&self) -> Account {
        self.requests.clone().unwrap_or_else(|| Self::below(&self.connection))
    }
}

impl Connection {
    pub(super) fn new(folder: Rc<Path>, memory: &Memory) -> Self {
        let accounts = match memory {
            Memory::Accounts(worker, requests) => Some(Accounts::new(worker, *requests)),
            _ => None,
        };
        let own = pool(256, accounts.as_ref().map(|accounts| &accounts.connection));
        Self { folder, _pool: own, accounts }
    }
}

fn pool(first_block: usize, account: Option<&Account>) -> Pool {
    let mut builder = Pool::builder().first_block(first_block);
    if let Some(account) = account {
        builder = builder.account(account);
    }
    builder.build().expect("a size that can be")
}

/// Answers a request.
pub(super) async fn answer(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Sent>, Infallible> {
    Ok(file(&connection, &request).unwrap_or_else(|status| {
        let mut response = Response::new(Sent::default());
        *response.status_mut() = status;
        response
    }))
}

fn file(
    connection: &Connection,
    request: &Request<Incoming>,
) -> Result<Response<Sent>, StatusCode> {
    let refused = |_: AllocError| StatusCode::SERVICE_UNAVAILABLE;
    let account = connection.accounts.as_ref().map(Accounts::request);
    let pool = Rc::new(pool(4096, account.as_ref()));
    let path = &*pool.try_alloc_str(super::path(request)?).map_err(refused)?;
    super::checked(path)?;
    let (file, length, changed) = super::open(&connection.folder, path)?;
    let mut body =
        Kept::<_, [u8]>::try_new(pool.clone(), |pool| pool.try_alloc_zeroed_bytes(length))
            .map_err(refused)?;
    super::read(file, &mut body)?;
    let mut response = Response::new(Sent(Some(Piece { body, at: 0 })));
    let headers = response.headers_mut();
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let mut insert = |name, text: fmt::Arguments<'_>| {
        let text = pool.try_alloc_fmt(text).map_err(refused)?;
        headers.insert(name, super::header(text)?);
        Ok::<(), StatusCode>(())
    };
    insert(CONTENT_TYPE, format_args!("{kind}"))?;
    insert(ETAG, format_args!("\"{:x}-{length:x}\"", super::seconds(changed)))?;
    insert(LAST_MODIFIED, format_args!("{}", httpdate::HttpDate::from(changed)))?;
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}

/// A body that is sent from the request's pool, which it keeps.
#[derive(Default)]
pub(super) struct Sent(Option<Piece>);

/// Bytes in a pool, as hyper writes them.
pub(super) struct Piece {
    body: Kept<Rc<Pool>, [u8]>,
    at: usize,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.body.len() - self.at
    }

    fn chunk(&self) -> &[u8] {
        &self.body[self.at..]
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining(), "advanced past the end");
        self.at += count;
    }
}

impl Body for Sent {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        Poll::Ready(self.0.take().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |piece| piece.remaining() as u64))
    }
}
