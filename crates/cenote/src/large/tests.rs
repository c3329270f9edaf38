//! How many there are, as [`LargeObjects::has_more_than`] tells it.

use super::*;
use crate::System;
use crate::debug::Watch;
use crate::misuse::OnBadFree;

const BYTES: Layout = Layout::new::<[u8; 5000]>();

/// There are just so many; by `len` and by `has_more_than`, for every count near that.
fn are(objects: &LargeObjects, live: usize) {
    assert_eq!(objects.len(), live);
    for count in 0..live + 3 {
        assert_eq!(objects.has_more_than(count), live > count, "{live} live, more than {count}?");
    }
}

fn alloc(objects: &LargeObjects, supply: &Supply<System>, count: usize) -> Vec<NonNull<u8>> {
    (0..count).map(|_| objects.alloc(supply, BYTES).unwrap()).collect()
}

/// Objects that come and go, each time counted.
fn come_and_go(supply: &Supply<System>) {
    let objects = LargeObjects::new();
    are(&objects, 0);
    for count in [1, 2, 3, 40] {
        let mut all = alloc(&objects, supply, count);
        are(&objects, count);
        // The oldest is in no table; then, a newer one is.
        while all.len() > count / 2 {
            assert!(objects.free(supply, all.remove(0)));
            are(&objects, all.len());
        }
        all.extend(alloc(&objects, supply, count));
        are(&objects, all.len());
        while let Some(newest) = all.pop() {
            assert!(objects.free(supply, newest));
            are(&objects, all.len());
        }
        are(&objects, 0);
    }
    alloc(&objects, supply, 10);
    are(&objects, 10);
    objects.empty(supply);
    are(&objects, 0);
    alloc(&objects, supply, 10);
    are(&objects, 10);
    objects.free_all(supply);
    are(&objects, 0);
}

#[test]
fn there_are_more_than_any_smaller_count_and_no_other() {
    come_and_go(&Supply::new("large", System, None, false, Watch::DEFAULT));
}

#[test]
fn what_is_freed_and_kept_to_be_looked_at_counts_no_more() {
    let quarantine = Watch::new(Some(Levels::QUARANTINE), OnBadFree::Abort);
    let supply = Supply::new("large", System, None, false, quarantine);
    come_and_go(&supply);
    let objects = LargeObjects::new();
    let live = alloc(&objects, &supply, 3);
    for one in alloc(&objects, &supply, 5) {
        assert!(objects.free(&supply, one));
    }
    assert_eq!(objects.quarantined(), 5);
    are(&objects, 3);
    // One that fills the younger half, which then is the older one.
    let huge = objects.alloc(&supply, Layout::new::<[u8; 1 << 20]>()).unwrap();
    are(&objects, 4);
    assert!(objects.free(&supply, huge));
    assert_eq!(objects.quarantined(), 6);
    are(&objects, 3);
    assert!(objects.free(&supply, live[1]));
    are(&objects, 2);
    objects.trim(&supply);
    assert_eq!(objects.quarantined(), 0);
    are(&objects, 2);
    objects.free_all(&supply);
}
