//! Millions of random calls, checked against what they were told: objects are apart from each other,
//! and keep what is written in them.

mod common;

use cenote_global::{Global, raw, trim};
use common::Random;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;

#[global_allocator]
static GLOBAL: Global = Global::new();

#[derive(Debug)]
struct Object {
    start: *mut u8,
    size: usize,
    seed: u8,
}

// SAFETY: an address; whoever has the object uses the memory.
unsafe impl Send for Object {}

impl Object {
    /// A size as programs have them: mostly small.
    fn make(random: &mut Random) -> Self {
        let below = match random.below(128) {
            0 => 21,
            1..4 => 18,
            other => [4, 6, 8, 8, 10, 12, 15][other % 7],
        };
        let size = random.below(1 << below);
        let align = if random.below(8) == 0 { 1 << random.below(14) } else { 1 };
        let start = if random.below(4) == 0 && align == 1 {
            let start = raw::alloc_zeroed(size);
            assert!(bytes(start, size).iter().all(|byte| *byte == 0), "{size} bytes of zeros");
            start
        } else {
            raw::alloc_aligned(size, align)
        };
        assert!(!start.is_null() && start.addr().is_multiple_of(align));
        let object = Self { start, size, seed: random.next() as u8 };
        object.write();
        object
    }

    fn parts(&self) -> [(usize, usize); 2] {
        let end = self.size.min(64);
        [(0, end), (self.size - end, end)]
    }

    fn write(&self) {
        for (at, count) in self.parts() {
            // SAFETY: inside of the object.
            unsafe { self.start.wrapping_add(at).write_bytes(self.seed, count) };
        }
    }

    fn check(&self) {
        for (at, count) in self.parts() {
            let written = bytes(self.start.wrapping_add(at), count);
            assert!(written.iter().all(|byte| *byte == self.seed), "{self:?}");
        }
    }

    fn resize(&mut self, random: &mut Random) {
        let size = random.below(self.size * 2 + 32);
        let kept = self.size.min(64).min(size);
        // SAFETY: the object, by its only pointer.
        self.start = unsafe { raw::realloc(self.start, size) };
        assert!(bytes(self.start, kept).iter().all(|byte| *byte == self.seed), "{self:?}");
        self.size = size;
        self.write();
    }

    fn free(self) {
        self.check();
        // SAFETY: nobody else has it.
        unsafe { raw::free(self.start) };
    }
}

fn bytes<'a>(start: *mut u8, count: usize) -> &'a [u8] {
    // SAFETY: an object's bytes, which were written; nobody writes them meanwhile.
    unsafe { std::slice::from_raw_parts(start, count) }
}

fn steps() -> usize {
    if cfg!(debug_assertions) { 100_000 } else { 1_000_000 }
}

#[test]
fn objects_of_millions_of_random_calls_are_apart_and_keep_their_bytes() {
    let mut random = Random(1);
    let mut objects: BTreeMap<usize, Object> = BTreeMap::new();
    for step in 0..steps() {
        let wanted = 2000 * (1 + step / 20_000 % 4);
        if objects.len() < wanted && random.below(16) != 0 {
            let object = Object::make(&mut random);
            let address = object.start.addr();
            if let Some((at, below)) = objects.range(..=address).next_back() {
                assert!(at + below.size.max(1) <= address, "{object:?} lies in {below:?}");
            }
            if let Some((at, _)) = objects.range(address..).next() {
                assert!(address + object.size.max(1) <= *at, "{object:?} reaches {at:#x}");
            }
            objects.insert(address, object);
        } else if let Some(address) = pick(&objects, &mut random) {
            let mut object = objects.remove(&address).unwrap();
            if random.below(3) == 0 {
                object.resize(&mut random);
                objects.insert(object.start.addr(), object);
            } else {
                object.free();
            }
        }
    }
    objects.into_values().for_each(Object::free);
}

fn pick(objects: &BTreeMap<usize, Object>, random: &mut Random) -> Option<usize> {
    let (low, high) = (*objects.first_key_value()?.0, *objects.last_key_value()?.0);
    let address = low + random.next() as usize % (high - low + 1);
    objects.range(address..).next().map(|(address, _)| *address)
}

#[test]
fn objects_that_threads_hand_to_each_other_are_freed_wherever_they_get_to() {
    const THREADS: usize = 4;
    let channels: Vec<_> = (0..THREADS).map(|_| mpsc::channel::<Object>()).collect();
    let senders: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
    std::thread::scope(|scope| {
        for (number, (_, receiver)) in channels.into_iter().enumerate() {
            let senders = senders.clone();
            scope.spawn(move || {
                let mut random = Random(99 + number as u64);
                let mut own = Vec::new();
                for _ in 0..steps() / THREADS {
                    match random.below(8) {
                        0..3 => own.push(Object::make(&mut random)),
                        3..5 if !own.is_empty() => {
                            let place = random.below(own.len());
                            let object = own.swap_remove(place);
                            let _ = senders[random.below(THREADS)].send(object);
                        }
                        5 if !own.is_empty() => {
                            let place = random.below(own.len());
                            own[place].resize(&mut random);
                        }
                        _ => {
                            if let Ok(object) = receiver.try_recv() {
                                if random.below(4) == 0 { own.push(object) } else { object.free() }
                            }
                        }
                    }
                    if own.len() > 3000 {
                        own.drain(..1000).for_each(Object::free);
                    }
                }
                drop(senders);
                own.into_iter().for_each(Object::free);
                receiver.try_iter().for_each(Object::free);
            });
        }
    });
}

#[test]
fn objects_keep_their_bytes_while_free_pages_are_given_back() {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                trim();
            }
        });
        for round in 0..100 {
            // So much that giving it back takes as long as allocating it again.
            let objects: Vec<Object> = (0..16)
                .map(|number| {
                    let size = 1000 << 10;
                    let start = raw::alloc(size);
                    assert!(!start.is_null());
                    let object = Object { start, size, seed: round * 2 + number % 2 + 1 };
                    // SAFETY: an object of so many bytes.
                    unsafe { start.write_bytes(object.seed, size) };
                    object
                })
                .collect();
            objects.into_iter().for_each(Object::free);
        }
        done.store(true, Relaxed);
    });
}
