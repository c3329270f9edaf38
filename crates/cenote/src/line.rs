//! Where code comes to lie: a hot function that begins with a cache line.
//!
//! A short function that C calls for each object is a sixth slower where it happens to lie across
//! two lines of the instruction cache (59 against 71 ns for forty calls of nginx's fast path on a
//! Zen 4), and where it lies is the linker's choice. Compilers can be told for a whole crate, not
//! for one function; but since each function has a section of its own, and a section is aligned as
//! the strictest directive in it asks, a directive anywhere in the function does it.

/// Has the function that this is compiled into begin at a multiple of 64 bytes, where functions have
/// sections of their own. To be placed where the function seldom comes by: what the directive pads
/// is there.
#[doc(hidden)]
#[inline(always)]
pub fn begins_a_line() {
    #[cfg(all(
        any(target_arch = "x86_64", target_arch = "aarch64"),
        target_os = "linux",
        not(miri)
    ))]
    // SAFETY: no instruction but such as do nothing.
    unsafe {
        core::arch::asm!(".p2align 6", options(nomem, nostack, preserves_flags));
    }
}
