//! [`PoolBody`]: a response's body, and the pool of its request.

use crate::peaks::Ending;
use bytes::Bytes;
use cenote::SharedPool;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project_lite::pin_project! {
    /// A body that keeps its request's pool until it is dropped: when it has been sent, or when
    /// the client has gone. What is still waiting to be written then keeps the pool itself, if
    /// it is in the pool.
    #[derive(Debug)]
    pub struct PoolBody<B> {
        #[pin]
        kind: Kind<B>,
        // After the body, which may refer to what is in the pool.
        held: Option<Held>,
    }
}

/// What keeps a pool.
#[derive(Debug)]
enum Held {
    Pool { _pool: SharedPool },
    Request { _ending: Ending },
}

pin_project_lite::pin_project! {
    #[project = KindProjected]
    #[derive(Debug)]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Refusal { bytes: Bytes },
    }
}

impl<B> PoolBody<B> {
    /// A body that keeps `pool`.
    pub fn new(body: B, pool: SharedPool) -> Self {
        Self { kind: Kind::Inner { body }, held: Some(Held::Pool { _pool: pool }) }
    }

    /// A body with which a request ends.
    pub(crate) fn of_request(body: B, ending: Ending) -> Self {
        Self { kind: Kind::Inner { body }, held: Some(Held::Request { _ending: ending }) }
    }

    /// The body of a request that was refused.
    pub(crate) fn refusal(bytes: Bytes) -> Self {
        Self { kind: Kind::Refusal { bytes }, held: None }
    }
}

impl<B: Body<Data = Bytes>> Body for PoolBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjected::Inner { body } => body.poll_frame(context),
            KindProjected::Refusal { bytes } if bytes.is_empty() => Poll::Ready(None),
            KindProjected::Refusal { bytes } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Refusal { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Refusal { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
