//! Those that cenote is compared with.

pub(crate) mod arenas;
pub(crate) mod c;
pub(crate) mod mallocs;
