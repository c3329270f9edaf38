//! cenote's memory pools in async services: shared pools, a tower layer, axum extractors, a live page and metrics.
