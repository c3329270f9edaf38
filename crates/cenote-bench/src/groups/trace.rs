//! nginx's own pool calls, recorded while it served (see `trace/record.sh`), and played back.

use std::alloc::Layout;
use std::cell::Cell;

use cenote::Pool;

use crate::harness::{Case, Subject, timed};
use crate::peers::arenas::{Arena, Blink, BumpScope};
use crate::peers::c;
use crate::peers::mallocs::{Malloc, Visit, general};

/// Recorded traces: name, text.
const TRACES: [(&str, &str); 4] = [
    ("static", include_str!("../../trace/static.txt")),
    ("proxied", include_str!("../../trace/proxied.txt")),
    ("HTTP/2", include_str!("../../trace/http2.txt")),
    ("TLS", include_str!("../../trace/tls.txt")),
];

/// One recorded call; the same in csrc/nginx_pool.c.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Op {
    kind: u8,
    pool: u16,
    size: u32,
    align: u32,
    /// 0: never freed by itself.
    handle: u32,
}

/// A trace, ready to be played.
pub(crate) struct Trace {
    pub(crate) ops: Vec<Op>,
    /// Pools that live at once.
    pub(crate) pools: usize,
    /// One more than the objects that are freed by themselves.
    pub(crate) handles: usize,
    requests: usize,
}

impl Trace {
    /// Reads the recorder's lines. Pools that the recording's end left are destroyed at its end.
    fn read(text: &str) -> Self {
        let mut ops: Vec<Op> = Vec::new();
        // For each pool, where in `ops` its objects were allocated; nothing while it is destroyed.
        let mut live: Vec<Option<Vec<usize>>> = Vec::new();
        let (mut handles, mut requests) = (1, 0);
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                requests = comment
                    .split(' ')
                    .next()
                    .and_then(|word| word.parse().ok())
                    .unwrap_or(requests);
                continue;
            }
            let fields: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| {
                fields.get(at).map_or(0, |field| field.parse::<u32>().expect("a number"))
            };
            let (kind, pool) = (line.as_bytes()[0], number(1) as usize);
            live.resize(live.len().max(pool + 1), None);
            let mut op =
                Op { kind, pool: pool as u16, size: number(2), align: number(3).max(8), handle: 0 };
            match kind {
                b'c' => live[pool] = Some(Vec::new()),
                b'd' => live[pool] = None,
                b'r' => live[pool] = Some(Vec::new()),
                b'a' | b'n' | b'z' | b'm' => {
                    op.align = if kind == b'n' { 1 } else { op.align };
                    live[pool].as_mut().expect("a live pool").push(ops.len());
                }
                b'f' => {
                    let made = live[pool].as_ref().expect("a live pool")[op.size as usize];
                    ops[made].handle = handles;
                    op.handle = handles;
                    op.size = ops[made].size;
                    op.align = ops[made].align;
                    handles += 1;
                }
                b'k' => {}
                other => panic!("a call {other}"),
            }
            ops.push(op);
        }
        for (pool, left) in live.iter().enumerate() {
            if left.is_some() {
                ops.push(Op { kind: b'd', pool: pool as u16, size: 0, align: 1, handle: 0 });
            }
        }
        Self { ops, pools: live.len(), handles: handles as usize, requests }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    TRACES
        .into_iter()
        .map(|(name, text)| {
            let trace: &'static Trace = Box::leak(Box::new(Trace::read(text)));
            Case::new(format!("{name}, {} requests", trace.requests), "trace", move || {
                subjects(trace)
            })
            .heavy(64)
        })
        .collect()
}

fn subjects(trace: &'static Trace) -> Vec<Subject> {
    let mut all = vec![
        subject("cenote", trace, pool),
        subject("bumpalo with_capacity", trace, |size| Of(bumpalo::Bump::with_capacity(size))),
        subject("bump-scope with_size", trace, |size| Of(BumpScope::with_size(size))),
        subject("multitude", trace, |_| Of(multitude::Arena::new())),
        subject("oxc_allocator with_capacity", trace, |size| {
            Of(oxc_allocator::Allocator::with_capacity(size))
        }),
        subject("blink-alloc with_chunk_size", trace, |size| Of(Blink::with_chunk_size(size))),
    ];
    all.extend(c::nginx_replay(trace));
    all.extend(general(&Listing(trace), ", a list for each pool"));
    all.push(subject(FLOOR, trace, |_| Buffer(BUFFER.with(|buffer| buffer.get().cast()))));
    all
}

/// What all subjects do beside: the same steps, but all objects are the same bytes.
pub(crate) const FLOOR: &str = "(the replay itself, all in one buffer)";

/// More than the largest object recorded.
const BUFFER_BYTES: usize = 64 << 10;

thread_local! {
    static BUFFER: std::cell::UnsafeCell<[u64; BUFFER_BYTES / 8]> =
        const { std::cell::UnsafeCell::new([0; BUFFER_BYTES / 8]) };
}

/// A pool that is none.
struct Buffer(*mut u8);

impl Served for Buffer {
    #[inline(always)]
    fn get(&mut self, layout: Layout, _: bool) -> *mut u8 {
        assert!(layout.size() <= BUFFER_BYTES);
        self.0
    }
    #[inline(always)]
    fn free(&mut self, _: *mut u8, _: Layout) {}
    #[inline(always)]
    fn cleanup(&mut self, _: usize) {}
    #[inline(always)]
    fn reset(&mut self) {}
}

/// A pool as a trace uses it.
trait Served {
    fn get(&mut self, layout: Layout, freed: bool) -> *mut u8;
    fn free(&mut self, start: *mut u8, layout: Layout);
    fn cleanup(&mut self, size: usize);
    fn reset(&mut self);
}

impl Served for Pool {
    #[inline(always)]
    fn get(&mut self, layout: Layout, _: bool) -> *mut u8 {
        self.alloc_layout(layout).as_ptr()
    }
    #[inline(always)]
    fn free(&mut self, start: *mut u8, layout: Layout) {
        // SAFETY: `get` gave it, so it is not null.
        let start = unsafe { std::ptr::NonNull::new_unchecked(start) };
        // SAFETY: allocated by this pool with this layout, and freed once.
        unsafe { self.dealloc(start, layout) };
    }
    #[inline(always)]
    fn cleanup(&mut self, size: usize) {
        if size > 0 {
            self.alloc_layout(layout(size, 8));
        }
        self.defer(add_one);
    }
    #[inline(always)]
    fn reset(&mut self) {
        Self::reset(self);
    }
}

thread_local! {
    static CLEANED: Cell<u64> = const { Cell::new(0) };
}

fn add_one() {
    CLEANED.with(|cleaned| cleaned.set(cleaned.get() + 1));
}

/// An arena without cleanups.
struct Of<A>(A);

impl<A: Arena> Served for Of<A> {
    #[inline(always)]
    fn get(&mut self, layout: Layout, _: bool) -> *mut u8 {
        self.0.layout(layout).as_ptr()
    }
    #[inline(always)]
    fn free(&mut self, _: *mut u8, _: Layout) {}
    #[inline(always)]
    fn cleanup(&mut self, size: usize) {
        self.0.layout(layout(24, 8));
        if size > 0 {
            self.0.layout(layout(size, 8));
        }
    }
    #[inline(always)]
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// A pool whose first block is as large as nginx's.
#[inline(always)]
fn pool(size: usize) -> Pool {
    Pool::builder()
        .first_block(size.next_power_of_two().max(256))
        .build()
        .expect("a size that can be")
}

/// A pool's objects, over a general allocator. What is freed early is not in the list.
struct Listed<M: Malloc> {
    list: Vec<(*mut u8, Layout)>,
    cleanups: u32,
    malloc: M,
}

impl<M: Malloc> Listed<M> {
    fn free_all(&mut self) {
        for _ in 0..std::mem::take(&mut self.cleanups) {
            add_one();
        }
        for (start, layout) in self.list.drain(..) {
            // SAFETY: allocated with this layout, freed once.
            unsafe { self.malloc.put(start, layout) };
        }
    }
}

impl<M: Malloc> Served for Listed<M> {
    #[inline(always)]
    fn get(&mut self, layout: Layout, freed: bool) -> *mut u8 {
        let start = self.malloc.get(layout);
        if !freed {
            self.list.push((start, layout));
        }
        start
    }
    #[inline(always)]
    fn free(&mut self, start: *mut u8, layout: Layout) {
        // SAFETY: allocated with this layout, not in the list, and freed once.
        unsafe { self.malloc.put(start, layout) };
    }
    #[inline(always)]
    fn cleanup(&mut self, size: usize) {
        if size > 0 {
            self.get(layout(size, 8), false);
        }
        self.cleanups += 1;
    }
    #[inline(always)]
    fn reset(&mut self) {
        self.free_all();
    }
}

impl<M: Malloc> Drop for Listed<M> {
    #[inline(always)]
    fn drop(&mut self) {
        self.free_all();
    }
}

struct Listing(&'static Trace);

impl Visit for Listing {
    fn subject<M: Malloc + Copy + Send + Sync + 'static>(&self, name: &str, malloc: M) -> Subject {
        subject(name, self.0, move |_| Listed { list: Vec::new(), cleanups: 0, malloc })
    }
}

fn layout(size: usize, align: usize) -> Layout {
    // SAFETY: the recorded alignments are powers of two, the sizes those of a running server.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

fn subject<P: Served + 'static>(
    name: &str,
    trace: &'static Trace,
    make: impl Fn(usize) -> P + 'static,
) -> Subject {
    let mut pools: Vec<Option<P>> = (0..trace.pools).map(|_| None).collect();
    let mut handles = vec![std::ptr::null_mut(); trace.handles];
    Subject::new(name, move |times| {
        timed(|| {
            for turn in 0..times {
                play(trace, &make, &mut pools, &mut handles, turn);
            }
        })
    })
}

#[inline(never)]
fn play<P: Served>(
    trace: &Trace,
    make: &impl Fn(usize) -> P,
    pools: &mut [Option<P>],
    handles: &mut [*mut u8],
    turn: u64,
) {
    for op in &trace.ops {
        let size = op.size as usize;
        let place = &mut pools[op.pool as usize];
        let Some(pool) = place else {
            // The only call on a pool that is not there.
            *place = Some(make(size));
            continue;
        };
        let made = match op.kind {
            b'a' | b'n' | b'm' => pool.get(layout(size.max(1), op.align as usize), op.handle != 0),
            b'z' => {
                let made = pool.get(layout(size.max(1), 8), op.handle != 0);
                // SAFETY: of this size at least.
                unsafe { made.write_bytes(0, size) };
                made
            }
            b'f' => {
                pool.free(handles[op.handle as usize], layout(size, op.align as usize));
                continue;
            }
            b'k' => {
                pool.cleanup(size);
                continue;
            }
            b'r' => {
                pool.reset();
                continue;
            }
            _ => {
                *place = None;
                continue;
            }
        };
        // SAFETY: of one byte at least.
        unsafe { made.write_volatile(turn as u8) };
        handles[op.handle as usize] = made;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_trace_ends_with_no_pool_left() {
        for (name, text) in TRACES {
            let trace = Trace::read(text);
            let count = |kind| trace.ops.iter().filter(|op| op.kind == kind).count();
            assert!(trace.requests > 0, "{name}");
            assert!(count(b'c') >= trace.requests, "{name}: a pool for each request at least");
            assert_eq!(count(b'c'), count(b'd'), "{name}");
        }
    }
}
