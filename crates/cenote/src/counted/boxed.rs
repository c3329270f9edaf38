//! [`CountedBox`]: the owner of an object in a counted pool.

use super::CountedPool;
use crate::{BlockSource, Blocks};
use core::alloc::Layout;
use core::borrow::{Borrow, BorrowMut};
use core::fmt;
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// A value in a [`CountedPool`], dropped and freed with its owner: `Box`, from a pool.
///
/// It borrows the pool, which therefore is neither reset nor dropped while there is one:
///
/// ```compile_fail,E0502
/// let mut pool = cenote::CountedPool::new();
/// let kept = pool.alloc(1);
/// pool.reset();
/// drop(kept);
/// ```
///
/// Forgetting it is safe: the value is not dropped then, and its block stays until the reset.
///
/// Where the type of a standard box is wanted, `Box::new_in(value, &pool)` of allocator-api2
/// does the same; this one needs no feature, has the sizes that the pool's methods return
/// (`CountedBox<str>`, `CountedBox<[T]>`), and can be [leaked](CountedBox::leak) for the
/// pool's life.
///
/// ```
/// use cenote::{CountedBox, CountedPool};
/// let pool = CountedPool::new();
/// let mut list = pool.alloc(vec![1, 2]);
/// list.push(3);
/// assert_eq!(CountedBox::into_inner(list), [1, 2, 3]);   // its memory is free again
/// assert_eq!(pool.live(), 0);
/// ```
pub struct CountedBox<'p, T: ?Sized, S: BlockSource = Blocks> {
    value: NonNull<T>,
    pool: &'p CountedPool<S>,
    owns: PhantomData<T>,
}

impl<'p, T: ?Sized, S: BlockSource> CountedBox<'p, T, S> {
    /// Takes back what [`CountedBox::into_raw`] gave.
    ///
    /// # Safety
    /// `value` is an object of this pool, placed with the layout of its value (an aligned
    /// address of nothing if that has no bytes), and holds a value that is the caller's to
    /// give; its pointer fulfils what [`CountedPool::dealloc`] asks for.
    #[inline]
    pub unsafe fn from_raw(pool: &'p CountedPool<S>, value: NonNull<T>) -> Self {
        Self { value, pool, owns: PhantomData }
    }

    /// Gives up the owner without freeing anything: the object is the caller's to give back,
    /// by [`CountedBox::from_raw`], or without dropping its value by [`CountedPool::free`] (if
    /// it has bytes) or [`CountedPool::dealloc`].
    #[inline]
    pub fn into_raw(this: Self) -> NonNull<T> {
        let value = this.value;
        mem::forget(this);
        value
    }

    /// Gives up the owner: the value stays until the pool is reset or dropped, and is not
    /// dropped then. Its block does not come back before that; see [`CountedPool::own`] for
    /// what is better placed apart.
    #[inline]
    pub fn leak(this: Self) -> &'p mut T {
        let mut value = Self::into_raw(this);
        // SAFETY: the box owned it, so nobody else refers to it; it stays in place until the
        // pool is reset or dropped, which the lifetime excludes.
        unsafe { value.as_mut() }
    }

    /// The pool that it is in.
    #[inline]
    pub fn pool(this: &Self) -> &'p CountedPool<S> {
        this.pool
    }

    #[inline]
    fn layout(&self) -> Layout {
        Layout::for_value::<T>(self)
    }
}

impl<T, S: BlockSource> CountedBox<'_, T, S> {
    /// Moves the value out, and frees its memory.
    #[inline]
    pub fn into_inner(this: Self) -> T {
        let (value, pool) = (this.value, this.pool);
        mem::forget(this);
        // SAFETY: the box owned it; it is not used there any more.
        let inner = unsafe { value.read() };
        // SAFETY: an object of this pool and layout, which the box owned.
        unsafe { pool.dealloc(value.cast(), Layout::new::<T>()) };
        inner
    }
}

impl<'p, T, S: BlockSource> CountedBox<'p, MaybeUninit<T>, S> {
    /// Puts the value in.
    #[inline]
    pub fn write(this: Self, value: T) -> CountedBox<'p, T, S> {
        let pool = this.pool;
        let slot = Self::into_raw(this).cast::<T>();
        // SAFETY: the box owned memory for a `T`.
        unsafe { slot.write(value) };
        // SAFETY: the object has the layout of a `T`, and now is one.
        unsafe { CountedBox::from_raw(pool, slot) }
    }
}

impl<'p, T, S: BlockSource> CountedBox<'p, [MaybeUninit<T>], S> {
    /// Says that all elements are there.
    ///
    /// # Safety
    /// They are.
    #[inline]
    pub unsafe fn assume_init(this: Self) -> CountedBox<'p, [T], S> {
        let pool = this.pool;
        let slots = Self::into_raw(this);
        let slice = NonNull::slice_from_raw_parts(slots.cast::<T>(), slots.len());
        // SAFETY: the same object, of the same layout, with values by the caller's promise.
        unsafe { CountedBox::from_raw(pool, slice) }
    }
}

impl<'p, S: BlockSource> CountedBox<'p, [u8], S> {
    /// # Safety
    /// The bytes are UTF-8.
    #[inline]
    pub(super) unsafe fn into_text(this: Self) -> CountedBox<'p, str, S> {
        let pool = this.pool;
        let bytes = Self::into_raw(this).as_ptr() as *mut str;
        // SAFETY: not null, as it was before the cast.
        let text = unsafe { NonNull::new_unchecked(bytes) };
        // SAFETY: the same object, of the same layout; UTF-8 by the caller's promise.
        unsafe { CountedBox::from_raw(pool, text) }
    }
}

impl<T: ?Sized, S: BlockSource> Drop for CountedBox<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        /// Frees the memory also if the value's destructor panics.
        struct Free<'p, S: BlockSource>(NonNull<u8>, Layout, &'p CountedPool<S>);
        impl<S: BlockSource> Drop for Free<'_, S> {
            #[inline]
            fn drop(&mut self) {
                // SAFETY: an object of this pool and layout that the box owned, its value
                // dropped; its pointer was made from the allocation's.
                unsafe { self.2.dealloc(self.0, self.1) };
            }
        }
        let _free = Free(self.value.cast(), self.layout(), self.pool);
        // SAFETY: the box owns the value, and is not used after this.
        unsafe { self.value.drop_in_place() };
    }
}

impl<T: ?Sized, S: BlockSource> Deref for CountedBox<'_, T, S> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the box owns the value, which is in place as long as the box is.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized, S: BlockSource> DerefMut for CountedBox<'_, T, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: likewise, and this borrow of the box is exclusive.
        unsafe { self.value.as_mut() }
    }
}

impl<T: ?Sized, S: BlockSource> AsRef<T> for CountedBox<'_, T, S> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: ?Sized, S: BlockSource> AsMut<T> for CountedBox<'_, T, S> {
    fn as_mut(&mut self) -> &mut T {
        self
    }
}

impl<T: ?Sized, S: BlockSource> Borrow<T> for CountedBox<'_, T, S> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T: ?Sized, S: BlockSource> BorrowMut<T> for CountedBox<'_, T, S> {
    fn borrow_mut(&mut self) -> &mut T {
        self
    }
}

impl<T: ?Sized + PartialEq, S: BlockSource> PartialEq for CountedBox<'_, T, S> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: ?Sized + Eq, S: BlockSource> Eq for CountedBox<'_, T, S> {}

impl<T: ?Sized + PartialOrd, S: BlockSource> PartialOrd for CountedBox<'_, T, S> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<T: ?Sized + Ord, S: BlockSource> Ord for CountedBox<'_, T, S> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: ?Sized + core::hash::Hash, S: BlockSource> core::hash::Hash for CountedBox<'_, T, S> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: ?Sized + fmt::Debug, S: BlockSource> fmt::Debug for CountedBox<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display, S: BlockSource> fmt::Display for CountedBox<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
