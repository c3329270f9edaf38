//! [`Chain`]: a list of buffers in pool memory, such as a response under way.
//!
//! Files: this one has the chain; `links` what it is made of, and what it needs of its pool.

mod links;

pub use links::ChainPool;
pub(crate) use links::Links;

use links::Link;

use crate::error::{Mode, Must, Try, must};
use crate::placed::behind;
use crate::{AllocError, BlockSource, Pool, SharedPool, size};
use core::fmt;
use core::iter;
use core::marker::PhantomData;
use core::mem;
use core::ptr::{self, NonNull};
use core::slice;

/// A list of buffers in a pool: built piece by piece, written at once.
///
/// Buffers are borrowed ([`push`](Chain::push)), copied into the pool
/// ([`push_copy`](Chain::push_copy)), or written into buffers that the chain allocates
/// (`write!`, [`write_bytes`](Chain::write_bytes)). Its links go back to the pool when it is
/// dropped, or consumed by [`advance`](Chain::advance), and are used by the next chain. The
/// buffers' own memory stays until the pool is reset.
///
/// In a [`SharedPool`] a chain may be held across `.await` and sent to other threads; there only
/// the newest link goes back, all others stay until the pool's end.
///
/// ```
/// use cenote::{Chain, Pool};
/// use std::fmt::Write;
/// let pool = Pool::new();
/// let mut answer = Chain::new(&pool);
/// write!(answer, "HTTP/1.1 {} OK\r\n", 200)?;
/// answer.push(b"content-length: 2\r\n\r\n");
/// answer.push_copy("ok".as_bytes());
/// let mut sent = Vec::new();
/// answer.write_to(&mut sent)?;            // one vectored write
/// assert_eq!(sent, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
/// assert!(answer.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Chain<'p, P: ChainPool = Pool> {
    pool: &'p P,
    first: *mut Link,
    last: *mut Link,
    links: usize,
    bytes: usize,
    /// Room for what is written, the last link's buffer ending where it begins, if it is
    /// written to.
    room: NonNull<u8>,
    left: usize,
    /// How much of the room one buffer may still take.
    open: usize,
    piece: usize,
    failure: Option<AllocError>,
    _buffers: PhantomData<&'p [u8]>,
}

// SAFETY: the links are this chain's alone, and their pool may be used from any thread; the
// buffers are only read, or the chain's own.
unsafe impl<S: BlockSource + Send> Send for Chain<'_, SharedPool<S>> {}
// SAFETY: `&Chain` only reads.
unsafe impl<S: BlockSource + Send> Sync for Chain<'_, SharedPool<S>> {}

impl<'p, P: ChainPool> Chain<'p, P> {
    /// How long the buffers are that a chain allocates for what is written to it, in bytes.
    pub const PIECE: usize = 1024;

    /// An empty chain, which holds nothing yet.
    pub fn new(pool: &'p P) -> Self {
        Self {
            pool,
            first: ptr::null_mut(),
            last: ptr::null_mut(),
            links: 0,
            bytes: 0,
            room: NonNull::dangling(),
            left: 0,
            open: 0,
            piece: Self::PIECE,
            failure: None,
            _buffers: PhantomData,
        }
    }

    /// An empty chain with room for `count` buffers of `size` bytes, allocated in one piece,
    /// to be written to.
    ///
    /// ```
    /// use cenote::{Chain, Pool};
    /// let pool = Pool::new();
    /// let mut chain = Chain::with_buffers(&pool, 4, 512)?;
    /// chain.write_bytes(&[b'x'; 1000])?;
    /// assert_eq!(chain.buffers().map(<[u8]>::len).collect::<Vec<_>>(), [512, 488]);
    /// # Ok::<(), cenote::AllocError>(())
    /// ```
    ///
    /// # Errors
    /// Where the memory cannot be had, or `count` times `size` is more than there can be.
    pub fn with_buffers(pool: &'p P, count: usize, size: usize) -> Result<Self, AllocError> {
        let bytes = size::total(0, count, size, 1)
            .ok_or(AllocError::too_large(count.saturating_mul(size)))?;
        let room = pool.room(bytes)?;
        let mut chain = Self::new(pool);
        chain.room = NonNull::from(room).cast();
        chain.left = bytes;
        if size > 0 {
            chain.piece = size;
        }
        Ok(chain)
    }

    /// The pool that it is in.
    pub fn pool(&self) -> &'p P {
        self.pool
    }

    /// Bytes in all buffers.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there are no bytes left.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The buffers, in order; none is empty.
    pub fn buffers(&self) -> impl Iterator<Item = &[u8]> {
        iter::successors(self.link(self.first), |link| self.link(link.next)).map(|link| {
            // SAFETY: a link's buffer is borrowed for `'p`, or pool memory that was written;
            // it is changed only behind its end.
            unsafe { slice::from_raw_parts(link.start.as_ptr(), link.len) }
        })
    }

    fn link(&self, link: *mut Link) -> Option<&Link> {
        // SAFETY: null, or a link of this chain in the pool's memory.
        unsafe { link.as_ref() }
    }

    fn new_link<M: Mode>(&self, buffer: &[u8]) -> Result<NonNull<Link>, M::Error> {
        let start = NonNull::from(buffer).cast();
        let value = Link { next: ptr::null_mut(), start, len: buffer.len() };
        let link = match self.pool.link() {
            Ok(link) => link,
            Err(error) => return M::fail(error),
        };
        // SAFETY: memory for a link, which is this chain's now.
        unsafe { link.write(value) };
        Ok(link)
    }

    fn let_go(&self, link: NonNull<Link>) {
        // SAFETY: a link of this chain's alone, from its pool, which it is done with.
        unsafe { self.pool.give_link(link) };
    }

    fn append_link(&mut self, link: NonNull<Link>, bytes: usize) {
        match NonNull::new(self.last) {
            // SAFETY: the last link is this chain's alone.
            Some(mut last) => unsafe { last.as_mut() }.next = link.as_ptr(),
            None => self.first = link.as_ptr(),
        }
        self.last = link.as_ptr();
        self.links += 1;
        self.bytes += bytes;
    }

    fn push_in<M: Mode>(&mut self, buffer: &'p [u8]) -> Result<(), M::Error> {
        if !buffer.is_empty() {
            if self.bytes > size::MAX - buffer.len() {
                return M::fail(AllocError::too_large(buffer.len()));
            }
            let link = self.new_link::<M>(buffer)?;
            self.open = 0;
            self.append_link(link, buffer.len());
        }
        Ok(())
    }

    /// Adds a buffer at the end, without copying it. An empty one is left out.
    ///
    /// # Panics
    /// Where [`Chain::try_push`] fails, but for want of system memory: then it aborts.
    pub fn push(&mut self, buffer: &'p [u8]) {
        must(self.push_in::<Must>(buffer));
    }

    /// Adds a buffer at the end, without copying it. An empty one is left out.
    ///
    /// # Errors
    /// Where the memory for a link cannot be had.
    pub fn try_push(&mut self, buffer: &'p [u8]) -> Result<(), AllocError> {
        self.push_in::<Try>(buffer)
    }

    /// Adds a buffer at the front, without copying it. An empty one is left out.
    ///
    /// # Errors
    /// Where the memory for a link cannot be had.
    pub fn try_push_front(&mut self, buffer: &'p [u8]) -> Result<(), AllocError> {
        if !buffer.is_empty() {
            if self.bytes > size::MAX - buffer.len() {
                return Err(AllocError::too_large(buffer.len()));
            }
            let mut link = self.new_link::<Try>(buffer)?;
            // SAFETY: a link of this chain's alone.
            unsafe { link.as_mut() }.next = self.first;
            if self.first.is_null() {
                self.last = link.as_ptr();
                self.open = 0;
            }
            self.first = link.as_ptr();
            self.links += 1;
            self.bytes += buffer.len();
        }
        Ok(())
    }

    /// Copies bytes into the pool, and adds them at the end as one buffer.
    ///
    /// # Panics
    /// Where [`Chain::try_push_copy`] fails, but for want of system memory: then it aborts.
    pub fn push_copy(&mut self, bytes: &[u8]) {
        match self.pool.copy(bytes) {
            Ok(copy) => self.push(copy),
            Err(error) => error.raise(),
        }
    }

    /// Copies bytes into the pool, and adds them at the end as one buffer.
    ///
    /// # Errors
    /// Where the memory for the copy or the link cannot be had.
    pub fn try_push_copy(&mut self, bytes: &[u8]) -> Result<(), AllocError> {
        let copy = self.pool.copy(bytes)?;
        self.try_push(copy)
    }

    /// Moves all buffers of another chain to the end of this one.
    ///
    /// # Errors
    /// Where the other chain is in another pool, and the memory for links cannot be had; the
    /// buffers moved so far are in this chain, the others are lost to both.
    pub fn append(&mut self, mut other: Chain<'p, P>) -> Result<(), AllocError> {
        if !ptr::eq(self.pool, other.pool) {
            for buffer in other.buffers() {
                // SAFETY: buffers live for `'p`, and are not changed: `other` ends here.
                let buffer = unsafe { slice::from_raw_parts(buffer.as_ptr(), buffer.len()) };
                self.try_push(buffer)?;
            }
            return Ok(());
        }
        if let Some(first) = NonNull::new(mem::replace(&mut other.first, ptr::null_mut())) {
            let (links, bytes) = (other.links, other.bytes);
            self.append_link(first, bytes);
            self.last = other.last;
            self.links += links - 1;
            self.open = 0;
        }
        Ok(())
    }

    /// Copies bytes to the end: into the room of the last buffer, if the chain wrote it, and
    /// into new buffers of the chain's piece size.
    ///
    /// # Errors
    /// Where the memory for a buffer or link cannot be had. What was written before that
    /// stays.
    pub fn write_bytes(&mut self, mut bytes: &[u8]) -> Result<(), AllocError> {
        while !bytes.is_empty() {
            if self.open == 0 {
                self.open_buffer()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.open));
            // SAFETY: the room has `left` bytes, of which `open` are the last buffer's; they
            // are nobody else's, and fresh, so they do not overlap `now`.
            unsafe { self.room.copy_from_nonoverlapping(NonNull::from(now).cast(), now.len()) };
            self.room = behind(self.room, now.len());
            self.left -= now.len();
            self.open -= now.len();
            self.bytes += now.len();
            if let Some(mut last) = NonNull::new(self.last) {
                // SAFETY: the last link is this chain's alone.
                unsafe { last.as_mut() }.len += now.len();
            }
            bytes = later;
        }
        Ok(())
    }

    /// A new, empty buffer at the end, in the room there is, or in new room.
    fn open_buffer(&mut self) -> Result<(), AllocError> {
        let mut room = (self.room, self.left);
        // The link first: taken from the other end of the block than bytes, it cannot come
        // between a piece and the next.
        let mut link = self.new_link::<Try>(&[])?;
        if room.1 == 0 {
            match self.pool.room(self.piece) {
                Ok(fresh) => room = (NonNull::from(&mut *fresh).cast(), fresh.len()),
                Err(error) => {
                    self.let_go(link);
                    return Err(error);
                }
            }
        }
        (self.room, self.left) = room;
        self.open = self.left.min(self.piece);
        // SAFETY: a link of this chain's alone.
        unsafe { link.as_mut() }.start = self.room;
        self.append_link(link, 0);
        Ok(())
    }

    /// Drops `count` bytes from the front, and gives links that are empty then back.
    ///
    /// # Panics
    /// Where there are fewer bytes.
    pub fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "advance by {count} bytes, of {}", self.bytes);
        self.bytes -= count;
        while let Some(mut first) = NonNull::new(self.first) {
            // SAFETY: a link of this chain's alone.
            let link = unsafe { first.as_mut() };
            if count < link.len {
                link.start = behind(link.start, count);
                link.len -= count;
                return;
            }
            count -= link.len;
            self.first = link.next;
            self.links -= 1;
            self.let_go(first);
        }
        self.last = ptr::null_mut();
        self.open = 0;
    }

    /// All bytes in one piece. Those of a single buffer are not copied.
    ///
    /// # Errors
    /// Where the memory to bring several buffers together cannot be had.
    pub fn into_slice(self) -> Result<&'p [u8], AllocError> {
        if self.links <= 1 {
            // SAFETY: the buffer is borrowed for `'p`, or pool memory that stays as long, and is
            // changed no more: the chain ends here.
            return Ok(self.link(self.first).map_or(&[], |link| unsafe {
                slice::from_raw_parts(link.start.as_ptr(), link.len)
            }));
        }
        let whole = self.pool.room(self.bytes)?;
        let mut at = NonNull::from(&mut *whole).cast::<u8>();
        for buffer in self.buffers() {
            // SAFETY: the buffers' lengths are `bytes` in all; fresh memory, so no overlap.
            unsafe { at.copy_from_nonoverlapping(NonNull::from(buffer).cast(), buffer.len()) };
            at = behind(at, buffer.len());
        }
        // SAFETY: every byte was written.
        Ok(unsafe { slice::from_raw_parts(whole.as_ptr().cast(), whole.len()) })
    }

    /// What kept the last `write!` from being complete, if memory did.
    ///
    /// `fmt::Write` can say only that something failed; this says what.
    pub fn take_failure(&mut self) -> Option<AllocError> {
        self.failure.take()
    }
}

#[cfg(feature = "std")]
impl<P: ChainPool> Chain<'_, P> {
    /// Fills `slices` with the first buffers, for a vectored write; how many there are.
    pub fn io_slices<'c>(&'c self, slices: &mut [std::io::IoSlice<'c>]) -> usize {
        let mut count = 0;
        for (slice, buffer) in slices.iter_mut().zip(self.buffers()) {
            *slice = std::io::IoSlice::new(buffer);
            count += 1;
        }
        count
    }

    /// Writes as much as `out` takes, by vectored writes, and drops what is written. Goes on
    /// until the chain is empty; how many bytes were written.
    ///
    /// # Errors
    /// Those of `out`, `WouldBlock` among them; the chain has what was not written yet.
    /// Interrupted writes are repeated; one of 0 bytes is an error of the kind `WriteZero`.
    pub fn write_to(&mut self, out: &mut impl std::io::Write) -> std::io::Result<usize> {
        let mut total = 0;
        while !self.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 64];
            let count = self.io_slices(&mut slices);
            match out.write_vectored(&slices[..count]) {
                Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let written = written.min(self.len());
                    self.advance(written);
                    total += written;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }
}

impl<P: ChainPool> fmt::Write for Chain<'_, P> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes()).map_err(|error| {
            self.failure = Some(error);
            fmt::Error
        })
    }
}

#[cfg(feature = "bytes")]
impl<P: ChainPool> bytes::Buf for Chain<'_, P> {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.buffers().find(|buffer| !buffer.is_empty()).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        Chain::advance(self, count);
    }
}

impl<P: ChainPool> Drop for Chain<'_, P> {
    fn drop(&mut self) {
        let mut at = self.first;
        while let Some(link) = NonNull::new(at) {
            // SAFETY: a link of this chain's alone.
            at = unsafe { link.as_ref() }.next;
            self.let_go(link);
        }
    }
}

impl<P: ChainPool> fmt::Debug for Chain<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("buffers", &self.links).field("bytes", &self.bytes).finish()
    }
}
