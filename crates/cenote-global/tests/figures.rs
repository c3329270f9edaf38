//! Figures tell of each object, while nobody is at work: so this is a program of one thread.

use cenote_global::{Global, raw, stats};

#[global_allocator]
static GLOBAL: Global = Global::new();

fn main() {
    for size in [1, 16, 17, 100, 1000, 5000, 40_000, 300_000, 2_000_000] {
        let mut objects = Vec::with_capacity(200);
        let before = stats();
        objects.extend((0..200).map(|_| raw::alloc(size)));
        let after = stats();
        assert_eq!(after.objects - before.objects, 200, "{size}");
        let most = 200 * (size + size / 4 + 16);
        assert!((200 * size..=most).contains(&(after.live - before.live)), "{size}");
        assert!(after.held >= after.live && after.mapped >= after.held, "{after:?}");
        // SAFETY: nobody uses them.
        objects.drain(..).for_each(|start| unsafe { raw::free(start) });
        assert_eq!(stats().live, before.live, "{size}");
        let sum: usize = stats().classes.iter().map(|class| class.live * class.size).sum();
        assert_eq!(sum, stats().live, "nothing large is left");
    }
    println!("figures tell of each object: ok");
}
