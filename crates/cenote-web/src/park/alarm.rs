//! [`Alarm`]: one timer for all bounds of a connection.

use std::pin::Pin;
use std::task::{Context, Waker};

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for all of a connection's bounds. It is set to the nearest, and looked at when it
/// rings: most requests come and go without touching it.
#[derive(Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When it rings, if it is set.
    at: Option<Instant>,
    /// Whom it wakes.
    waker: Option<Waker>,
}

impl Alarm {
    /// Rings at `at`, or before.
    pub(super) fn set(&mut self, at: Instant) {
        if self.at.is_some_and(|set| set <= at) {
            return;
        }
        self.at = Some(at);
        self.waker = None;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(sleep_until(at))),
        }
    }

    /// Whether it rings; it is not set any more then. Otherwise whoever polls is woken when it does.
    pub(super) fn rings(&mut self, context: &mut Context<'_>) -> bool {
        let (Some(_), Some(sleep)) = (self.at, &mut self.sleep) else { return false };
        let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        if !known {
            self.waker = Some(context.waker().clone());
            // Whether or not this task has had its share: it would not be registered otherwise.
            let _ = Pin::new(&mut unconstrained(sleep.as_mut())).poll(context);
        }
        let rings = sleep.is_elapsed();
        if rings {
            self.at = None;
            self.waker = None;
        }
        rings
    }
}
