//! How a server's objects lie in memory: in cenote's pools, or each by itself in a malloc.

use anyhow::{Context, Result};
use cenote::{ChunkPool, Pool};

pub(crate) use crate::peers::mallocs::Glibc;
#[cfg(feature = "jemalloc")]
pub(crate) use crate::peers::mallocs::Jemalloc;
#[cfg(has_mimalloc2)]
use crate::peers::mallocs::Two;
use crate::peers::mallocs::{Malloc, Mimalloc, Three, Version};
use crate::work::layout;

use super::life::House;

/// A pool for each request, connection and session, and one for the cache.
pub(crate) struct Pools {
    cache: ChunkPool,
}

impl Pools {
    pub(crate) fn new() -> Self {
        let cache = ChunkPool::config()
            .name("cache")
            .page_size(4_096)
            .min_chunk_size(128)
            .classes_between(3)
            .descriptors_on_top(true)
            .build()
            .expect("sizes that can be");
        Self { cache }
    }
}

fn pool(first: usize) -> Pool {
    Pool::builder().first_block(first).build().expect("a size that can be")
}

impl House for Pools {
    type Request = Pool;
    type Connection = Pool;
    type Session = Pool;

    fn request(&mut self) -> Pool {
        Pool::new()
    }
    fn in_request(&mut self, request: &mut Pool, size: usize) -> *mut u8 {
        request.alloc_layout(layout(size)).as_ptr()
    }
    fn connection(&mut self) -> Pool {
        pool(256)
    }
    fn in_connection(&mut self, connection: &mut Pool, size: usize) -> *mut u8 {
        connection.alloc_layout(layout(size)).as_ptr()
    }
    /// A page at a time: what is behind the last object of a session that stays is left unused.
    fn session(&mut self) -> Pool {
        let pool = Pool::builder().first_block(4_096).largest_block(4_096);
        pool.build().expect("sizes that can be")
    }
    fn in_session(&mut self, session: &mut Pool, size: usize) -> *mut u8 {
        session.alloc_layout(layout(size)).as_ptr()
    }
    fn entry(&mut self, size: usize) -> *mut u8 {
        self.cache.alloc_layout(layout(size)).as_ptr()
    }
    unsafe fn drop_entry(&mut self, entry: *mut u8, size: usize) {
        // SAFETY: `entry` gave it, and the caller that it goes once.
        unsafe { self.cache.put(entry, layout(size)) };
    }
    /// What a server's timer is for.
    fn hour(&mut self) {
        self.cache.trim();
        cenote::Blocks::trim();
    }
    fn give_back(&mut self) {
        self.cache.trim();
        cenote::Blocks::trim();
        cenote::System::trim();
    }
}

/// A malloc that can be told to give back what is free.
pub(crate) trait Returns: Malloc + Copy {
    fn give_back(&self);
    fn hour(&self) {}
}

impl Returns for Glibc {
    fn give_back(&self) {
        // SAFETY: no conditions.
        unsafe { libc::malloc_trim(0) };
    }
}

impl<V: Version> Returns for Mimalloc<V> {
    fn give_back(&self) {
        V::collect();
    }
}

pub(crate) fn three() -> Mimalloc<Three> {
    Mimalloc(Three)
}

#[cfg(has_mimalloc2)]
pub(crate) fn two() -> Mimalloc<Two> {
    Mimalloc(Two)
}

#[cfg(feature = "jemalloc")]
impl Returns for Jemalloc {
    fn give_back(&self) {
        unsafe extern "C" {
            #[link_name = "_rjem_mallctl"]
            fn mallctl(
                name: *const libc::c_char,
                old: *mut libc::c_void,
                old_len: *mut usize,
                new: *mut libc::c_void,
                new_len: usize,
            ) -> libc::c_int;
        }
        // 4096: all arenas.
        for name in [c"thread.tcache.flush", c"arena.4096.purge"] {
            let none = std::ptr::null_mut();
            // SAFETY: neither takes or gives a value.
            unsafe { mallctl(name.as_ptr(), none, std::ptr::null_mut(), none, 0) };
        }
    }
}

/// The process's malloc, and what there is to be called for giving back what is free: glibc's own
/// each hour, or tcmalloc's, which has taken its place.
#[derive(Clone, Copy)]
pub(crate) struct InPlace {
    release: unsafe extern "C" fn(),
    each_hour: bool,
}

impl InPlace {
    /// glibc's, told each hour.
    pub(crate) fn trimmed() -> Self {
        extern "C" fn trim() {
            Glibc.give_back();
        }
        Self { release: trim, each_hour: true }
    }

    /// tcmalloc's, if it was preloaded.
    pub(crate) fn tcmalloc() -> Result<Self> {
        let name = c"MallocExtension_ReleaseFreeMemory";
        // SAFETY: a name that ends with a zero.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        let found = std::ptr::NonNull::new(found).context("tcmalloc was not preloaded")?;
        // SAFETY: tcmalloc's header declares it so.
        let release = unsafe {
            std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn()>(found.as_ptr())
        };
        Ok(Self { release, each_hour: false })
    }
}

impl Malloc for InPlace {
    #[inline(always)]
    fn get(&self, layout: std::alloc::Layout) -> *mut u8 {
        Glibc.get(layout)
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, layout: std::alloc::Layout) {
        // SAFETY: the caller's promise; both are the process's malloc.
        unsafe { Glibc.put(start, layout) }
    }
}

impl Returns for InPlace {
    fn give_back(&self) {
        // SAFETY: it takes no arguments and may be called at any time.
        unsafe { (self.release)() }
    }
    fn hour(&self) {
        if self.each_hour {
            self.give_back();
        }
    }
}

/// Each object by itself.
pub(crate) struct Objects<M>(pub(crate) M);

/// Objects that end together, in a table of the owner's own.
pub(crate) struct Owned<M: Malloc, const N: usize> {
    malloc: M,
    many: usize,
    all: [(*mut u8, u32); N],
}

impl<M: Malloc + Copy, const N: usize> Owned<M, N> {
    fn new(malloc: M) -> Self {
        Self { malloc, many: 0, all: [(std::ptr::null_mut(), 0); N] }
    }

    fn get(&mut self, size: usize) -> *mut u8 {
        let start = self.malloc.get(layout(size));
        self.all[self.many] = (start, size as u32);
        self.many += 1;
        start
    }
}

impl<M: Malloc, const N: usize> Drop for Owned<M, N> {
    fn drop(&mut self) {
        for &(start, size) in &self.all[..self.many] {
            // SAFETY: taken with this size, and freed once.
            unsafe { self.malloc.put(start, layout(size as usize)) };
        }
    }
}

impl<M: Returns> House for Objects<M> {
    type Request = Owned<M, 41>;
    type Connection = Owned<M, 5>;
    type Session = Owned<M, 48>;

    fn request(&mut self) -> Self::Request {
        Owned::new(self.0)
    }
    fn in_request(&mut self, request: &mut Self::Request, size: usize) -> *mut u8 {
        request.get(size)
    }
    fn connection(&mut self) -> Self::Connection {
        Owned::new(self.0)
    }
    fn in_connection(&mut self, connection: &mut Self::Connection, size: usize) -> *mut u8 {
        connection.get(size)
    }
    fn session(&mut self) -> Self::Session {
        Owned::new(self.0)
    }
    fn in_session(&mut self, session: &mut Self::Session, size: usize) -> *mut u8 {
        session.get(size)
    }
    fn entry(&mut self, size: usize) -> *mut u8 {
        self.0.get(layout(size))
    }
    unsafe fn drop_entry(&mut self, entry: *mut u8, size: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.put(entry, layout(size)) };
    }
    fn hour(&mut self) {
        self.0.hour();
    }
    fn give_back(&mut self) {
        self.0.give_back();
    }
}
