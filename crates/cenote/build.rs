//! Looks whether this compiler's `Allocator` may be used as it is: its methods, and collections with an
//! allocator. It is stable from Rust 1.100 on.

/// What `collections.rs` and `shared/freeze.rs` make of it.
const ALLOCATOR: &str = "#![no_std]
extern crate alloc;
use alloc::alloc::{AllocError, Allocator, Layout};
use core::ptr::NonNull;
pub struct Probe;
type Got = Result<NonNull<[u8]>, AllocError>;
unsafe impl Allocator for Probe {
    fn allocate(&self, _: Layout) -> Got { Err(AllocError) }
    fn allocate_zeroed(&self, _: Layout) -> Got { Err(AllocError) }
    unsafe fn deallocate(&self, _: NonNull<u8>, _: Layout) {}
    unsafe fn grow(&self, _: NonNull<u8>, _: Layout, _: Layout) -> Got { Err(AllocError) }
    unsafe fn shrink(&self, _: NonNull<u8>, _: Layout, _: Layout) -> Got { Err(AllocError) }
}
pub type List = alloc::vec::Vec<u8, Probe>;
pub type Slice = alloc::boxed::Box<[u8], Probe>;
";

/// What says that clones are one allocator.
const CLONE: &str = "
#[derive(Clone)]
pub struct Cloned;
unsafe impl Allocator for Cloned {
    fn allocate(&self, _: Layout) -> Got { Err(AllocError) }
    unsafe fn deallocate(&self, _: NonNull<u8>, _: Layout) {}
}
unsafe impl alloc::alloc::AllocatorClone for Cloned {}
";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(cenote_allocator, cenote_allocator_unstable)");
    println!("cargo::rustc-check-cfg=cfg(cenote_allocator_clone)");
    let probes = autocfg::new();
    let is_stable = probes.probe_raw(ALLOCATOR).is_ok();
    let is_asked_for = std::env::var_os("CARGO_FEATURE_NIGHTLY").is_some();
    if is_stable || is_asked_for {
        println!("cargo::rustc-cfg=cenote_allocator");
    }
    if !is_stable && is_asked_for {
        println!("cargo::rustc-cfg=cenote_allocator_unstable");
    }
    if is_stable && probes.probe_raw(&format!("{ALLOCATOR}{CLONE}")).is_ok() {
        println!("cargo::rustc-cfg=cenote_allocator_clone");
    }
}
