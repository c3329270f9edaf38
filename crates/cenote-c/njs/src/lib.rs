//! njs's pool functions on cenote's chunk pool, to be linked into njs.
