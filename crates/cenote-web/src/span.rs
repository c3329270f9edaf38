//! The span of a request, in which its handler is polled: it carries the request's account.

#[cfg(feature = "view")]
pub(crate) use with::Span;
#[cfg(not(feature = "view"))]
pub(crate) use without::Span;

#[cfg(feature = "view")]
mod with {
    use cenote::Account;

    /// A span of level debug: not made, and its account's path not formatted, where nobody
    /// keeps such spans.
    #[derive(Clone, Debug)]
    pub(crate) struct Span(tracing::Span);

    impl Span {
        pub(crate) fn of(account: Option<&Account>) -> Self {
            Self(tracing::debug_span!(
                "request",
                account = account.map(Account::path),
                number = account.map(Account::number),
            ))
        }

        pub(crate) fn within<T>(&self, f: impl FnOnce() -> T) -> T {
            self.0.in_scope(f)
        }
    }
}

#[cfg(not(feature = "view"))]
mod without {
    /// Nothing, without the feature that logs.
    #[derive(Clone, Debug)]
    pub(crate) struct Span;

    impl Span {
        pub(crate) fn of(_: Option<&cenote::Account>) -> Self {
            Self
        }

        pub(crate) fn within<T>(&self, f: impl FnOnce() -> T) -> T {
            f()
        }
    }
}
