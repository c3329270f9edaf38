//! The real command on a host that misbehaves: logs that cannot be written, descriptors and memory
//! that end, clients that are too many.

#![deny(unsafe_code)]

#[expect(dead_code, reason = "the server's tests use all of it")]
#[path = "../server/client.rs"]
mod client;
mod crowds;
mod http;
mod listings;
mod log;
mod running;
mod service;
mod stuck;
mod view;
