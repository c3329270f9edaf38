//! Drives the real server over real sockets, in this process or as the command.

#![deny(unsafe_code)]

mod bad_input;
mod client;
mod command;
mod crowd;
mod files;
#[expect(unsafe_code, reason = "it calls the C library, to leak")]
#[path = "../../examples/leaks.rs"]
mod leaks;
mod limits;
mod listing;
mod look;
mod ops;
mod pools;
mod ranges;
mod screen;
mod support;
