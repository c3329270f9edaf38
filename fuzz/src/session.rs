//! One session: operations on a pool, and a shadow that knows what it should hold. Objects keep
//! their bytes, lie where they should and overlap no other; what the pool says it holds is what
//! its account is charged; cleanups and destructors run once.

use crate::growing::{Growing, Kept};
use crate::input::{Growth, Op};
use crate::subject::{Notices, Subject};
use cenote::{Account, BlockSource, Faulty};
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Nobody is to have more in one session, so that one that asks for much is refused.
pub const MOST: usize = 8 << 20;
/// Objects above this size are filled and checked at their ends only.
const ENDS: usize = 2048;

struct Object {
    start: NonNull<u8>,
    layout: Layout,
    tag: u8,
}

impl Object {
    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let size = self.layout.size();
        (0..size.min(ENDS)).chain(size.saturating_sub(ENDS).max(ENDS)..size)
    }

    fn byte(&self, place: usize) -> u8 {
        self.tag.wrapping_add((place as u8).wrapping_mul(29))
    }

    fn fill(&self) {
        for place in self.places() {
            // SAFETY: inside the object.
            let at = unsafe { self.start.add(place) };
            // SAFETY: the object is the session's.
            unsafe { at.write(self.byte(place)) };
        }
    }

    /// Its first `size` bytes are as they were filled.
    fn check(&self, size: usize) {
        for place in self.places().take_while(|&place| place < size) {
            // SAFETY: inside the object.
            let at = unsafe { self.start.add(place) };
            // SAFETY: it was filled.
            assert_eq!(unsafe { at.read() }, self.byte(place), "byte {place} of {:?}", self.layout);
        }
    }

    fn check_zero(&self) {
        for place in self.places() {
            // SAFETY: inside the object.
            let at = unsafe { self.start.add(place) };
            // SAFETY: zeroed, so it has been written.
            assert_eq!(unsafe { at.read() }, 0, "byte {place} of {:?}", self.layout);
        }
    }
}

/// Counts when it is dropped.
struct Counts(Arc<AtomicUsize>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

struct Session {
    live: Vec<Object>,
    /// Where objects are: their first addresses, and those behind their ends.
    taken: BTreeMap<usize, usize>,
    /// Freed since the last allocation: free again for sure.
    freed: Vec<(NonNull<u8>, Layout)>,
    tag: u8,
    ran: Arc<AtomicUsize>,
    to_run: usize,
    /// What the pool itself has put there cannot be told from objects.
    own_objects: bool,
}

impl Session {
    /// Something is where nothing else may be.
    fn place(&mut self, address: usize, size: usize) {
        if size != 0 {
            let end = address + size;
            let before = self.taken.range(..end).next_back();
            assert!(before.is_none_or(|(_, &end)| end <= address), "objects overlap");
            self.taken.insert(address, end);
        }
        self.freed.clear();
    }

    fn add(&mut self, start: NonNull<u8>, layout: Layout) -> &Object {
        let address = start.addr().get();
        assert_eq!(address % layout.align(), 0);
        self.place(address, layout.size());
        self.tag = self.tag.wrapping_add(37);
        self.live.push(Object { start, layout, tag: self.tag });
        &self.live[self.live.len() - 1]
    }

    fn take(&mut self, which: u16) -> Option<Object> {
        let count = self.live.len();
        let object = (count > 0).then(|| self.live.swap_remove(usize::from(which) % count))?;
        if object.layout.size() != 0 {
            self.taken.remove(&object.start.addr().get());
        }
        Some(object)
    }

    fn pick(&self, which: u16) -> Option<&Object> {
        self.live.get(usize::from(which).checked_rem(self.live.len())?)
    }

    /// Whether no object begins at this address; those without bytes included.
    fn is_none(&self, address: usize) -> bool {
        self.live.iter().all(|object| object.start.addr().get() != address)
    }

    fn forget_all(&mut self) {
        self.live.clear();
        self.taken.clear();
        self.freed.clear();
        self.own_objects = false;
    }

    /// Runs operations between two resets: so long does the pool's buffer live.
    fn part<P: Subject, S: BlockSource>(
        &mut self,
        pool: &P,
        ops: &[Op],
        account: Option<&Account>,
        faulty: Option<&Faulty<S>>,
    ) {
        let mut growing = None;
        let mut kept = Vec::new();
        for &op in ops {
            match op {
                Op::Alloc { layout, zeroed } => {
                    let layout = layout.layout();
                    let result = if zeroed { pool.zeroed(layout) } else { pool.alloc(layout) };
                    if let Ok(start) = result {
                        let object = self.add(start, layout);
                        if zeroed {
                            object.check_zero();
                        }
                        object.fill();
                    }
                }
                Op::Dealloc(which) => {
                    let Some(object) = self.take(which) else { continue };
                    object.check(object.layout.size());
                    // SAFETY: a live object, not used any more.
                    unsafe { pool.dealloc(object.start, object.layout) };
                    self.freed.push((object.start, object.layout));
                }
                Op::Free(which) => {
                    let Some(object) = self.take(which) else { continue };
                    object.check(object.layout.size());
                    // SAFETY: a live object, not used any more.
                    assert!(unsafe { pool.free(object.start, object.layout) });
                    self.freed.push((object.start, object.layout));
                }
                Op::Resize { which, layout } => {
                    let Some(mut object) = self.take(which) else { continue };
                    let new = layout.layout();
                    // SAFETY: a live object of that layout.
                    match unsafe { pool.resize(object.start, object.layout, new) } {
                        Ok(start) => {
                            object.start = start;
                            object.check(object.layout.size().min(new.size()));
                            self.add(start, new).fill();
                        }
                        Err(_) => {
                            object.check(object.layout.size());
                            self.add(object.start, object.layout).fill();
                        }
                    }
                }
                Op::FreeNearby { which, far } => {
                    let Some(object) = self.pick(which) else { continue };
                    let address = object.start.addr().get().wrapping_add_signed(far as isize);
                    let Some(address) = std::num::NonZeroUsize::new(address) else { continue };
                    let wrong = object.start.with_addr(address);
                    if P::NOTICES == Notices::All
                        && self.is_none(address.get())
                        && !self.own_objects
                    {
                        // SAFETY: all misuse is noticed.
                        assert!(!unsafe { pool.free(wrong, Layout::new::<u8>()) });
                    }
                }
                Op::FreeAgain(which) => {
                    let Some(at) = usize::from(which).checked_rem(self.freed.len()) else {
                        continue;
                    };
                    let (start, layout) = self.freed[at];
                    if P::NOTICES == Notices::All && self.is_none(start.addr().get()) {
                        // SAFETY: all misuse is noticed.
                        assert!(!unsafe { pool.free(start, layout) });
                    }
                }
                Op::Defer(size) => {
                    let ran = self.ran.clone();
                    let action = move || {
                        ran.fetch_add(1, Relaxed);
                    };
                    self.to_run += usize::from(pool.defer(size.into(), action));
                    self.own_objects = true;
                    self.freed.clear();
                }
                Op::Own => {
                    // It counts in either case: one that is refused is dropped at once.
                    pool.own(Counts(self.ran.clone()));
                    self.to_run += 1;
                    self.own_objects = true;
                    self.freed.clear();
                }
                Op::Reset => unreachable!("it ends a part"),
                Op::Tidy => pool.tidy(),
                Op::Limit(size) => {
                    if let Some(account) = account {
                        account.set_limit(Some(size.bytes().min(MOST)));
                    }
                }
                Op::Buffer(growth) => {
                    let Some(mut buffer) =
                        growing.take().or_else(|| pool.buffer().map(Growing::new))
                    else {
                        continue;
                    };
                    if !buffer.bytes().is_empty() {
                        self.taken.remove(&buffer.bytes().as_ptr().addr());
                    }
                    buffer.step(growth);
                    if !matches!(growth, Growth::Drop) {
                        self.place(buffer.bytes().as_ptr().addr(), buffer.bytes().len());
                    }
                    match growth {
                        Growth::Keep => kept.push(buffer.keep()),
                        Growth::Drop => drop(buffer),
                        _ => growing = Some(buffer),
                    }
                    self.freed.clear();
                }
                Op::Fail { after, forever } => {
                    if let Some(faulty) = faulty {
                        faulty.fail_after(after.into(), forever);
                    }
                }
            }
            if let Some(account) = account {
                assert_eq!(pool.held(), account.held());
            }
        }
        if let Some(buffer) = growing {
            buffer.check();
            self.taken.remove(&buffer.bytes().as_ptr().addr());
        }
        kept.iter().for_each(Kept::check);
    }
}

/// Runs operations on a pool that is charged to `account`, if to one; `faulty` is its source.
pub fn run<P: Subject, S: BlockSource>(
    mut pool: P,
    ops: &[Op],
    account: Option<&Account>,
    faulty: Option<&Faulty<S>>,
) {
    let mut shadow = Session {
        live: Vec::new(),
        taken: BTreeMap::new(),
        freed: Vec::new(),
        tag: 0,
        ran: Arc::new(AtomicUsize::new(0)),
        to_run: 0,
        own_objects: false,
    };
    for (number, part) in ops.split(|op| matches!(op, Op::Reset)).enumerate() {
        if number > 0 {
            shadow.forget_all();
            pool.reset();
            assert_eq!(shadow.ran.load(Relaxed), shadow.to_run);
            pool.check_empty();
            if let Some(account) = account {
                assert_eq!(pool.held(), account.held());
            }
        }
        shadow.part(&pool, part, account, faulty);
    }
    for object in &shadow.live {
        object.check(object.layout.size());
    }
    while let Some(object) = shadow.take(0) {
        // SAFETY: a live object, not used any more.
        unsafe { pool.dealloc(object.start, object.layout) };
    }
    if !shadow.own_objects {
        pool.check_empty();
    }
    drop(pool);
    assert_eq!(shadow.ran.load(Relaxed), shadow.to_run);
    if let Some(account) = account {
        assert_eq!((account.held(), account.live()), (0, 0));
    }
}
