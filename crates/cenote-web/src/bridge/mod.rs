//! The view's figures in registries of other crates, for services that have one: each has what
//! [`View::metrics`](crate::view::View::metrics) gives, by the same names, with its own rules of units
//! and of what is at a name's end. Each is behind the feature that is called as its crate.
//!
//! | feature | | when it looks |
//! |---|---|---|
//! | `metrics` | [`Facade`] sets gauges and counters of the recorder that is installed | when it is called: by a timer |
//! | `prometheus-client` | [`Collector`] is registered with a `Registry` | when that is encoded |
//! | `opentelemetry` | [`instrument`] makes observable instruments of a `Meter` | when its reader collects |
//!
//! The latter two have nothing to await in: they [wait](crate::view::Pending::wait) for the look on the
//! thread that encodes or collects. That takes as long as a look does, unless that very thread has a
//! [`Local`](crate::view::Local).

#[cfg(feature = "metrics")]
mod facade;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
#[cfg(feature = "prometheus-client")]
mod prometheus_client;

#[cfg(feature = "opentelemetry")]
pub use self::opentelemetry::instrument;
#[cfg(feature = "prometheus-client")]
pub use self::prometheus_client::Collector;
#[cfg(feature = "metrics")]
pub use facade::Facade;
