//! Requests to valgrind and its memcheck, by the sequence of instructions that valgrind looks for
//! and that does nothing elsewhere (`valgrind.h` and `memcheck.h` describe it).

use core::ptr::NonNull;

const RUNNING_ON_VALGRIND: usize = 0x1001;
const CREATE_MEMPOOL: usize = 0x1303;
const DESTROY_MEMPOOL: usize = 0x1304;
const MEMPOOL_ALLOC: usize = 0x1305;
const MEMPOOL_FREE: usize = 0x1306;
const MEMPOOL_TRIM: usize = 0x1307;
const MEMPOOL_CHANGE: usize = 0x1309;

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
    send(&[which, start.addr().get(), size, 0, 0, 0]);
}

/// Whether this process is run by valgrind.
pub(super) fn is_here() -> bool {
    send(&[RUNNING_ON_VALGRIND, 0, 0, 0, 0, 0]) != 0
}

/// A memory pool, by a number that no other one has: what lies in one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mempool(pub(super) usize);

impl Mempool {
    /// One with `gap` bytes behind each object.
    pub(super) fn create(self, gap: usize) {
        send(&[CREATE_MEMPOOL, self.0, gap, 0, 0, 0]);
    }

    pub(super) fn destroy(self) {
        send(&[DESTROY_MEMPOOL, self.0, 0, 0, 0, 0]);
    }

    /// An object, which may be written, and read after that.
    pub(super) fn alloc(self, start: usize, size: usize) {
        send(&[MEMPOOL_ALLOC, self.0, start, size, 0, 0]);
    }

    /// Nobody may touch the object at this address any more.
    pub(super) fn free(self, start: usize) {
        send(&[MEMPOOL_FREE, self.0, start, 0, 0, 0]);
    }

    /// All objects outside of these bytes are freed.
    pub(super) fn trim(self, start: usize, size: usize) {
        send(&[MEMPOOL_TRIM, self.0, start, size, 0, 0]);
    }

    /// An object has another size. What it has more, or less, is to be said by other requests.
    pub(super) fn resize(self, start: usize, size: usize) {
        send(&[MEMPOOL_CHANGE, self.0, start, start, size, 0]);
    }
}

/// The answer; 0 without valgrind.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn send(arguments: &[usize; 6]) -> usize {
    let mut answer = 0;
    // SAFETY: rotations by 128 bits in all, and an exchange of a register with itself: nothing
    // changes but the flags and `rdx`. Under valgrind, it reads the arguments.
    unsafe {
        core::arch::asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51",
            "xchg rbx, rbx",
            inout("rdx") answer,
            in("rax") arguments.as_ptr(),
            options(nostack),
        );
    }
    answer
}

/// The answer; 0 without valgrind.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn send(arguments: &[usize; 6]) -> usize {
    let mut answer = 0;
    // SAFETY: rotations by 128 bits in all, and an `or` of a register with itself: nothing
    // changes but `x3`. Under valgrind, it reads the arguments.
    unsafe {
        core::arch::asm!(
            "ror x12, x12, #3", "ror x12, x12, #13", "ror x12, x12, #51", "ror x12, x12, #61",
            "orr x10, x10, x10",
            inout("x3") answer,
            in("x4") arguments.as_ptr(),
            options(nostack),
        );
    }
    answer
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn send(_arguments: &[usize; 6]) -> usize {
    0
}
