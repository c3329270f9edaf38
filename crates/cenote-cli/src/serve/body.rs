//! Response bodies that are sent from pool memory, without a copy, and keep their pool alive until
//! they are sent.
//!
//! A file goes out through a window: one or two buffers in the request's pool. hyper takes a filled
//! buffer as a frame and drops it when the socket has taken it; dropping puts the buffer back and
//! wakes the body, which fills it again.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use cenote::{AllocError, Kept, Pool};
use http_body::{Frame, SizeHint};
use tracing::warn;

/// Bytes in pool memory, with their pool.
pub(crate) type KeptBytes = Kept<Rc<Pool>, [u8]>;

/// A buffer of the window is never larger: two of these keep a fast network busy.
const LARGEST_BUFFER: usize = 32 << 10;
/// Nor smaller, unless the file is: below this the calls would cost more than the bytes.
const SMALLEST_BUFFER: usize = 512;

/// The body of a response.
pub(crate) enum Body {
    /// None, or none any more.
    Empty,
    /// A few words about what went wrong, on the heap.
    Words(Bytes),
    /// A page made in the request's pool.
    Page(KeptBytes),
    /// A file, or parts of one.
    File(FileBody),
}

impl Body {
    pub(crate) fn words(text: Bytes) -> Self {
        Self::Words(text)
    }

    /// With `guard`, which is dropped with it.
    pub(crate) fn guarded<G>(self, guard: G) -> Guarded<G> {
        Guarded { body: self, _guard: guard }
    }

    fn left(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Words(text) => text.len() as u64,
            Self::Page(page) => page.len() as u64,
            Self::File(file) => file.left,
        }
    }
}

impl http_body::Body for Body {
    type Data = Piece;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Piece>>>> {
        let body = self.get_mut();
        if let Self::File(file) = body {
            return file.poll_piece(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)));
        }
        Poll::Ready(match std::mem::replace(body, Self::Empty) {
            Self::Words(text) => Some(Ok(Frame::data(Piece::Words(text)))),
            Self::Page(page) => {
                let end = page.len();
                Some(Ok(Frame::data(Piece::Pool(Filled {
                    buffer: Some(page),
                    at: 0,
                    end,
                    home: None,
                }))))
            }
            _ => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

/// A body, and something that lives as long.
pub(crate) struct Guarded<G> {
    body: Body,
    _guard: G,
}

impl<G: Unpin> http_body::Body for Guarded<G> {
    type Data = Piece;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Piece>>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What hyper writes to the socket.
pub(crate) enum Piece {
    Words(Bytes),
    Pool(Filled),
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        match self {
            Self::Words(text) => text.remaining(),
            Self::Pool(filled) => filled.end - filled.at,
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Words(text) => text.chunk(),
            Self::Pool(filled) => {
                filled.buffer.as_ref().map_or(&[], |buffer| &buffer[filled.at..filled.end])
            }
        }
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        match into.first_mut() {
            Some(first) if self.has_remaining() => {
                *first = IoSlice::new(self.chunk());
                1
            }
            _ => 0,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Words(text) => text.advance(count),
            Self::Pool(filled) => {
                assert!(count <= filled.end - filled.at, "advanced past the end of a piece");
                filled.at += count;
            }
        }
    }
}

/// A buffer with something in it, which goes back to its window when dropped.
pub(crate) struct Filled {
    buffer: Option<KeptBytes>,
    at: usize,
    end: usize,
    home: Option<Rc<Window>>,
}

impl Drop for Filled {
    fn drop(&mut self) {
        if let (Some(home), Some(buffer)) = (&self.home, self.buffer.take()) {
            home.put_back(buffer);
        }
    }
}

/// The buffers of a file's body that are not on their way to the socket.
pub(crate) struct Window {
    free: RefCell<[Option<KeptBytes>; 2]>,
    waiting: Cell<Option<Waker>>,
}

impl Window {
    /// Takes buffers for `total` bytes from `pool`, which may still grow by `headroom` bytes: one
    /// buffer if that holds everything, else two, and only as large as leaves room.
    fn new(pool: &Rc<Pool>, total: u64, headroom: usize) -> Result<Rc<Self>, AllocError> {
        let take =
            |size| Kept::<_, [u8]>::try_new(pool.clone(), |pool| pool.try_alloc_zeroed_bytes(size));
        let whole = usize::try_from(total).unwrap_or(usize::MAX);
        // A third for each buffer, and one for what blocks cost beyond what is in them.
        let room = (headroom / 3).clamp(SMALLEST_BUFFER, LARGEST_BUFFER) / SMALLEST_BUFFER
            * SMALLEST_BUFFER;
        let mut size = room.min(whole);
        let first = loop {
            match take(size) {
                Ok(buffer) => break buffer,
                // Someone else took the room.
                Err(_) if size / 2 >= SMALLEST_BUFFER => size /= 2,
                Err(error) => return Err(error),
            }
        };
        // One buffer is enough to serve; with two, the next is read while the last is sent.
        let second = if size < whole { take(size).ok() } else { None };
        Ok(Rc::new(Self { free: RefCell::new([Some(first), second]), waiting: Cell::new(None) }))
    }

    fn take(&self) -> Option<KeptBytes> {
        self.free.borrow_mut().iter_mut().find_map(Option::take)
    }

    fn put_back(&self, buffer: KeptBytes) {
        if let Some(place) = self.free.borrow_mut().iter_mut().find(|place| place.is_none()) {
            *place = Some(buffer);
        }
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// A stretch of a body: some text (the head of a part), then some of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) text: usize,
    pub(crate) start: u64,
    pub(crate) length: u64,
}

/// A file on its way out. All of it but the window's bookkeeping is in the request's pool, the open
/// file included: it is closed by the pool's cleanup.
pub(crate) struct FileBody {
    file: Kept<Rc<Pool>, File>,
    segments: Kept<Rc<Pool>, [Segment]>,
    /// The texts of all segments, one after the other.
    texts: KeptBytes,
    /// Who asked for what, for the log.
    label: Kept<Rc<Pool>, str>,
    window: Rc<Window>,
    segment: usize,
    text_at: usize,
    text_end: usize,
    file_at: u64,
    left: u64,
}

/// What a [`FileBody`] is made of.
pub(crate) struct FileParts<'a> {
    pub(crate) file: File,
    pub(crate) segments: &'a [Segment],
    pub(crate) texts: &'a [u8],
    /// Who asked for what, for the log.
    pub(crate) label: fmt::Arguments<'a>,
    /// How much more the request's pool may take.
    pub(crate) headroom: usize,
}

impl FileBody {
    pub(crate) fn new(pool: &Rc<Pool>, parts: FileParts<'_>) -> Result<Self, AllocError> {
        let FileParts { file, segments, texts, label, headroom } = parts;
        let left = segments.iter().map(|segment| segment.text as u64 + segment.length).sum();
        let file = Kept::try_new(pool.clone(), |pool| pool.try_own(file))?;
        let segments = Kept::<_, [Segment]>::try_new(pool.clone(), |pool| {
            pool.try_alloc_slice_copy(segments)
        })?;
        let texts = KeptBytes::try_new(pool.clone(), |pool| pool.try_alloc_slice_copy(texts))?;
        let label = Kept::<_, str>::try_new(pool.clone(), |pool| pool.try_alloc_fmt(label))?;
        let text_end = segments.first().map_or(0, |segment| segment.text);
        let window = Window::new(pool, left, headroom)?;
        Ok(Self {
            file,
            segments,
            texts,
            label,
            window,
            segment: 0,
            text_at: 0,
            text_end,
            file_at: 0,
            left,
        })
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Piece>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let Some(mut buffer) = self.window.take() else {
            self.window.waiting.set(Some(cx.waker().clone()));
            return Poll::Pending;
        };
        match self.fill(&mut buffer) {
            Ok(end) => {
                self.left -= end as u64;
                let home = Some(self.window.clone());
                Poll::Ready(Some(Ok(Piece::Pool(Filled {
                    buffer: Some(buffer),
                    at: 0,
                    end,
                    home,
                }))))
            }
            Err(error) => {
                // The length has been promised, so all that can be done is to close the connection
                // early.
                warn!("{}: cut short: {error}", &*self.label);
                self.left = 0;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    /// Fills `buffer` with what comes next; returns how much that was.
    ///
    /// Reads with a plain `pread` on the worker's thread, as nginx does by default: mostly it finds
    /// the page cache, and a thread to hand it to would cost more than it takes. At most one buffer
    /// is read at a time, so that other connections get their turn.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() && self.segment < self.segments.len() {
            let segment = self.segments[self.segment];
            let text = &self.texts[self.text_at..self.text_end];
            if !text.is_empty() {
                let count = text.len().min(buffer.len() - done);
                buffer[done..done + count].copy_from_slice(&text[..count]);
                self.text_at += count;
                done += count;
            } else if self.file_at < segment.length {
                let most = usize::try_from(segment.length - self.file_at).unwrap_or(usize::MAX);
                let end = done + most.min(buffer.len() - done);
                match self.file.read_at(&mut buffer[done..end], segment.start + self.file_at) {
                    Ok(0) => {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the file has shrunk",
                        ));
                    }
                    Ok(count) => {
                        self.file_at += count as u64;
                        done += count;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            } else {
                self.segment += 1;
                self.file_at = 0;
                self.text_end += self.segments.get(self.segment).map_or(0, |segment| segment.text);
            }
        }
        Ok(done)
    }
}
