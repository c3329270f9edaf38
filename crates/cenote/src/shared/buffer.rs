//! [`SharedBuffer`]: bytes that grow in a shared pool, and keep it.

use super::SharedPool;
use crate::pool::{Bytes, buffer_calls};
use crate::{AllocError, BlockSource, SharedBlocks};
use core::fmt;

/// Bytes that grow in a [`SharedPool`], such as a response that is being written.
///
/// It has a handle of its own, so it may be held across `.await`, sent to other threads, and
/// outlive all other handles. Where the pool cannot give more, writing fails with an
/// [`AllocError`]; the calls of `fmt::Write` and `io::Write` fail in their own words, and
/// [`take_failure`](SharedBuffer::take_failure) tells why. With the feature `bytes`,
/// `freeze` makes it `Bytes`, without copying.
///
/// ```
/// use cenote::{AllocError, SharedBuffer, SharedPool};
/// use std::fmt::Write;
/// let mut answer = SharedBuffer::new(SharedPool::try_new()?);
/// answer.try_extend_from_slice(b"HTTP/1.1 ")?;
/// write!(answer, "{} {}", 200, "OK").expect("there is memory");
/// answer.try_extend_fmt(format_args!("\r\nContent-Length: {}\r\n\r\n", 42))?;
/// assert_eq!(&*answer, b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n");
/// # Ok::<(), AllocError>(())
/// ```
pub struct SharedBuffer<S: BlockSource = SharedBlocks> {
    bytes: Bytes<SharedPool<S>>,
}

// SAFETY: the bytes are the buffer's alone, and its handle may be sent.
unsafe impl<S: BlockSource + Send> Send for SharedBuffer<S> {}
// SAFETY: `&SharedBuffer` gives the bytes to be read, and its handle to be borrowed.
unsafe impl<S: BlockSource + Send> Sync for SharedBuffer<S> {}

impl<S: BlockSource> SharedBuffer<S> {
    /// An empty buffer, which takes no memory yet.
    #[must_use]
    pub fn new(pool: SharedPool<S>) -> Self {
        Self { bytes: Bytes::new(pool) }
    }

    /// An empty buffer with room for `bytes` bytes.
    ///
    /// # Errors
    /// Where the memory cannot be had.
    pub fn try_with_capacity(pool: SharedPool<S>, bytes: usize) -> Result<Self, AllocError> {
        let mut buffer = Self::new(pool);
        buffer.try_reserve(bytes)?;
        Ok(buffer)
    }

    /// The pool that it is in.
    pub fn pool(&self) -> &SharedPool<S> {
        self.bytes.grown.pool()
    }

    /// Gives room that is left back to the pool, where that can be done in place.
    #[cfg(feature = "bytes")]
    pub(super) fn trim(&mut self) {
        self.bytes.grown.trim();
    }
}

buffer_calls!(SharedBuffer,);
