//! Each pool as the run needs it, and the code that pools call back.

use super::world::{Subject, called};
use cenote::misuse::OnBadFree;
use cenote::{
    AllocError, BlockSource, ChunkPool, ChunkPoolConfig, CountedBox, CountedPool, Pool,
    SharedBuffer, SharedPool, SharedPoolBuilder,
};
use std::alloc::Layout;
use std::fmt;
use std::ptr::NonNull;

/// A value whose `Clone`, `Display` and `Drop` are the program's code.
struct Value(u8);

impl Clone for Value {
    fn clone(&self) -> Self {
        called();
        Self(self.0)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        called();
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for _ in 0..3 {
            called();
            // What a byte is in a text.
            fmt::Write::write_char(f, char::from(self.0 & 0x7f))?;
            called();
        }
        Ok(())
    }
}

fn place<T>(slice: &[T]) -> (usize, usize) {
    (slice.as_ptr().expose_provenance(), size_of_val(slice))
}

/// Items one at a time, of which nobody knows how many there are.
fn items<T: Clone>(value: T) -> impl Iterator<Item = T> {
    let mut left = 9;
    std::iter::from_fn(move || {
        called();
        left -= 1;
        (left > 0).then(|| value.clone())
    })
}

macro_rules! with_callers_code {
    ($keep:expr) => {
        fn with_callers_code(&self, which: usize, fill: u8) -> Option<(usize, usize)> {
            let word = u64::from_ne_bytes([fill; 8]);
            Some(match which {
                0 => {
                    let make = || {
                        called();
                        [word; 5]
                    };
                    place($keep(self.try_alloc_with(make).ok()?).as_slice())
                }
                1 => {
                    let make = |_| {
                        called();
                        word
                    };
                    place($keep(self.try_alloc_slice_fill_with(7, make).ok()?))
                }
                2 => place($keep(self.try_alloc_slice_fill_iter(items(word)).ok()?)),
                3 => {
                    let values = [const { Value(7) }; 5];
                    // What is cloned is dropped again, where that fails in the middle.
                    let cloned = $keep(self.try_alloc_slice_clone(&values).ok()?);
                    // SAFETY: nobody drops them, and nobody looks at them as values any more.
                    unsafe { cloned.as_mut_ptr().cast::<u8>().write_bytes(fill, 5) };
                    place(cloned)
                }
                4 => {
                    let text = format_args!("{}{}", Value(fill), Value(fill)).to_string();
                    let _ = self.try_alloc_fmt(format_args!("{}{}", Value(fill), Value(fill)));
                    place($keep(self.try_alloc_slice_fill_with(text.len(), |_| fill).ok()?))
                }
                5 => {
                    let value = Value(fill);
                    self.try_defer(move || {
                        called();
                        drop(value);
                    })
                    .ok()?;
                    return None;
                }
                6 => {
                    self.try_own(Value(fill)).ok()?;
                    return None;
                }
                _ => {
                    self.try_own((Value(fill), [word; 40])).ok()?;
                    return None;
                }
            })
        }
    };
}

macro_rules! raw {
    () => {
        fn raw(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
            self.try_alloc_layout(layout)
        }
        unsafe fn raw_free(&self, start: NonNull<u8>, layout: Layout) {
            // SAFETY: the caller's promise is the same.
            unsafe { self.dealloc(start, layout) }
        }
        unsafe fn raw_resize(
            &self,
            start: NonNull<u8>,
            old: Layout,
            new: Layout,
        ) -> Result<NonNull<u8>, AllocError> {
            if new.size() >= old.size() {
                // SAFETY: the caller's promise is the same; it is not smaller.
                unsafe { self.try_grow(start, old, new) }
            } else {
                // SAFETY: the caller's promise is the same; it is smaller.
                unsafe { self.try_shrink(start, old, new) }
            }
        }
        fn look(&self) -> usize {
            let text = format!("{self:?} {:?}", self.snapshot());
            self.held_bytes() + text.len()
        }
    };
}

impl<S: BlockSource> Subject for Pool<S> {
    raw!();
    with_callers_code!(|kept| kept);
}

impl<S: BlockSource> Subject for CountedPool<S> {
    raw!();
    with_callers_code!(CountedBox::leak);
    fn free_wrongly(&self) {
        // SAFETY: a local is no object of the pool, which is noticed.
        assert!(unsafe { self.free(NonNull::from(&mut 0_u64).cast()) }.is_err());
    }
    fn trim(&self) {
        self.trim();
    }
}

impl<S: BlockSource> Subject for ChunkPool<S> {
    raw!();
    fn with_callers_code(&self, which: usize, fill: u8) -> Option<(usize, usize)> {
        use allocator_api2::{boxed::Box, vec::Vec};
        match which {
            0..3 => {
                let mut list = Vec::new_in(self);
                for item in items(fill) {
                    list.try_reserve(1).ok()?;
                    list.push(item);
                }
                Some(place(list.leak()))
            }
            3..5 => {
                let value = Box::try_new_in([Value(fill), Value(fill)], self).ok()?;
                drop(value);
                None
            }
            5 => {
                let value = Value(fill);
                self.try_defer(move || {
                    called();
                    drop(value);
                })
                .ok()?;
                None
            }
            _ => {
                self.try_own((Value(fill), [fill; 300])).ok()?;
                None
            }
        }
    }
    fn free_wrongly(&self) {
        // SAFETY: a local is no object of the pool, which is noticed.
        assert!(unsafe { self.free(NonNull::from(&mut 0_u64).cast()) }.is_err());
    }
    fn trim(&self) {
        self.settle();
    }
}

impl<S: BlockSource> Subject for SharedPool<S> {
    raw!();
    with_callers_code!(|kept| kept);
    fn trim(&self) {
        let weak = self.downgrade();
        assert!(weak.look(|look| look.figures().handles) > Some(0));
        let mut buffer = SharedBuffer::new(self.clone());
        let _ = buffer.try_extend_fmt(format_args!("{}", Value(7)));
    }
}

/// Small, so that a run comes by many clusters.
pub(crate) fn chunks<S: BlockSource>(config: ChunkPoolConfig<'_, S>) -> ChunkPool<S> {
    let config = config.cluster_size(8192).page_size(512).page_alignment(64);
    config.on_bad_free(OnBadFree::Report).build().unwrap()
}

pub(crate) fn shared<S: BlockSource + Clone>(builder: &SharedPoolBuilder<'_, S>) -> SharedPool<S> {
    builder.try_build().unwrap()
}
