//! Messages that come and go roughly in order.

use cenote::CountedPool;

use crate::harness::{Case, Subject, timed};
#[cfg(has_mimalloc2)]
use crate::peers::mallocs::Two;
use crate::peers::mallocs::{Glibc, Malloc, Mimalloc, Three};
use crate::work::{Random, layout, touch};

/// Messages in the window.
const WINDOW: usize = 64;
/// Sizes, made beforehand.
const PLAN: usize = 1 << 16;

/// Sizes of messages.
const MIX: [u32; 16] = [16, 24, 32, 32, 48, 64, 64, 96, 128, 160, 200, 256, 320, 512, 768, 1_400];

pub(crate) const OLDEST: &str = "16 to 1,400 B, oldest first";
pub(crate) const ANY: &str = "16 to 1,400 B, any of the window";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(OLDEST, "message", || subjects(&MIX, false)),
        Case::new(ANY, "message", || subjects(&MIX, true)),
        Case::new("64 B, oldest first", "message", || subjects(&[64], false)),
    ]
}

fn subjects(mix: &'static [u32], any: bool) -> Vec<Subject> {
    vec![
        subject("cenote", CountedPool::new(), mix, any),
        subject("mimalloc 3", Mimalloc(Three), mix, any),
        #[cfg(has_mimalloc2)]
        subject("mimalloc 2", Mimalloc(Two), mix, any),
        subject("glibc malloc", Glibc, mix, any),
        if mix.len() == 1 { plurality() } else { Subject::missing("plurality", "one type only") },
    ]
}

fn subject<M: Malloc + 'static>(name: &str, malloc: M, mix: &'static [u32], any: bool) -> Subject {
    let mut random = Random::new();
    let plan: Vec<(u32, u32)> = (0..PLAN)
        .map(|step| {
            let place =
                if any { random.below(WINDOW as u64) as u32 } else { (step % WINDOW) as u32 };
            (place, mix[random.below(mix.len() as u64) as usize])
        })
        .collect();
    let window = (0..WINDOW).map(|_| (malloc.get(layout(64)), 64)).collect();
    let mut stream = Stream { window, plan, at: 0, malloc };
    stream.run(PLAN as u64);
    Subject::new(name, move |times| timed(|| stream.run(times)))
}

struct Stream<M: Malloc> {
    window: Vec<(*mut u8, u32)>,
    plan: Vec<(u32, u32)>,
    at: usize,
    malloc: M,
}

impl<M: Malloc> Stream<M> {
    #[inline(never)]
    fn run(&mut self, times: u64) {
        for turn in 0..times {
            let (place, size) = self.plan[self.at];
            self.at = (self.at + 1) & (PLAN - 1);
            let message = &mut self.window[place as usize];
            // SAFETY: allocated with this size, and replaced below.
            unsafe { self.malloc.put(message.0, layout(message.1 as usize)) };
            let start = self.malloc.get(layout(size as usize));
            touch(start, turn);
            *message = (start, size);
        }
    }
}

impl<M: Malloc> Drop for Stream<M> {
    fn drop(&mut self) {
        for &(start, size) in &self.window {
            // SAFETY: allocated with this size, freed once.
            unsafe { self.malloc.put(start, layout(size as usize)) };
        }
    }
}

fn plurality() -> Subject {
    let pool = plurality::Pool::<[u64; 8]>::new();
    let mut window: Vec<_> = (0..WINDOW).map(|_| Some(pool.alloc_uninit_box())).collect();
    let mut at = 0;
    Subject::new("plurality", move |times| {
        timed(|| {
            for turn in 0..times {
                window[at] = None;
                let mut message = pool.alloc_uninit_box();
                touch(message.as_mut_ptr().cast(), turn);
                window[at] = Some(message);
                at = (at + 1) % WINDOW;
            }
        })
    })
}
