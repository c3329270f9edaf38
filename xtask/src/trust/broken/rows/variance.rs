//! Rows of the table in `docs/design/variance.md`.

use super::Row;

pub(super) const ROWS: &[Row] = &[];
