//! How much requests needed, by route: a histogram of what the account of each held at most, noted as
//! it ends.
//!
//! Who notes waits for nobody: two additions to words that others add to as well. A route's first
//! request makes a place for it, of some 250 bytes; there are never more than 64 of them.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::View;
use super::metrics::{Bucket, Histogram, Label};

/// Routes that are named.
const MOST_ROUTES: usize = 64;
/// Bytes of a route that is named.
const LONGEST: usize = 128;
/// What those are counted under that came after these.
const OTHERS: &str = "(others)";
/// And requests that took no route, or whose route nobody told.
const NONE: &str = "(none)";

/// The first bucket's bytes, each other having four times as many as the one before.
const SMALLEST: u64 = 1 << 10;
/// Up to 64 MiB. One more has what is above.
const BUCKETS: usize = 9;

impl View {
    /// Notes how much a request needed that has ended, for `cenote_request_bytes` in the metrics: for
    /// servers that make their requests' accounts by themselves. The layer does so for its own, where it
    /// is [given a view](crate::RequestPools::view).
    ///
    /// `route` should be one of few: the first 64 are told apart, the rest is counted as `(others)`, and so
    /// are those of more than 128 bytes. Nothing is allocated but for the first of each, and nobody waited for.
    ///
    /// ```
    /// use cenote::{Account, Pool};
    /// use cenote_web::view::View;
    /// let process = Account::root("process");
    /// let view = View::builder(&process).build();
    /// let request = process.child("request");
    /// drop(Pool::on(&request));
    /// view.note_request("GET /notes/{id}", request.peak());
    /// ```
    pub fn note_request(&self, route: &str, peak_bytes: usize) {
        let requests = &self.state.requests;
        requests.note(requests.place(["", route]), peak_bytes);
    }
}

/// The histograms of all routes.
#[derive(Debug)]
pub(crate) struct Requests {
    /// By their hashes, or in the next place that was free. None is ever taken out.
    routes: [OnceLock<Box<Route>>; MOST_ROUTES],
    none: Counts,
    others: Counts,
}

/// Where a request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Route(u8),
    Others,
    None,
}

#[derive(Debug)]
struct Route {
    hash: u64,
    name: Box<str>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    buckets: [AtomicU64; BUCKETS + 1],
    sum: AtomicU64,
}

impl Default for Requests {
    fn default() -> Self {
        let routes = [const { OnceLock::new() }; MOST_ROUTES];
        Self { routes, none: Counts::default(), others: Counts::default() }
    }
}

impl Requests {
    /// The place of a route, whose name is in two pieces so that nothing need be put together for it.
    pub(crate) fn place(&self, name: [&str; 2]) -> Place {
        if name[0].len() + name[1].len() > LONGEST {
            return Place::Others;
        }
        let hash = hash(name);
        for step in 0..MOST_ROUTES {
            let at = (hash as usize).wrapping_add(step) % MOST_ROUTES;
            let route = self.routes[at].get_or_init(|| {
                Box::new(Route { hash, name: name.concat().into(), counts: Counts::default() })
            });
            if route.hash == hash && is(&route.name, name) {
                return Place::Route(at as u8);
            }
        }
        Place::Others
    }

    pub(crate) fn note(&self, place: Place, bytes: usize) {
        let counts = match place {
            Place::Route(at) => match self.routes[usize::from(at)].get() {
                Some(route) => &route.counts,
                // Only a place that was made is one.
                None => &self.others,
            },
            Place::Others => &self.others,
            Place::None => &self.none,
        };
        counts.note(bytes as u64);
    }

    /// The histograms by route, those of which nothing is counted left out.
    pub(super) fn read(&self) -> BTreeMap<Label, Histogram> {
        let routes = self.routes.iter().filter_map(OnceLock::get);
        let named = routes.map(|route| (&*route.name, &route.counts));
        let rest = [(NONE, &self.none), (OTHERS, &self.others)];
        let mut all: BTreeMap<Label, Histogram> = BTreeMap::new();
        for (name, counts) in named.chain(rest) {
            let read = counts.read();
            if read.count > 0 {
                // Names that are told alike are one series: no format has two with the same labels.
                let known = all.entry(Label::new("route", name));
                known.and_modify(|known| known.add(&read)).or_insert(read);
            }
        }
        all
    }
}

impl Counts {
    fn note(&self, bytes: u64) {
        self.buckets[bucket(bytes)].fetch_add(1, Relaxed);
        self.sum.fetch_add(bytes, Relaxed);
    }

    fn read(&self) -> Histogram {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BUCKETS);
        for (at, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Relaxed);
            if at < BUCKETS {
                buckets.push(Bucket { most: most(at), count });
            }
        }
        Histogram { buckets, count, sum: self.sum.load(Relaxed) }
    }
}

/// The most that is counted in a bucket.
fn most(bucket: usize) -> u64 {
    SMALLEST << (2 * bucket)
}

/// The first bucket whose most is no less.
fn bucket(bytes: u64) -> usize {
    let above = bytes.saturating_sub(1) / SMALLEST;
    let bits = u64::BITS - above.leading_zeros();
    (bits.div_ceil(2) as usize).min(BUCKETS)
}

/// FNV-1a: the same for a name however it is divided.
fn hash(name: [&str; 2]) -> u64 {
    let of = |hash, piece: &str| {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        piece.as_bytes().iter().fold(hash, step)
    };
    of(of(0xcbf2_9ce4_8422_2325, name[0]), name[1])
}

fn is(whole: &str, name: [&str; 2]) -> bool {
    whole.strip_prefix(name[0]).is_some_and(|rest| rest == name[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bucket_has_what_is_no_more_than_its_most() {
        for (bytes, most_of) in [
            (0, 1 << 10),
            (1, 1 << 10),
            (1 << 10, 1 << 10),
            ((1 << 10) + 1, 4 << 10),
            (4 << 10, 4 << 10),
            ((4 << 10) + 1, 16 << 10),
            (64 << 20, 64 << 20),
        ] {
            assert_eq!(most(bucket(bytes)), most_of, "{bytes}");
        }
        for bytes in [(64 << 20) + 1, 1 << 40, u64::MAX] {
            assert_eq!(bucket(bytes), BUCKETS, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn buckets_count_as_a_list_would(all in prop::collection::vec(0_usize..200 << 20, 0..50)) {
            let counts = Counts::default();
            for &bytes in &all {
                counts.note(bytes as u64);
            }
            let read = counts.read();
            prop_assert_eq!(read.count, all.len() as u64);
            prop_assert_eq!(read.sum, all.iter().sum::<usize>() as u64);
            prop_assert_eq!(read.buckets.len(), 9);
            for bucket in &read.buckets {
                let within = all.iter().filter(|&&bytes| bytes as u64 <= bucket.most).count();
                prop_assert_eq!(bucket.count, within as u64);
            }
        }
    }

    #[test]
    fn routes_keep_their_places_and_are_never_more_than_there_is_room_for() {
        let requests = Requests::default();
        for round in 0..2 {
            for number in 0..1000 {
                let name = format!("/notes/{number}");
                requests.note(requests.place(["GET ", &name]), 1);
                // However it is divided.
                let (one, other) = name.split_at(round + 1);
                requests.note(requests.place([&format!("GET {one}"), other]), 1);
            }
        }
        requests.note(requests.place(["", &"x".repeat(LONGEST + 1)]), 1);
        let read = requests.read();
        assert_eq!(read.len(), MOST_ROUTES + 1);
        for (label, histogram) in &read {
            let number =
                label.value.strip_prefix("GET /notes/").and_then(|it| it.parse::<usize>().ok());
            match number {
                Some(number) => assert!(number < MOST_ROUTES && histogram.count == 4, "{label:?}"),
                None => assert_eq!((&*label.value, histogram.count), (OTHERS, 4 * 936 + 1)),
            }
        }
    }

    #[test]
    fn threads_that_bring_the_same_routes_at_once_share_them() {
        let requests = Requests::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..10_000 {
                        let name = format!("/{}", number % 100);
                        requests.note(requests.place(["", &name]), 2000);
                    }
                });
            }
        });
        let read = requests.read();
        assert_eq!(read.len(), MOST_ROUTES + 1);
        assert_eq!(read.values().map(|histogram| histogram.count).sum::<u64>(), 40_000);
        assert_eq!(read.values().map(|histogram| histogram.sum).sum::<u64>(), 80_000_000);
        let named = read.iter().filter(|(label, _)| label.value != OTHERS);
        assert!(named.map(|(_, histogram)| histogram.count).all(|count| count == 400));
    }
}
