//! [`Freeze`]: what is in a pool becomes `bytes::Bytes` that keep the pool.
//!
//! `Bytes` are what HTTP bodies are made of: they own their memory, and are cloned and cut
//! without copying. Each `freeze` allocates a few words from the system, in which `Bytes`
//! keeps the owner; what is in the pool is not copied.

use super::{SharedBuffer, SharedPool};
use crate::kept::{Kept, PoolHandle};
use crate::{AllocError, BlockSource, Chain, Pool};
use bytes::Bytes;

/// Turns what is in a pool into [`Bytes`] that keep the pool.
///
/// For what owns its place in a pool: a [`SharedBuffer`], a [`Kept`] slice or text, and the
/// vectors and boxes of allocator-api2, and of the standard library where it has them, in a [`SharedPool`]; of a chain there is
/// [`SharedPool::try_freeze_chain`]. The pool's blocks go back when
/// the last of the `Bytes`, and of whatever else keeps the pool, goes.
///
/// ```
/// use cenote::{AllocError, Freeze, Kept, SharedPool};
/// let pool = SharedPool::try_new()?;
/// let text = Kept::try_new(pool.clone(), |pool| pool.try_alloc_fmt(format_args!("{:05}", 42)))?;
/// let bytes = text.freeze();
/// assert_eq!(pool.handles(), 2);
/// let tail = bytes.slice(3..);
/// drop((pool, bytes));
/// assert_eq!(tail, "42");
/// # Ok::<(), AllocError>(())
/// ```
pub trait Freeze {
    /// The same bytes, which nobody can change any more.
    fn freeze(self) -> Bytes;
}

impl<S: BlockSource + Send + 'static> Freeze for SharedBuffer<S> {
    fn freeze(mut self) -> Bytes {
        self.trim();
        if self.is_empty() { Bytes::new() } else { Bytes::from_owner(self) }
    }
}

impl<H: PoolHandle + Send + 'static> Freeze for Kept<H, [u8]> {
    fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

/// A text, as bytes.
struct Text<T>(T);

impl<H: PoolHandle> AsRef<[u8]> for Text<Kept<H, str>> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<H: PoolHandle + Send + 'static> Freeze for Kept<H, str> {
    fn freeze(self) -> Bytes {
        Bytes::from_owner(Text(self))
    }
}

macro_rules! freeze_collections {
    ($($path:ident)::+) => {
        impl<S: BlockSource + Send + 'static> Freeze for $($path)::+::vec::Vec<u8, SharedPool<S>> {
            fn freeze(self) -> Bytes {
                Bytes::from_owner(self)
            }
        }

        impl<S: BlockSource + Send + 'static> Freeze
            for $($path)::+::boxed::Box<[u8], SharedPool<S>>
        {
            fn freeze(self) -> Bytes {
                Bytes::from_owner(self)
            }
        }
    };
}

#[cfg(feature = "allocator-api2")]
freeze_collections!(allocator_api2);
#[cfg(feature = "allocator-api2-04")]
freeze_collections!(allocator_api2_04);
#[cfg(cenote_allocator)]
freeze_collections!(alloc);

impl<S: BlockSource + Send + 'static> SharedPool<S> {
    /// Copies bytes into the pool, as [`Bytes`] that keep it.
    ///
    /// # Errors
    /// Where the memory for the copy cannot be had.
    pub fn try_freeze_copy(&self, bytes: &[u8]) -> Result<Bytes, AllocError> {
        self.try_freeze(|pool| pool.try_alloc_slice_copy(bytes))
    }

    /// Formats into the pool, as [`Bytes`] that keep it.
    ///
    /// # Errors
    /// Those of [`SharedPool::try_alloc_fmt`].
    pub fn try_freeze_fmt(&self, text: core::fmt::Arguments<'_>) -> Result<Bytes, AllocError> {
        Kept::<_, str>::try_new(self.clone(), |pool| pool.try_alloc_fmt(text)).map(Freeze::freeze)
    }

    /// Freezes what `make` puts into the pool.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn try_freeze<E>(
        &self,
        make: impl for<'p> FnOnce(&'p Self) -> Result<&'p mut [u8], E>,
    ) -> Result<Bytes, E> {
        Kept::<_, [u8]>::try_new(self.clone(), make).map(Freeze::freeze)
    }

    /// Freezes a chain that `make` builds in the pool. That of a single buffer is not copied;
    /// others are brought together in the pool.
    ///
    /// What is pushed without copying must be `'static`, or be in the pool: it is allocated by
    /// [`Chain::pool`].
    ///
    /// ```
    /// use cenote::{AllocError, SharedPool};
    /// let pool = SharedPool::try_new()?;
    /// let bytes = pool.try_freeze_chain(|chain| {
    ///     chain.try_push(b"<p>")?;
    ///     let text = chain.pool().try_alloc_fmt(format_args!("{} bytes", 1 << 10))?;
    ///     chain.try_push(text.as_bytes())?;
    ///     chain.write_bytes(b"</p>")
    /// })?;
    /// drop(pool);
    /// assert_eq!(bytes, "<p>1024 bytes</p>");
    /// # Ok::<(), AllocError>(())
    /// ```
    ///
    /// # Errors
    /// Those of `make`; and where the memory to bring several buffers together cannot be had.
    pub fn try_freeze_chain<E: From<AllocError>>(
        &self,
        make: impl for<'p> FnOnce(&mut Chain<'p, Self>) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let mut chain = Chain::new(self);
        make(&mut chain)?;
        let bytes = core::ptr::NonNull::from(chain.into_slice()?);
        Ok(Bytes::from_owner(Frozen { bytes, _keeps: self.clone() }))
    }
}

/// Bytes in a pool, and what keeps the pool: itself, if it is not used any more, or a handle.
struct Frozen<K> {
    bytes: core::ptr::NonNull<[u8]>,
    _keeps: K,
}

// SAFETY: what keeps the pool may be sent; the bytes are in it, or live for ever, and are only
// read.
unsafe impl<K: Send> Send for Frozen<K> {}

impl<K> AsRef<[u8]> for Frozen<K> {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `make` found them in the pool's blocks (or its account's node), which stay in
        // place as the pool or its handle is moved; no bytes are to be had of the value itself.
        // `make` knew of the pool's lifetime only that there is one, so what it returned is lent
        // for all of it: nobody else can change it.
        unsafe { self.bytes.as_ref() }
    }
}

impl<S: BlockSource + Send + 'static> Pool<S> {
    /// Ends the pool's use: what `make` finds or makes in it becomes [`Bytes`] that own the
    /// pool. Cleanups run when the last of them goes, on the thread that drops it.
    ///
    /// ```
    /// use cenote::{AllocError, Chain, Pool};
    /// let bytes = Pool::new().try_freeze(|pool| {
    ///     let mut chain = Chain::new(pool);
    ///     chain.try_push(b"head ")?;
    ///     chain.try_push_copy(b"and body")?;
    ///     chain.into_slice()
    /// })?;
    /// assert_eq!(bytes, "head and body");
    /// # Ok::<(), AllocError>(())
    /// ```
    ///
    /// # Errors
    /// Those of `make`. The pool is dropped then.
    pub fn try_freeze<E>(
        self,
        make: impl for<'p> FnOnce(&'p Pool<S>) -> Result<&'p [u8], E>,
    ) -> Result<Bytes, E> {
        let bytes = core::ptr::NonNull::from(make(&self)?);
        Ok(Bytes::from_owner(Frozen { bytes, _keeps: self }))
    }
}
