//! Only a reference to a pool is an allocator.
//! Refused: E0277
fn main() {
    let mut list = allocator_api2::vec::Vec::new_in(cenote::Pool::new());
    list.push(1);
}
