//! Work that takes long, in turns: what else a worker has to do is done between them.

use std::cmp::Ordering;

/// Steps of a turn. A step is some hundred nanoseconds to a microsecond of work.
const TURN: u32 = 256;

/// Counts steps, and lets others have a turn after so many.
#[derive(Default)]
pub(crate) struct Turns(u32);

impl Turns {
    /// Some steps were made.
    pub(crate) async fn after(&mut self, steps: u32) {
        self.0 += steps;
        if self.0 >= TURN {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Sorts `list`, merging what has been sorted into `spare`, which is as long, and back. Returns the
/// one of the two in which the order is.
pub(crate) async fn sort<'a, T: Copy>(
    list: &'a mut [T],
    spare: &'a mut [T],
    compare: impl Fn(&T, &T) -> Ordering,
    turns: &mut Turns,
) -> &'a mut [T] {
    const RUN: usize = 64;
    for run in list.chunks_mut(RUN) {
        run.sort_unstable_by(&compare);
        turns.after(TURN).await;
    }
    let (mut from, mut to) = (list, spare);
    let mut run = RUN;
    while run < from.len() {
        for (pair, merged) in from.chunks(2 * run).zip(to.chunks_mut(2 * run)) {
            let (mut left, mut right) = pair.split_at(run.min(pair.len()));
            for place in merged {
                let second = match (left, right) {
                    ([], _) => true,
                    (_, []) => false,
                    ([first, ..], [second, ..]) => compare(second, first).is_lt(),
                };
                let next = if second { &mut right } else { &mut left };
                if let [first, rest @ ..] = *next {
                    (*place, *next) = (*first, rest);
                }
                turns.after(1).await;
            }
        }
        std::mem::swap(&mut from, &mut to);
        run *= 2;
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Sorts, and counts the turns that others had.
    fn sorted(mut list: Vec<u64>) -> (Vec<u64>, usize) {
        let (mut spare, mut turns) = (list.clone(), Turns::default());
        let mut sorting = pin!(sort(&mut list, &mut spare, Ord::cmp, &mut turns));
        let mut others = 0;
        loop {
            match sorting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(sorted) => return (sorted.to_vec(), others),
                Poll::Pending => others += 1,
            }
        }
    }

    #[test]
    fn lists_of_every_length_are_sorted() {
        let mut state = 1_u64;
        for length in (0..700).chain([4095, 4096, 4097, 20_000]) {
            let mut list: Vec<u64> = Vec::new();
            for _ in 0..length {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                list.push(state >> 50);
            }
            let mut expected = list.clone();
            expected.sort_unstable();
            let (found, others) = sorted(list);
            assert!(found == expected, "{length}");
            assert!(others >= length / 64, "{others} turns for others in sorting {length}");
        }
    }
}
