//! Rows of the table in `docs/design/parking.md`.

use super::Row;

pub(super) const ROWS: &[Row] = &[];
