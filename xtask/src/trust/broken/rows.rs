//! The changes: data. A text stands exactly once in its file; what replaces it compiles.

/// What breaks an invariant, or why nothing small does.
pub(super) struct Row {
    /// The number in its table.
    pub(super) invariant: &'static str,
    pub(super) change: Change,
}

pub(super) enum Change {
    /// With `by` in the place of `text`, one of `tests` goes red: each is what follows `cargo test`,
    /// behind `loom` or `asan` for a build of that kind.
    Break {
        file: &'static str,
        text: &'static str,
        by: &'static str,
        tests: &'static [&'static str],
    },
    /// It cannot be broken by a small change, because of this.
    Cannot(&'static str),
}

use Change::{Break, Cannot};

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "1",
        change: Break {
            file: "crates/cenote/src/window.rs",
            text: r"            let next = last.wrapping_add(padded(size));
            if next <= end { Some",
            by: r"            let next = last.wrapping_add(padded(size));
            if next <= end + 8 { Some",
            tests: &["-p cenote --lib window::"],
        },
    },
    Row {
        invariant: "2",
        change: Break {
            file: "crates/cenote/src/supply.rs",
            text: "block.addr().get() > crate::size::MAX - layout.size()",
            by: "block.addr().get() > usize::MAX - layout.size()",
            tests: &["-p cenote --lib supply::"],
        },
    },
    Row {
        invariant: "3",
        change: Break {
            file: "crates/cenote/src/size.rs",
            text: r"    let Some(sum) = base.checked_add(product) else {
        return None;
    };
    let mask",
            by: r"    let sum = base.wrapping_add(product);
    let mask",
            tests: &["-p cenote --lib size::"],
        },
    },
    Row {
        invariant: "6",
        change: Break {
            file: "crates/cenote/src/pool/layouts.rs",
            text: r"            // Or it would be taken for a small one later, with its layout of then.
            && outgrown
",
            by: "",
            tests: &["-p cenote --test regressions a_large_object_that_becomes_small"],
        },
    },
    Row {
        invariant: "7",
        change: Break {
            file: "crates/cenote/src/pool/ending.rs",
            text: r"    pub fn reset(&mut self) {
        if self.has_more_than_blocks() {
            return self.reset_cold();
        }
        self.rewind();",
            by: r"    pub fn reset(&self) {
        // SAFETY: none; that is the point.
        #[allow(invalid_reference_casting)]
        let this = unsafe { &mut *core::ptr::from_ref(self).cast_mut() };
        if this.has_more_than_blocks() {
            return this.reset_cold();
        }
        this.rewind();",
            tests: &["-p cenote --test compile_fail"],
        },
    },
    Row {
        invariant: "8",
        change: Break {
            file: "crates/cenote/src/cleanup.rs",
            text: r"            self.take_off(record, ticket);
            panicked.catch(|| {",
            by: "            panicked.catch(|| {",
            tests: &["-p cenote --test cleanups"],
        },
    },
    Row {
        invariant: "9",
        change: Break {
            file: "crates/cenote/src/pool/cleanups.rs",
            text: r"    pub fn defer(&self, action: impl FnOnce() + Send + 'static) -> Cleanup<'_> {
        must(self.defer_in::<Must>(CleanupKey::NONE, action))",
            by: r"    pub fn defer(&self, action: impl FnOnce() + 'static) -> Cleanup<'_> {
        struct Sent<F>(F);
        // SAFETY: none; that is the point.
        unsafe impl<F> Send for Sent<F> {}
        impl<F: FnOnce()> Sent<F> {
            fn call(self) {
                (self.0)()
            }
        }
        let sent = Sent(action);
        must(self.defer_in::<Must>(CleanupKey::NONE, move || sent.call()))",
            tests: &["-p cenote --test compile_fail"],
        },
    },
    Row {
        invariant: "13",
        change: Break {
            file: "crates/cenote/src/source/blocks.rs",
            text: r"            bin.head.set(next);
            let count",
            by: r"            let _ = next;
            let count",
            tests: &["-p cenote --lib source::blocks"],
        },
    },
    Row {
        invariant: "15",
        change: Break {
            file: "crates/cenote/src/counted/freeing.rs",
            text: "        self.known.find(base).and_then(|block| self.block(block.as_ptr()))",
            by: "        self.block(active.with_addr(base))",
            tests: &["-p cenote --test counted_misuse"],
        },
    },
    Row {
        invariant: "16",
        change: Break {
            file: "crates/cenote/src/counted/freeing.rs",
            text: r"        if left == 0 {
            self.emptied(NonNull::from(block), active);
        } else if",
            by: r"        if left <= 1 {
            self.emptied(NonNull::from(block), active);
        } else if",
            tests: &["-p cenote --test counted_model"],
        },
    },
    Row {
        invariant: "17",
        change: Break {
            file: "crates/cenote/src/chunk/slot.rs",
            text: "        if before == 0 && !current {",
            by: "        if before == 0 && current {",
            tests: &["-p cenote --test chunk_model"],
        },
    },
    Row {
        invariant: "17a",
        change: Break {
            file: "crates/cenote/src/chunk/stack.rs",
            text: "        for (to, from) in self.marks.iter().zip(self.marks.iter().skip(number)) {",
            by: "        for (to, from) in self.marks.iter().zip(self.marks.iter()) {",
            tests: &["-p cenote --test chunk_misuse what_is_remembered_is_double"],
        },
    },
    Row {
        invariant: "18",
        change: Break {
            file: "crates/cenote/src/source/buddy/region.rs",
            text: "            index = index.min(buddy);",
            by: "            index = buddy;",
            tests: &["-p cenote --test buddy_model"],
        },
    },
    Row {
        invariant: "18a",
        change: Break {
            file: "crates/cenote/src/chunk/recent.rs",
            text: r"            if stack.has(start.addr().get()) {
                return false;
            }
",
            by: "",
            tests: &["-p cenote --test chunk_buffers --test chunk_model"],
        },
    },
    Row {
        invariant: "19",
        change: Break {
            file: "crates/cenote/src/pool/placing.rs",
            text: r"            self.shape.set(self.shape.get().watched());
",
            by: "",
            tests: &["-p cenote --test levels"],
        },
    },
    Row {
        invariant: "20",
        change: Break {
            file: "crates/cenote/src/debug/watch.rs",
            text: r"        let canary = if levels.contains(Levels::CANARY) { CANARY_BYTES } else { 0 };
        let page =",
            by: r"        static TIMES: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
        let odd = TIMES.fetch_add(1, core::sync::atomic::Ordering::Relaxed) % 2;
        let canary = if levels.contains(Levels::CANARY) { CANARY_BYTES * (1 + odd) } else { 0 };
        let page =",
            tests: &["-p cenote --test levels a_source_that_counts"],
        },
    },
    Row {
        invariant: "21",
        change: Break {
            file: "crates/cenote/src/large/watched.rs",
            text: r"        self.layout & (YOUNG | OLD) != 0
    }

    fn plan",
            by: r"        self.layout & OLD != 0
    }

    fn plan",
            tests: &["-p cenote --test levels"],
        },
    },
    Row {
        invariant: "25",
        change: Break {
            file: "crates/cenote/src/source/buddy/region.rs",
            text: r"        let result = something(self);
        self.hide();
        result",
            by: "        something(self)",
            tests: &["-p cenote --test levels levels_of_a_region"],
        },
    },
    Row {
        invariant: "S1",
        change: Break {
            file: "crates/cenote/src/shared/window.rs",
            text: r"            let fit = window::fit_up(base + last, base + end, size, align)?;
            match self.swap(seen, word(fit.last - base, end)) {",
            by: r"            let fit = window::fit_up(base + last, base + end, size, align)?;
            match self.swap(self.0.load(Relaxed), word(fit.last - base, end)) {",
            tests: &["loom -p cenote --lib objects_placed_at_once_from_both_ends_are_apart"],
        },
    },
    Row {
        invariant: "S2",
        change: Break {
            file: "crates/cenote/src/shared/window.rs",
            text: "compare_exchange_weak(seen, next, AcqRel, Relaxed)",
            by: "compare_exchange_weak(seen, next, Relaxed, Relaxed)",
            tests: &["loom -p cenote --lib what_one_thread_frees_another_may_have"],
        },
    },
    Row {
        invariant: "S3",
        change: Break {
            file: "crates/cenote/src/shared/window.rs",
            text: r"            let Some(next) = window::resize_newest(last, end, start, old, new) else {
                return false;
            };",
            by: r"            let next = start + window::taken(new);
            if next > end || start + window::taken(old) > last {
                return false;
            }",
            tests: &["-p cenote --test shared_threads --test shared_pool"],
        },
    },
    Row {
        invariant: "S5",
        change: Break {
            file: "crates/cenote/src/shared/state.rs",
            text: r"            self.current.store(block.as_ptr(), Release);
        }
        placed",
            by: r"            self.current.store(block.as_ptr(), Relaxed);
        }
        placed",
            tests: &[
                "loom -p cenote --lib threads_that_need_a_new_block_at_once_get_what_is_theirs",
            ],
        },
    },
    Row {
        invariant: "S13",
        change: Break {
            file: "crates/cenote/src/shared/state.rs",
            text: "        self.newest.store(block.as_ptr(), Release);",
            by: "        self.newest.store(block.as_ptr(), Relaxed);",
            tests: &["loom -p cenote --lib who_looks_finds_every_block_that_it_finds_whole"],
        },
    },
    Row {
        invariant: "N1",
        change: Cannot(
            "Sizes and offsets are asserted when compiling, in Rust and by nginx's own headers: a change of them is no test that goes red, but a build that fails.",
        ),
    },
    Row {
        invariant: "N2",
        change: Break {
            file: "crates/cenote-c/nginx/src/window.rs",
            text: "if end.wrapping_sub(start) as isize >= size as isize {",
            by: "if end.wrapping_sub(start) >= size {",
            tests: &["-p cenote-nginx-tests --test window"],
        },
    },
    Row {
        invariant: "N3",
        change: Break {
            file: "crates/cenote-c/nginx/src/block.rs",
            text: "        self.last.set(last.with_addr(start + size));",
            by: "        self.last.set(last.with_addr(start + size + 8));",
            tests: &["-p cenote-nginx-tests --test pools a_random_life"],
        },
    },
    Row {
        invariant: "N4",
        change: Break {
            file: "crates/cenote-c/nginx/src/large.rs",
            text: r"        entry.alloc.set(newest.alloc.get());
",
            by: "",
            tests: &["-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise"],
        },
    },
    Row {
        invariant: "N5",
        change: Break {
            file: "crates/cenote-c/nginx/src/large.rs",
            text: r"    head.large.set(newest.next.get());
    spare(pool, first);",
            by: "    head.large.set(newest.next.get());",
            tests: &["-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise"],
        },
    },
    Row {
        invariant: "N6",
        change: Break {
            file: "crates/cenote-c/nginx/src/cleanup.rs",
            text: r#"    head.cleanup.set(entry.next.get());
    if let Some(handler) = entry.handler.get() {
        log::debug_address(head.log.get(), c"run cleanup: %p", record.as_ptr().cast());
        // SAFETY: whoever set the handler made it fit the data.
        unsafe { handler(entry.data.get()) };
    }"#,
            by: r#"    if let Some(handler) = entry.handler.get() {
        log::debug_address(head.log.get(), c"run cleanup: %p", record.as_ptr().cast());
        // SAFETY: whoever set the handler made it fit the data.
        unsafe { handler(entry.data.get()) };
    }
    head.cleanup.set(entry.next.get());"#,
            tests: &["-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise"],
        },
    },
    Row {
        invariant: "N7",
        change: Break {
            file: "crates/cenote-c/nginx/src/life.rs",
            text: r"    if log::debugging() {
        // Before anything is freed: the log may lie in the pool.
        log_end(pool);
    }
    large::free_all(pool);",
            by: r"    large::free_all(pool);
    if log::debugging() {
        log_end(pool);
    }",
            tests: &[
                "-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise",
                "-p cenote-nginx-tests --test pools sanitizers_see_each_object",
            ],
        },
    },
    Row {
        invariant: "N8",
        change: Break {
            file: "crates/cenote-c/nginx/src/life.rs",
            text: "    let near = unsafe { block::give(pool.block(), bytes, seen) };",
            by: "    let near = unsafe { block::give(pool.block(), bytes * 2, seen) };",
            tests: &["-p cenote-nginx-tests --test pools sanitizers_see_each_object"],
        },
    },
    Row {
        invariant: "N9",
        change: Break {
            file: "crates/cenote-c/nginx/src/block.rs",
            text: "            Standing::Other => false,",
            by: "            Standing::Other => true,",
            tests: &["-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise"],
        },
    },
    Row {
        invariant: "N10",
        change: Break {
            file: "crates/cenote-c/nginx/src/life.rs",
            text: "        if seen { (start, start) } else",
            by: "        if seen { (last, last) } else",
            tests: &["-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise"],
        },
    },
    Row {
        invariant: "J2",
        change: Break {
            file: "crates/cenote-c/njs/src/cleanup.rs",
            text: r"            self.newest.set(cleanup.next);
            if let Some(handler) = cleanup.handler {
                // SAFETY: the caller's promise.
                unsafe { handler(cleanup.data) };
            }",
            by: r"            if let Some(handler) = cleanup.handler {
                // SAFETY: the caller's promise.
                unsafe { handler(cleanup.data) };
            }
            self.newest.set(cleanup.next);",
            tests: &["-p cenote-njs --test contract"],
        },
    },
    Row {
        invariant: "22",
        change: Break {
            file: "crates/cenote/src/pool/placing.rs",
            text: "if !self.newest.get().is_null() || self.large.address() != 0 {",
            by: "if !self.newest.get().is_null() {",
            tests: &["-p cenote --test levels_late"],
        },
    },
    Row {
        invariant: "S15",
        change: Break {
            file: "crates/cenote/src/shared/window.rs",
            text: "if start != end || window::top_after(0, size) > block - end {",
            by: "if start != end {",
            tests: &["-p cenote --lib what_begins_right_behind_a_block"],
        },
    },
    Row {
        invariant: "S6",
        change: Break {
            file: "crates/cenote/src/shared/layouts.rs",
            text: r"                // Or it would be taken for a small one later, with its layout of then.
                && state.needs_large(new).is_none()
",
            by: "",
            tests: &["-p cenote --test regressions a_large_object_of_a_shared_pool"],
        },
    },
];
