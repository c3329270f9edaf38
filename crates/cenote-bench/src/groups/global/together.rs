//! Two threads' work, and the work of four where two make and two end.
//!
//! larson, xmalloc, mstress and cache-scratch are written anew after what is published of them.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Condvar, Mutex};
use std::thread;

use super::object::{Array, Object, random, small};
use super::{Took, took};
use crate::peers::mallocs::Malloc;
use crate::work::{Random, layout};

/// Threads at work at the same time, or in each of two parts.
const THREADS: u64 = 2;

/// Each thread has an array; it replaces every object in it, and gets the other's array for its own,
/// so that what it frees next is the other's.
pub(super) fn swap<M: Malloc + Copy + Send + Sync>(malloc: M, units: u64) -> Took {
    const LIVE: usize = 4_096;
    let turns = units.div_ceil(THREADS * LIVE as u64);
    took(|| {
        let (give, take) = sync_channel(1);
        let (give_back, take_back) = sync_channel(1);
        thread::scope(|scope| {
            for (number, give, take) in [(0, give, take_back), (1, give_back, take)] {
                scope.spawn(move || {
                    let mut random = random(number);
                    let mut mine = Array::new(malloc, LIVE, || small(&mut random));
                    for _ in 0..turns {
                        for at in 0..LIVE {
                            mine.replace(at, small(&mut random));
                        }
                        give.send(mine).expect("the other thread");
                        mine = take.recv().expect("the other thread");
                    }
                });
            }
        });
    })
}

/// One thread allocates, another frees, 64 at a time.
pub(super) fn handed<M: Malloc + Copy + Send + Sync>(malloc: M, units: u64) -> Took {
    const PARCEL: usize = 64;
    took(|| {
        let (give, take) = sync_channel(16);
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut random = random(0);
                for _ in 0..units.div_ceil(PARCEL as u64) {
                    let parcel = Array::new(malloc, PARCEL, || small(&mut random));
                    give.send(parcel).expect("the other thread");
                }
            });
            while let Ok(parcel) = take.recv() {
                drop(black_box(parcel));
            }
        });
    })
}

/// Threads, two at a time, that allocate 400 objects, free most of them and what the last one left,
/// and end; a quarter is left for the next.
pub(super) fn come_and_go<M: Malloc + Copy + Send + Sync + 'static>(malloc: M, units: u64) -> Took {
    const OBJECTS: usize = 400;
    let life = move |number: u64, left: Option<Array<M>>| {
        let mut random = random(number);
        let mut all = Array::new(malloc, OBJECTS, || small(&mut random) * 4);
        drop(left);
        let kept = all.objects.split_off(OBJECTS * 3 / 4);
        drop(all);
        Array { malloc, objects: kept }
    };
    took(|| {
        thread::scope(|scope| {
            for number in 0..THREADS {
                scope.spawn(move || {
                    let mut left = None;
                    for turn in 0..units.div_ceil(THREADS) {
                        let thread = thread::spawn(move || life(number + turn % 8, left));
                        left = Some(thread.join().expect("a thread"));
                    }
                });
            }
        });
    })
}

/// A server's threads: each replaces objects of an array at random, and after a while a new thread
/// takes the array over, whose objects are the one's that has ended.
pub(super) fn larson<M: Malloc + Copy + Send + Sync + 'static>(malloc: M, units: u64) -> Took {
    const LIVE: usize = 5_000;
    /// Steps of one thread.
    const LIFE: u64 = 20_000;
    let serve = move |mut array: Array<M>, mut random: Random| {
        for _ in 0..LIFE {
            let drawn = random.next();
            let at = (drawn >> 40) as usize % LIVE;
            array.replace(at, 10 + (drawn >> 8) as usize % 491);
        }
        (array, random)
    };
    took(|| {
        thread::scope(|scope| {
            for number in 0..THREADS {
                scope.spawn(move || {
                    let mut random = random(number);
                    let array = Array::new(malloc, LIVE, || 10 + random.below(491) as usize);
                    let mut state = (array, random);
                    for _ in 0..units.div_ceil(THREADS * LIFE) {
                        let thread = thread::spawn(move || serve(state.0, state.1));
                        state = thread.join().expect("a thread");
                    }
                });
            }
        });
    })
}

/// A list that several threads put to and take from.
struct Shared<T> {
    list: Mutex<(VecDeque<T>, u64)>,
    more: Condvar,
    less: Condvar,
}

impl<T> Shared<T> {
    const MOST: usize = 32;

    /// With so many threads that put.
    fn new(putting: u64) -> Self {
        let list = Mutex::new((VecDeque::with_capacity(Self::MOST), putting));
        Self { list, more: Condvar::new(), less: Condvar::new() }
    }

    fn put(&self, one: T) {
        let full = |list: &mut (VecDeque<T>, u64)| list.0.len() >= Self::MOST;
        let list = self.list.lock().expect("no thread panics");
        let mut list = self.less.wait_while(list, full).expect("no thread panics");
        list.0.push_back(one);
        drop(list);
        self.more.notify_one();
    }

    /// One of those that put has ended.
    fn end(&self) {
        self.list.lock().expect("no thread panics").1 -= 1;
        self.more.notify_all();
    }

    /// Nothing once all have ended and nothing is left.
    fn take(&self) -> Option<T> {
        let none = |list: &mut (VecDeque<T>, u64)| list.0.is_empty() && list.1 > 0;
        let list = self.list.lock().expect("no thread panics");
        let mut list = self.more.wait_while(list, none).expect("no thread panics");
        let one = list.0.pop_front();
        drop(list);
        self.less.notify_one();
        one
    }
}

/// Two threads allocate batches, two free them; a batch's own table is of the malloc, too.
pub(super) fn xmalloc<M: Malloc + Copy + Send + Sync>(malloc: M, units: u64) -> Took {
    const BATCH: usize = 120;
    const SIZES: [usize; 10] = [8, 12, 16, 24, 32, 48, 64, 96, 128, 192];
    let batch = |random: &mut Random| {
        let table = Object::new(&malloc, BATCH * size_of::<Object>());
        let places = table.start.cast::<Object>();
        for at in 0..BATCH {
            let object = Object::new(&malloc, SIZES[(random.next() >> 32) as usize % 10]);
            // SAFETY: the table has a place for each.
            let place = unsafe { places.add(at) };
            // SAFETY: as above, aligned for words.
            unsafe { place.write(object) };
        }
        table
    };
    let free = |table: Object| {
        let places = table.start.cast::<Object>();
        for at in 0..BATCH {
            // SAFETY: the table has a place for each.
            let place = unsafe { places.add(at) };
            // SAFETY: `batch` wrote it.
            let object = unsafe { place.read() };
            // SAFETY: of this malloc, freed once.
            unsafe { object.free(&malloc) };
        }
        // SAFETY: of this malloc, freed once.
        unsafe { table.free(&malloc) };
    };
    took(|| {
        let shared = Shared::new(THREADS);
        let (shared, batch, free) = (&shared, &batch, &free);
        thread::scope(|scope| {
            for number in 0..THREADS {
                scope.spawn(move || {
                    let mut random = random(number);
                    for _ in 0..units.div_ceil(THREADS * BATCH as u64) {
                        shared.put(batch(&mut random));
                    }
                    shared.end();
                });
                scope.spawn(move || {
                    while let Some(table) = shared.take() {
                        free(table);
                    }
                });
            }
        });
    })
}

/// Threads of several generations, whose objects live shortly, for the thread, or longer: what is
/// put into a table that all share is taken out by whoever comes by. Sizes are words to pages.
pub(super) fn mstress<M: Malloc + Copy + Send + Sync>(malloc: M, units: u64) -> Took {
    const GENERATIONS: u64 = 4;
    const SHARED: usize = 1_000;
    let steps = units.div_ceil(GENERATIONS * THREADS);
    let size = |random: &mut Random| {
        let drawn = random.next() >> 24;
        let words = 1 + drawn as usize % 16;
        // One in 64 is as long as a buffer, one in 1,024 as several pages.
        16 * words
            * if drawn % 1_024 == 77 {
                64
            } else if drawn % 64 == 13 {
                16
            } else {
                1
            }
    };
    // Its size is told by its first word.
    let free = |start: *mut u8| {
        if !start.is_null() {
            // SAFETY: `Object::new` wrote the size there.
            let size = unsafe { start.cast::<u64>().read() };
            // SAFETY: of this malloc, freed once by whoever took it out.
            unsafe { malloc.put(start, layout(size as usize)) };
        }
    };
    let work = |shared: &[AtomicPtr<u8>], number: u64| {
        let mut random = random(number);
        let mut short: Vec<*mut u8> = Vec::new();
        let mut long: Vec<*mut u8> = Vec::new();
        for _ in 0..steps {
            let start = Object::new(&malloc, size(&mut random)).start;
            match random.next() >> 32 {
                drawn if drawn.is_multiple_of(4) => long.push(start),
                _ => short.push(start),
            }
            let drawn = random.next() >> 32;
            // In three of four steps one goes, so that there are more and more.
            if !drawn.is_multiple_of(4) && !short.is_empty() {
                free(short.swap_remove(drawn as usize / 4 % short.len()));
            }
            if drawn % 16 == 1 && !long.is_empty() {
                let mine = long.swap_remove(drawn as usize / 16 % long.len());
                free(shared[drawn as usize / 16 % SHARED].swap(mine, Ordering::AcqRel));
            }
        }
        short.into_iter().chain(long).for_each(free);
    };
    took(|| {
        let shared: Vec<AtomicPtr<u8>> = (0..SHARED).map(|_| AtomicPtr::default()).collect();
        for generation in 0..GENERATIONS {
            thread::scope(|scope| {
                for number in 0..THREADS {
                    let (shared, work) = (&shared[..], &work);
                    scope.spawn(move || work(shared, generation * THREADS + number));
                }
            });
        }
        shared.into_iter().map(AtomicPtr::into_inner).for_each(free);
    })
}

/// Each thread frees an object that another has allocated beside the other's, and then allocates,
/// writes again and again, and frees: slow where both get pieces of one line of the cache.
pub(super) fn scratch<M: Malloc + Copy + Send + Sync>(malloc: M, units: u64) -> Took {
    const WRITES: u64 = 200;
    took(|| {
        let firsts: Vec<Object> = (0..THREADS).map(|_| Object::new(&malloc, 8)).collect();
        thread::scope(|scope| {
            for first in firsts {
                scope.spawn(move || {
                    let mut object = first;
                    for _ in 0..units.div_ceil(THREADS) {
                        // SAFETY: of this malloc, freed once.
                        unsafe { object.free(&malloc) };
                        object = Object::new(&malloc, 8);
                        let word = object.start.cast::<u64>();
                        for _ in 0..WRITES {
                            // SAFETY: the object has a word, and is this thread's.
                            let number = unsafe { word.read_volatile() };
                            // SAFETY: as above.
                            unsafe { word.write_volatile(number + 1) };
                        }
                    }
                    // SAFETY: of this malloc, freed once.
                    unsafe { object.free(&malloc) };
                });
            }
        });
    })
}
