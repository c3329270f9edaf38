//! The plain server, on the C library's malloc.

mod server;

fn main() {
    server::main();
}
