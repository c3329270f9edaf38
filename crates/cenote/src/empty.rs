//! The window of a pool that has no block: both ends at one address, so that nothing but nothing
//! fits, and no check of its own is needed.

use core::ptr::NonNull;

#[repr(align(16))]
struct Aligned(#[allow(dead_code)] u8);

/// Never read, and never written.
static NOTHING: Aligned = Aligned(0);

/// Where an empty window begins and ends; aligned to 16.
///
/// It is the address of a static, not a constant such as 16, since the first allocation loads what a
/// new pool has stored: some Intel processors guess how a load gets the value of an earlier store, and
/// guess wrong for the next hundred allocations where that store had its value from an immediate
/// operand. An address that is known only when the program is loaded comes from a register.
pub(crate) const NO_WINDOW: NonNull<u8> = NonNull::from_ref(&NOTHING).cast();
