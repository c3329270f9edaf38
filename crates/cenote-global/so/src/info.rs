//! What glibc tells about its memory, told about ours.

use cenote_global::{stats, trim};
use core::ffi::{c_char, c_int};

unsafe extern "C" {
    fn dprintf(file: c_int, form: *const c_char, ...) -> c_int;
}

/// `malloc_trim(3)`: 1 if memory was given back.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(_: usize) -> c_int {
    c_int::from(trim() != 0)
}

/// `mallinfo2(3)`'s answer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Info<T> {
    arena: T,
    ordblks: T,
    smblks: T,
    hblks: T,
    hblkhd: T,
    usmblks: T,
    fsmblks: T,
    uordblks: T,
    fordblks: T,
    keepcost: T,
}

/// `mallinfo2(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo2() -> Info<usize> {
    let stats = stats();
    let (huge, huge_bytes) = stats.huge;
    let small = stats.live - huge_bytes;
    let held = stats.held - huge_bytes + stats.cached;
    Info {
        arena: held,
        ordblks: stats.classes.iter().map(|class| class.cached).sum(),
        smblks: 0,
        hblks: huge,
        hblkhd: huge_bytes,
        usmblks: 0,
        fsmblks: 0,
        uordblks: small,
        fordblks: held.saturating_sub(small),
        keepcost: stats.cached,
    }
}

/// `mallinfo(3)`: the same, as far as it fits.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo() -> Info<c_int> {
    let info = mallinfo2();
    let int = |size: usize| c_int::try_from(size).unwrap_or(c_int::MAX);
    Info {
        arena: int(info.arena),
        ordblks: int(info.ordblks),
        smblks: int(info.smblks),
        hblks: int(info.hblks),
        hblkhd: int(info.hblkhd),
        usmblks: int(info.usmblks),
        fsmblks: int(info.fsmblks),
        uordblks: int(info.uordblks),
        fordblks: int(info.fordblks),
        keepcost: int(info.keepcost),
    }
}

/// `malloc_stats(3)`: some lines on standard error.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_stats() {
    let stats = stats();
    let form: *const c_char =
        c"cenote: %zu bytes in %zu objects; %zu held, %zu cached, %zu mapped\n".as_ptr();
    // SAFETY: five sizes, as the text says.
    unsafe {
        dprintf(2, form, stats.live, stats.objects, stats.held, stats.cached, stats.mapped);
    }
}

/// `malloc_info(3)`: as XML.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 {
        crate::errno(libc::EINVAL);
        return -1;
    }
    let stats = stats();
    let form: *const c_char = c"<malloc version=\"1\">\n<total type=\"live\" count=\"%zu\" size=\"%zu\"/>\n<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n<system type=\"current\" size=\"%zu\"/>\n</malloc>\n".as_ptr();
    let (count, size) = stats.huge;
    // SAFETY: the caller's stream, and five sizes, as the text says.
    unsafe { libc::fprintf(stream, form, stats.objects, stats.live, count, size, stats.mapped) };
    0
}

/// `mallopt(3)`: there is nothing that it could change here; 1, as from glibc.
#[unsafe(no_mangle)]
pub extern "C" fn mallopt(_: c_int, _: c_int) -> c_int {
    1
}
