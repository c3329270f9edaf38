//! What a run leaves behind: the table on the terminal, the JSON file, the page and its charts.

mod aims;
mod chart;
mod global;
pub(crate) mod json;
pub(crate) mod machine;
mod notes;
pub(crate) mod page;
pub(crate) mod processors;
pub(crate) mod ran;
pub(crate) mod table;
