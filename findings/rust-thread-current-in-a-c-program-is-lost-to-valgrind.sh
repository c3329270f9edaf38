#!/usr/bin/env bash
# Rust 1.95.0's standard library in a C program, under valgrind 3.19.0 (Debian 12).
#
# A good guess: `std::thread::current()` only looks, so a function of a Rust library that asks for it
# (to park, or for a waker that unparks) leaves nothing behind in a C program that calls it, least of all
# in one that ends by `return` from `main`.
# Seen: for a thread that Rust has not made, the first call allocates a handle of 48 bytes. On a thread
# that C made and joins it is gone with the thread. On the main thread it stays for good; and what is kept
# of it is an address inside, so that memcheck calls it "possibly lost", which is an error by its defaults
# (`--errors-for-leak-kinds=definite,possible`): a clean program exits with the error code. A mutex and a
# condition variable leave nothing.
# Printed is, for each way of waiting for nothing, what memcheck calls possibly lost, and its exit code:
#   current on main: 48 bytes possibly lost, exit 9
#   current on a joined thread: 0 bytes possibly lost, exit 0
#   condition variable on main: 0 bytes possibly lost, exit 0
#
# Fails if that changes. Needs rustc, a C compiler and valgrind.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat > lib.rs <<'RUST'
use std::sync::{Condvar, Mutex};
use std::time::Duration;

#[no_mangle]
pub extern "C" fn by_current() {
    std::thread::current().unpark();
    std::thread::park();
}

#[no_mangle]
pub extern "C" fn by_condvar() {
    let (lock, change) = (Mutex::new(()), Condvar::new());
    let _ = change.wait_timeout(lock.lock().unwrap(), Duration::from_millis(1)).unwrap();
}
RUST
cat > main.c <<'C'
#include <pthread.h>
#include <string.h>
void by_current(void);
void by_condvar(void);
static void *run(void *data) { (void)data; by_current(); return 0; }
int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "current") == 0)
        by_current();
    if (argc > 1 && strcmp(argv[1], "condvar") == 0)
        by_condvar();
    if (argc > 1 && strcmp(argv[1], "joined") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, 0, run, 0) || pthread_join(thread, 0))
            return 1;
    }
    return 0;
}
C
rustc --edition 2021 -O --crate-type staticlib lib.rs -o libways.a
cc main.c libways.a -lpthread -ldl -lm -o ways
way() {
    local code=0 lost
    valgrind --leak-check=full --error-exitcode=9 ./ways "$2" 2> said || code=$?
    lost=$(sed -n 's/.*possibly lost: \([0-9,]*\) bytes.*/\1/p' said)
    echo "$1: ${lost:-0} bytes possibly lost, exit $code"
}
{
    way "current on main" current
    way "current on a joined thread" joined
    way "condition variable on main" condvar
} > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
current on main: 48 bytes possibly lost, exit 9
current on a joined thread: 0 bytes possibly lost, exit 0
condition variable on main: 0 bytes possibly lost, exit 0
EXPECTED
