//! Rows of the table in `docs/design/c.md`.

use super::Change::Break;
use super::Row;

/// All of `tests/c`, linked statically.
const PROGRAMS: &str = "-p cenote-c --test c_programs c_programs_run_with_the_static_library";

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "C1",
        change: Break {
            file: "crates/cenote-c/src/handle/spare.rs",
            text: "        match unsafe { pop(&local.lists[kind]) } {",
            by: "        let any = local.lists.iter().find(|list| !list.get().is_null());
        match unsafe { pop(any.unwrap_or(&local.lists[kind])) } {",
            tests: &["-p cenote-c --lib handle::spare"],
        },
    },
    Row {
        invariant: "C2",
        change: Break {
            file: "crates/cenote-c/src/handle/mod.rs",
            text: "    let uses = (place.head.uses.get() + 1) % ALIGN as u32;",
            by: "    let uses = place.head.uses.get();",
            tests: &["-p cenote-c --lib handle::tests::a_"],
        },
    },
    Row {
        invariant: "C3",
        change: Break {
            file: "crates/cenote-c/src/handle/mod.rs",
            text: "    if unsafe { key(place, K::INDEX) } != handle.addr().wrapping_add(ABOVE) {",
            by: "    if unsafe { kind_of(handle.cast()) }.is_none() {",
            tests: &["-p cenote-c --lib handle::tests::a_"],
        },
    },
    Row {
        invariant: "C4",
        change: Break {
            file: "crates/cenote-c/src/handle/mod.rs",
            text: "        if self.head.busy.replace(true) {",
            by: "        self.head.busy.set(true);
        if false {",
            tests: &[PROGRAMS],
        },
    },
    Row {
        invariant: "C5",
        change: Break {
            file: "crates/cenote-c/src/handle/mod.rs",
            text: "            0 => TICKETS.fetch_add(BATCH, Ordering::Relaxed),",
            by: "            0 => TICKETS.load(Ordering::Relaxed),",
            tests: &[PROGRAMS],
        },
    },
    Row {
        invariant: "C6",
        change: Break {
            file: "crates/cenote-c/src/pooled.rs",
            text: "if align < ALIGN && align.is_power_of_two() { ALIGN }",
            by: "if align < ALIGN { ALIGN }",
            tests: &[PROGRAMS],
        },
    },
    Row {
        invariant: "C7",
        change: Break {
            file: "crates/cenote-c/src/pool.rs",
            text: "        unsafe { ptr::copy_nonoverlapping(bytes.cast::<u8>(), copy.cast(), size) };",
            by: "        let size = size.next_multiple_of(ALIGN);
        unsafe { ptr::copy_nonoverlapping(bytes.cast::<u8>(), copy.cast(), size) };",
            tests: &["-p cenote-c --test c_programs address_sanitizer"],
        },
    },
    Row {
        invariant: "C8",
        change: Break {
            file: "crates/cenote-c/include/cenote/inline.h",
            text: "    uintptr_t kept[11];",
            by: "    uintptr_t kept[12];",
            tests: &["-p cenote-c --test headers the_short_way"],
        },
    },
    Row {
        invariant: "C9",
        change: Break {
            file: "crates/cenote-c/src/pooled.rs",
            text: "    look(pool, start, old).map_err(Refusal::Bad)?;",
            by: "    let _ = look;",
            tests: &[PROGRAMS],
        },
    },
    Row {
        invariant: "C10",
        change: Break {
            file: "crates/cenote-c/src/pool.rs",
            text: "        Found::Large(_) => drop(unsafe { pool.free_large(start) }),",
            by: "        Found::Large(_) if old_place.size() >= 16384 => {
            drop(unsafe { pool.free_large(start) });
        }
        Found::Large(_) => {}",
            tests: &[PROGRAMS],
        },
    },
    Row {
        invariant: "C11",
        change: Break {
            file: "crates/cenote-c/src/pooled.rs",
            text: "    MARKED || pool.is_watched()",
            by: "    MARKED && pool.is_watched()",
            tests: &["-p cenote-c --test c_misuse the_first_byte_behind"],
        },
    },
    Row {
        invariant: "C12",
        change: Break {
            file: "crates/cenote-c/src/misuse.rs",
            text: r"    let text = last();
    let text: *const c_char = text.as_ptr().cast();",
            by: "    let text = crate::error::cenote_last_error();",
            tests: &[PROGRAMS],
        },
    },
];
