//! Rows of the table in `docs/design/variance.md`.

use super::Change::Break;
use super::Row;

pub(super) const ROWS: &[Row] = &[Row {
    invariant: "T1",
    change: Break {
        file: "crates/cenote/src/kept.rs",
        text: "    _type: PhantomData<*mut T>,",
        by: "    _type: PhantomData<*const T>,",
        tests: &["-p cenote --test compile_fail -- what_is_right trybuild=kept_shortened"],
    },
}];
