//! `Buddy`, over regions of any length at any place: blocks are aligned to their size, overlap
//! no other, and merge to what there was; every wrong free is noticed.

#![no_main]

use arbitrary::Arbitrary;
use cenote::misuse::OnBadFree;
use cenote::{BlockSource, Buddy};
use cenote_fuzz::input::AnyLayout;
use libfuzzer_sys::fuzz_target;
use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

#[derive(Arbitrary, Debug)]
enum Step {
    Take(AnyLayout),
    /// By layout.
    Release(u16),
    /// By the address alone.
    Free(u16),
    FreeAnywhere(usize),
    FreeNearby {
        which: u16,
        far: i32,
    },
}

#[derive(Arbitrary, Debug)]
struct Input {
    bytes: u32,
    offset: u16,
    page: u8,
    largest: u8,
    steps: Vec<Step>,
}

fuzz_target!(|input: Input| {
    let bytes = input.bytes as usize % (1 << 20);
    let offset = usize::from(input.offset) % (bytes + 1);
    let mut memory = vec![MaybeUninit::<u8>::uninit(); bytes];
    let page = 1_usize << (input.page % 15);
    let builder = Buddy::builder()
        .page(page)
        .largest_block(page << (input.largest % 12))
        .on_bad_free(OnBadFree::Return);
    let Ok(buddy) = builder.over(&mut memory[offset..]) else { return };
    let orders: Vec<_> = buddy.orders().collect();
    assert_eq!(buddy.free_bytes(), buddy.bytes());
    // SAFETY: all misuse is noticed.
    let free = |start| unsafe { buddy.free(start) };

    let mut live: Vec<(NonNull<u8>, Layout, usize)> = Vec::new();
    for step in input.steps {
        match step {
            Step::Take(layout) => {
                let layout = layout.layout();
                let Ok(start) = buddy.acquire(layout) else { continue };
                let size = buddy.capacity(start).expect("a block");
                let address = start.addr().get();
                assert!(size >= layout.size() && size % page == 0);
                assert_eq!(address % layout.align(), 0);
                assert_eq!(address % size, 0);
                for (other, _, taken) in &live {
                    let other = other.addr().get();
                    assert!(address + size <= other || other + taken <= address);
                }
                // What was not asked for is forbidden to checkers.
                // SAFETY: a block of so many bytes at least.
                unsafe { start.write_bytes(7, layout.size()) };
                live.push((start, layout, size));
            }
            Step::Release(which) | Step::Free(which) if live.is_empty() => _ = which,
            Step::Release(which) => {
                let (start, layout, _) = live.swap_remove(usize::from(which) % live.len());
                // SAFETY: taken with this layout.
                unsafe { buddy.release(start, layout) };
                assert!(free(start).is_err());
            }
            Step::Free(which) => {
                let (start, _, size) = live.swap_remove(usize::from(which) % live.len());
                assert_eq!(free(start), Ok(size));
                assert!(free(start).is_err());
            }
            Step::FreeAnywhere(address) => {
                let Some(address) = NonZeroUsize::new(address) else { continue };
                if live.iter().all(|(start, ..)| start.addr() != address) {
                    assert!(free(NonNull::without_provenance(address)).is_err());
                }
            }
            Step::FreeNearby { which, far } => {
                let Some(at) = usize::from(which).checked_rem(live.len()) else { continue };
                let address = live[at].0.addr().get().wrapping_add_signed(far as isize);
                let Some(address) = NonZeroUsize::new(address) else { continue };
                if live.iter().all(|(start, ..)| start.addr() != address) {
                    assert!(free(live[at].0.with_addr(address)).is_err());
                }
            }
        }
        assert_eq!(buddy.used_bytes(), live.iter().map(|(_, _, size)| size).sum::<usize>());
        assert_eq!(buddy.used_bytes() + buddy.free_bytes(), buddy.bytes());
    }
    for (start, ..) in live {
        assert!(free(start).is_ok());
    }
    assert_eq!(buddy.orders().collect::<Vec<_>>(), orders, "not all merged");
});
