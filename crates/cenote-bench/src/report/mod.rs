//! What a run leaves behind: the table on the terminal, the JSON file, the page and its charts.

pub(crate) mod json;
pub(crate) mod table;
