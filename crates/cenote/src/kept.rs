//! [`Kept`]: something in a pool, together with a handle that keeps the pool.

use crate::{BlockSource, Pool};
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// A shared owner of a pool: [`Rc`] and [`Arc`] of one, and each handle of a
/// [`SharedPool`](crate::SharedPool).
///
/// # Safety
/// The pool stays at one address and is neither reset nor dropped, nor given out exclusively,
/// as long as the handle exists. (A [`SharedPool`](crate::SharedPool) is what its handles
/// share; that does not move when a handle does.)
///
/// ```
/// use cenote::{Pool, PoolHandle};
/// use std::sync::Arc;
/// let handle = Arc::new(Pool::new());
/// assert_eq!(handle.pool().held_bytes(), 0);
/// ```
pub unsafe trait PoolHandle {
    /// The pool's type.
    type Pool: ?Sized;
    /// The pool.
    fn pool(&self) -> &Self::Pool;
}

// SAFETY: an `Rc` gives out `&mut` only while it is the only one, and `Kept` has it.
unsafe impl<S: BlockSource> PoolHandle for Rc<Pool<S>> {
    type Pool = Pool<S>;
    fn pool(&self) -> &Pool<S> {
        self
    }
}

// SAFETY: as for `Rc`.
unsafe impl<S: BlockSource> PoolHandle for Arc<Pool<S>> {
    type Pool = Pool<S>;
    fn pool(&self) -> &Pool<S> {
        self
    }
}

/// A value in pool memory that keeps its pool alive: a reference that owns what it refers to.
///
/// What leaves a request's handler, such as the body of its response, must own its memory;
/// this lets it stay where it was built. The pool is dropped with the last handle.
///
/// ```
/// use cenote::{AllocError, Kept, Pool};
/// use std::rc::Rc;
/// fn body() -> Result<Kept<Rc<Pool>, str>, AllocError> {
///     let pool = Rc::new(Pool::new());
///     let number = pool.alloc(7);
///     Kept::try_new(pool.clone(), |pool| pool.try_alloc_fmt(format_args!("number {number}")))
/// }
/// assert_eq!(&*body()?, "number 7");
/// # Ok::<(), AllocError>(())
/// ```
pub struct Kept<H: PoolHandle, T: ?Sized> {
    // Before the handle, so that nothing here points to freed memory at any time.
    value: NonNull<T>,
    handle: H,
    /// Invariant, as `&mut T` is: the pool may own the value ([`Pool::own`]), and drops it as the
    /// type that it was put in as. What is put in its place must be of that very type, or it
    /// would be dropped after what it refers to.
    _type: PhantomData<*mut T>,
}

// SAFETY: it is the value, which it alone refers to, and the handle, both of which may be sent.
unsafe impl<H: PoolHandle + Send, T: ?Sized + Send> Send for Kept<H, T> {}
// SAFETY: `&Kept` gives `&T` and `&H`, both of which may be shared.
unsafe impl<H: PoolHandle + Sync, T: ?Sized + Sync> Sync for Kept<H, T> {}

impl<H: PoolHandle, T: ?Sized + 'static> Kept<H, T> {
    /// Keeps what `make` puts into the handle's pool.
    ///
    /// `make` is called with a borrow of the pool of which it knows only that it is one, so
    /// that what it returns can only be the pool's, or `'static`.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn try_new<E>(
        handle: H,
        make: impl for<'p> FnOnce(&'p H::Pool) -> Result<&'p mut T, E>,
    ) -> Result<Self, E> {
        let value = NonNull::from(make(handle.pool())?);
        Ok(Self { value, handle, _type: PhantomData })
    }

    /// The handle that keeps the pool.
    pub fn handle(this: &Self) -> &H {
        &this.handle
    }

    /// Keeps a part of the value instead.
    ///
    /// ```
    /// # use cenote::{AllocError, Kept, Pool};
    /// # use std::rc::Rc;
    /// let all = Kept::try_new(Rc::new(Pool::new()), |pool| pool.try_alloc_str("head body"))?;
    /// let body = Kept::map(all, |text| &mut text[5..]);
    /// assert_eq!(&*body, "body");
    /// # Ok::<(), AllocError>(())
    /// ```
    pub fn map<U: ?Sized + 'static>(
        mut this: Self,
        part: impl for<'p> FnOnce(&'p mut T) -> &'p mut U,
    ) -> Kept<H, U> {
        let value = NonNull::from(part(&mut this));
        Kept { value, handle: this.handle, _type: PhantomData }
    }
}

impl<H: PoolHandle, T: ?Sized> Deref for Kept<H, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the pool gave it out exclusively, to `try_new`; the handle keeps it in place.
        unsafe { self.value.as_ref() }
    }
}

impl<H: PoolHandle, T: ?Sized> DerefMut for Kept<H, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: likewise, and this borrow of `self` is exclusive.
        unsafe { self.value.as_mut() }
    }
}

impl<H: PoolHandle, T: ?Sized> AsRef<T> for Kept<H, T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<H: PoolHandle, T: ?Sized + fmt::Debug> fmt::Debug for Kept<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
