//! Rows of the table in `docs/design/global.md`.

use super::Change::Break;
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "G1",
        change: Break {
            file: "crates/cenote-global/src/heap/run.rs",
            text: r"            word.store(bits, Relaxed);
            if free",
            by: "            if free",
            tests: &["-p cenote-global --test model objects_of_millions_of_random_calls"],
        },
    },
    Row {
        invariant: "G2",
        change: Break {
            file: "crates/cenote-global/src/thread.rs",
            text: "        VACANT.store(heap.next_vacant.load(Relaxed), Relaxed);\n",
            by: "",
            tests: &["-p cenote-global --test threads ten_thousand_threads_leave_no_more_memory"],
        },
    },
    Row {
        invariant: "G3",
        change: Break {
            file: "crates/cenote-global/src/heap/mod.rs",
            text: r"            owner.lock.with(|| {
                for place in",
            by: r"            core::iter::once(()).for_each(|()| {
                for place in",
            tests: &["-p cenote-global --test threads objects_that_their_thread_and_another_free"],
        },
    },
    Row {
        invariant: "G4",
        change: Break {
            file: "crates/cenote-global/src/heap/run.rs",
            text: "    if free < u32::from(",
            by: "    if free + 1 < u32::from(",
            tests: &["-p cenote-global --test model objects_that_threads_hand_to_each_other"],
        },
    },
    Row {
        invariant: "G5",
        change: Break {
            file: "crates/cenote-global/src/segment.rs",
            text: "    if word >> (number % 64) & 1 == 0 {",
            by: "    if word == u64::MAX {",
            tests: &["-p cenote-global --test misuse a_free_of_the_c_librarys_memory"],
        },
    },
    Row {
        invariant: "G6",
        change: Break {
            file: "crates/cenote-global/src/entry.rs",
            text: r"            unsafe { chunk.cast::<u64>().write(0) };
            return",
            by: "            return",
            tests: &["-p cenote-global --test misuse an_object_of_a_freed_ones_bytes"],
        },
    },
    Row {
        invariant: "G7",
        change: Break {
            file: "crates/cenote-global/src/pages.rs",
            text: r"        page.owner.store(NOBODY, Relaxed);
    }
    let run = ones(first, count);",
            by: r"        page.owner.store(NOBODY, Relaxed);
    }
    let run = ones(first, count + 1);",
            tests: &["-p cenote-global --test model objects_that_threads_hand_to_each_other"],
        },
    },
    Row {
        invariant: "G8",
        change: Break {
            file: "crates/cenote-global/src/pages.rs",
            text: "            set_free(segment, segment.free.load(Relaxed) & !wanted);\n",
            by: "",
            tests: &["-p cenote-global --test model objects_keep_their_bytes_while"],
        },
    },
    Row {
        invariant: "G9",
        change: Break {
            file: "crates/cenote-global/src/pages.rs",
            text: "        segment.dirty.store(segment.dirty.load(Relaxed) | run, Relaxed);\n",
            by: "",
            tests: &["-p cenote-global --test sizes zeroed_memory_is_zeros"],
        },
    },
    Row {
        invariant: "G10",
        change: Break {
            file: "crates/cenote-global/src/thread.rs",
            text: r"    each(&mut |heap| heap.lock.lock());
    pages::PURGING.lock();
    pages::LOCK.lock();",
            by: r"    pages::PURGING.lock();
    pages::LOCK.lock();
    each(&mut |heap| heap.lock.lock());",
            tests: &["-p cenote-global --test fork a_thousand_children"],
        },
    },
    Row {
        invariant: "G11",
        change: Break {
            file: "crates/cenote-global/src/thread.rs",
            text: "            heap.give_up();\n",
            by: "",
            tests: &["-p cenote-global --lib what_a_thread_was_in_the_middle_of_giving_back"],
        },
    },
    Row {
        invariant: "G12",
        change: Break {
            file: "crates/cenote-global/src/thread.rs",
            text: "    word::restore(word::state(ENDED));",
            by: "    word::restore(word::state(NONE));",
            tests: &["-p cenote-global --test threads threads_that_allocate_and_free_after"],
        },
    },
    Row {
        invariant: "G13",
        change: Break {
            file: "crates/cenote-global/src/purge.rs",
            text: "    if pages::dirty() >= SOME && options::background()",
            by: "    if pages::dirty() >= SOME && current != 0 && options::background()",
            tests: &["-p cenote-global --test back a_burst_that_another_thread_frees_is_back"],
        },
    },
    Row {
        invariant: "G14",
        change: Break {
            file: "crates/cenote-global/src/large.rs",
            text: "    COUNT.fetch_sub(1, Relaxed);",
            by: r"    COUNT.fetch_sub(1, Relaxed);
    // SAFETY: the calling thread's own.
    unsafe { *libc::__errno_location() = libc::EAGAIN };",
            tests: &["-p cenote-malloc --test programs each_call_is_as_glibc_has_it"],
        },
    },
    Row {
        invariant: "G15",
        change: Break {
            file: "crates/cenote-global/so/src/lib.rs",
            text: r#"#[unsafe(no_mangle)]
pub unsafe extern "C" fn cfree("#,
            by: r#"pub unsafe extern "C" fn cfree("#,
            tests: &["-p cenote-malloc --test programs every_name_that_glibc_has_is_exported"],
        },
    },
    Row {
        invariant: "G16",
        change: Break {
            file: "crates/cenote-global/src/thread.rs",
            text: "CHECKED.store(valgrind || cfg!(cenote_asan), Relaxed);",
            by: "CHECKED.store(valgrind && cfg!(cenote_asan), Relaxed);",
            tests: &["-p cenote-global --test checkers valgrind_sees_each_object_that_is_lost"],
        },
    },
];
