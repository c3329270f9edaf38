//! What it costs to know who holds the memory.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cenote::{Account, Pool};

use super::request::fresh;
use crate::harness::{Case, Subject, timed};
use crate::work::{layout, request_sizes, touch_at};

pub(crate) const CASE: &str = "the request";
pub(crate) const FOUR: &str = "cenote, four accounts deep";
pub(crate) const READ: &str = "cenote, four accounts deep, read all the while";

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new(CASE, "request", || {
        let root = Account::root("process");
        let four = root.child("worker").child("connection").child("request");
        vec![
            fresh("cenote", Pool::new),
            on("cenote, one account", Account::root("process")),
            on(FOUR, four.clone()),
            read(root, four),
        ]
    })]
}

#[inline(never)]
fn requests(account: &Account, sizes: &[u32; 40], times: u64) {
    for turn in 0..times {
        let pool = Pool::on(account);
        for &size in sizes {
            touch_at(pool.alloc_layout(layout(size as usize)), turn);
        }
    }
}

fn on(name: &str, account: Account) -> Subject {
    Subject::new(name, move |times| timed(|| requests(&account, request_sizes(), times)))
}

/// The same while another thread takes a snapshot of the tree every 100 microseconds.
fn read(root: Account, account: Account) -> Subject {
    Subject::new(READ, move |times| {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    black_box(root.snapshot());
                    std::thread::sleep(Duration::from_micros(100));
                }
            });
            let took = timed(|| requests(&account, request_sizes(), times));
            over.store(true, Ordering::Relaxed);
            took
        })
    })
}
