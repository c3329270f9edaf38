//! A client's socket, as hyper sees it: gives up on clients that stop reading, and closes so that
//! the last words arrive.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use cenote_web::park::Hear;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// After the last response the client gets this long, and may send this much, before the socket is
/// closed.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// What has been heard from a client: tells a slow request from no request. Atomic since hyper wants
/// a socket that may be sent between threads; it is not.
#[derive(Default)]
pub(crate) struct Progress {
    mid_request: AtomicBool,
    hurried: AtomicBool,
}

impl Progress {
    /// Whether something came since the last request began.
    pub(crate) fn mid_request(&self) -> bool {
        self.mid_request.load(Relaxed)
    }

    /// Others wait for this connection's place: once nothing is left to be said it is closed at
    /// once.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Relaxed);
    }

    /// A request's head is complete.
    pub(crate) fn request_began(&self) {
        self.mid_request.store(false, Relaxed);
    }
}

/// The socket of a connection.
pub(crate) struct Socket {
    io: TokioIo<TcpStream>,
    progress: Arc<Progress>,
    /// How long a write may make no headway.
    patience: Duration,
    /// Runs while `stalled`; made when first needed, since most clients never stall.
    timer: Option<Pin<Box<Sleep>>>,
    stalled: bool,
    lingering: Option<usize>,
}

impl Socket {
    pub(crate) fn new(io: TokioIo<TcpStream>, progress: Arc<Progress>, patience: Duration) -> Self {
        Self { io, progress, patience, timer: None, stalled: false, lingering: None }
    }

    /// The socket alone.
    pub(crate) fn into_io(self) -> TokioIo<TcpStream> {
        self.io
    }

    fn start_timer(&mut self, length: Duration) {
        let deadline = Instant::now() + length;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(deadline),
            None => self.timer = Some(Box::pin(sleep_until(deadline))),
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().map_or(Poll::Ready(()), |timer| timer.as_mut().poll(cx))
    }

    /// Passes on the result of a write, unless there has been none for too long.
    fn headway<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = false;
            return written;
        }
        if !self.stalled {
            self.stalled = true;
            self.start_timer(self.patience);
        }
        ready!(self.poll_timer(cx));
        // Reset instead of closed: the kernel need not keep what this client does not take.
        let _ = SockRef::from(self.io.inner()).set_linger(Some(Duration::ZERO));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")))
    }
}

impl Hear for Socket {
    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_heard(cx)
    }

    fn is_heard(&self) -> bool {
        self.io.is_heard()
    }
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        let read = Pin::new(&mut socket.io).poll_read(cx, buf);
        if read.is_ready() {
            socket.progress.mid_request.store(true, Relaxed);
        }
        read
    }
}

impl Write for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let written = Pin::new(&mut socket.io).poll_write(cx, bytes);
        socket.headway(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    /// Closes in two steps. A socket that is closed while the client still sends is reset, and the
    /// reset may overtake the response; so our side is shut first, and what still comes is read and
    /// dropped for a moment.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        let mut left = match socket.lingering {
            Some(left) => left,
            None => {
                if ready!(Pin::new(&mut socket.io).poll_shutdown(cx)).is_err() {
                    // The client is gone already.
                    return Poll::Ready(Ok(()));
                }
                if socket.progress.hurried.load(Relaxed) {
                    return Poll::Ready(Ok(()));
                }
                socket.start_timer(LINGER);
                LINGER_BYTES
            }
        };
        let mut scratch = [0; 4096];
        let done = loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(socket.io.inner_mut()).poll_read(cx, &mut buf) {
                Poll::Pending => break socket.poll_timer(cx).is_ready(),
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && left > buf.filled().len() => {
                    left -= buf.filled().len();
                }
                Poll::Ready(_) => break true,
            }
        };
        socket.lingering = Some(left);
        if done { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let written = Pin::new(&mut socket.io).poll_write_vectored(cx, slices);
        socket.headway(cx, written)
    }
}
