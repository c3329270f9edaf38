//! Pools for async services: a pool for each request and each connection of a service on axum,
//! tower or hyper, in which it is parsed, worked on and answered.
//!
//! ```
//! use axum::{Router, response::IntoResponse, routing::get};
//! use cenote::Account;
//! use cenote_web::{Error, PoolLayer, RequestPool};
//!
//! async fn hello(pool: RequestPool) -> Result<impl IntoResponse, Error> {
//!     let name = pool.try_alloc_str("pool")?;               // a refusal is a 503 that says whose
//!     Ok(pool.try_freeze_fmt(format_args!("hello, {name}"))?) // a body, not copied
//! }
//!
//! let service = Account::root("service").with_limit(Some(256 << 20));
//! let app: Router = Router::new()
//!     .route("/", get(hello))
//!     .layer(PoolLayer::new(&service).limit(1 << 20));
//! ```
//!
//! - [`PoolLayer`] makes an account and a [`SharedPool`](cenote::SharedPool) for each request,
//!   and keeps the pool until the response's body has been sent, or nobody wants it any more.
//!   [`RequestPools`] does the same without tower.
//! - [`RequestPool`] and [`ConnectionPool`] are axum's extractors of them; [`PoolListener`]
//!   makes the connections' ones; [`PoolBytes`] is the request's body, read into the pool.
//! - [`serve()`] is `axum::serve` with idle connections parked, in a few hundred bytes each;
//!   [`park`] is what it is made of, on hyper alone.
//! - [`Error`] is what a handler returns with `?`: 503 for a refusal, 400 for bad JSON.
//! - [`json`] reads JSON into a pool, and writes it in one.
//! - [`view`] shows all pools and accounts of the process while it runs.
//!
//! # What happens at a limit
//!
//! Every `try_` call returns an error that names the account. With `?` it becomes the response
//! that [`PoolLayer::on_refusal`] chooses, 503 unless set. A call without `try_` panics, as do
//! the calls of [`json::PoolVec`] and [`json::PoolMap`], and `unwrap` on a refusal, here or in a
//! task whose `JoinHandle` is unwrapped; the layer makes the same response of that, if unwinding
//! is on.
//!
//! Other collections abort the process where they cannot grow: `allocator_api2::vec::Vec::push`
//! calls [`handle_alloc_error`](std::alloc::handle_alloc_error), which cannot be made to unwind by
//! stable means, and an allocator that unwinds by itself would break collections that rely on
//! none doing so. Take the two above, or `try_reserve` first and [`RequestPool::or_refused`] on
//! what it returns.
//!
//! # Features
//!
//! | feature | default | gives |
//! |---|---|---|
//! | `axum` | yes | extractors, errors as responses |
//! | `tower` | yes | [`PoolLayer`] |
//! | `serde` | yes | [`json`] |
//! | `park` | yes | [`park`]: connections of hyper's that are parked while they are idle (Linux) |
//! | `serve` | yes | [`serve()`]: a service of axum's, whose connections are parked (Linux) |
//! | `http2` | no | HTTP/2 for [`serve()`], unparked |
//! | `view` | yes | [`view`]: the live page of pools, as JSON too, and metrics |
//! | `metrics`, `opentelemetry`, `prometheus-client` | no | `bridge`: the view's figures in a registry of theirs |

// Where documentation is made for the web it says which feature gives what.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod asked;
mod body;
#[cfg(any(feature = "metrics", feature = "opentelemetry", feature = "prometheus-client"))]
pub mod bridge;
#[cfg(feature = "axum")]
mod connection;
mod error;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "serde")]
pub mod json;
#[cfg(feature = "tower")]
mod layer;
mod naming;
#[cfg(all(feature = "park", target_os = "linux"))]
pub mod park;
mod peaks;
mod pools;
mod refusal;
#[cfg(all(feature = "serve", target_os = "linux"))]
mod serve;
mod span;
#[cfg(feature = "view")]
pub mod view;

pub use body::PoolBody;
#[cfg(feature = "axum")]
pub use connection::{ConnectionPool, PoolIo, PoolListener};
pub use error::Error;
#[cfg(feature = "axum")]
pub use extract::{MissingPool, PoolBytes};
#[cfg(feature = "tower")]
pub use layer::{PoolLayer, PoolService};
pub use naming::Asked;
pub use pools::{RequestPool, RequestPools};
pub use refusal::{note_refused_request, requests_refused};
#[cfg(all(feature = "serve", target_os = "linux"))]
pub use serve::{Accepted, Serve, serve};
