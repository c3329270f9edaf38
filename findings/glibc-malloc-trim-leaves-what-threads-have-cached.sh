#!/usr/bin/env bash
# glibc 2.36 (Debian 12's libc6 2.36-9+deb12u*), malloc_trim and the cache of each thread (tcache).
#
# A good guess: once all but a few objects have been freed, malloc_trim(0) gives the system all pages back
# that no object lies on.
# Seen: the last seven pieces of each size up to 1,032 bytes that a thread has freed count as in use. Where they
# lay between larger things that are free as well, each keeps a page: up to 448 of them, 1.8 MB, for every
# thread, until it ends. malloc_trim does not take them out of the cache, not even out of the calling
# thread's, and no call of the C library does. Without the cache (GLIBC_TUNABLES) the pages go.
# Printed is how many pages stay resident of 448 small pieces with 16 KiB behind each, after everything was
# freed and trimmed:
#   with the cache: 400 and more
#   without: less than 50
#
# Fails if that changes. Needs a C compiler and glibc 2.36.
set -euo pipefail
version=$(ldd --version | sed -n '1s/.* //p')
[ "$version" = 2.36 ] || { echo "this is about glibc 2.36, and here is $version"; exit 2; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/trim.c" <<'C'
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZES = 64, COUNT = 7, BEHIND = 16 << 10 };

static long resident(void) {
    long total, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &total, &pages) != 2) exit(3);
    fclose(file);
    return pages;
}

int main(void) {
    static void *small[SIZES * COUNT], *large[SIZES * COUNT];
    free(malloc(1));
    resident();
    long before = resident();
    for (int n = 0; n < SIZES * COUNT; n++) {
        small[n] = malloc(24 + 16 * (n % SIZES));
        large[n] = malloc(BEHIND);
        if (!small[n] || !large[n]) return 3;
        memset(large[n], 1, BEHIND);
    }
    for (int n = 0; n < SIZES * COUNT; n++) {
        free(small[n]);
        free(large[n]);
    }
    malloc_trim(0);
    long stay = resident() - before;
    puts(stay >= 400 ? "400 and more" : stay < 50 ? "less than 50" : "something between");
    return 0;
}
C
cc -O1 -fno-builtin -o "$dir/trim" "$dir/trim.c"
{
    echo "with the cache: $("$dir/trim")"
    echo "without: $(GLIBC_TUNABLES=glibc.malloc.tcache_count=0 "$dir/trim")"
} > "$dir/seen"
cat "$dir/seen"
diff "$dir/seen" - <<'EXPECTED' || { echo "changed"; exit 1; }
with the cache: 400 and more
without: less than 50
EXPECTED
