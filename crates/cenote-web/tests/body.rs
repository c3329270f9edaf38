//! A body whose length is told, read into a pool under a limit.

use bytes::Bytes;
use cenote::{Account, SharedPool};
use cenote_web::PoolBytes;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// So many bytes, some at a time, of how many are told.
struct Told {
    told: u64,
    left: usize,
    at_once: usize,
}

impl Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let size = self.left.min(self.at_once);
        self.left -= size;
        Poll::Ready((size > 0).then(|| Ok(Frame::data(Bytes::from(vec![b'x'; size])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.told)
    }
}

async fn read(
    limit: usize,
    told: u64,
    left: usize,
    at_once: usize,
) -> (Account, Option<PoolBytes>) {
    let account = Account::root("service").child("request").with_limit(Some(limit));
    let pool = SharedPool::try_on(&account).unwrap();
    let body = PoolBytes::read(pool, Told { told, left, at_once }).await;
    (account, body.ok())
}

#[tokio::test]
async fn a_body_that_fits_its_limit_is_read_whatever_it_comes_in() {
    if cenote::debug::MARKED || std::env::var_os("CENOTE_DEBUG").is_some() {
        // Objects that checkers see do not grow in place.
        return;
    }
    for (limit, size) in [(8 << 20, 4 << 20), (8 << 20, 7_900_000), (2 << 20, 1_950_000)] {
        for at_once in [1000, 16 << 10, 1 << 20] {
            let (account, body) = read(limit, size as u64, size, at_once).await;
            let body = body.unwrap_or_else(|| panic!("{size} B under {limit}, {at_once} at once"));
            assert_eq!(body.len(), size);
            assert!(body.iter().all(|&byte| byte == b'x'));
            assert!(account.held() < size + (128 << 10), "{} held for {size}", account.held());
        }
        assert!(read(limit, limit as u64, limit, 16 << 10).await.1.is_none());
    }
}

#[tokio::test]
async fn a_length_that_is_told_and_does_not_come_costs_four_times_what_came_at_most() {
    for came in [1, 5000, 50_000, 1_000_000] {
        let (account, body) = read(64 << 20, 60 << 20, came, 1000).await;
        assert_eq!(body.unwrap().len(), came);
        // Blocks of the pool, and while there are two of them, what was moved out of.
        assert!(account.peak() < 6 * came + (64 << 10), "{} for {came}", account.peak());
        assert_eq!(account.held(), 0);
    }
}
