//! Rows of the table in `docs/DESIGN.md`: accounts, invariants 10 to 12l.

use super::Change::{Break, Cannot};
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "10",
        change: Break {
            file: "crates/cenote/src/account/charging.rs",
            text: r"            node.held.store(node.held.load(Relaxed) - size as isize, Relaxed);
            // SAFETY: from here on up there is `until`, at which this ends.",
            by: r"            let _ = size;
            // SAFETY: from here on up there is `until`, at which this ends.",
            tests: &["-p cenote --test account_limits a_charge_that_is_refused_half_way_up"],
        },
    },
    Row {
        invariant: "10",
        change: Break {
            file: "crates/cenote/src/supply.rs",
            text: r"    fn not_taken(&self, layout: Layout, error: AllocError) -> AllocError {
        if let Some(node) = self.node() {",
            by: r"    fn not_taken(&self, layout: Layout, error: AllocError) -> AllocError {
        if let Some(node) = self.node()
            && layout.size() < 100_000
        {",
            tests: &["-p cenote --test account_limits what_a_source_has_not"],
        },
    },
    Row {
        invariant: "10",
        change: Break {
            file: "crates/cenote/src/supply.rs",
            text: "            node.uncharge(more);",
            by: "            node.uncharge(new.size());",
            tests: &["-p cenote --test account_limits an_object_that_its_source_cannot_grow"],
        },
    },
    Row {
        invariant: "11",
        change: Break {
            file: "crates/cenote/src/account/node.rs",
            text: "        if ptr::eq(this.owner.load(Relaxed), thread::record()) {",
            by: "        if owning_thread(this.owner.load(Relaxed)).is_some() {",
            tests: &["-p cenote --lib account::tests::owners::what_an_owner_counts"],
        },
    },
    Row {
        invariant: "11",
        change: Break {
            file: "crates/cenote/src/account/life.rs",
            text: "        if inbox.ended {",
            by: "        if inbox.ended || !this.mail.posted.load(Relaxed) {",
            tests: &["-p cenote --lib account::tests::owners::an_account_is_its_owners"],
        },
    },
    Row {
        invariant: "12",
        change: Break {
            file: "crates/cenote/src/account/life.rs",
            text: "    if before != count {",
            by: "    if before != count || count == 1 {",
            tests: &["-p cenote --lib account::tests::an_account_under_one_of_the_same_thread"],
        },
    },
    Row {
        invariant: "12a",
        change: Break {
            file: "crates/cenote/src/account/record.rs",
            text: "        record.account_under(node).map_or(0, |_| record.balance())",
            by: "        record.balance()",
            tests: &["-p cenote --lib account::tests::the_room_that_is_left"],
        },
    },
    Row {
        invariant: "12b",
        change: Break {
            file: "crates/cenote/src/account/node.rs",
            text: "parent.filter(|parent| ptr::eq(parent.owner.load(Relaxed), me))",
            by: "parent.filter(|parent| owning_thread(parent.owner.load(Relaxed)).is_some())",
            tests: &["-p cenote --lib account::tests::owners::between_an_account_and_its_stop"],
        },
    },
    Row {
        invariant: "12b",
        change: Break {
            file: "crates/cenote/src/account/node.rs",
            text: "            while ptr::eq(stop.owner.load(Relaxed), me) {",
            by: "            while owning_thread(stop.owner.load(Relaxed)).is_some() {",
            tests: &["-p cenote --lib account::tests::owners::between_an_account_and_its_stop"],
        },
    },
    Row {
        invariant: "12c",
        change: Break {
            file: "crates/cenote/src/account/node.rs",
            text: r"        record.keep();
        if self.owner.compare_exchange(nobodys(), me.cast_mut(), AcqRel, Relaxed).is_ok() {
            self.bound.store(me.cast_mut(), Relaxed);
        } else {
            record.let_go();
        }",
            by: r"        let _ = record;
        let _ = self.owner.compare_exchange(nobodys(), me.cast_mut(), AcqRel, Relaxed);",
            tests: &["-p cenote --lib account::tests::owners::a_record_stands_for_no_other"],
        },
    },
    Row {
        invariant: "12d",
        change: Break {
            file: "crates/cenote/src/account/record.rs",
            text: "        !self.called.load(Relaxed) || self.paid_though_called(size)",
            by: "        !self.called.load(Relaxed) || self.paid_though_called(size) || true",
            tests: &["loom -p cenote --lib a_reserve_is_paid_with"],
        },
    },
    Row {
        invariant: "12e",
        change: Break {
            file: "crates/cenote/src/account/record.rs",
            text: r"        let _within = record.gate.enter();
        record.answer();
        let reserve = record.reserve.load(Relaxed);
        // Another",
            by: r"        record.answer();
        let reserve = record.reserve.load(Relaxed);
        // Another",
            tests: &["loom -p cenote --lib account::model::two_who_call"],
        },
    },
    Row {
        invariant: "12f",
        change: Break {
            file: "crates/cenote/src/account/slow.rs",
            text: r"        for (node, own, bytes) in below_root() {
            if !node.fits(bytes, own) {
                return Err(node);
            }
        }
        // What was charged already, as a reserve is, is nobody's to refuse.
        if more > 0 && !root.charge_root(more) {
            return Err(root);
        }
        for (node, own, bytes) in below_root() {
            node.add(bytes, own);
        }",
            by: r"        let mut full = None;
        for (node, own, bytes) in below_root() {
            if !node.fits(bytes, own) {
                full = Some(node);
                break;
            }
            node.add(bytes, own);
        }
        if full.is_none() && more > 0 && !root.charge_root(more) {
            full = Some(root);
        }
        if let Some(full) = full {
            for (node, own, bytes) in below_root() {
                if ptr::eq(node, full) {
                    break;
                }
                node.add(bytes.wrapping_neg(), own);
            }
            return Err(full);
        }",
            tests: &["loom -p cenote --lib account::model::of_two_charges_of_a_shared"],
        },
    },
    Row {
        invariant: "12g",
        change: Cannot(
            "what a child of a fork finds half done depends on the instruction that another thread \
             was at, so no test of a few hundred forks is sure to meet it",
        ),
    },
    Row {
        invariant: "12h",
        change: Break {
            file: "crates/cenote/src/account/record.rs",
            text: r"    record.open_mail(true);
    record.let_go();",
            by: r"    record.open_mail(true);
    record.users.store(0, Relaxed);
    RECORDS.free.fetch_add(1, Relaxed);",
            tests: &["-p cenote --lib account::tests::owners::a_record_stands_for_no_other"],
        },
    },
    Row {
        invariant: "12i",
        change: Break {
            file: "crates/cenote/src/account/charging.rs",
            text: "        self.spare.swap(STARVED, Relaxed) != STARVED",
            by: "        self.spare.load(Relaxed) != STARVED",
            tests: &["-p cenote --test waiting blocks_that_pools_give_back"],
        },
    },
    Row {
        invariant: "12j",
        change: Break {
            file: "crates/cenote/src/account/charging.rs",
            text: "        if known != STARVED && known / 2 != quantum {",
            by: "        if known / 2 != quantum {",
            tests: &["-p cenote --test waiting"],
        },
    },
    Row {
        invariant: "12k",
        change: Break {
            file: "crates/cenote/src/account/reservation.rs",
            text: r"            node.uncount_reserved(self.bytes);
            node.give_back(self.bytes);",
            by: r"            node.give_back(self.bytes);
            node.uncount_reserved(self.bytes);",
            tests: &["-p cenote --test waiting whoever_is_woken"],
        },
    },
    Row {
        invariant: "12l",
        change: Break {
            file: "crates/cenote/src/account/peaks.rs",
            text: r"            self.before.ever.fetch_max(peak, AcqRel);
",
            by: "",
            tests: &["-p cenote --lib account::peaks"],
        },
    },
];
