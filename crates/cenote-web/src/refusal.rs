//! Refusals that panic, and the responses that are made of refusals.
//!
//! A call without `try_` panics at a limit, with words that name the account: those of
//! [`AllocError`](cenote::AllocError). They are looked for in what a handler panics with, wherever
//! they stand there, since they may have come a long way: by `unwrap` on an error, or from another
//! task, whose `JoinError` was unwrapped. Words alone are none: a client may have written them.
//! What accounts have counted since the request began decides.

use crate::{Error, PoolBody, RequestPool};
use bytes::Bytes;
use cenote::inspect::AccountSnapshot;
use cenote::{Account, SharedPool};
use http::{HeaderValue, Response, StatusCode, header};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Requests that were refused, in the whole process.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// How many requests were refused memory, and answered so, in the whole process: by a
/// [`RequestPools`](crate::RequestPools) or its layer, or by a server that
/// [noted](note_refused_request) it. The view's metrics have it as
/// `cenote_requests_refused_total`.
#[must_use]
pub fn requests_refused() -> u64 {
    REQUESTS.load(Relaxed)
}

/// Notes that a request was refused memory: for servers that answer such a request by themselves.
pub fn note_refused_request() {
    REQUESTS.fetch_add(1, Relaxed);
}

pub(crate) type OnRefusal = dyn Fn(&Error) -> Response<Bytes> + Send + Sync;

/// How the words go on that a refusal panics with, after `account PATH`.
const AT_LIMIT: &str = " is at its limit of ";
const AT_LIMIT_ENDS: &str = " more asked)";
/// And those of a collection.
pub(crate) const COLLECTION: &str = " refused a collection's growth";

/// A refusal that panicked.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: Error,
    /// Its words, which say which account it was, and its figures.
    words: String,
}

impl Refused {
    /// What a panic with this payload says about a refusal by an account of this pool's tree, if it
    /// has refused anything since the request began.
    fn of(pool: &RequestPool, payload: &(dyn Any + Send)) -> Option<Self> {
        let text = match payload.downcast_ref::<String>() {
            Some(text) => text.as_str(),
            None => payload.downcast_ref::<&str>()?,
        };
        let own = pool.account()?;
        let above = || std::iter::successors(Some(own), |account| account.parent());
        let root = above().last()?;
        let (from, length) = words(text, root.name())?;
        let words = &text[from..from + length];
        // The account itself is not in the words. If it is none of these, it is below one.
        let named = |account: &&Account| {
            let path = words["account ".len()..].strip_prefix(account.path().as_str());
            path.is_some_and(|rest| rest.starts_with(AT_LIMIT) || rest.starts_with(COLLECTION))
        };
        let account = above().find(named).unwrap_or(own);
        let counted = if account == own {
            within(&own.snapshot()) > 0
        } else {
            above_of(pool) > pool.refused_before()
        };
        if !counted {
            return None;
        }
        let account = account.clone();
        Some(Self { error: Error::Collection(Some(account)), words: words.to_owned() })
    }

    /// The response, from the one that was chosen for its error.
    pub(crate) fn response<R>(&self, chosen: Response<Bytes>) -> Response<PoolBody<R>> {
        let plain = chosen.extensions().get::<Plain>().is_some();
        let chosen = if plain { plainly(format!("{}\n", self.words)) } else { chosen };
        chosen.map(PoolBody::refusal)
    }
}

/// How often the accounts above that of a request's pool have refused something.
pub(crate) fn above_of(pool: &SharedPool) -> u64 {
    let parent = pool.account().and_then(Account::parent);
    std::iter::successors(parent, |account| account.parent()).map(Account::refused).sum()
}

/// How often an account, and those under it, have refused something.
fn within(account: &AccountSnapshot) -> u64 {
    let below = account.children.iter().chain(&account.closed);
    account.refused + below.map(within).sum::<u64>()
}

/// Whether a response with this status is that of a layer that caught a refusal's panic: a request
/// that went wrong, and was refused memory, on its own account or under it, whoever refused and on
/// whatever thread; or where it was polled.
pub(crate) fn was_caught(status: StatusCode, pool: &RequestPool, met: bool) -> bool {
    let was_refused = |own: &Account| own.refused_above() > 0 || within(&own.snapshot()) > 0;
    status == StatusCode::INTERNAL_SERVER_ERROR && (met || pool.account().is_some_and(was_refused))
}

/// Where in a text, and for how many bytes, an account of the tree of `root` refuses.
fn words(text: &str, root: &str) -> Option<(usize, usize)> {
    let begin = format!("account {root}");
    text.match_indices(&begin).find_map(|(from, _)| {
        let rest = &text[from..];
        let after = &rest[begin.len()..];
        // Of another tree, if its root's name only begins like this one's.
        if !after.starts_with('/') && !after.starts_with(AT_LIMIT) && !after.starts_with(COLLECTION)
        {
            return None;
        }
        let limit = rest.find(AT_LIMIT).and_then(|at| {
            let end = rest[at..].find(AT_LIMIT_ENDS)?;
            Some(at + end + AT_LIMIT_ENDS.len())
        });
        let collection = rest.find(COLLECTION).map(|at| at + COLLECTION.len());
        let length = match (limit, collection) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => one.or(other)?,
        };
        Some((from, length))
    })
}

/// Calls `work`; where that panics since memory was refused, it is a refusal. Other panics go on.
pub(crate) fn catch<T>(pool: &RequestPool, work: impl FnOnce() -> T) -> Result<T, Refused> {
    catch_unwind(AssertUnwindSafe(work)).or_else(|payload| match Refused::of(pool, &*payload) {
        Some(refused) => Err(refused),
        None => resume_unwind(payload),
    })
}

/// Marks the response that is made where the service chose none.
#[derive(Clone)]
struct Plain;

/// The response to a refusal, where the service chose none.
pub(crate) fn response(error: &Error) -> Response<Bytes> {
    plainly(format!("{error}\n"))
}

fn plainly(text: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.extensions_mut().insert(Plain);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_refusal_are_found_wherever_they_stand_and_no_others() {
        let account = Account::root("service");
        let child = account.child("request").with_limit(Some(6000));
        let pool = RequestPool::new(SharedPool::try_on(&child).expect("memory"));
        let like_one =
            "account service/request is at its limit of 6000 bytes (1 held, 1 more asked)";
        assert!(Refused::of(&pool, &like_one.to_owned()).is_none(), "nothing was refused yet");
        let error = pool.try_alloc_bytes(100_000).expect_err("too much");
        for text in [
            error.to_string(),
            format!("called `Result::unwrap()` on an `Err` value: {error:?}"),
            format!("JoinError::Panic(Id(7), {:?}, ...)", error.to_string()),
        ] {
            let refused = Refused::of(&pool, &text).expect("a refusal");
            assert_eq!(
                (&refused.words, refused.error.account()),
                (&error.to_string(), Some(&child))
            );
        }
        // An account above is named, and has refused nothing.
        let above =
            "account service is at its limit of 6000 bytes (1 held, 1 more asked)".to_owned();
        assert!(Refused::of(&pool, &above).is_none());
        account.set_limit(Some(1));
        assert!(account.try_reserve(100_000).is_err());
        assert!(Refused::of(&pool, &above).is_some());
        let whole = "account service/elsewhere refused a collection's growth: ...".to_owned();
        let refused = Refused::of(&pool, &whole).expect("a refusal");
        assert_eq!(refused.words, "account service/elsewhere refused a collection's growth");
        assert_eq!(refused.error.account(), Some(&child));
        for text in [
            "account services/request is at its limit of 1 bytes (1 held, 1 more asked)",
            "account other is at its limit of 1 bytes (1 held, 1 more asked)",
            "account service/request is at its limit of",
            "account service is wrong",
            "",
        ] {
            assert!(Refused::of(&pool, &text.to_owned()).is_none(), "{text}");
        }
        assert!(Refused::of(&pool, &7_u8).is_none());
    }
}
