//! What is seen of a connection that hyper drives: its reads and writes, its requests and their
//! bodies. All of it is there to answer one question, whether the connection is between two
//! requests with nothing under way, so that hyper's part of it may be taken apart.
//!
//! Each rule has a number, which `docs/design/parking.md` explains.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, fence};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::Service;
use hyper::upgrade::OnUpgrade;

use super::{App, Reread};

/// Handles on a [`Watch`] that are not requests' or responses': the connection's, and that of its
/// IO and its service.
const OWN_HANDLES: usize = 3;

/// What has been seen of one build of a connection. Handles that requests and their bodies hold
/// are what is in flight.
///
/// Fields are stored by the task that polls the connection, but for `owed`, which is stored by
/// whoever drops a request's body.
#[derive(Default)]
pub(super) struct Watch {
    /// The last read said pending.
    read_pending: AtomicBool,
    /// Reads so far that found something: bytes, the end, or an error.
    reads: AtomicU32,
    /// Something was written, or is about to be, and no flush was ready since.
    unflushed: AtomicBool,
    /// The socket is being closed.
    closing: AtomicBool,
    /// An upgrade was offered to the service: hyper waits for what becomes of it.
    upgrade: AtomicBool,
    /// The last request was of HTTP/1.0.
    old_version: AtomicBool,
    /// Requests so far.
    calls: AtomicU32,
    /// Requests' bodies so far that were dropped before their end.
    owed: AtomicU32,
    /// hyper has found too many headers in a head, and was kept from saying so.
    too_many: AtomicBool,
}

impl Watch {
    /// Requests so far, round and round.
    pub(super) fn calls(&self) -> u32 {
        self.calls.load(Relaxed)
    }

    /// Reads so far that found something, round and round.
    pub(super) fn reads(&self) -> u32 {
        self.reads.load(Relaxed)
    }

    /// Before hyper is polled: whose bodies it may find dropped.
    pub(super) fn poll_begins(&self) -> u32 {
        self.read_pending.store(false, Relaxed);
        self.owed.load(Acquire)
    }

    /// After hyper said pending: how many dropped bodies it has seen to, of those that it found, and
    /// whether it is now between two requests.
    pub(super) fn poll_ends(self: &Arc<Self>, found: u32, seen: u32) -> (u32, bool) {
        // Rule 4: a poll in which a read was pending has read, or given up, what was left of the
        // bodies that had been dropped before it began.
        let pending = self.read_pending.load(Relaxed);
        let seen = if pending { found } else { seen };
        // Rule 1, 2 and 3; the handles are counted first, so that what those who let them go did
        // before is seen.
        let quiet = pending
            && Arc::strong_count(self) == OWN_HANDLES
            && {
                fence(Acquire);
                self.owed.load(Relaxed) == seen
            }
            && !self.unflushed.load(Relaxed)
            && !self.closing.load(Relaxed);
        (seen, quiet)
    }

    /// Whether hyper has found too many headers in a head, of which nobody has been told.
    pub(super) fn has_too_many_headers(&self) -> bool {
        self.too_many.load(Relaxed)
    }

    /// Of a connection between two requests: whether hyper knows nothing of it that another build
    /// would not.
    pub(super) fn is_as_new(&self) -> bool {
        // Rule 5 and 6.
        !self.upgrade.load(Relaxed) && !self.old_version.load(Relaxed)
    }
}

/// The IO of a connection, as hyper has it.
pub(super) struct WatchedIo<I> {
    io: Reread<I>,
    watch: Arc<Watch>,
    /// Whether there is a build for heads with more headers.
    widens: bool,
    /// Requests so far when a flush was ready last: when all was written that hyper had to say.
    flushed: u32,
    /// The refusal that was held back: by this build, or by the one before it.
    refusal: Bytes,
    /// What is being written in place of a refusal of hyper's.
    instead: Bytes,
}

impl<I> WatchedIo<I> {
    pub(super) fn new(io: I, read: Bytes, watch: Arc<Watch>, widens: bool) -> Self {
        let io = Reread::new(io, read);
        Self { io, watch, widens, flushed: 0, refusal: Bytes::new(), instead: Bytes::new() }
    }

    /// The IO of a build with more room, which takes the place of one whose `refusal` was held back.
    pub(super) fn wide(io: I, read: Bytes, watch: Arc<Watch>, refusal: Bytes) -> Self {
        Self { refusal, ..Self::new(io, read, watch, false) }
    }

    /// Keeps hyper from refusing a head for the number of its headers, where another build may take
    /// it: whether `bytes` are that refusal.
    ///
    /// They are hyper's own and not a service's if no request has come since all was written; and
    /// hyper has the head in its buffer still.
    fn holds_back(&mut self, bytes: &[u8]) -> bool {
        let refusal = self.widens
            && is_refusal(bytes)
            && bytes.get(8..12) == Some(b" 431")
            && self.flushed == self.watch.calls()
            // Rule 5.
            && !self.watch.upgrade.load(Relaxed);
        if refusal {
            self.watch.too_many.store(true, Relaxed);
            self.refusal = Bytes::copy_from_slice(bytes);
        }
        refusal
    }

    /// Of a build with more room that refuses the head too: says it as the build before would have.
    /// hyper answers a bad head in the version of the last request, which only that build has seen.
    fn says_instead(&mut self, bytes: &[u8]) {
        if self.widens || self.refusal.is_empty() || self.watch.calls() != 0 || !is_refusal(bytes) {
            return;
        }
        let (before, now) = (mem::take(&mut self.refusal), bytes);
        let (Some(end), Some(end_now)) = (line_end(&before), line_end(now)) else { return };
        // The version and the headers of the one, the status of the other.
        self.instead = [&before[..8], &now[8..end_now], &before[end..]].concat().into();
    }

    /// Whether what is written in place of a refusal is gone.
    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        I: Write + Unpin,
    {
        while !self.instead.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(context, &self.instead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// The IO, and the refusal that was held back.
    pub(super) fn into_parts(self) -> (Reread<I>, Bytes) {
        (self.io, self.refusal)
    }
}

/// Whether hyper's `bytes` begin an answer that a client's mistake may have.
fn is_refusal(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.") && bytes.get(8..10) == Some(b" 4")
}

/// Where an answer's first line ends.
fn line_end(answer: &[u8]) -> Option<usize> {
    answer.windows(2).position(|bytes| bytes == b"\r\n")
}

impl<I: Read + Unpin> Read for WatchedIo<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.io).poll_read(context, buffer);
        this.watch.read_pending.store(read.is_pending(), Relaxed);
        if read.is_ready() {
            this.watch.reads.store(this.watch.reads().wrapping_add(1), Relaxed);
        }
        read
    }
}

impl<I: Write + Unpin> Write for WatchedIo<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.holds_back(bytes) {
            return Poll::Pending;
        }
        this.watch.unflushed.store(true, Relaxed);
        this.says_instead(bytes);
        if !this.instead.is_empty() {
            ready!(this.poll_instead(context))?;
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut this.io).poll_write(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = slices.first().map_or(&[][..], |bytes| bytes);
        if this.holds_back(first) {
            return Poll::Pending;
        }
        this.watch.unflushed.store(true, Relaxed);
        this.says_instead(first);
        if !this.instead.is_empty() {
            ready!(this.poll_instead(context))?;
            return Poll::Ready(Ok(first.len()));
        }
        Pin::new(&mut this.io).poll_write_vectored(context, slices)
    }

    /// hyper flushes the IO only when it has nothing left to write to it.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(context);
        if flushed.is_ready() {
            this.watch.unflushed.store(false, Relaxed);
            this.flushed = this.watch.calls();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // After the refusal that was held back.
        if this.watch.has_too_many_headers() {
            return Poll::Pending;
        }
        this.watch.closing.store(true, Relaxed);
        Pin::new(&mut this.io).poll_shutdown(context)
    }
}

/// A service that says what it is called for.
pub(super) struct Watched<S> {
    pub(super) service: S,
    pub(super) watch: Arc<Watch>,
}

impl<S: App> Service<Request<Incoming>> for Watched<S> {
    type Response = Response<ResponseBody<S::ResBody>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let watch = &self.watch;
        watch.calls.store(watch.calls().wrapping_add(1), Relaxed);
        watch.old_version.store(request.version() == Version::HTTP_10, Relaxed);
        if request.extensions().get::<OnUpgrade>().is_some() {
            watch.upgrade.store(true, Relaxed);
        }
        let request = request.map(|body| RequestBody {
            note: (!body.is_end_stream()).then(|| Note { watch: watch.clone(), whole: false }),
            body,
        });
        Answering { future: self.service.call(request), watch: Some(watch.clone()) }
    }
}

pin_project_lite::pin_project! {
    /// The answer to a request, as it is worked out.
    pub(super) struct Answering<F> {
        #[pin]
        future: F,
        // After the future, which is a part of what is in flight.
        watch: Option<Arc<Watch>>,
    }
}

impl<F: Future<Output = Result<Response<B>, E>>, B, E> Future for Answering<F> {
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.future.poll(context));
        let watch = this.watch.take();
        Poll::Ready(result.map(|response| {
            // hyper may hold the head back, to write it with the next one's.
            if let Some(watch) = &watch {
                watch.unflushed.store(true, Relaxed);
            }
            response.map(|body| ResponseBody { body, watch })
        }))
    }
}

pin_project_lite::pin_project! {
    /// A response's body, until it was sent.
    pub(super) struct ResponseBody<B> {
        #[pin]
        body: B,
        watch: Option<Arc<Watch>>,
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(context);
        if let (Poll::Ready(_), Some(watch)) = (&frame, this.watch) {
            watch.unflushed.store(true, Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body: hyper's [`Incoming`], and a note of whether it was read whole.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    // Dropped after the body: what it says is done then. `None` if there is nothing to say.
    note: Option<Note>,
}

/// Says that a request's body has been dropped, and whether that was before its end.
#[derive(Debug)]
struct Note {
    watch: Arc<Watch>,
    whole: bool,
}

impl Drop for Note {
    fn drop(&mut self) {
        if !self.whole {
            self.watch.owed.fetch_add(1, Release);
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(note) = &mut self.note {
            note.whole = self.body.is_end_stream();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        // Asked for after the last byte, hyper does not say that it was the last, where the answer went
        // out before the body was read and the body came in pieces: it says so when the next request comes.
        let frame = if this.body.is_end_stream() {
            Poll::Ready(None)
        } else {
            Pin::new(&mut this.body).poll_frame(context)
        };
        if matches!(frame, Poll::Ready(None))
            && let Some(mut note) = this.note.take()
        {
            note.whole = true;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("calls", &self.calls()).finish_non_exhaustive()
    }
}
