//! A child's blocks come from its parent's source, on its parent's account.
//! Refused: E0597
fn main() {
    let child = {
        let parent = cenote::Pool::new();
        parent.child()
    };
    child.alloc(1);
}
