//! A parent is not reset under its child.
//! Refused: E0502
fn main() {
    let mut parent = cenote::Pool::new();
    let child = parent.child();
    parent.reset();
    child.alloc(1);
}
