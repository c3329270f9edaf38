//! Inputs. A fuzzer that draws sizes evenly from all integers asks for nothing that can be had,
//! and one that draws them from small types never sees the edges: so each size says how it is
//! meant.

use arbitrary::Arbitrary;
use std::alloc::Layout;

/// A size in bytes.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Size {
    Small(u8),
    Medium(u16),
    Large(u32),
    /// Near a power of two.
    Power {
        shift: u8,
        delta: i8,
    },
    /// So much less than the largest size there is.
    NearMost(u16),
    Any(usize),
}

impl Size {
    pub fn bytes(self) -> usize {
        match self {
            Size::Small(size) => size.into(),
            Size::Medium(size) => size.into(),
            Size::Large(size) => size as usize,
            Size::Power { shift, delta } => {
                (1_usize << (shift % 64)).wrapping_add_signed(delta.into())
            }
            Size::NearMost(less) => isize::MAX as usize - usize::from(less),
            Size::Any(size) => size,
        }
    }
}

/// Any layout that is one, aligned to 2 MiB at most.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct AnyLayout {
    size: Size,
    align_shift: u8,
}

impl AnyLayout {
    pub fn layout(self) -> Layout {
        let align = 1 << (self.align_shift % 22);
        let most = isize::MAX as usize - (align - 1);
        Layout::from_size_align(self.size.bytes().min(most), align).expect("rounded down to fit")
    }
}

/// What is done next. Objects are named by a number, of which the remainder counts.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Op {
    Alloc {
        layout: AnyLayout,
        zeroed: bool,
    },
    /// Frees by layout.
    Dealloc(u16),
    /// Frees by the address alone, where the pool can.
    Free(u16),
    Resize {
        which: u16,
        layout: AnyLayout,
    },
    /// Frees what is no object: an address so far from that of one.
    FreeNearby {
        which: u16,
        far: i32,
    },
    /// Frees an object that was freed already.
    FreeAgain(u16),
    /// A cleanup, which allocates this much when it runs.
    Defer(u16),
    /// A value whose destructor counts.
    Own,
    Reset,
    /// Gives back what is only kept for later.
    Tidy,
    Limit(Size),
    /// The source fails after so many calls, once or from then on.
    Fail {
        after: u8,
        forever: bool,
    },
    /// To the pool's buffer, where it can have one.
    Buffer(Growth),
}

/// What is done to a buffer.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Growth {
    /// So many bytes more, as a slice or by way of `io::Write`.
    Bytes {
        count: u16,
        written: bool,
    },
    /// A text of so many words, each written by itself, as `try_extend_fmt` does it or `write!`.
    Words {
        count: u8,
        written: bool,
    },
    Reserve(Size),
    Clear,
    /// Its bytes stay in the pool; what comes next is done to a new one.
    Keep,
    Drop,
}
