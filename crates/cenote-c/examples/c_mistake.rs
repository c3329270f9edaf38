//! Makes one mistake with one kind of handle, through the C ABI: see the example `mistake` of
//! `cenote`, whose mistakes these are, and what it is for. It calls what the header declares, as a
//! C program does; being Rust, it is built with the sanitizer that the library is built with.
//!
//! ```sh
//! cargo run -p cenote-c --example c_mistake c-counted double-free
//! ```

#[path = "../../cenote/examples/mistake/make.rs"]
mod make;

use core::ffi::{c_int, c_void};
use make::{MISTAKES, Memory, make};
use std::alloc::Layout;
use std::process::ExitCode;
use std::ptr::NonNull;

use cenote_c::{cenote_buddy_t, cenote_chunk_t, cenote_counted_t, cenote_pool_t};

const POOLS: [&str; 4] = ["c-pool", "c-counted", "c-chunk", "c-buddy"];

macro_rules! handle {
    ($name:ident, $kind:ty, $alloc:ident, $free:ident, $destroy:ident, $reset:expr, $large:expr) => {
        struct $name(*mut $kind);

        impl Memory for $name {
            fn take(&self, layout: Layout) -> NonNull<u8> {
                // SAFETY: a live handle.
                let object = unsafe { cenote_c::$alloc(self.0, layout.size()) };
                NonNull::new(object.cast()).expect("there is memory")
            }

            unsafe fn give(&self, object: NonNull<u8>, _layout: Layout) {
                // SAFETY: a live handle; for the object, the caller's promise, or mistake.
                let status = unsafe { cenote_c::$free(self.0, object.as_ptr().cast()) };
                if status != 0 {
                    // Where the policy is not to abort, this is how a program learns of it.
                    eprintln!("cenote: pool of C is told so: status {status}");
                    std::process::exit(4);
                }
            }

            fn reset(&mut self) -> bool {
                let reset: Option<unsafe extern "C" fn(*mut $kind) -> c_int> = $reset;
                // SAFETY: a live handle.
                reset.is_some_and(|reset| unsafe { reset(self.0) } == 0)
            }

            fn freeable(&self) -> Layout {
                if $large { Layout::new::<[u64; 12500]>() } else { Layout::new::<[u64; 4]>() }
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: a live handle, and used no more.
                unsafe { cenote_c::$destroy(self.0) };
            }
        }
    };
}

handle!(
    CPool,
    cenote_pool_t,
    cenote_pool_alloc,
    cenote_pool_free,
    cenote_pool_destroy,
    Some(cenote_c::cenote_pool_reset),
    true
);
handle!(
    CCounted,
    cenote_counted_t,
    cenote_counted_alloc,
    cenote_counted_free,
    cenote_counted_destroy,
    Some(cenote_c::cenote_counted_reset),
    false
);
handle!(
    CChunk,
    cenote_chunk_t,
    cenote_chunk_alloc,
    cenote_chunk_free,
    cenote_chunk_destroy,
    Some(cenote_c::cenote_chunk_reset),
    false
);
handle!(
    CBuddy,
    cenote_buddy_t,
    cenote_buddy_alloc,
    cenote_buddy_free,
    cenote_buddy_destroy,
    None,
    false
);

/// What has no like in Rust: a handle that is used after it was destroyed.
fn destroyed(pool: &str) {
    let object: *mut c_void = match pool {
        "c-pool" => {
            let pool = cenote_c::cenote_pool_create();
            // SAFETY: a live handle, and none: that is the mistake, which the header allows.
            unsafe { cenote_c::cenote_pool_destroy(pool) };
            // SAFETY: likewise.
            unsafe { cenote_c::cenote_pool_alloc(pool, 32) }
        }
        "c-counted" => {
            let pool = cenote_c::cenote_counted_create();
            // SAFETY: likewise.
            unsafe { cenote_c::cenote_counted_destroy(pool) };
            // SAFETY: likewise.
            unsafe { cenote_c::cenote_counted_alloc(pool, 32) }
        }
        "c-chunk" => {
            let pool = cenote_c::cenote_chunk_create();
            // SAFETY: likewise.
            unsafe { cenote_c::cenote_chunk_destroy(pool) };
            // SAFETY: likewise.
            unsafe { cenote_c::cenote_chunk_alloc(pool, 32) }
        }
        _ => {
            let buddy = cenote_c::cenote_buddy_create(1 << 20);
            // SAFETY: likewise.
            unsafe { cenote_c::cenote_buddy_destroy(buddy) };
            // SAFETY: likewise.
            unsafe { cenote_c::cenote_buddy_alloc(buddy, 32) }
        }
    };
    assert!(object.is_null(), "there is no such pool any more");
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (pool, mistake) = (arguments.next(), arguments.next());
    let (pool, mistake) = (pool.as_deref().unwrap_or(""), mistake.as_deref().unwrap_or(""));
    if mistake == "handle-after-destroy" && POOLS.contains(&pool) {
        destroyed(pool);
        return ExitCode::SUCCESS;
    }
    if !POOLS.contains(&pool) || !MISTAKES.contains(&mistake) {
        let mistakes = MISTAKES.join("|");
        eprintln!("usage: c_mistake {} {mistakes}|handle-after-destroy", POOLS.join("|"));
        return ExitCode::from(2);
    }
    let buddy = || CBuddy(cenote_c::cenote_buddy_create(1 << 20));
    let made = match pool {
        "c-pool" => {
            let pool = || CPool(cenote_c::cenote_pool_create());
            make(mistake, pool(), pool())
        }
        "c-counted" => {
            let pool = || CCounted(cenote_c::cenote_counted_create());
            make(mistake, pool(), pool())
        }
        "c-chunk" => {
            let pool = || CChunk(cenote_c::cenote_chunk_create());
            make(mistake, pool(), pool())
        }
        _ => make(mistake, buddy(), buddy()),
    };
    // 3: there is no such mistake to be made.
    if made { ExitCode::SUCCESS } else { ExitCode::from(3) }
}
