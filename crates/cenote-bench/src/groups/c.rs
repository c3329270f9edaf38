//! cenote from C: through its own ABI, and under nginx's own names.

use std::ffi::c_void;

// Only their C functions are called.
use cenote_c as _;
use cenote_nginx as _;

use crate::harness::{Case, Subject, timed};
use crate::peers::c::{self, NginxWork};
use crate::work::{Random, request_sizes};

pub(crate) const REQUEST: &str = "request: make, 40 allocations, drop";
const OWN: &str = "cenote through its C ABI";
/// As programs call it whose language has no use for the header.
const CALLS: &str = "cenote through its C ABI, calls alone";
const SIZE: usize = 20_000;
const PLAN: usize = 1 << 16;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(REQUEST, "request", || {
            let mut all = vec![own(OWN, capi_request), own(CALLS, capi_request_calls)];
            all.extend(c::nginx_names(NginxWork::Request, request_sizes()));
            all.extend(c::nginx(NginxWork::Request, request_sizes()));
            all
        }),
        Case::new("request: 40 allocations, reset", "request", || {
            let mut all = vec![own(OWN, capi_reset), own(CALLS, capi_reset_calls)];
            all.extend(c::nginx_names(NginxWork::Reset, request_sizes()));
            all.extend(c::nginx(NginxWork::Reset, request_sizes()));
            all
        }),
        Case::new("large: 1,000 live", "free and allocate", || {
            let mut random = Random::new();
            let order: &'static [u32] =
                (0..PLAN).map(|_| random.below(1_000) as u32).collect::<Vec<_>>().leak();
            let mut all = vec![large(1_000, order)];
            all.extend(c::nginx_large(1_000, SIZE, order));
            all
        }),
        Case::new("chunk: 16 to 256 B, 4,096 live", "free and allocate", || {
            vec![
                chunk("cenote through its C ABI, checked free", true),
                chunk("glibc malloc", false),
            ]
        }),
    ]
}

unsafe extern "C" {
    fn capi_request(sizes: *const u32, count: usize, times: u64);
    fn capi_reset(sizes: *const u32, count: usize, times: u64);
    fn capi_request_calls(sizes: *const u32, count: usize, times: u64);
    fn capi_reset_calls(sizes: *const u32, count: usize, times: u64);
    fn capi_large_create(objects: *mut *mut c_void, live: usize, size: usize) -> *mut c_void;
    fn capi_large_destroy(pool: *mut c_void);
    fn capi_large(
        pool: *mut c_void,
        objects: *mut *mut c_void,
        order: *const u32,
        size: usize,
        times: u64,
    );
    fn capi_chunk_create() -> *mut c_void;
    fn capi_chunk_destroy(pool: *mut c_void);
    fn capi_chunk(
        pool: *mut c_void,
        objects: *mut *mut c_void,
        order: *const u32,
        sizes: *const u32,
        mask: usize,
        times: u64,
    );
}

fn own(name: &str, work: unsafe extern "C" fn(*const u32, usize, u64)) -> Subject {
    let sizes = request_sizes();
    Subject::new(name, move |times| {
        // SAFETY: the table is as long as it says; the loops keep nothing.
        timed(|| unsafe { work(sizes.as_ptr(), sizes.len(), times) })
    })
}

/// Something of C's that ends with its subject.
struct Keep(*mut c_void, unsafe extern "C" fn(*mut c_void));
impl Drop for Keep {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by the create that belongs to it, ended once.
            unsafe { (self.1)(self.0) }
        }
    }
}

fn large(live: usize, order: &'static [u32]) -> Subject {
    let mut objects = vec![std::ptr::null_mut(); live];
    // SAFETY: there is room for `live`.
    let pool =
        Keep(unsafe { capi_large_create(objects.as_mut_ptr(), live, SIZE) }, capi_large_destroy);
    let mut at = 0;
    Subject::new(OWN, move |times| {
        let mut left = times as usize;
        let mut took = std::time::Duration::ZERO;
        let pool = &pool;
        while left > 0 {
            let now = left.min(order.len() - at);
            // SAFETY: `now` entries of `order` are left, each below `live`.
            took += timed(|| unsafe {
                capi_large(pool.0, objects.as_mut_ptr(), order[at..].as_ptr(), SIZE, now as u64);
            });
            at = (at + now) % order.len();
            left -= now;
        }
        took
    })
}

fn chunk(name: &str, pooled: bool) -> Subject {
    const LIVE: usize = 4_096;
    let mut random = Random::new();
    let order: Vec<u32> = (0..PLAN).map(|_| random.below(LIVE as u64) as u32).collect();
    let sizes: Vec<u32> = (0..PLAN).map(|_| 16 + random.below(241) as u32).collect();
    let mut objects = vec![std::ptr::null_mut(); LIVE];
    let pool = if pooled {
        // SAFETY: no conditions.
        unsafe { capi_chunk_create() }
    } else {
        std::ptr::null_mut()
    };
    let pool = Keep(pool, capi_chunk_destroy);
    // SAFETY: the tables are `PLAN` long, and every place is below `LIVE`.
    unsafe {
        capi_chunk(
            pool.0,
            objects.as_mut_ptr(),
            order.as_ptr(),
            sizes.as_ptr(),
            PLAN - 1,
            PLAN as u64,
        )
    };
    Subject::new(name, move |times| {
        let pool = &pool;
        // SAFETY: as above.
        timed(|| unsafe {
            capi_chunk(
                pool.0,
                objects.as_mut_ptr(),
                order.as_ptr(),
                sizes.as_ptr(),
                PLAN - 1,
                times,
            );
        })
    })
}
