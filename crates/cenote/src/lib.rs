//! Memory pools for servers: one for every worker, connection and request.
//!
//! A server allocates in lifetimes. Giving each lifetime a [`Pool`] of its own makes
//! allocating a few instructions, makes freeing one step, keeps memory from fragmenting over
//! months, and - since a pool charges its blocks to an [`Account`] - tells who holds the
//! memory, and lets you bound it.
//!
//! ```
//! use cenote::{Account, Pool};
//!
//! // Once: who may hold how much.
//! let process = Account::root("process").with_limit(Some(64 << 20));
//! let requests = process.child("request").with_limit(Some(1 << 20));
//!
//! // For each request: a pool, and everything in it gone at its end.
//! let pool = Pool::on(&requests);
//! let path = pool.try_alloc_str("/index.html")?;
//! let mut headers = allocator_api2::vec::Vec::new_in(&pool);
//! headers.push(("host", "localhost"));
//! assert_eq!((path.len(), headers.len()), (11, 1));
//! assert_eq!(requests.held(), 4096);
//! # Ok::<(), cenote::AllocError>(())
//! ```
//!
//! # What there is
//!
//! - [`Pool`]: allocate by moving a pointer, give all back at once; large objects, cleanups,
//!   files, children, reset.
//! - [`CountedPool`]: each block given back when the last object in it is freed, for what
//!   lives for days; [`CountedBox`] frees one.
//! - [`ChunkPool`]: each object given back by itself, for tables and caches.
//! - [`Account`]: the tree of who holds what, with limits and live figures.
//! - [`Reservation`]: bytes of an account for memory that lies elsewhere, such as a `Vec`'s or a C
//!   library's.
//! - [`Chain`]: buffers in a pool, written with vectored I/O.
//! - [`SharedPool`]: a pool with handles on several threads, for async services;
//!   [`SharedBuffer`] grows in one, and `Freeze` (feature `bytes`) makes `Bytes` of what is there.
//! - [`Kept`]: something in a pool that keeps the pool alive, such as a response's body.
//! - [`Buddy`]: pages of one region, split and merged by powers of two.
//! - [`BlockSource`], and the sources [`Blocks`] (a cache for each thread), [`SharedBlocks`] (with a
//!   depot behind them, for pools that go from thread to thread), [`System`],
//!   `&Pool`, `&Buddy`, [`Cached`] free lists over any of them, [`Locked`] for several threads,
//!   and [`Faulty`] for tests.
//! - [`inspect`]: snapshots of pools and accounts, as values and as text.
//!
//! # Which pool
//!
//! | pool | memory comes back | for | instructions | overhead |
//! |---|---|---|---|---|
//! | [`Pool`] | all at once; large objects and the newest at any time | a request, a connection that ends soon | 12 | 32 B a block |
//! | [`CountedPool`] | a block, when the last object in it is freed | a connection of days, whose messages come and go roughly in order | 44 with the free | 48 B a block of 4 KiB |
//! | [`ChunkPool`] | an object at a time | tables, caches: objects that come and go in any order | 42 with the free | 24 B a page, and rounding to the chunk's size |
//! | [`SharedPool`] | all at once, when the last handle goes | what several tasks or threads share, and what is held across `.await` | 31, one of them a compare-and-swap | 32 B a block, and some 190 B |
//! | [`Buddy`] | pages, split and merged by powers of two | a region of your own that pools stand on | 115 with the free | 1 B a page |
//!
//! Instructions as callgrind counts them on x86-64, for one object of a layout known at run time.
//!
//! `&Pool`, `&CountedPool`, `&ChunkPool` and `SharedPool` are allocators for the collections of `allocator-api2` 0.2 (the default; hashbrown
//! uses it too), of 0.4 (feature `allocator-api2-04`), and of the standard library: from Rust 1.100 on,
//! where its `Allocator` is stable, with no feature; of nightly's before that with the feature `nightly`.
//!
//! # Features
//!
//! | feature | default | gives |
//! |---|---|---|
//! | `std` | yes | the block cache, files in pools, `io` traits, panics of cleanups caught |
//! | `allocator-api2` | yes | `&Pool` as allocator of allocator-api2 0.2 |
//! | `allocator-api2-04` | no | the same for 0.4 |
//! | `nightly` | no | the same for the standard library's own trait, where that is not stable |
//! | `bytes` | no | `bytes::Buf` for [`Chain`], `bytes::Bytes` that keep their pool |
//! | `serde` | no | `Serialize` for snapshots |
//! | `valgrind` | no | valgrind sees each object, see [`debug`]; a gap of 16 bytes behind each |
//!
//! Without `std` the crate needs `core` and `alloc` only.

#![no_std]
#![cfg_attr(cenote_allocator_unstable, feature(allocator_api))]
// Where documentation is made for the web it says which feature gives what.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]
// What only the allocator adapters use.
#![cfg_attr(
    not(any(feature = "allocator-api2", feature = "allocator-api2-04", cenote_allocator)),
    allow(dead_code)
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod account;
mod asymmetric;
mod chain;
mod chunk;
mod cleanup;
mod collections;
#[cfg(feature = "std")]
mod container;
mod copy;
mod counted;
pub mod debug;
mod empty;
mod error;
#[cfg(all(unix, feature = "std"))]
mod files;
mod fill;
mod gate;
pub mod inspect;
mod kept;
mod large;
mod line;
pub mod misuse;
mod placed;
mod pool;
mod seats;
mod shared;
pub mod size;
mod source;
mod supply;
mod sync;
mod table;
mod thread;
mod told;
pub mod window;

pub use account::{Account, Reservation, Reserve};
pub use chain::{Chain, ChainPool};
pub use chunk::{ChunkPool, ChunkPoolConfig, ChunkPoolStat};
pub use cleanup::{Cleanup, CleanupKey};
#[cfg(feature = "std")]
pub use container::{ContainerMemory, MemorySource};
pub use counted::{CountedBox, CountedPool, CountedPoolBuilder};
pub use error::{AllocError, ConfigError};
pub use kept::{Kept, PoolHandle};
#[doc(hidden)]
pub use line::begins_a_line;
#[doc(hidden)]
pub use pool::Found;
pub use pool::{Buffer, Pool, PoolBuilder};
#[cfg(feature = "bytes")]
pub use shared::Freeze;
pub use shared::{
    PoolFigures, PoolLook, SharedBuffer, SharedPool, SharedPoolBuilder, WeakSharedPool,
};
#[cfg(feature = "std")]
pub use source::Cached;
pub use source::{
    BlockSource, Blocks, Buddy, BuddyBuilder, Faulty, Locked, RegionError, SharedBlocks, System,
};

/// The README's program, compiled and run as it stands there.
#[cfg(all(doctest, feature = "allocator-api2"))]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
