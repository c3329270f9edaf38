//! A memory pool of the shape that DataFusion's operators expect, over accounts: consumers that
//! register, reservations that grow, shrink and are given back, an operator that spills when it is
//! refused. The trait is written out here with its methods; nothing of DataFusion is used.
//!
//! What it adds to a counter: each consumer is an account, so the limit may be on the query, the
//! tenant or the process, a refusal names the one that was full, and `/pools` shows who holds what
//! beside the blocks of pools.

use cenote::{Account, AllocError, Reservation};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Who wants memory: an operator of a query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MemoryConsumer {
    pub(crate) name: String,
    /// Whether it can write to disk what it has, when it is refused more.
    pub(crate) can_spill: bool,
}

/// What operators ask for memory: `datafusion_execution::memory_pool::MemoryPool`.
pub(crate) trait MemoryPool: Send + Sync {
    /// A consumer begins.
    fn register(&self, consumer: &MemoryConsumer);
    /// A consumer has ended.
    fn unregister(&self, consumer: &MemoryConsumer);
    /// It has `additional` bytes more already: this cannot fail.
    fn grow(&self, reservation: &MemoryReservation, additional: usize);
    /// It has `less` bytes less.
    fn shrink(&self, reservation: &MemoryReservation, less: usize);
    /// It wants `additional` bytes more.
    fn try_grow(
        &self,
        reservation: &MemoryReservation,
        additional: usize,
    ) -> Result<(), AllocError>;
    /// Bytes that all consumers have.
    fn reserved(&self) -> usize;
}

/// What one consumer has of a pool; given back when it is dropped.
pub(crate) struct MemoryReservation {
    consumer: MemoryConsumer,
    size: usize,
    pool: Arc<dyn MemoryPool>,
}

impl MemoryReservation {
    pub(crate) fn new(consumer: MemoryConsumer, pool: &Arc<dyn MemoryPool>) -> Self {
        pool.register(&consumer);
        Self { consumer, size: 0, pool: pool.clone() }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn grow(&mut self, additional: usize) {
        self.pool.grow(self, additional);
        self.size += additional;
    }

    pub(crate) fn try_grow(&mut self, additional: usize) -> Result<(), AllocError> {
        self.pool.try_grow(self, additional)?;
        self.size += additional;
        Ok(())
    }

    pub(crate) fn shrink(&mut self, less: usize) {
        self.pool.shrink(self, less);
        self.size -= less;
    }

    /// Gives all of it back, and tells how much that was.
    pub(crate) fn free(&mut self) -> usize {
        let size = self.size;
        self.shrink(size);
        size
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.free();
        self.pool.unregister(&self.consumer);
    }
}

/// A memory pool that is an account; each consumer's is one under it.
pub(crate) struct AccountPool {
    account: Account,
    consumers: Mutex<HashMap<MemoryConsumer, Consumer>>,
}

struct Consumer {
    registered: usize,
    reservation: Reservation,
}

impl AccountPool {
    pub(crate) fn new(account: &Account) -> Self {
        Self { account: account.clone(), consumers: Mutex::default() }
    }

    fn with<T>(&self, consumer: &MemoryConsumer, f: impl FnOnce(&mut Reservation) -> T) -> T {
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        let consumer = consumers.get_mut(consumer).expect("it is registered");
        f(&mut consumer.reservation)
    }
}

impl MemoryPool for AccountPool {
    fn register(&self, consumer: &MemoryConsumer) {
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        let account = &self.account;
        let known = consumers.entry(consumer.clone()).or_insert_with(|| Consumer {
            registered: 0,
            reservation: account.shared_child(consumer.name.clone()).reservation(),
        });
        known.registered += 1;
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = consumers.get_mut(consumer) {
            known.registered -= 1;
            if known.registered == 0 {
                consumers.remove(consumer);
            }
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.with(&reservation.consumer, |reserved| reserved.grow(additional));
    }

    fn shrink(&self, reservation: &MemoryReservation, less: usize) {
        self.with(&reservation.consumer, |reserved| reserved.shrink(less));
    }

    fn try_grow(
        &self,
        reservation: &MemoryReservation,
        additional: usize,
    ) -> Result<(), AllocError> {
        self.with(&reservation.consumer, |reserved| reserved.try_grow(additional))
    }

    fn reserved(&self) -> usize {
        self.account.reserved()
    }
}

/// Sorts batches of numbers, and writes what does not fit "to disk"; the sorted numbers, and how
/// often it spilled.
fn sort(batches: &[Vec<u64>], pool: &Arc<dyn MemoryPool>) -> (Vec<u64>, usize) {
    let consumer = MemoryConsumer { name: "sort".into(), can_spill: true };
    let mut memory = MemoryReservation::new(consumer, pool);
    let (mut held, mut disk, mut spills) = (Vec::new(), Vec::new(), 0);
    for batch in batches {
        let bytes = size_of_val(batch.as_slice());
        if memory.try_grow(bytes).is_err() {
            disk.append(&mut held);
            memory.free();
            spills += 1;
            // This batch exists already: it is charged for, whether there is room or not.
            memory.grow(bytes);
        }
        held.extend_from_slice(batch);
    }
    held.append(&mut disk);
    held.sort_unstable();
    (held, spills)
}

/// What came of a query under a limit: the numbers in order, how often the sort spilled, whether an
/// aggregate that cannot spill was refused and by whom, and the accounts at the end.
pub(crate) fn run(limit: usize) -> (Vec<u64>, usize, Option<String>, Account) {
    let query = Account::root("process").child("query").with_limit(Some(limit));
    let pool: Arc<dyn MemoryPool> = Arc::new(AccountPool::new(&query));
    let batches: Vec<Vec<u64>> =
        (0..8).map(|batch| (0..1000).map(|n| n * 7919 % 1000 * 8 + batch).collect()).collect();
    let consumer = MemoryConsumer { name: "aggregate".into(), can_spill: false };
    let mut aggregate = MemoryReservation::new(consumer, &pool);
    let refused = aggregate.try_grow(20_000).err().map(|error| error.to_string());
    let (sorted, spills) = sort(&batches, &pool);
    assert_eq!(pool.reserved(), aggregate.size());
    (sorted, spills, refused, query)
}

#[allow(dead_code, reason = "tests call `run`")]
fn main() {
    for limit in [200_000, 50_000, 10_000] {
        let (sorted, spills, refused, query) = run(limit);
        println!(
            "limit {limit}: {} numbers, spilled {spills} times, refused {refused:?}",
            sorted.len()
        );
        println!("  peak {}, charged beyond the limit {}", query.peak(), query.overcommitted());
    }
}
