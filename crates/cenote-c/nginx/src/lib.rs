//! nginx's pool functions on cenote's blocks, to be linked into nginx.
//!
//! The twelve functions of nginx's `ngx_palloc.c`, under their own names and for nginx's own
//! structs: [`ngx_create_pool`] and those after it. nginx is built with them by the add-on
//! that this crate's folder is (`config`); nothing else in nginx changes.
//!
//! - A pool's first 80 bytes are nginx's, and are used as the rest of nginx uses them: its
//!   array code moves `d.last`, its buffer code `chain`, its modules walk and change `cleanup`,
//!   and `log` changes all the time. So they are read again at every use.
//! - What cenote adds about a block stands in front of it, where nginx does not look.
//! - Blocks come from a cache for each thread over nginx's own `ngx_memalign`, so that a
//!   request's pools cost no call to it once the worker is warm.
//! - Freeing a large object takes the same time however many are live; a reset gives blocks
//!   back and runs the cleanups; a cleanup that is added while the pool is destroyed runs; pools
//!   that keep growing take larger blocks; a pool's size need not be a multiple of 16.
//! - Live pools are listed by who made them, for the status page (`cenote_status` in a
//!   location). That costs nothing where objects are allocated.
//! - `CENOTE_DEBUG=passthrough` in the environment gives every object memory of its own, so
//!   that sanitizers and valgrind see each.
//!
//! The layers, each knowing only those above it: `abi` (nginx's structs and functions), `log`,
//! `window` (arithmetic), `block` (blocks and their cache), `creator` (who made which pools),
//! `pool` (the small path), `large`, `cleanup`, `life` (create, reset, destroy), `exports`, and
//! beside them `status`.

#[cfg(not(unix))]
compile_error!("nginx's pools are for unix: files are closed and unlinked here");

mod abi;
mod block;
mod cleanup;
mod creator;
mod exports;
mod large;
mod life;
mod log;
mod pool;
mod status;
mod window;

pub use abi::{CleanupHandler, CleanupRecord, FileCleanup, LargeRecord, Log, Pool, PoolData};
pub use exports::{
    ngx_create_pool, ngx_destroy_pool, ngx_palloc, ngx_pcalloc, ngx_pfree, ngx_pmemalign,
    ngx_pnalloc, ngx_pool_cleanup_add, ngx_pool_cleanup_file, ngx_pool_delete_file,
    ngx_pool_run_cleanup_file, ngx_reset_pool,
};
pub use status::cenote_nginx_status;
