//! The peers in C and C++, as the build found them: each gives a batch, or says why there is none.

use std::ffi::c_void;
#[cfg(has_nginx)]
use std::time::Duration;

use crate::groups::threads::Clock;
use crate::harness::Subject;
#[allow(unused_imports)]
use crate::harness::timed;

/// A table of sizes, as the loops take it.
pub(crate) type Sizes = &'static [u32];

#[cfg(has_nginx)]
mod nginx_loops {
    use super::c_void;
    use crate::groups::trace::Op;
    macro_rules! loops {
        ($($name:ident: $request:ident $reset:ident $full:ident $create:ident $destroy:ident $palloc:ident $large:ident $replay:ident;)*) => {
            unsafe extern "C" {
                $(
                    pub(super) fn $request(sizes: *const u32, count: usize, pool: usize, times: u64);
                    pub(super) fn $reset(sizes: *const u32, count: usize, pool: usize, times: u64);
                    pub(super) fn $full(sizes: *const u32, count: usize, pool: usize, large: usize, pushes: usize, times: u64);
                    pub(super) fn $create(size: usize) -> *mut c_void;
                    pub(super) fn $destroy(pool: *mut c_void);
                    pub(super) fn $palloc(pool: *mut c_void, size: usize) -> *mut c_void;
                    pub(super) fn $large(pool: *mut c_void, objects: *mut *mut c_void, order: *const u32, mask: usize, size: usize, times: u64);
                    pub(super) fn $replay(ops: *const Op, count: usize, pools: *mut *mut c_void, handles: *mut *mut c_void, times: u64);
                )*
            }
            $(
                pub(super) const $name: Loops = Loops {
                    request: $request, reset: $reset, full: $full, create: $create, destroy: $destroy, palloc: $palloc, large: $large, replay: $replay };
            )*
        };
    }
    /// One build of nginx's pools.
    #[derive(Clone, Copy)]
    pub(super) struct Loops {
        pub(super) request: unsafe extern "C" fn(*const u32, usize, usize, u64),
        pub(super) reset: unsafe extern "C" fn(*const u32, usize, usize, u64),
        pub(super) full: unsafe extern "C" fn(*const u32, usize, usize, usize, usize, u64),
        pub(super) create: unsafe extern "C" fn(usize) -> *mut c_void,
        pub(super) destroy: unsafe extern "C" fn(*mut c_void),
        pub(super) palloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
        pub(super) large:
            unsafe extern "C" fn(*mut c_void, *mut *mut c_void, *const u32, usize, usize, u64),
        pub(super) replay:
            unsafe extern "C" fn(*const Op, usize, *mut *mut c_void, *mut *mut c_void, u64),
    }
    loops! {
        O1: nginx_o1_request nginx_o1_reset nginx_o1_request_full nginx_o1_create nginx_o1_destroy nginx_o1_palloc nginx_o1_large nginx_o1_replay;
        O2: nginx_o2_request nginx_o2_reset nginx_o2_request_full nginx_o2_create nginx_o2_destroy nginx_o2_palloc nginx_o2_large nginx_o2_replay;
    }
}

/// nginx's own C as its configure compiles it, and at -O2.
pub(crate) const NGINX: &str = "nginx";
/// As above.
pub(crate) const NGINX_O2: &str = "nginx -O2";
/// Why nginx is missing.
#[cfg(not(has_nginx))]
pub(crate) const NO_NGINX: &str = "not built (see the build's warning)";
/// nginx's own size of a request's pool.
pub(crate) const NGINX_POOL: usize = 4096;

/// nginx's `request`, `reset` or `full` loop, for both builds.
#[cfg(has_nginx)]
pub(crate) fn nginx(work: NginxWork, sizes: Sizes) -> Vec<Subject> {
    use nginx_loops::{O1, O2};
    [(NGINX, O1), (NGINX_O2, O2)]
        .into_iter()
        .map(|(name, loops)| {
            Subject::new(name, move |times| {
                let (start, count) = (sizes.as_ptr(), sizes.len());
                timed(|| match work {
                    NginxWork::Request => {
                        // SAFETY: the table is `count` long, outlives the call, and is not kept.
                        unsafe { (loops.request)(start, count, NGINX_POOL, times) }
                    }
                    NginxWork::Reset => {
                        // SAFETY: as above.
                        unsafe { (loops.reset)(start, count, NGINX_POOL, times) }
                    }
                    NginxWork::Full { large, pushes } => {
                        // SAFETY: as above.
                        unsafe { (loops.full)(start, count, NGINX_POOL, large, pushes, times) }
                    }
                })
            })
            .holding(NGINX_POOL)
        })
        .collect()
}

/// cenote's pools under nginx's names, in the same loops.
#[cfg(has_nginx)]
pub(crate) fn nginx_names(work: NginxWork, sizes: Sizes) -> Vec<Subject> {
    unsafe extern "C" {
        fn nginx_cenote_request(sizes: *const u32, count: usize, pool: usize, times: u64);
        fn nginx_cenote_reset(sizes: *const u32, count: usize, pool: usize, times: u64);
    }
    let work: unsafe extern "C" fn(*const u32, usize, usize, u64) =
        if matches!(work, NginxWork::Reset) { nginx_cenote_reset } else { nginx_cenote_request };
    vec![
        Subject::new("cenote under nginx's names", move |times| {
            // SAFETY: the table is as long as it says and outlives the call; the loops keep nothing.
            timed(|| unsafe { work(sizes.as_ptr(), sizes.len(), NGINX_POOL, times) })
        })
        .holding(NGINX_POOL),
    ]
}

/// As above, where nginx is missing.
#[cfg(not(has_nginx))]
pub(crate) fn nginx_names(_: NginxWork, _: Sizes) -> Vec<Subject> {
    vec![Subject::missing("cenote under nginx's names", NO_NGINX)]
}

/// As above, where nginx is missing.
#[cfg(not(has_nginx))]
pub(crate) fn nginx(_: NginxWork, _: Sizes) -> Vec<Subject> {
    vec![Subject::missing(NGINX, NO_NGINX), Subject::missing(NGINX_O2, NO_NGINX)]
}

/// nginx's requests on several threads.
#[cfg(has_nginx)]
pub(crate) fn nginx_threads(threads: usize, clock: Clock) -> Vec<Subject> {
    let sizes = crate::work::request_sizes();
    vec![crate::groups::threads::spread(NGINX, threads, clock, move |times| {
        // SAFETY: the table is as long as it says; pools are made and destroyed within the loop.
        unsafe { (nginx_loops::O1.request)(sizes.as_ptr(), sizes.len(), NGINX_POOL, times) };
    })]
}

/// As above, where nginx is missing.
#[cfg(not(has_nginx))]
pub(crate) fn nginx_threads(_: usize, _: Clock) -> Vec<Subject> {
    vec![Subject::missing(NGINX, NO_NGINX)]
}

/// Which of the loops.
#[derive(Clone, Copy)]
#[cfg_attr(not(has_nginx), allow(dead_code))]
pub(crate) enum NginxWork {
    /// Create, allocate, destroy.
    Request,
    /// Allocate, reset.
    Reset,
    /// A fuller request.
    Full {
        /// Bytes of each large object.
        large: usize,
        /// Values pushed to each array.
        pushes: usize,
    },
}

/// Frees one of `live` large objects and allocates another. nginx's list of large objects keeps an
/// entry for most of those that were freed, so a pool that lives on gets slower and slower; here it
/// is made anew, outside the time, before the list is twice as long.
#[cfg(has_nginx)]
pub(crate) fn nginx_large(live: usize, size: usize, order: &'static [u32]) -> Vec<Subject> {
    use nginx_loops::{O1, O2};
    [(NGINX, O1), (NGINX_O2, O2)]
        .into_iter()
        .map(|(name, loops)| {
            let term = live.max(64) as u64;
            let mut pool = LargePool::new(loops, live, size);
            let (mut used, mut at) = (0, 0);
            Subject::new(name, move |times| {
                let (mut left, mut took) = (times, Duration::ZERO);
                while left > 0 {
                    if used == term {
                        pool = LargePool::new(loops, live, size);
                        used = 0;
                    }
                    let now = left.min(term - used).min((order.len() - at) as u64);
                    // SAFETY: every number in `order` is below `live`, and `now` of them are left.
                    took += timed(|| unsafe {
                        (loops.large)(
                            pool.pool,
                            pool.objects.as_mut_ptr(),
                            order[at..].as_ptr(),
                            usize::MAX,
                            size,
                            now,
                        );
                    });
                    at = (at + now as usize) % order.len();
                    used += now;
                    left -= now;
                }
                took
            })
        })
        .collect()
}

/// A pool of nginx's with large objects in it.
#[cfg(has_nginx)]
struct LargePool {
    pool: *mut c_void,
    objects: Vec<*mut c_void>,
    loops: nginx_loops::Loops,
}

#[cfg(has_nginx)]
impl LargePool {
    fn new(loops: nginx_loops::Loops, live: usize, size: usize) -> Self {
        // SAFETY: no conditions.
        let pool = unsafe { (loops.create)(NGINX_POOL) };
        // SAFETY: the pool is live.
        let objects: Vec<_> = (0..live).map(|_| unsafe { (loops.palloc)(pool, size) }).collect();
        // So that no page of theirs is new when time is taken.
        objects.iter().for_each(|object| crate::work::touch(object.cast(), 0));
        Self { pool, objects, loops }
    }
}

#[cfg(has_nginx)]
impl Drop for LargePool {
    fn drop(&mut self) {
        // SAFETY: made by the same build, destroyed once.
        unsafe { (self.loops.destroy)(self.pool) }
    }
}

/// As above, where nginx is missing.
#[cfg(not(has_nginx))]
pub(crate) fn nginx_large(_: usize, _: usize, _: &'static [u32]) -> Vec<Subject> {
    vec![Subject::missing(NGINX, NO_NGINX), Subject::missing(NGINX_O2, NO_NGINX)]
}

/// One of nginx's pools.
#[cfg(has_nginx)]
pub(crate) struct NginxPool(*mut c_void);

#[cfg(has_nginx)]
impl NginxPool {
    /// Whether nginx was built.
    pub(crate) const HERE: bool = true;

    pub(crate) fn new(size: usize) -> Self {
        // SAFETY: no conditions.
        Self(unsafe { (nginx_loops::O1.create)(size) })
    }

    pub(crate) fn get(&mut self, size: usize) -> *mut u8 {
        // SAFETY: the pool is live.
        unsafe { (nginx_loops::O1.palloc)(self.0, size) }.cast()
    }
}

#[cfg(has_nginx)]
impl Drop for NginxPool {
    fn drop(&mut self) {
        // SAFETY: made by the same build, destroyed once.
        unsafe { (nginx_loops::O1.destroy)(self.0) }
    }
}

/// As above, where nginx is missing; then it is never made.
#[cfg(not(has_nginx))]
pub(crate) struct NginxPool;

#[cfg(not(has_nginx))]
impl NginxPool {
    pub(crate) const HERE: bool = false;

    pub(crate) fn new(_: usize) -> Self {
        Self
    }

    pub(crate) fn get(&mut self, _: usize) -> *mut u8 {
        std::ptr::null_mut()
    }
}

/// Plays a recorded trace.
#[cfg(has_nginx)]
pub(crate) fn nginx_replay(trace: &'static crate::groups::trace::Trace) -> Vec<Subject> {
    use nginx_loops::{O1, O2};
    [(NGINX, O1), (NGINX_O2, O2)]
        .into_iter()
        .map(|(name, loops)| {
            let mut pools = vec![std::ptr::null_mut(); trace.pools];
            let mut handles = vec![std::ptr::null_mut(); trace.handles];
            Subject::new(name, move |times| {
                timed(|| {
                    // SAFETY: the tables have room for all numbers of the trace, which destroys what
                    // it creates.
                    unsafe {
                        (loops.replay)(
                            trace.ops.as_ptr(),
                            trace.ops.len(),
                            pools.as_mut_ptr(),
                            handles.as_mut_ptr(),
                            times,
                        );
                    }
                })
            })
        })
        .collect()
}

/// As above, where nginx is missing.
#[cfg(not(has_nginx))]
pub(crate) fn nginx_replay(_: &'static crate::groups::trace::Trace) -> Vec<Subject> {
    vec![Subject::missing(NGINX, NO_NGINX), Subject::missing(NGINX_O2, NO_NGINX)]
}

/// Where a C library is missing.
#[allow(dead_code)]
const NOT_INSTALLED: &str = "not installed";

/// The two loops of one C pool.
#[cfg(any(has_apr, has_obstack, has_pmr))]
type Loop = unsafe extern "C" fn(*const u32, usize, u64);

#[cfg(any(has_apr, has_obstack, has_pmr))]
fn looped(name: &str, work: Loop, sizes: Sizes) -> Subject {
    Subject::new(name, move |times| {
        // SAFETY: the table is as long as it says and outlives the call; the loops keep nothing.
        timed(|| unsafe { work(sizes.as_ptr(), sizes.len(), times) })
    })
}

#[cfg(has_apr)]
unsafe extern "C" {
    fn apr_request(sizes: *const u32, count: usize, times: u64);
    fn apr_reset(sizes: *const u32, count: usize, times: u64);
}
#[cfg(has_obstack)]
unsafe extern "C" {
    fn obstack_request(sizes: *const u32, count: usize, times: u64);
    fn obstack_reset(sizes: *const u32, count: usize, times: u64);
}
#[cfg(has_pmr)]
unsafe extern "C" {
    fn pmr_request(sizes: *const u32, count: usize, times: u64);
    fn pmr_reset(sizes: *const u32, count: usize, times: u64);
    fn pmr_pool_new() -> *mut c_void;
    fn pmr_pool_delete(pool: *mut c_void);
    fn pmr_pool_get(pool: *mut c_void, size: usize) -> *mut c_void;
    fn pmr_pool_put(pool: *mut c_void, start: *mut c_void, size: usize);
}
#[cfg(has_talloc)]
unsafe extern "C" {
    fn talloc_request(sizes: *const u32, count: usize, pool: usize, times: u64);
    fn talloc_reset(sizes: *const u32, count: usize, pool: usize, times: u64);
}

/// The C and C++ pools but nginx's, in requests with a pool of their own.
pub(crate) fn others_request(sizes: Sizes) -> Vec<Subject> {
    vec![
        #[cfg(has_apr)]
        looped("APR pool", apr_request, sizes),
        #[cfg(not(has_apr))]
        Subject::missing("APR pool", NOT_INSTALLED),
        #[cfg(has_obstack)]
        looped("obstack", obstack_request, sizes),
        #[cfg(not(has_obstack))]
        Subject::missing("obstack", NOT_INSTALLED),
        #[cfg(has_pmr)]
        looped("std::pmr monotonic(4096)", pmr_request, sizes),
        #[cfg(not(has_pmr))]
        Subject::missing("std::pmr monotonic(4096)", NOT_INSTALLED),
        #[cfg(has_talloc)]
        Subject::new("talloc", move |times| {
            // SAFETY: as in `looped`.
            timed(|| unsafe { talloc_request(sizes.as_ptr(), sizes.len(), 0, times) })
        }),
        #[cfg(has_talloc)]
        Subject::new("talloc_pool(8192)", move |times| {
            // SAFETY: as in `looped`.
            timed(|| unsafe { talloc_request(sizes.as_ptr(), sizes.len(), 8192, times) })
        }),
        #[cfg(not(has_talloc))]
        Subject::missing("talloc", NOT_INSTALLED),
    ]
}

/// The same in one pool that is emptied after each request.
pub(crate) fn others_reset(sizes: Sizes) -> Vec<Subject> {
    vec![
        #[cfg(has_apr)]
        looped("APR pool, clear", apr_reset, sizes),
        #[cfg(not(has_apr))]
        Subject::missing("APR pool, clear", NOT_INSTALLED),
        #[cfg(has_obstack)]
        looped("obstack, free to a mark", obstack_reset, sizes),
        #[cfg(not(has_obstack))]
        Subject::missing("obstack, free to a mark", NOT_INSTALLED),
        #[cfg(has_pmr)]
        looped("std::pmr monotonic over a buffer, release", pmr_reset, sizes),
        #[cfg(not(has_pmr))]
        Subject::missing("std::pmr monotonic over a buffer, release", NOT_INSTALLED),
        #[cfg(has_talloc)]
        Subject::new("talloc_pool(8192), free children", move |times| {
            // SAFETY: as in `looped`.
            timed(|| unsafe { talloc_reset(sizes.as_ptr(), sizes.len(), 8192, times) })
        }),
        #[cfg(not(has_talloc))]
        Subject::missing("talloc_pool(8192), free children", NOT_INSTALLED),
    ]
}

/// `std::pmr::unsynchronized_pool_resource`, object by object.
#[cfg(has_pmr)]
pub(crate) struct PmrPool(*mut c_void);

#[cfg(has_pmr)]
impl PmrPool {
    pub(crate) fn new() -> Self {
        // SAFETY: no conditions.
        Self(unsafe { pmr_pool_new() })
    }
}

#[cfg(has_pmr)]
impl Drop for PmrPool {
    fn drop(&mut self) {
        // SAFETY: made by `new`, deleted once.
        unsafe { pmr_pool_delete(self.0) }
    }
}

#[cfg(has_pmr)]
impl super::mallocs::Malloc for PmrPool {
    #[inline(always)]
    fn get(&self, layout: std::alloc::Layout) -> *mut u8 {
        // SAFETY: the pool is live.
        unsafe { pmr_pool_get(self.0, layout.size()) }.cast()
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, layout: std::alloc::Layout) {
        // SAFETY: the caller's promise.
        unsafe { pmr_pool_put(self.0, start.cast(), layout.size()) }
    }
}
