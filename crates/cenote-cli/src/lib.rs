//! The `cenote` command: [`serve`], a file server in which every worker, connection and request has
//! a pool of its own and an account that bounds it; [`pools`], which shows the pools of a running
//! service; and [`tour`], which shows the pools at work.
//!
//! Linux only: the server leans on `openat2`, `getdents64` and the kernel's spreading of
//! connections over `SO_REUSEPORT` listeners.

#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("the cenote command is for Linux");

pub mod cli;
mod outlet;
pub mod pools;
pub mod serve;
pub mod tour;
pub mod units;
