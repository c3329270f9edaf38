//! Proves what `Pool` promises about values: what costs nothing, what is dropped when
//! something panics half-way, and what impossible or refused sizes do.

mod common;

use cenote::{
    Account, AllocError, BlockSource, Blocks, CountedPool, Faulty, Pool, SharedPool, System,
};
use common::{Counting, Ledger};
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::rc::Rc;

const MANY: usize = 100_000;

#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Page;

#[test]
fn values_without_bytes_cost_nothing_whatever_their_alignment() {
    let pool = Pool::new();
    for _ in 0..1000 {
        *pool.alloc(()) = ();
        let page: &mut Page = pool.alloc(Page);
        assert_eq!(std::ptr::from_mut(page).addr() % 4096, 0);
    }
    assert_eq!(pool.alloc_slice_fill_with(MANY, |_| ()).len(), MANY);
    assert_eq!(pool.alloc_slice_fill_iter((0..MANY).map(|_| Page)).len(), MANY);
    assert_eq!(pool.alloc_slice_copy::<u64>(&[]).len(), 0);
    assert_eq!(pool.alloc_str(""), "");
    assert_eq!(pool.alloc_bytes(0).len(), 0);
    assert_eq!(pool.alloc_zeroed_bytes(0).len(), 0);
    assert_eq!(pool.alloc_fmt(format_args!("")), "");
    assert_eq!(pool.alloc_fmt(format_args!("{}{}", "", String::new())), "");
    assert_eq!(*pool.own(()), ());
    for shift in 0..24 {
        let start = pool.alloc_layout(Layout::from_size_align(0, 1 << shift).unwrap());
        assert_eq!(start.addr().get() % (1 << shift), 0);
        let start = pool.alloc_zeroed(Layout::from_size_align(0, 1 << shift).unwrap());
        assert_eq!(start.addr().get() % (1 << shift), 0);
    }
    assert_eq!((pool.held_bytes(), pool.used_bytes()), (0, 0));
}

#[test]
fn values_without_bytes_cost_nothing_in_a_pool_in_use_either() {
    let pool = Pool::new();
    pool.alloc(1_u8);
    let used = pool.used_bytes();
    pool.alloc(());
    pool.alloc(Page);
    pool.alloc_slice_copy::<Page>(&[Page; 8]);
    for shift in 0..14 {
        let start = pool.alloc_layout(Layout::from_size_align(0, 1 << shift).unwrap());
        assert_eq!(start.addr().get() % (1 << shift), 0);
    }
    assert_eq!(pool.used_bytes(), used);
}

#[test]
fn an_owned_value_without_bytes_is_dropped_once() {
    thread_local!(static DROPS: Cell<u32> = const { Cell::new(0) });
    struct Bell;
    impl Drop for Bell {
        fn drop(&mut self) {
            DROPS.set(DROPS.get() + 1);
        }
    }
    let pool = Pool::new();
    pool.own(Bell);
    pool.own(Bell);
    assert_eq!(DROPS.get(), 0);
    drop(pool);
    assert_eq!(DROPS.get(), 2);
}

#[test]
fn an_empty_pool_holds_nothing_and_asks_its_source_for_nothing() {
    let counting = Counting::new();
    let account = Account::root("empty");
    let mut pool = Pool::builder().account(&account).source(&counting).build().unwrap();
    pool.reset();
    let child = pool.child();
    assert_eq!((child.held_bytes(), pool.held_bytes()), (0, 0));
    drop(child);
    assert_eq!(pool.snapshot().blocks.len(), 0);
    drop(pool);
    assert_eq!((counting.most(), account.peak(), account.created()), (0, 0, 2));
}

#[test]
fn moving_a_pool_moves_nothing_in_it() {
    common::plain();
    let pool = Pool::new();
    let small = NonNull::from(pool.alloc(11_u64));
    let large = NonNull::from(pool.alloc_slice_fill_with(10_000, |i| i as u64)).cast::<u64>();
    let (held, used) = (pool.held_bytes(), pool.used_bytes());
    let boxed = Box::new(pool);
    let pool = std::thread::spawn(move || *boxed).join().unwrap();
    assert_eq!((pool.held_bytes(), pool.used_bytes()), (held, used));
    // SAFETY: the pool is there, and nothing else refers to the value.
    assert_eq!(unsafe { small.read() }, 11);
    // SAFETY: likewise, and inside the slice.
    let last = unsafe { large.add(9_999) };
    // SAFETY: likewise.
    assert_eq!(unsafe { last.read() }, 9_999);
    // It goes on where it was.
    let next = NonNull::from(pool.alloc(12_u64));
    assert_eq!(next.addr().get(), small.addr().get() + 8);
}

#[test]
fn alloc_with_may_allocate_from_the_same_pool_to_any_depth() {
    struct Node<'p>(u32, Option<&'p Node<'p>>);
    fn nest(pool: &Pool, depth: u32) -> &Node<'_> {
        pool.alloc_with(|| Node(depth, (depth > 0).then(|| nest(pool, depth - 1))))
    }
    let pool = Pool::new();
    let mut at = Some(nest(&pool, 500));
    for depth in (0..=500).rev() {
        let node = at.unwrap();
        assert_eq!(node.0, depth);
        at = node.1;
    }
    assert!(at.is_none());
}

#[test]
fn a_panic_in_alloc_with_leaves_the_pool_as_good_as_before() {
    let counting = Counting::new();
    let pool = Pool::builder().first_block(256).source(&counting).build().unwrap();
    let before = pool.alloc([7_u8; 100]);
    for round in 0..100 {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.alloc_with(|| -> [u64; 4] {
                pool.alloc_str("half-way");
                panic!("round {round}");
            });
        }));
        assert_eq!(common::message(&*outcome.unwrap_err()), format!("round {round}"));
        assert_eq!(*pool.alloc(round), round);
    }
    assert_eq!(*before, [7; 100]);
    assert_eq!(pool.held_bytes(), counting.bytes());
    drop(pool);
    assert_eq!(counting.bytes(), 0);
}

/// An element that tells a ledger when it is made, cloned and dropped.
struct Told<'a> {
    id: usize,
    live: &'a RefCell<Vec<usize>>,
    fail_at: usize,
}

impl<'a> Told<'a> {
    fn new(id: usize, live: &'a RefCell<Vec<usize>>, fail_at: usize) -> Self {
        live.borrow_mut().push(id);
        Self { id, live, fail_at }
    }
}

impl Clone for Told<'_> {
    fn clone(&self) -> Self {
        assert_ne!(self.id, self.fail_at, "no more clones");
        Told::new(self.id + 1000, self.live, self.fail_at)
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let mut live = self.live.borrow_mut();
        let at = live.iter().rposition(|&id| id == self.id).expect("dropped once");
        live.remove(at);
    }
}

#[test]
fn a_panic_while_a_slice_is_filled_drops_exactly_what_was_made() {
    for fail_at in 0..20 {
        let live = RefCell::new(Vec::new());
        let most = Cell::new(0);
        let pool = Pool::builder().first_block(256).build().unwrap();
        let make = |index: usize| {
            assert_ne!(index, fail_at, "no more");
            pool.alloc_str("in between");
            let told = Told::new(index, &live, usize::MAX);
            most.set(live.borrow().len());
            told
        };
        catch_unwind(AssertUnwindSafe(|| pool.alloc_slice_fill_with(20, make).len())).unwrap_err();
        assert_eq!((most.get(), live.borrow().len()), (fail_at, 0), "by index");

        most.set(0);
        let items = (0..20).map(make);
        catch_unwind(AssertUnwindSafe(|| pool.alloc_slice_fill_iter(items).len())).unwrap_err();
        assert_eq!((most.get(), live.borrow().len()), (fail_at, 0), "by iterator");

        most.set(0);
        let items = (0..20).map(make).filter(|_| true);
        catch_unwind(AssertUnwindSafe(|| pool.alloc_slice_fill_iter(items).len())).unwrap_err();
        assert_eq!((most.get(), live.borrow().len()), (fail_at, 0), "by iterator without a hint");

        let originals: Vec<_> = (0..20).map(|id| Told::new(id, &live, fail_at)).collect();
        catch_unwind(AssertUnwindSafe(|| pool.alloc_slice_clone(&originals).len())).unwrap_err();
        assert_eq!(live.borrow().len(), 20, "clones");
        drop(originals);
        assert_eq!(live.borrow().len(), 0);
    }
}

#[test]
fn a_slice_that_was_finished_is_not_dropped() {
    let live = RefCell::new(Vec::new());
    let pool = Pool::new();
    let told = pool.alloc_slice_fill_iter((0..50).map(|id| Told::new(id, &live, usize::MAX)));
    assert_eq!(told.len(), 50);
    for (index, told) in told.iter().enumerate() {
        assert_eq!(told.id, index);
    }
    drop(pool);
    assert_eq!(live.borrow().len(), 50);
}

#[test]
fn an_iterator_that_allocates_from_the_same_pool_gets_its_items_in_order() {
    let counting = Counting::new();
    for hinted in [true, false] {
        let pool = Pool::builder().first_block(256).source(&counting).build().unwrap();
        let texts = RefCell::new(Vec::new());
        let make = |i: usize| {
            texts.borrow_mut().push(pool.alloc_fmt(format_args!("text {i}")));
            if i.is_multiple_of(7) {
                pool.alloc_bytes(i);
            }
            i * i
        };
        let items = (0..3000).map(make);
        let squares: &[usize] = if hinted {
            pool.alloc_slice_fill_iter(items)
        } else {
            pool.alloc_slice_fill_iter(items.filter(|_| true))
        };
        assert!(squares.iter().copied().eq((0..3000).map(|i| i * i)));
        for (i, text) in texts.borrow().iter().enumerate() {
            assert_eq!(**text, format!("text {i}"));
        }
    }
    assert_eq!(counting.bytes(), 0);
}

#[test]
fn what_an_iterator_did_not_need_of_its_room_is_given_back() {
    common::plain();
    let pool = Pool::new();
    let numbers = pool.alloc_slice_fill_iter((0..).take_while(|&n| n < 33_u64));
    assert_eq!(numbers.len(), 33);
    assert_eq!(pool.used_bytes(), 33 * 8);
    let text = pool.alloc_fmt(format_args!("{}-{}", numbers[1], numbers[2]));
    assert_eq!((&*text, pool.used_bytes()), ("1-2", 33 * 8 + 8));
    let after = NonNull::from(pool.alloc(0_u64));
    assert_eq!(after.addr().get(), text.as_ptr().addr() + 8);
}

#[test]
fn a_slice_that_fails_half_way_gives_its_memory_back() {
    let pool = Pool::new();
    pool.alloc(1_u64);
    let used = pool.used_bytes();
    let endless = || {
        pool.alloc_slice_fill_iter((0..100_u64).filter(|&n| {
            assert!(n < 50);
            true
        }))
        .len()
    };
    catch_unwind(AssertUnwindSafe(endless)).unwrap_err();
    assert_eq!(pool.used_bytes(), used);
}

macro_rules! over_aligned {
    ($pool:ident, $($align:literal)*) => {$({
        #[repr(align($align))]
        #[derive(Clone, Copy, PartialEq, Debug)]
        struct Aligned([u8; 3]);
        $pool.alloc(1_u8);
        let one = $pool.alloc(Aligned([1, 2, 3]));
        assert_eq!(std::ptr::from_mut(one).addr() % $align, 0);
        let some = $pool.alloc_slice_copy(&[Aligned([4, 5, 6]); 3]);
        assert_eq!(some.as_ptr().addr() % $align, 0);
        let own = $pool.own(Aligned([7; 3]));
        assert_eq!(std::ptr::from_mut(own).addr() % $align, 0);
        let made = $pool.alloc_slice_fill_iter((0..5).map(|i| Aligned([i; 3])));
        assert_eq!(made.as_ptr().addr() % $align, 0);
        assert_eq!((one.0, some[2].0, own.0, made[4].0), ([1, 2, 3], [4, 5, 6], [7; 3], [4; 3]));
    })*};
}

#[test]
fn over_aligned_values_lie_where_they_should() {
    let ledger = Ledger::new();
    let pool = Pool::builder().source(&ledger).build().unwrap();
    over_aligned!(pool, 16 32 64 128 256 512 1024 2048 4096 8192 16384);
    assert_eq!(pool.held_bytes(), ledger.bytes());
    let huge = pool.alloc_layout(Layout::from_size_align(100, 2 << 20).unwrap());
    assert_eq!(huge.addr().get() % (2 << 20), 0);
    drop(pool);
    assert_eq!(ledger.blocks(), 0);
}

struct Fails;

impl fmt::Display for Fails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("begun, but")?;
        Err(fmt::Error)
    }
}

#[test]
fn a_display_that_errs_is_an_error_that_says_so_and_takes_no_memory() {
    let pool = Pool::new();
    pool.alloc(1_u64);
    let used = pool.used_bytes();
    let error = pool.try_alloc_fmt(format_args!("{} {Fails}", 12)).unwrap_err();
    assert!(error.to_string().contains("formatted"), "{error}");
    assert!(error.account().is_none());
    assert_eq!(pool.used_bytes(), used);
    let outcome = catch_unwind(AssertUnwindSafe(|| pool.alloc_fmt(format_args!("{Fails}")).len()));
    assert!(common::message(&*outcome.unwrap_err()).contains("formatted"));
    assert_eq!(pool.used_bytes(), used);
}

struct Swallows;

impl fmt::Display for Swallows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f.write_str(&"x".repeat(5000));
        Ok(())
    }
}

#[test]
fn a_display_that_hides_a_want_of_memory_does_not_make_a_shortened_text() {
    let account = Account::root("small").with_limit(Some(4096));
    let pool = Pool::on(&account);
    let error = pool.try_alloc_fmt(format_args!("[{Swallows}]")).unwrap_err();
    assert_eq!(error.account(), Some(&account));
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn nor_does_it_in_a_shared_pool() {
    let account = Account::root("small").with_limit(Some(4096));
    let pool = SharedPool::try_on(&account).unwrap();
    let used = pool.used_bytes();
    let error = pool.try_alloc_fmt(format_args!("[{Swallows}]")).unwrap_err();
    assert_eq!(error.account(), Some(&account));
    assert_eq!(pool.used_bytes(), used);
}

#[test]
fn nor_in_a_counted_pool() {
    let account = Account::root("small").with_limit(Some(4096));
    let pool = CountedPool::on(&account);
    let kept = pool.alloc_str("kept");
    let error = pool.try_alloc_fmt(format_args!("[{Swallows}]")).unwrap_err();
    assert_eq!(error.account(), Some(&account));
    assert_eq!((&*kept, pool.live()), ("kept", 1), "what was written of it is freed");
    assert_eq!(&*pool.alloc_fmt(format_args!("[{}]", "fits")), "[fits]");
}

struct Allocates<'p>(&'p Pool, RefCell<Vec<&'p str>>);

impl fmt::Display for Allocates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in 0..20 {
            self.1.borrow_mut().push(self.0.alloc_fmt(format_args!("inner {part}")));
            write!(f, "{part},")?;
        }
        Ok(())
    }
}

#[test]
fn a_display_that_allocates_from_the_same_pool_disturbs_no_text() {
    let pool = Pool::new();
    let inner = Allocates(&pool, RefCell::default());
    let outer = pool.alloc_fmt(format_args!("<{inner}|{inner}>"));
    let list: String = (0..20).map(|part| format!("{part},")).collect();
    assert_eq!(*outer, *format!("<{list}|{list}>"));
    for (index, text) in inner.1.borrow().iter().enumerate() {
        assert_eq!(*text, format!("inner {}", index % 20));
    }
}

#[test]
fn sizes_that_cannot_be_are_errors_that_leave_no_trace() {
    let account = Account::root("sizes");
    let counting = Counting::new();
    let pool = Pool::builder().account(&account).source(&counting).build().unwrap();
    let check = |what: &str, outcome: Result<(), AllocError>| {
        let error = outcome.expect_err(what);
        assert!(error.account().is_none(), "{what}: {error}");
        assert!(!error.to_string().is_empty());
        assert_eq!((pool.held_bytes(), pool.used_bytes()), (0, 0), "after {what}");
        assert_eq!((counting.bytes(), account.held()), (0, 0), "after {what}");
        assert_eq!(account.refused(), 0, "after {what}");
    };
    let most = isize::MAX as usize;
    for count in [usize::MAX, usize::MAX - 7, most + 1, most, most - 6, most - 7, most - 8] {
        check("bytes", pool.try_alloc_bytes(count).map(drop));
        check("zeroed bytes", pool.try_alloc_zeroed_bytes(count).map(drop));
        check("a slice", pool.try_alloc_slice_fill_with(count, |i| i as u16).map(drop));
        check("wider", pool.try_alloc_slice_fill_with(count / 3, |_| [0_u64; 5]).map(drop));
        let hint = (0..count as u64).map(|i| i as u32);
        check("an iterator", pool.try_alloc_slice_fill_iter(hint).map(drop));
    }
    for shift in 0..63 {
        let align = 1_usize << shift;
        let largest = most - (align - 1);
        for size in [largest, largest - largest / 1000] {
            let layout = Layout::from_size_align(size, align).unwrap();
            if size > 1 << 47 {
                check("a layout", pool.try_alloc_layout(layout).map(drop));
                check("zeros", pool.try_alloc_zeroed(layout).map(drop));
            }
        }
    }
    assert_eq!(*pool.alloc(1), 1);
}

#[test]
fn an_object_that_is_over_the_limit_leaves_every_figure_as_it_was() {
    let account = Account::root("limited").with_limit(Some(32 << 10));
    let pool = Pool::on(&account);
    for round in 0..3 {
        let before = (pool.held_bytes(), pool.used_bytes(), account.held(), account.recycled());
        let peak = account.peak();
        for size in [40_000, 100_000, 1 << 30] {
            let error = pool.try_alloc_bytes(size).unwrap_err();
            assert_eq!(error.account(), Some(&account));
        }
        let after = (pool.held_bytes(), pool.used_bytes(), account.held(), account.recycled());
        assert_eq!((after, account.peak()), (before, peak), "round {round}");
        pool.alloc_bytes(1000);
    }
    assert_eq!(account.refused(), 9);
}

#[test]
fn an_object_that_the_source_refuses_leaves_every_figure_as_it_was() {
    let account = Account::root("process").child("request");
    let counting = Counting::new();
    let faulty = Faulty::new(&counting);
    let pool = Pool::builder().account(&account).source(&faulty).build().unwrap();
    for calls in 0..3 {
        let before = (pool.held_bytes(), pool.used_bytes(), account.held(), account.peak());
        faulty.fail_after(calls, true);
        let outcome = pool.try_alloc_bytes(40_000 + calls as usize);
        faulty.recover();
        if outcome.is_err() {
            let after = (pool.held_bytes(), pool.used_bytes(), account.held(), account.peak());
            assert_eq!(after, before, "failing after {calls} calls");
            assert_eq!(counting.bytes(), pool.held_bytes());
        }
    }
    assert!(faulty.faults() > 0);
}

#[test]
fn a_block_of_no_bytes_is_not_asked_of_the_system_by_safe_code() {
    for shift in [0, 4, 12, 20] {
        let nothing = Layout::from_size_align(0, 1 << shift).unwrap();
        // The global allocator's behaviour is undefined for size 0, and `acquire` is safe.
        assert!(System.acquire(nothing).is_err(), "{nothing:?} from the system");
        if let Ok(block) = Blocks.acquire(nothing) {
            assert_eq!(block.addr().get() % nothing.align(), 0);
            // SAFETY: just acquired with this layout.
            unsafe { Blocks.release(block, nothing) };
        }
    }
}

#[test]
fn text_and_bytes_are_packed_and_the_newest_is_given_back() {
    common::plain();
    let pool = Pool::new();
    let one = NonNull::from(pool.alloc_slice_copy(b"123")).cast::<u8>();
    let two = NonNull::from(pool.alloc_str("45")).cast::<u8>();
    assert_eq!(two.addr().get() + 2, one.addr().get());
    assert_eq!(pool.used_bytes(), 5);
    // SAFETY: nothing refers to it any more; that was its size.
    unsafe { pool.dealloc(one, Layout::from_size_align(3, 1).unwrap()) };
    assert_eq!(pool.used_bytes(), 5, "not the newest");
    // SAFETY: likewise.
    unsafe { pool.dealloc(two, Layout::from_size_align(2, 1).unwrap()) };
    assert_eq!(pool.used_bytes(), 3);
}

#[test]
fn values_that_are_not_sendable_may_be_in_a_pool_and_are_not_dropped() {
    let shared = Rc::new(Cell::new(1));
    let pool = Pool::new();
    let inside = pool.alloc(shared.clone());
    inside.set(2);
    drop(pool);
    assert_eq!((shared.get(), Rc::strong_count(&shared)), (2, 2));
    // SAFETY: the count of the one that was not dropped, and cannot be any more.
    unsafe { Rc::decrement_strong_count(Rc::as_ptr(&shared)) };
}
