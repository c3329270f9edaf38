//! Drives the real server over real sockets, in this process or as the command.

#![forbid(unsafe_code)]

mod bad_input;
mod client;
mod command;
mod crowd;
mod files;
mod limits;
mod listing;
mod pools;
mod ranges;
mod support;
