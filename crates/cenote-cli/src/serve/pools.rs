//! `/pools`, `/pools.json` and `/metrics`: the live view of `cenote-web`, answered like any other
//! request.

use hyper::Response;

use super::Shared;
use super::body::Body;
use super::connection::Peer;
use super::request::Head;

/// Answers a request for one of the view's paths; `None`: it is for a file.
pub(crate) async fn respond(shared: &Shared, head: &Head, peer: &Peer) -> Option<Response<Body>> {
    // Where the pools are not shown, a file may have that name.
    if !shared.pools_shown {
        return None;
    }
    let peer = Some(peer.address.ip());
    let answer = shared.view.answer(&head.method, &head.uri, &head.headers, peer)?;
    Some(answer.await.map(Body::words))
}
