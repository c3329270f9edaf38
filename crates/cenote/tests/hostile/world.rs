//! The pools of one run, what is live in them, and the code that is called back and does harm.

use cenote::{Account, AllocError, Pool};
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::rc::Rc;

use super::common::Dice;

/// What the run needs of a pool.
pub(crate) trait Subject {
    fn raw(&self, layout: Layout) -> Result<NonNull<u8>, AllocError>;
    /// # Safety
    /// A live object of this pool and layout; nothing uses it any more.
    unsafe fn raw_free(&self, start: NonNull<u8>, layout: Layout);
    /// # Safety
    /// A live object of this pool and layout `old`.
    unsafe fn raw_resize(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError>;
    /// One of the calls in which code of the caller's runs, all of which calls [`called`]. What it
    /// leaves in the pool: where, how many bytes, filled with `fill`.
    fn with_callers_code(&self, which: usize, fill: u8) -> Option<(usize, usize)>;
    /// Frees what is no object of the pool, where that is noticed.
    fn free_wrongly(&self) {}
    /// Gives back what it can.
    fn trim(&self) {}
    /// Everything that can be seen of it.
    fn look(&self) -> usize;
}

/// What the code does that is called back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    AllocSmall,
    AllocLarge,
    Free,
    Resize,
    Trim,
    Accounts,
    Limits,
    Look,
    Pools,
    CallBack,
    Panic,
}

pub(crate) const HARMS: [Harm; 11] = [
    Harm::AllocSmall,
    Harm::AllocLarge,
    Harm::Free,
    Harm::Resize,
    Harm::Trim,
    Harm::Accounts,
    Harm::Limits,
    Harm::Look,
    Harm::Pools,
    Harm::CallBack,
    Harm::Panic,
];

struct Object {
    layout: Layout,
    fill: u8,
    /// The pool, if it can be freed alone.
    pool: Option<usize>,
}

pub(crate) struct World {
    /// Those that stand on others after these; the last one is the subject.
    pub(crate) pools: RefCell<Vec<&'static dyn Subject>>,
    /// The account that the pools are on, with a limit.
    pub(crate) account: Account,
    /// A pool that may be reset at any time: of nobody's but the harm's.
    scratch: RefCell<Pool>,
    live: RefCell<BTreeMap<usize, Object>>,
    dice: RefCell<Dice>,
    next_fill: Cell<u8>,
    calls: Cell<usize>,
    harm: Cell<Option<(usize, Harm)>>,
    pub(crate) done: Cell<bool>,
}

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// Called by all code that the library calls: does harm, if it is its turn.
pub(crate) fn called() {
    let Some(world) = WORLD.with_borrow(Clone::clone) else { return };
    let call = world.calls.replace(world.calls.get() + 1);
    if let Some((_, harm)) = world.harm.get().filter(|&(at, _)| at == call) {
        world.done.set(true);
        world.do_harm(harm);
    }
}

/// The same for what must not unwind, and may use only what does not stand on it.
pub(crate) fn called_by_a_pool() {
    let Some(world) = WORLD.with_borrow(Clone::clone) else { return };
    let call = world.calls.replace(world.calls.get() + 1);
    if world.harm.get().is_some_and(|(at, _)| at == call) {
        world.done.set(true);
        world.harm_others();
    }
}

impl World {
    pub(crate) fn new(seed: u64, harm: Option<(usize, Harm)>) -> Rc<Self> {
        let account = Account::root("hostile").child("world").with_limit(Some(200 << 10));
        let world = Rc::new(Self {
            pools: RefCell::default(),
            account,
            scratch: RefCell::new(Pool::new()),
            live: RefCell::default(),
            dice: RefCell::new(Dice::new(seed)),
            next_fill: Cell::new(1),
            calls: Cell::new(0),
            harm: Cell::new(harm),
            done: Cell::new(false),
        });
        WORLD.set(Some(world.clone()));
        world
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.get()
    }

    fn below(&self, bound: usize) -> usize {
        self.dice.borrow_mut().below(bound)
    }

    fn pool(&self, index: usize) -> Option<&'static dyn Subject> {
        self.pools.borrow().get(index).copied()
    }

    fn a_pool(&self) -> Option<(usize, &'static dyn Subject)> {
        let count = self.pools.borrow().len();
        if count == 0 {
            return None;
        }
        let index = self.below(count);
        // The subject is what it is about.
        let index = if self.below(2) == 0 { count - 1 } else { index };
        self.pool(index).map(|pool| (index, pool))
    }

    fn fill(&self) -> u8 {
        self.next_fill.replace(self.next_fill.get().wrapping_add(1).max(1))
    }

    // ---- what is live ----------------------------------------------------------------------

    fn check(&self, start: usize, object: &Object) {
        // SAFETY: it is live, so so many bytes were written there.
        let bytes = unsafe {
            let start = std::ptr::with_exposed_provenance::<u8>(start);
            std::slice::from_raw_parts(start, object.layout.size())
        };
        let changed = bytes.iter().position(|&byte| byte != object.fill);
        assert_eq!(changed, None, "an object of {:?} was changed", object.layout);
    }

    fn enter(&self, start: usize, object: Object) {
        let end = start + object.layout.size();
        if let Some((other, before)) = self.live.borrow().range(..end).next_back() {
            let apart = other + before.layout.size() <= start;
            assert!(apart, "{:?} overlaps {:?}", object.layout, before.layout);
        }
        self.check(start, &object);
        self.live.borrow_mut().insert(start, object);
    }

    pub(crate) fn check_all(&self) {
        self.live.borrow().iter().for_each(|(&start, object)| self.check(start, object));
    }

    /// What is in pools from this one on is gone.
    pub(crate) fn forget(&self, from: usize) {
        self.pools.borrow_mut().truncate(from);
        self.live.borrow_mut().retain(|_, object| object.pool.is_some_and(|pool| pool < from));
    }

    // ---- steps -----------------------------------------------------------------------------

    fn layout(&self, most: usize) -> Layout {
        let size = 1 + self.below(most);
        Layout::from_size_align(size, 1 << self.below(6)).unwrap()
    }

    pub(crate) fn alloc(&self, most: usize) {
        let layout = self.layout(most);
        let Some((index, pool)) = self.a_pool() else { return };
        let Ok(start) = pool.raw(layout) else { return };
        let fill = self.fill();
        // SAFETY: fresh memory of that layout.
        unsafe { start.write_bytes(fill, layout.size()) };
        let start = start.as_ptr().expose_provenance();
        self.enter(start, Object { layout, fill, pool: Some(index) });
    }

    /// Takes one out that can be freed, whole as it was.
    fn take_one(&self) -> Option<(NonNull<u8>, Object, &'static dyn Subject)> {
        let may_go = |object: &Object| self.pool(object.pool?);
        let start = {
            let live = self.live.borrow();
            let count = live.values().filter(|object| may_go(object).is_some()).count();
            let place = self.below(count.max(1));
            let mut those = live.iter().filter(|(_, object)| may_go(object).is_some());
            *those.nth(place)?.0
        };
        let object = self.live.borrow_mut().remove(&start)?;
        self.check(start, &object);
        let pool = may_go(&object)?;
        NonNull::new(std::ptr::with_exposed_provenance_mut(start)).map(|at| (at, object, pool))
    }

    pub(crate) fn free(&self) {
        let Some((start, object, pool)) = self.take_one() else { return };
        // SAFETY: a live object of this pool and layout, which nothing uses.
        unsafe { pool.raw_free(start, object.layout) };
    }

    pub(crate) fn resize(&self) {
        let Some((start, mut object, pool)) = self.take_one() else { return };
        let size = 1 + self.below(3 * object.layout.size());
        let new = Layout::from_size_align(size, object.layout.align()).unwrap();
        // SAFETY: a live object of this pool and layout.
        let moved = match unsafe { pool.raw_resize(start, object.layout, new) } {
            Ok(moved) => {
                // SAFETY: the object has so many bytes now.
                unsafe { moved.write_bytes(object.fill, new.size()) };
                object.layout = new;
                moved
            }
            Err(_) => start,
        };
        self.enter(moved.as_ptr().expose_provenance(), object);
    }

    pub(crate) fn with_callers_code(&self) {
        let Some((_, pool)) = self.a_pool() else { return };
        let (which, fill) = (self.below(8), self.fill());
        if let Some((start, size)) = pool.with_callers_code(which, fill)
            && size > 0
        {
            let layout = Layout::from_size_align(size, 1).unwrap();
            self.enter(start, Object { layout, fill, pool: None });
        }
    }

    pub(crate) fn step(&self) {
        match self.below(16) {
            0..5 => self.alloc(400),
            5..7 => self.alloc(9000),
            7..9 => self.free(),
            9 => self.resize(),
            10..14 => self.with_callers_code(),
            14 => {
                // Nothing more is to be had, for a while.
                self.account.set_limit(Some(0));
                (0..8).for_each(|_| self.alloc(2000));
                self.account.set_limit(Some(200 << 10));
            }
            _ => {
                if let Some((_, pool)) = self.a_pool() {
                    pool.free_wrongly();
                }
            }
        }
    }

    // ---- harm ------------------------------------------------------------------------------

    fn do_harm(&self, harm: Harm) {
        match harm {
            Harm::AllocSmall => (0..12).for_each(|_| self.alloc(100)),
            Harm::AllocLarge => {
                (0..3).for_each(|_| self.alloc(20_000));
                (0..4).for_each(|_| self.alloc(3000));
            }
            Harm::Free => (0..6).for_each(|_| self.free()),
            Harm::Resize => (0..6).for_each(|_| self.resize()),
            Harm::Trim => {
                (0..4).for_each(|_| self.free());
                let pools: Vec<_> = self.pools.borrow().clone();
                pools.iter().for_each(|pool| pool.trim());
                (0..4).for_each(|_| self.alloc(100));
            }
            Harm::Accounts => {
                let child = self.account.child("harm").with_limit(Some(5000));
                let pool = Pool::on(&child);
                let _ = pool.try_alloc([0_u8; 100]);
                assert!(pool.try_alloc_bytes(10_000).is_err());
                drop((child, pool));
                Account::settle();
            }
            Harm::Limits => {
                self.account.set_limit(Some(0));
                (0..4).for_each(|_| self.alloc(2000));
                self.account.set_limit(None);
                (0..4).for_each(|_| self.alloc(6000));
            }
            Harm::Look => {
                let pools: Vec<_> = self.pools.borrow().clone();
                let seen: usize = pools.iter().map(|pool| pool.look()).sum();
                assert!(seen < 1 << 30);
                assert!(self.account.snapshot().held_bytes < 1 << 30);
                self.check_all();
            }
            Harm::Pools => self.harm_others(),
            Harm::CallBack => (0..3).for_each(|_| self.with_callers_code()),
            Harm::Panic => {
                if !std::thread::panicking() {
                    std::panic::resume_unwind(Box::new(Meant));
                }
            }
        }
    }

    /// What may be done by who is called in the middle of something: nothing with these pools.
    fn harm_others(&self) {
        if let Ok(mut scratch) = self.scratch.try_borrow_mut() {
            scratch.alloc_slice_fill_with(1000, |index| index);
            scratch.alloc_bytes(20_000);
            scratch.reset();
        }
        let child = self.account.child("others").with_limit(Some(100));
        let pool = Pool::on(&child);
        assert!(pool.try_alloc(1_u64).is_err(), "which is told later");
        drop(pool);
        drop(child);
        let before = self.account.limit();
        self.account.set_limit(Some(50 << 10));
        self.account.set_limit(before);
    }
}

/// What is thrown.
pub(crate) struct Meant;

/// Forgets the world.
pub(crate) fn end() {
    WORLD.take();
}
