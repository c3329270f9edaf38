//! What the fuzz targets share: inputs that reach every size and alignment (`input`), pools as
//! one kind of thing (`subject`), a buffer that grows in one (`growing`), and a session of operations
//! with a shadow of what the pool should hold (`session`).

mod growing;
pub mod input;
pub mod session;
pub mod subject;
