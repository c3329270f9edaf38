//! How many connections there may be at once, and which goes when one more comes: the one that has
//! been idle for longest.
//!
//! A connection has a [`Seat`] for as long as it lives. While no request of it is being answered it
//! stands in its worker's line, the longest idle first. A client for whom there is no seat waits
//! with the worker that accepted it, which accepts nobody else meanwhile; whoever has been idle for
//! longest, in whichever worker, is asked to leave.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::task::{Poll, Waker};
use std::time::Instant;

use tokio::sync::Notify;

/// Nobody is idle.
const NOBODY: u64 = u64::MAX;
/// No slot.
const NONE: u32 = u32::MAX;

/// The seats of all workers together.
pub(crate) struct Places {
    most: AtomicUsize,
    /// Fewer, while there is no memory for more.
    cap: AtomicUsize,
    taken: AtomicUsize,
    /// Clients that wait for a seat, each with a worker of its own.
    waiting: AtomicUsize,
    /// Connections that were asked to leave and have not yet.
    leaving: AtomicUsize,
    workers: Box<[Standing]>,
    begun: Instant,
}

/// What the others know of a worker.
struct Standing {
    /// Since when its longest idle connection is that, in nanoseconds; or `NOBODY`.
    longest: AtomicU64,
    /// Whether a client waits with it.
    waits: AtomicBool,
    /// Rung when a seat may be free for that client, or somebody is to leave for another.
    bell: Notify,
}

impl Places {
    /// Any number of seats, until [`Places::limit`] is called.
    pub(crate) fn new(workers: usize) -> Self {
        let standing = || Standing {
            longest: AtomicU64::new(NOBODY),
            waits: AtomicBool::new(false),
            bell: Notify::new(),
        };
        Self {
            most: AtomicUsize::new(usize::MAX),
            cap: AtomicUsize::new(usize::MAX),
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            leaving: AtomicUsize::new(0),
            workers: (0..workers).map(|_| standing()).collect(),
            begun: Instant::now(),
        }
    }

    pub(crate) fn limit(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Relaxed)
    }

    /// For want of memory there are an eighth fewer than are taken now. Returns how many have to
    /// leave for that.
    pub(crate) fn shrink(&self) -> usize {
        let taken = self.taken.load(Relaxed);
        let cap = (taken - taken / 8).max(self.workers.len());
        self.cap.store(cap, Relaxed);
        taken.saturating_sub(cap)
    }

    /// There may be some more again.
    pub(crate) fn grow(&self) {
        let cap = self.cap.load(Relaxed);
        if cap != usize::MAX {
            let more = cap + cap / 64 + 1;
            self.cap.store(if more < self.most() { more } else { usize::MAX }, Relaxed);
        }
    }

    /// Whether there are fewer than there might be, for want of memory.
    pub(crate) fn shrunk(&self) -> bool {
        self.cap.load(Relaxed) < self.most()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(NOBODY - 1)
    }

    fn take(&self) -> bool {
        let most = self.most().min(self.cap.load(Relaxed));
        let free = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, free).is_ok()
    }

    /// Whether more clients wait than connections are leaving.
    fn wanted(&self) -> bool {
        self.waiting.load(Relaxed) > self.leaving.load(Relaxed)
    }
}

/// The connections of a worker.
pub(crate) struct Line {
    places: Arc<Places>,
    index: usize,
    slots: RefCell<Slots>,
    /// What wakes the connections that are served, by slot, to tell them to leave.
    wakers: RefCell<HashMap<u32, Waker>>,
    /// Of connections that are parked and were asked to leave: where they are parked.
    parked: RefCell<Vec<u32>>,
}

/// Slots of connections, those of idle ones linked in the order in which they became so.
struct Slots {
    list: Vec<Slot>,
    free: u32,
    first: u32,
    last: u32,
}

/// Small, since each connection has one, parked or not.
struct Slot {
    since: u64,
    /// Of the line; of a free slot, `next` is the next free one.
    before: u32,
    next: u32,
    /// Where it is parked, if it is.
    parked: u32,
    idle: bool,
    /// Whether it was asked to leave.
    asked: bool,
}

impl Slots {
    fn at(&mut self, at: u32) -> Option<&mut Slot> {
        self.list.get_mut(at as usize)
    }

    /// One that there is.
    fn of(&mut self, at: u32) -> &mut Slot {
        &mut self.list[at as usize]
    }

    fn link(&mut self, at: u32, since: u64) {
        let last = self.last;
        let slot = self.of(at);
        (slot.before, slot.next, slot.idle, slot.since) = (last, NONE, true, since);
        match self.at(last) {
            Some(slot) => slot.next = at,
            None => self.first = at,
        }
        self.last = at;
    }

    fn unlink(&mut self, at: u32) {
        let slot = self.of(at);
        let (before, next) = (slot.before, slot.next);
        slot.idle = false;
        match self.at(before) {
            Some(slot) => slot.next = next,
            None => self.first = next,
        }
        match self.at(next) {
            Some(slot) => slot.before = before,
            None => self.last = before,
        }
    }

    /// A slot for a connection that is new, and idle.
    fn open(&mut self, since: u64) -> u32 {
        let empty =
            Slot { before: NONE, next: NONE, idle: false, since, asked: false, parked: NONE };
        let at = self.free;
        let at = match self.at(at) {
            Some(slot) => {
                let next = std::mem::replace(slot, empty).next;
                self.free = next;
                at
            }
            None => {
                self.list.push(empty);
                // Each has a descriptor, of which there are fewer than 2^31.
                self.list.len() as u32 - 1
            }
        };
        self.link(at, since);
        at
    }

    /// Ends a connection's; returns whether it had been asked to leave.
    fn close(&mut self, at: u32) -> bool {
        if self.of(at).idle {
            self.unlink(at);
        }
        let free = std::mem::replace(&mut self.free, at);
        let slot = self.of(at);
        slot.next = free;
        slot.asked
    }

    fn longest(&self) -> u64 {
        self.list.get(self.first as usize).map_or(NOBODY, |slot| slot.since)
    }
}

impl Line {
    pub(crate) fn new(places: Arc<Places>, index: usize) -> Rc<Self> {
        let slots = Slots { list: Vec::new(), free: NONE, first: NONE, last: NONE };
        let (wakers, parked) = (RefCell::default(), RefCell::default());
        Rc::new(Self { places, index, slots: RefCell::new(slots), wakers, parked })
    }

    fn standing(&self) -> &Standing {
        &self.places.workers[self.index]
    }

    /// A seat for one more, if there is one. If not, somebody is asked to leave if anybody is
    /// idle, and [`Line::rung`] says when to ask again.
    pub(crate) fn seat(self: &Rc<Self>) -> Option<Seat> {
        if self.places.take() {
            self.wait_no_more();
            return Some(self.sit());
        }
        if !self.standing().waits.swap(true, Relaxed) {
            self.places.waiting.fetch_add(1, Relaxed);
        }
        if self.places.wanted() {
            let standings = self.places.workers.iter();
            let longest = standings.min_by_key(|standing| standing.longest.load(Relaxed));
            match longest {
                Some(standing) if !std::ptr::eq(standing, self.standing()) => {
                    standing.bell.notify_one();
                }
                _ => {
                    self.ask_longest();
                }
            }
        }
        None
    }

    /// A seat beyond all limits, for a client that cannot be kept waiting.
    pub(crate) fn seat_anyway(self: &Rc<Self>) -> Seat {
        self.places.taken.fetch_add(1, Relaxed);
        self.sit()
    }

    fn sit(self: &Rc<Self>) -> Seat {
        let at = self.slots.borrow_mut().open(self.places.now());
        self.publish();
        Seat { line: self.clone(), at }
    }

    /// Waits until it may be worth asking for a seat again. Has somebody leave, if that is what the
    /// bell was rung for.
    pub(crate) async fn rung(&self) {
        self.standing().bell.notified().await;
        if !self.standing().waits.load(Relaxed) && self.places.wanted() {
            self.ask_longest();
        }
    }

    /// Asks the connection that has been idle for longest to leave; whether there was one.
    pub(crate) fn ask_longest(&self) -> bool {
        let mut slots = self.slots.borrow_mut();
        let at = slots.first;
        if at == NONE {
            return false;
        }
        slots.unlink(at);
        let slot = slots.of(at);
        slot.asked = true;
        let parked = std::mem::replace(&mut slot.parked, NONE);
        drop(slots);
        let waker = self.waker(at);
        if parked != NONE {
            self.parked.borrow_mut().push(parked);
            self.standing().bell.notify_one();
        }
        self.publish();
        self.places.leaving.fetch_add(1, Relaxed);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// A connection is parked.
    pub(crate) fn parked(&self, at: u32, place: u32) {
        self.waker(at);
        let mut slots = self.slots.borrow_mut();
        let slot = slots.of(at);
        if slot.asked {
            self.parked.borrow_mut().push(place);
        } else {
            slot.parked = place;
        }
    }

    /// What wakes a connection, which is not to be woken any more.
    fn waker(&self, at: u32) -> Option<Waker> {
        let mut wakers = self.wakers.borrow_mut();
        let waker = wakers.remove(&at);
        // What a crowd needed goes back when most of it is parked.
        if wakers.len() < wakers.capacity() / 8 {
            let most = wakers.capacity() / 4;
            wakers.shrink_to(most);
        }
        waker
    }

    /// Where those are parked that have been asked to leave since this was called.
    pub(crate) fn parked_that_are_to_leave(&self) -> Vec<u32> {
        self.parked.take()
    }

    /// Whether nobody is idle, in any line, and nobody has been asked to leave.
    pub(crate) fn nobody_can_leave(&self) -> bool {
        let idle = |standing: &Standing| standing.longest.load(Relaxed) != NOBODY;
        self.places.leaving.load(Relaxed) == 0 && !self.places.workers.iter().any(idle)
    }

    /// The client for whom there was no seat does not wait any more.
    pub(crate) fn wait_no_more(&self) {
        if self.standing().waits.swap(false, Relaxed) {
            self.places.waiting.fetch_sub(1, Relaxed);
        }
    }

    fn publish(&self) {
        self.standing().longest.store(self.slots.borrow().longest(), Relaxed);
    }
}

/// A connection's seat; free again once this is dropped.
pub(crate) struct Seat {
    line: Rc<Line>,
    at: u32,
}

impl Seat {
    /// Its number in the line.
    pub(crate) fn at(&self) -> u32 {
        self.at
    }

    /// Whether this connection was asked to leave.
    pub(crate) fn asked(&self) -> bool {
        self.line.slots.borrow_mut().of(self.at).asked
    }

    /// Its connection is not parked any more.
    pub(crate) fn unparked(&self) {
        self.line.slots.borrow_mut().of(self.at).parked = NONE;
    }

    /// A request is being answered.
    pub(crate) fn busy(&self) {
        let mut slots = self.line.slots.borrow_mut();
        if slots.of(self.at).idle {
            slots.unlink(self.at);
            drop(slots);
            self.line.publish();
        }
    }

    /// None is any more.
    pub(crate) fn idle(&self) {
        let mut slots = self.line.slots.borrow_mut();
        let slot = slots.of(self.at);
        if slot.idle || slot.asked {
            return;
        }
        slots.link(self.at, self.line.places.now());
        drop(slots);
        self.line.publish();
        // When all were busy, nobody could be asked.
        if self.line.places.wanted() {
            self.line.ask_longest();
        }
    }

    /// Waits until this connection is asked to leave.
    pub(crate) async fn asked_to_leave(&self) {
        // The one that is with the line, which is looked at each time that the connection is.
        let mut told: Option<Waker> = None;
        poll_fn(|cx| {
            if self.asked() {
                return Poll::Ready(());
            }
            if !told.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                told = Some(cx.waker().clone());
                self.line.wakers.borrow_mut().insert(self.at, cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let places = &self.line.places;
        self.line.waker(self.at);
        if self.line.slots.borrow_mut().close(self.at) {
            places.leaving.fetch_sub(1, Relaxed);
        }
        self.line.publish();
        places.taken.fetch_sub(1, Relaxed);
        if places.waiting.load(Relaxed) > 0 {
            // Whoever is not the first to ask waits for the next.
            for standing in places.workers.iter().filter(|standing| standing.waits.load(Relaxed)) {
                standing.bell.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    fn asked(seat: &Seat) -> bool {
        let mut told = std::pin::pin!(seat.asked_to_leave());
        told.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn rings(line: &Line) -> bool {
        let mut rung = std::pin::pin!(line.rung());
        rung.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_longest_idle_connection_of_all_is_asked_to_leave() {
        let places = Arc::new(Places::new(2));
        places.limit(3);
        let (one, other) = (Line::new(places.clone(), 0), Line::new(places.clone(), 1));
        let first = one.seat().expect("a seat");
        let second = other.seat().expect("a seat");
        let third = one.seat().expect("a seat");
        first.busy();
        // The second is in the other worker's line, which has to be told.
        assert!(one.seat().is_none());
        assert!(!asked(&second));
        assert!(rings(&other));
        assert!(asked(&second) && !asked(&third) && !asked(&first));
        // One is enough.
        assert!(one.seat().is_none());
        assert!(!rings(&other) && !asked(&third));
        drop(second);
        assert!(rings(&one));
        let fourth = one.seat().expect("the seat that was left");
        // Idle since later than the third.
        first.idle();
        assert!(one.seat().is_none());
        assert!(asked(&third) && !asked(&first) && !asked(&fourth));
    }

    #[test]
    fn where_all_are_busy_the_first_to_become_idle_leaves() {
        let places = Arc::new(Places::new(1));
        places.limit(2);
        let line = Line::new(places.clone(), 0);
        let (first, second) = (line.seat().expect("a seat"), line.seat().expect("a seat"));
        first.busy();
        second.busy();
        assert!(line.seat().is_none());
        assert!(!asked(&first) && !asked(&second));
        second.idle();
        assert!(asked(&second) && !asked(&first));
        drop(second);
        assert!(rings(&line));
        assert!(line.seat().is_some());
        drop(first);
        assert_eq!(places.taken.load(Relaxed), 0);
        assert_eq!(places.waiting.load(Relaxed) + places.leaving.load(Relaxed), 0);
    }

    #[test]
    fn places_shrink_by_an_eighth_and_grow_back() {
        let places = Arc::new(Places::new(1));
        places.limit(100);
        let line = Line::new(places.clone(), 0);
        let seats: Vec<Seat> = (0..80).filter_map(|_| line.seat()).collect();
        assert!(!places.shrunk());
        assert_eq!(places.shrink(), 10);
        assert!(places.shrunk() && line.seat().is_none());
        drop(seats);
        let mut more: Vec<Seat> = (0..200).map_while(|_| line.seat()).collect();
        assert_eq!(more.len(), 70);
        (0..50).for_each(|_| places.grow());
        assert!(!places.shrunk());
        more.extend((0..200).map_while(|_| line.seat()));
        assert_eq!(more.len(), 100);
    }

    #[test]
    fn slots_are_used_again_and_the_line_keeps_its_order() {
        let places = Arc::new(Places::new(1));
        let line = Line::new(places, 0);
        let mut seats: Vec<Seat> = (0..8).map(|_| line.seat_anyway()).collect();
        // Out of the middle, the end and the beginning.
        for at in [3, 6, 0] {
            drop(seats.remove(at));
        }
        seats.extend((0..3).map(|_| line.seat_anyway()));
        assert_eq!(line.slots.borrow().list.len(), 8);
        seats[1].busy();
        seats[1].idle();
        for left in [0, 2, 3, 4, 5, 6, 7, 1] {
            assert!(line.ask_longest());
            assert!(asked(&seats[left]), "{left}");
        }
        assert!(!line.ask_longest());
    }
}
