//! nginx's pool functions on cenote's blocks, to be linked into nginx.
