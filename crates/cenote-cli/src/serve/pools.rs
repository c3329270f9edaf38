//! `/pools`, `/pools.json` and `/metrics`: the live view of `cenote-web`, answered like any other
//! request.

use hyper::Response;

use super::body::Body;
use super::request::Request;

/// Answers a request for one of the view's paths; `None`: it is for a file.
pub(crate) async fn respond(request: &Request<'_>) -> Option<Response<Body>> {
    let shared = &request.worker.shared;
    // Where the pools are not shown, a file may have that name.
    if !shared.pools_shown {
        return None;
    }
    let head = request.head;
    let peer = Some(request.label.peer.address.ip());
    let answer = shared.view.answer(&head.method, &head.uri, &head.headers, peer)?;
    Some(answer.await.map(Body::words))
}
