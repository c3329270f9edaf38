//! What the crate keeps for each thread: its block cache, and the record by which accounts
//! know it. The only state that is not in a value of the user's.
//!
//! The cache sits in a thread-local without a destructor, so that reaching it is one
//! instruction; a second thread-local, whose only job is its destructor, drains it at the
//! thread's end. After that the cache works on, empty and without room. That relies on the
//! standard library keeping a thread-local without destructor in place to the very end, as it
//! does where the platform has native thread-locals (Linux, macOS, Windows).

#[cfg(all(feature = "std", not(all(test, loom))))]
mod imp {
    use crate::account::Record;
    use crate::source::{Cache, Shelf};
    use core::cell::Cell;
    use core::ptr;

    /// The cache first: where it is not at the beginning, each block costs three instructions more.
    #[repr(C)]
    pub(crate) struct Local {
        pub(crate) cache: Cache,
        /// What the cache has no room for.
        pub(crate) shelf: Shelf,
        /// Null before it is first needed, and again after the thread's end.
        record: Cell<*const Record>,
        ended: Cell<bool>,
    }

    std::thread_local! {
        static LOCAL: Local = const {
            Local {
                cache: Cache::new(),
                shelf: Shelf::new(),
                record: Cell::new(ptr::null()),
                ended: Cell::new(false),
            }
        };
        static FAREWELL: Farewell = const { Farewell };
    }

    struct Farewell;

    impl Drop for Farewell {
        fn drop(&mut self) {
            with(|local| {
                local.ended.set(true);
                let record = local.record.replace(ptr::null());
                // SAFETY: null, or a record, which is never freed.
                if let Some(record) = unsafe { record.as_ref() } {
                    crate::account::thread_ends(record);
                }
                local.cache.close(&crate::source::Ground);
                local.shelf.leave();
            });
        }
    }

    #[inline(always)]
    pub(crate) fn with<R>(f: impl FnOnce(&Local) -> R) -> R {
        LOCAL.with(f)
    }

    /// Sees to it that the thread's end will be noticed; `false` when it is past.
    #[cold]
    pub(crate) fn enlist() -> bool {
        !ended() && FAREWELL.try_with(|_| ()).is_ok()
    }

    pub(crate) fn ended() -> bool {
        with(|local| local.ended.get())
    }

    /// The calling thread's record, or null. Only its address is looked at on hot paths.
    #[inline(always)]
    pub(crate) fn record() -> *const Record {
        with(|local| local.record.get())
    }

    /// The calling thread's record, made now if need be; null when the thread is at its end.
    #[cold]
    pub(crate) fn record_or_enlist() -> *const Record {
        let known = record();
        if !known.is_null() || !enlist() {
            return known;
        }
        let Some(record) = Record::register() else { return known };
        let made = ptr::from_ref(record);
        with(|local| local.record.set(made));
        made
    }
}

#[cfg(not(feature = "std"))]
mod imp {
    use crate::account::Record;
    use core::ptr;

    /// Without threads to tell apart every account takes the way that is right for all.
    #[inline(always)]
    pub(crate) fn record() -> *const Record {
        ptr::null()
    }

    pub(crate) fn record_or_enlist() -> *const Record {
        ptr::null()
    }
}

/// Where models are checked: loom's threads have records of their own, and no cache.
#[cfg(all(test, loom))]
mod imp {
    use crate::account::Record;
    use crate::source::{Cache, Shelf};
    use core::cell::Cell;
    use core::ptr;

    pub(crate) struct Local {
        pub(crate) cache: Cache,
        pub(crate) shelf: Shelf,
    }

    /// A thread's record, and whether it has come to its end.
    struct Owned(Cell<*const Record>, Cell<bool>);

    loom::thread_local! {
        static RECORD: Owned = Owned(Cell::new(ptr::null()), Cell::new(false));
    }

    /// The end of a thread. Models call it, since loom lets a thread be joined before what is
    /// local to it is dropped.
    pub(crate) fn ends() {
        let record = RECORD.with(|owned| {
            owned.1.set(true);
            owned.0.replace(ptr::null())
        });
        // SAFETY: null, or a record, which is never freed.
        if let Some(record) = unsafe { record.as_ref() } {
            crate::account::thread_ends(record);
        }
    }

    pub(crate) fn with<R>(f: impl FnOnce(&Local) -> R) -> R {
        f(&Local { cache: Cache::new(), shelf: Shelf::new() })
    }

    pub(crate) fn enlist() -> bool {
        !ended()
    }

    pub(crate) fn ended() -> bool {
        RECORD.with(|owned| owned.1.get())
    }

    pub(crate) fn record() -> *const Record {
        RECORD.with(|owned| owned.0.get())
    }

    pub(crate) fn record_or_enlist() -> *const Record {
        if ended() || !record().is_null() {
            return record();
        }
        let Some(made) = Record::register() else { return ptr::null() };
        let made = ptr::from_ref(made);
        RECORD.with(|owned| owned.0.set(made));
        made
    }
}

pub(crate) use imp::*;
