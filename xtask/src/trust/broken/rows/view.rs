//! Rows of the table in `docs/design/view.md`.

use super::Row;

pub(super) const ROWS: &[Row] = &[];
