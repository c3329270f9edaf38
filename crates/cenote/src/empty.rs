//! The window of a pool that has no block: both ends at one address, so that nothing but nothing
//! fits, and no check of its own is needed.

use core::ptr::{self, NonNull};

/// Aligned to 16, like every window's ends, and too large for an immediate operand of a store.
const ADDRESS: usize = 1 << (usize::BITS - 20);

/// Where an empty window begins and ends; nothing is ever read or written there.
///
/// The first allocation loads what a new pool has stored: some Intel processors guess how a load gets
/// the value of an earlier store, and guess wrong for the next hundred allocations where that store
/// had its value from an immediate operand. One of more than 32 bits comes from a register. It is a
/// number all the same, not the address of a static, so that the compiler knows that a new pool's
/// first allocation does not fit.
pub(crate) const NO_WINDOW: NonNull<u8> = match NonNull::new(ptr::without_provenance_mut(ADDRESS)) {
    Some(address) => address,
    None => unreachable!(),
};
