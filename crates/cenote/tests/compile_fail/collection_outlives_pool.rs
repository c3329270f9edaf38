//! A collection's memory is its pool's.
//! Refused: E0597
fn main() {
    let list = {
        let pool = cenote::Pool::new();
        let mut list = allocator_api2::vec::Vec::new_in(&pool);
        list.push(1);
        list
    };
    println!("{}", list.len());
}
