//! Rows of the table in `docs/DESIGN.md`, up to invariant 18a, but for those of accounts.

use super::Change::Break;
use super::Row;

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
        invariant: "4",
        change: Break {
            file: "crates/cenote/src/pool/values.rs",
            text: r"        let slot = self.slot::<M, T>()?;
        // `make` may use the pool, or panic: the slot is taken by then, and nobody's yet.
        let value = make();",
            by: r"        let slot = self.slot::<M, T>()?;
        let after = self.last.get();
        if size_of::<T>() > 0 {
            self.last.set(slot.cast());
        }
        let value = make();
        self.last.set(after);",
            tests: &["-p cenote --test values alloc_with_may_allocate"],
        },
    },
    Row {
        invariant: "5",
        change: Break {
            file: "crates/cenote/src/pool/layouts.rs",
            text: "        if self.may_be_large(layout) && self.large.dealloc(&self.supply, start) {",
            by: r"        if start != self.end.get()
            && self.may_be_large(layout)
            && self.large.dealloc(&self.supply, start)
        {",
            tests: &["-p cenote --test regressions a_large_object_right_behind"],
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
        invariant: "8a",
        change: Break {
            file: "crates/cenote/src/seats.rs",
            text: "        self.tickets.set(self.tickets.get() + 1);",
            by: "        self.tickets.set(1);",
            tests: &["-p cenote --test regressions a_handle_of_a_cancelled_cleanup"],
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
            file: "crates/cenote/src/source/blocks/cache.rs",
            text: r"        bin.head.set(next);
        let count",
            by: r"        let _ = next;
        let count",
            tests: &["-p cenote --lib source::blocks"],
        },
    },
    Row {
        invariant: "13a",
        change: Break {
            file: "crates/cenote/src/source/runs.rs",
            text: "Cell::new(sizes.all() & !1)",
            by: "Cell::new(sizes.all())",
            tests: &["-p cenote --lib source::runs::tests::no_block_is_anybody_elses"],
        },
    },
    Row {
        invariant: "13b",
        change: Break {
            file: "crates/cenote/src/source/runs.rs",
            text: "        run.free.set(run.free.get() & !bits);",
            by: "",
            tests: &["-p cenote --lib source::runs::tests::what_waits_is_bounded"],
        },
    },
    Row {
        invariant: "13c",
        change: Break {
            file: "crates/cenote/src/source/runs.rs",
            text: r"                let run = self.make(sizes)?;
                guarded.with(|shelf| shelf.insert(run));
                run.first",
            by: r"                let run = guarded.with(|shelf| {
                    let run = self.make(sizes)?;
                    shelf.insert(run);
                    Some(run)
                })?;
                run.first",
            tests: &["-p cenote --lib source::runs::tests::nothing_is_asked_of_the_allocator"],
        },
    },
    Row {
        invariant: "13c",
        change: Break {
            file: "crates/cenote/src/source/runs.rs",
            text: "    RUNS.shelves.iter().for_each(|guarded| guarded.held.lock());",
            by: "    RUNS.shelves[1..].iter().for_each(|guarded| guarded.held.lock());",
            tests: &["-p cenote --lib source::runs::tests::a_fork_holds_all_locks"],
        },
    },
    Row {
        invariant: "13e",
        change: Break {
            file: "crates/cenote/src/chunk/cluster.rs",
            text: "number < geometry.pages as usize && word >> (number % 64) & 1 != 0",
            by: "let _ = word; number + 1 < geometry.pages as usize",
            tests: &["-p cenote --test chunk_trim"],
        },
    },
    Row {
        invariant: "13d",
        change: Break {
            file: "crates/cenote/src/large/mod.rs",
            text: "            self.single.set(Slot::new(grown, whole));",
            by: "            self.single.set(Slot::new(grown, old));",
            tests: &["-p cenote --test account_limits an_object_that_grows_in_place"],
        },
    },
    Row {
        invariant: "13d",
        change: Break {
            file: "crates/cenote/src/large/mod.rs",
            text: "            self.table.insert(Slot::new(grown, whole));",
            by: "            self.table.insert(Slot::new(grown, old));",
            tests: &["-p cenote --test account_limits an_object_that_grows_in_place"],
        },
    },
    Row {
        invariant: "14",
        change: Break {
            file: "crates/cenote/src/source/buddy/mod.rs",
            text: r"            Some(order) => orders.bytes(order),
            None => layout.size(),",
            by: r"            Some(order) => orders.bytes(order + 1),
            None => layout.size(),",
            tests: &["-p cenote --test buddy_regions what_fits_is_a_fixed_point"],
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
        invariant: "30",
        change: Break {
            file: "crates/cenote/src/source/shelves.rs",
            text: "            LIST.remove(self);\n",
            by: "",
            tests: &["-p cenote --test idle_threads trimmed_by_another"],
        },
    },
    Row {
        invariant: "31",
        change: Break {
            file: "crates/cenote/src/source/forks.rs",
            text: "    shelves::after_fork_in_the_child();",
            by: "    shelves::after_fork();",
            tests: &["-p cenote --test idle_threads forks::"],
        },
    },
    Row {
        invariant: "32",
        change: Break {
            file: "crates/cenote/src/source/shelves.rs",
            text: "            Batch::of(cache, due)",
            by: r"            let batch = Batch::of(cache, due);
            // SAFETY: all that is kept came from there with its list's layout.
            unsafe { batch.release(&Ground) };
            Batch::default()",
            tests: &["-p cenote --test idle_threads with_no_shelf_held"],
        },
    },
];
