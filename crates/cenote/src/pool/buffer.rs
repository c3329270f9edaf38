//! [`Buffer`]: bytes that grow in a pool, and leave what they became there.

use super::{Growing, Grows, Pool};
use crate::error::{Mode, Must, Try, must};
use crate::{AllocError, BlockSource, Blocks};
use core::fmt::{self, Write};

/// Bytes that grow, and what stopped them: the part that does not depend on who keeps the pool.
pub(crate) struct Bytes<P: Grows> {
    pub(crate) grown: Growing<u8, P>,
    pub(crate) failure: Option<AllocError>,
}

impl<P: Grows> Bytes<P> {
    #[inline]
    pub(crate) fn new(pool: P) -> Self {
        Self { grown: Growing::new(pool), failure: None }
    }

    /// What formatting gives.
    #[inline]
    pub(crate) fn of<M: Mode>(
        pool: P,
        args: fmt::Arguments<'_>,
    ) -> Result<Growing<u8, P>, M::Error> {
        let mut text = Self::new(pool);
        match text.format(args) {
            Ok(()) => Ok(text.grown),
            Err(error) => M::fail(error),
        }
    }

    /// Adds what formatting gives; what it gave before it failed stays.
    #[inline]
    pub(crate) fn format(&mut self, args: fmt::Arguments<'_>) -> Result<(), AllocError> {
        self.failure = None;
        let outcome = self.write_fmt(args);
        // Also where a `Display` has hidden it.
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        outcome.map_err(|_| AllocError::not_formatted(self.grown.len()))
    }

    /// Adds bytes, and keeps why not, for those who ask afterwards.
    #[inline]
    fn add(&mut self, bytes: &[u8]) -> fmt::Result {
        self.grown.extend_from_slice::<Try>(bytes).map_err(|error| {
            self.failure = Some(error);
            fmt::Error
        })
    }
}

impl<P: Grows> Write for Bytes<P> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes())
    }
}

#[cfg(feature = "std")]
impl<P: Grows> std::io::Write for Bytes<P> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.add(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(fmt::Error) => Err(std::io::ErrorKind::OutOfMemory.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What both public buffers have, each over a pool of its own kind: the calls that may fail, bytes
/// to read, and something to write to.
macro_rules! buffer_calls {
    ($name:ident, $($parameters:tt)*) => {
        impl<$($parameters)* S: BlockSource> $name<$($parameters)* S> {
            /// Sees to it that there is room for `more` bytes beyond those there are.
            ///
            /// # Errors
            /// Where the memory cannot be had. The buffer is as it was.
            #[inline]
            pub fn try_reserve(&mut self, more: usize) -> Result<(), AllocError> {
                self.bytes.grown.reserve::<crate::error::Try>(more)
            }

            /// The same, without room for more than that: for a size that is known. What does not
            /// fit in then is had as by [`try_extend_from_slice`](Self::try_extend_from_slice).
            ///
            /// # Errors
            /// Where the memory cannot be had. The buffer is as it was.
            pub fn try_reserve_exact(&mut self, more: usize) -> Result<(), AllocError> {
                self.bytes.grown.reserve_exact(more)
            }

            /// Copies bytes to the end. In place, as long as there is room behind the buffer;
            /// otherwise its room doubles, and what there is is moved.
            ///
            /// # Errors
            /// Where the memory cannot be had. The buffer is as it was.
            #[inline]
            pub fn try_extend_from_slice(&mut self, bytes: &[u8]) -> Result<(), AllocError> {
                self.bytes.grown.extend_from_slice::<crate::error::Try>(bytes)
            }

            /// Formats to the end.
            ///
            /// # Errors
            /// Where the memory cannot be had, also if a `Display` or the like hides that; or
            /// where one fails by itself. What was written before stays.
            pub fn try_extend_fmt(&mut self, args: fmt::Arguments<'_>) -> Result<(), AllocError> {
                self.bytes.format(args)
            }

            /// Empties it; it keeps its room.
            pub fn clear(&mut self) {
                self.bytes.grown.clear();
            }

            /// Why the last write by way of `fmt::Write` or `io::Write` that failed did so;
            /// `None` if none has since this, or `try_extend_fmt`, was called.
            pub fn take_failure(&mut self) -> Option<AllocError> {
                self.bytes.failure.take()
            }
        }

        impl<$($parameters)* S: BlockSource> core::ops::Deref for $name<$($parameters)* S> {
            type Target = [u8];
            #[inline]
            fn deref(&self) -> &[u8] {
                self.bytes.grown.as_slice()
            }
        }

        impl<$($parameters)* S: BlockSource> AsRef<[u8]> for $name<$($parameters)* S> {
            fn as_ref(&self) -> &[u8] {
                self
            }
        }

        impl<$($parameters)* S: BlockSource> fmt::Write for $name<$($parameters)* S> {
            #[inline]
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.bytes.write_str(text)
            }
        }

        /// `write` takes all bytes, or none.
        #[cfg(feature = "std")]
        impl<$($parameters)* S: BlockSource> std::io::Write for $name<$($parameters)* S> {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                std::io::Write::write(&mut self.bytes, bytes)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        impl<$($parameters)* S: BlockSource> fmt::Debug for $name<$($parameters)* S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("len", &self.len()).finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use buffer_calls;

/// Bytes that grow in a [`Pool`], such as a page that is being written.
///
/// As long as it is the newest object and its block has room, it grows in place; otherwise its
/// room doubles, and what there is is moved. [`into_slice`](Buffer::into_slice) leaves the bytes
/// in the pool; dropped without that, the buffer gives its memory back as far as the pool can
/// take it.
///
/// Where the pool cannot give more, the calls named `try_` say so with an [`AllocError`] that
/// names the account at its limit; those of `fmt::Write` and `io::Write` fail in their own words,
/// and [`take_failure`](Buffer::take_failure) tells why. None of them loses what was written
/// before. [`SharedBuffer`](crate::SharedBuffer) is the same for a shared pool, and keeps it.
///
/// ```
/// use cenote::{Buffer, Pool};
/// use std::fmt::Write;
/// let pool = Pool::new();
/// let mut page = Buffer::new(&pool);
/// page.extend_from_slice(b"<li>");
/// write!(page, "{} of {}", 1, 12).expect("there is memory");
/// page.try_extend_fmt(format_args!("</{}>", "li"))?;
/// let page: &mut [u8] = page.into_slice();
/// assert_eq!(page, b"<li>1 of 12</li>");
/// # Ok::<(), cenote::AllocError>(())
/// ```
pub struct Buffer<'p, S: BlockSource = Blocks> {
    bytes: Bytes<&'p Pool<S>>,
}

impl<'p, S: BlockSource> Buffer<'p, S> {
    /// An empty buffer, which takes no memory yet.
    #[inline]
    #[must_use]
    pub fn new(pool: &'p Pool<S>) -> Self {
        Self { bytes: Bytes::new(pool) }
    }

    /// An empty buffer with room for `bytes` bytes.
    ///
    /// # Panics
    /// Where [`Buffer::try_with_capacity`] fails, but for want of system memory: then it aborts.
    #[must_use]
    pub fn with_capacity(pool: &'p Pool<S>, bytes: usize) -> Self {
        let mut buffer = Self::new(pool);
        buffer.reserve(bytes);
        buffer
    }

    /// An empty buffer with room for `bytes` bytes, and no more than those, or 4.
    ///
    /// # Errors
    /// Where the memory cannot be had.
    pub fn try_with_capacity(pool: &'p Pool<S>, bytes: usize) -> Result<Self, AllocError> {
        let mut buffer = Self::new(pool);
        buffer.try_reserve(bytes)?;
        Ok(buffer)
    }

    /// The pool that it is in.
    pub fn pool(&self) -> &'p Pool<S> {
        self.bytes.grown.pool()
    }

    /// Sees to it that there is room for `more` bytes beyond those there are.
    ///
    /// # Panics
    /// Where [`Buffer::try_reserve`] fails, but for want of system memory: then it aborts.
    #[inline]
    pub fn reserve(&mut self, more: usize) {
        must(self.bytes.grown.reserve::<Must>(more));
    }

    /// Copies bytes to the end.
    ///
    /// # Panics
    /// Where [`Buffer::try_extend_from_slice`] fails, but for want of system memory: then it
    /// aborts.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        must(self.bytes.grown.extend_from_slice::<Must>(bytes));
    }

    /// The bytes, as long as the pool lives. What room is left goes back, if it can.
    #[must_use = "the bytes stay in the pool"]
    pub fn into_slice(self) -> &'p mut [u8] {
        self.bytes.grown.finish()
    }
}

buffer_calls!(Buffer, 'p,);
