//! Requests to valgrind's memcheck, by the sequence of instructions that valgrind looks for and
//! that does nothing elsewhere (`valgrind.h` and `memcheck.h` describe it).

use core::ptr::NonNull;

/// memcheck's requests begin with `MC`.
const MEMCHECK: usize = 0x4d43_0000;
const MAKE_NO_ACCESS: usize = MEMCHECK;
const MAKE_UNDEFINED: usize = MEMCHECK + 1;
const MAKE_DEFINED: usize = MEMCHECK + 2;
const CHECK_ADDRESSABLE: usize = MEMCHECK + 4;

/// To touch these bytes is a mistake.
#[inline(always)]
pub(super) fn forbid(start: NonNull<u8>, size: usize) {
    request(MAKE_NO_ACCESS, start, size);
}

/// These bytes may be written, and read after that.
#[inline(always)]
pub(super) fn allow(start: NonNull<u8>, size: usize) {
    request(MAKE_UNDEFINED, start, size);
}

/// These bytes may be read and written.
#[inline(always)]
pub(super) fn allow_written(start: NonNull<u8>, size: usize) {
    request(MAKE_DEFINED, start, size);
}

/// An error is shown if these bytes may not be touched.
#[inline(always)]
pub(super) fn check(start: NonNull<u8>, size: usize) {
    request(CHECK_ADDRESSABLE, start, size);
}

#[inline(always)]
fn request(which: usize, start: NonNull<u8>, size: usize) {
    let arguments = [which, start.addr().get(), size, 0, 0, 0];
    send(&arguments);
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn send(arguments: &[usize; 6]) {
    // SAFETY: rotations by 128 bits in all, and an exchange of a register with itself: nothing
    // changes but the flags and `rdx`. Under valgrind, it reads the arguments.
    unsafe {
        core::arch::asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51",
            "xchg rbx, rbx",
            inout("rdx") 0_usize => _,
            in("rax") arguments.as_ptr(),
            options(nostack),
        );
    }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn send(arguments: &[usize; 6]) {
    // SAFETY: rotations by 128 bits in all, and an `or` of a register with itself: nothing
    // changes but `x3`. Under valgrind, it reads the arguments.
    unsafe {
        core::arch::asm!(
            "ror x12, x12, #3", "ror x12, x12, #13", "ror x12, x12, #51", "ror x12, x12, #61",
            "orr x10, x10, x10",
            inout("x3") 0_usize => _,
            in("x4") arguments.as_ptr(),
            options(nostack),
        );
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn send(_arguments: &[usize; 6]) {}
