//! What a run leaves behind: the table on the terminal, the JSON file, the page and its charts.

mod aims;
mod chart;
pub(crate) mod json;
mod machine;
mod notes;
pub(crate) mod page;
pub(crate) mod table;
