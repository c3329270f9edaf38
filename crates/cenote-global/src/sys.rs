//! What is asked of the kernel: mappings, advice, waiting, words on standard error.
//!
//! On x86-64 Linux by the instruction itself: so nothing here touches the caller's `errno`, and the
//! thread that gives memory back, which the C library does not know of, can use it. Elsewhere by the
//! C library's `syscall`, with `errno` put back.

use core::ffi::c_long;
use core::ptr;
use core::sync::atomic::AtomicU32;

/// The kernel's page, as far as this crate's own sizes go.
pub(crate) const PAGE: usize = 4096;

const PROT_RW: usize = (libc::PROT_READ | libc::PROT_WRITE) as usize;
const PRIVATE: usize = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
/// Since Linux 5.18: gives back what `mlockall` has locked, too.
const MADV_DONTNEED_LOCKED: usize = 24;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[inline]
unsafe fn call(number: c_long, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the kernel's convention; what the call does is the caller's to answer for.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
#[inline]
unsafe fn call(number: c_long, a: [usize; 6]) -> isize {
    // SAFETY: this thread's own word.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: likewise.
    let before = unsafe { errno.read() };
    // SAFETY: what the call does is the caller's to answer for.
    let result = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    // SAFETY: as above.
    unsafe { errno.write(before) };
    result as isize
}

/// What a call that gives an address gave; null for an error. The only place where an address of a
/// mapping becomes a pointer: it comes from the kernel, and nobody had one before.
fn mapping(result: isize) -> *mut u8 {
    if (-4095..0).contains(&result) {
        return ptr::null_mut();
    }
    ptr::with_exposed_provenance_mut(result as usize)
}

/// `len` bytes of zeros, at any page; null if there are none.
pub(crate) fn map(len: usize) -> *mut u8 {
    // SAFETY: a new mapping, which takes nobody's place.
    mapping(unsafe { call(libc::SYS_mmap, [0, len, PROT_RW, PRIVATE, usize::MAX, 0]) })
}

/// `len` bytes of zeros at this address and no other, where nothing was; null if that cannot be.
fn map_at(address: usize, len: usize) -> *mut u8 {
    let flags = PRIVATE | libc::MAP_FIXED_NOREPLACE as usize;
    // SAFETY: a new mapping, which takes nobody's place: the flag says so, and kernels that do not
    // know it take the address for a wish.
    let start =
        mapping(unsafe { call(libc::SYS_mmap, [address, len, PROT_RW, flags, usize::MAX, 0]) });
    if start.is_null() || start.addr() == address {
        return start;
    }
    // SAFETY: just mapped, and nobody else's.
    unsafe { unmap(start, len) };
    ptr::null_mut()
}

/// `len` bytes at a multiple of `align`, which is a power of two above a page. `near` is tried
/// first, if it is not 0. Asks for no more address space than that where the limit is near.
pub(crate) fn map_aligned(len: usize, align: usize, near: usize) -> *mut u8 {
    if near != 0 && near.is_multiple_of(align) {
        let start = map_at(near, len);
        if !start.is_null() {
            return start;
        }
    }
    let first = map(len);
    if first.is_null() || first.addr().is_multiple_of(align) {
        return first;
    }
    // SAFETY: just mapped, and nobody else's.
    unsafe { unmap(first, len) };
    let wide = len.checked_add(align - PAGE).map_or(ptr::null_mut(), map);
    if wide.is_null() {
        // Not so much at once; but where the kernel put the first there is room further down.
        let below = first.addr() & !(align - 1);
        return (0..16_usize)
            .filter_map(|times| below.checked_sub(times * align))
            .take_while(|at| *at != 0)
            .map(|at| map_at(at, len))
            .find(|start| !start.is_null())
            .unwrap_or(ptr::null_mut());
    }
    let head = wide.addr().next_multiple_of(align) - wide.addr();
    let start = wide.wrapping_add(head);
    if head != 0 {
        // SAFETY: the part in front, which nobody has seen.
        unsafe { unmap(wide, head) };
    }
    let tail = align - PAGE - head;
    if tail != 0 {
        // SAFETY: the part behind, which nobody has seen.
        unsafe { unmap(start.wrapping_add(len), tail) };
    }
    start
}

/// # Safety
/// A mapping of the caller's, or whole pages of one, that nobody uses any more.
pub(crate) unsafe fn unmap(start: *mut u8, len: usize) {
    // SAFETY: the caller's word.
    unsafe { call(libc::SYS_munmap, [start.expose_provenance(), len, 0, 0, 0, 0]) };
}

/// A mapping with another length, at another place if `may_move`; null, and nothing changed, if
/// that cannot be.
///
/// # Safety
/// A whole mapping of the caller's, to which nobody else has pointers that are used later.
pub(crate) unsafe fn remap(start: *mut u8, old: usize, new: usize, may_move: bool) -> *mut u8 {
    let flags = if may_move { libc::MREMAP_MAYMOVE as usize } else { 0 };
    let address = start.expose_provenance();
    // SAFETY: the caller's word.
    mapping(unsafe { call(libc::SYS_mremap, [address, old, new, flags, 0, 0]) })
}

/// Gives the memory of whole pages back; they are zeros when they are touched next. `false`, and
/// nothing changed, where the kernel does not.
///
/// # Safety
/// Nobody uses what is in those pages.
pub(crate) unsafe fn purge(start: *mut u8, len: usize) -> bool {
    let advice = |how| [start.expose_provenance(), len, how, 0, 0, 0];
    // SAFETY: the caller's word.
    if unsafe { call(libc::SYS_madvise, advice(libc::MADV_DONTNEED as usize)) } == 0 {
        return true;
    }
    // SAFETY: likewise.
    unsafe { call(libc::SYS_madvise, advice(MADV_DONTNEED_LOCKED)) == 0 }
}

/// Asks that no huge pages are put here, which would be resident as a whole and given back as a
/// whole.
pub(crate) fn no_huge_pages(start: *mut u8, len: usize) {
    let advice = [start.expose_provenance(), len, libc::MADV_NOHUGEPAGE as usize, 0, 0, 0];
    // SAFETY: changes nothing of what is in the memory.
    unsafe { call(libc::SYS_madvise, advice) };
}

/// Waits until woken, or until `milliseconds` have passed, unless the word is not `seen` any more.
pub(crate) fn wait(word: &AtomicU32, seen: u32, milliseconds: Option<u64>) {
    let time = milliseconds.map(|ms| [ms / 1000, ms % 1000 * 1_000_000]);
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    let how = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
    let word = word.as_ptr().expose_provenance();
    // SAFETY: a word that is there, and a time that is read at once.
    unsafe {
        call(libc::SYS_futex, [word, how, seen as usize, time.expose_provenance(), 0, 0]);
    }
}

/// Wakes one who waits.
pub(crate) fn wake(word: &AtomicU32) {
    let how = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: a word that is there.
    unsafe { call(libc::SYS_futex, [word.as_ptr().expose_provenance(), how, 1, 0, 0, 0]) };
}

/// Random bits, or what an address and the time have of them.
pub(crate) fn random() -> u64 {
    let mut bits = [0_u64; 1];
    let at = bits.as_mut_ptr().expose_provenance();
    // SAFETY: eight bytes that are there; 1 is `GRND_NONBLOCK`.
    if unsafe { call(libc::SYS_getrandom, [at, 8, 1, 0, 0, 0]) } == 8 {
        return bits[0];
    }
    (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ milliseconds().rotate_left(40)
}

/// Milliseconds of a clock that only goes forward, to some four of them exactly.
pub(crate) fn milliseconds() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the C library's, which asks no kernel for it and touches nothing of the thread.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// Writes to standard error, as far as that is possible.
pub(crate) fn write_error(text: &[u8]) {
    // SAFETY: bytes that are there.
    unsafe { call(libc::SYS_write, [2, text.as_ptr().expose_provenance(), text.len(), 0, 0, 0]) };
}

/// A thread of the kernel's that the C library does not know of; see `purge` for why. It shares all
/// with its maker, but has a word of thread state of its own, blocks all signals, and runs `body`,
/// which must use nothing but this file's calls. `ended` is above 0 until it is gone.
///
/// # Safety
/// `stack..stack + len` is memory for it alone, as long as `ended` is above 0.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) unsafe fn thread(
    stack: *mut u8,
    len: usize,
    ended: &AtomicU32,
    body: extern "C" fn(),
) -> bool {
    const SIGNALS: usize = 8;
    // The lower part is what the thread has for thread-local words: nobody but the stack guard of
    // some build reads there, and what is read first is the place's own address.
    let local = stack.wrapping_add(2 * PAGE);
    // SAFETY: in the caller's memory, aligned to a page.
    unsafe { local.cast::<*mut u8>().write(local) };
    let top = stack.wrapping_add(len - 64);
    // SAFETY: likewise.
    unsafe { top.cast::<extern "C" fn()>().write(body) };
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_SETTLS
        | libc::CLONE_PARENT_SETTID
        | libc::CLONE_CHILD_CLEARTID;
    let (all, before) = ([u64::MAX; 1], [0_u64; 1]);
    let (all, before) = (all.as_ptr().expose_provenance(), before.as_ptr().expose_provenance());
    let (block, restore) = (libc::SIG_SETMASK as usize, libc::SIG_SETMASK as usize);
    // SAFETY: masks that are there.
    unsafe { call(libc::SYS_rt_sigprocmask, [block, all, before, SIGNALS, 0, 0]) };
    let result: isize;
    // SAFETY: the new thread begins behind the instruction with nothing but its own stack, calls the
    // function that stands there, and never comes back; the maker goes on at `2`.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "call qword ptr [rsp]",
            "xor edi, edi",
            "mov eax, 60",
            "syscall",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") flags as usize,
            in("rsi") top.expose_provenance(),
            in("rdx") ended.as_ptr().expose_provenance(),
            in("r10") ended.as_ptr().expose_provenance(),
            in("r8") local.expose_provenance(),
            lateout("rcx") _, lateout("r11") _,
        );
    }
    // SAFETY: a mask that is there.
    unsafe { call(libc::SYS_rt_sigprocmask, [restore, before, 0, SIGNALS, 0, 0]) };
    result > 0
}

/// Whether valgrind runs this process, by the instructions that it looks for.
pub(crate) fn in_valgrind() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let request = [0x1001_usize, 0, 0, 0, 0, 0];
        let mut answer = 0_usize;
        // SAFETY: does nothing outside of valgrind, which changes `rdx` alone.
        unsafe {
            core::arch::asm!(
                "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
                inout("rdx") answer,
                in("rax") request.as_ptr(),
                in("rdi") 0,
                options(nostack),
            );
        }
        answer != 0
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}
