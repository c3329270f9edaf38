/* The edges of every call, as glibc has them. Compiled and run by ../programs.rs. */
#define _GNU_SOURCE
#include "cenote_malloc.h"
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void cfree(void *);
extern void *reallocf(void *, size_t);
extern void free_sized(void *, size_t);
extern void free_aligned_sized(void *, size_t, size_t);

/* The compiler knows nothing of these sizes. */
static volatile size_t most = SIZE_MAX;

#define IS_NONE(call) (errno = 0, (call) == NULL && errno == ENOMEM)

int main(void) {
    void *p, *q;
    cenote_malloc_stats_t stats;

    assert(IS_NONE(malloc(most)));
    assert(IS_NONE(malloc(most / 2)));
    assert(IS_NONE(calloc(most, 2)));
    assert(IS_NONE(calloc(most / 2 + 2, 2)));
    assert(IS_NONE(reallocarray(NULL, most / 4, 8)));
    assert(IS_NONE(pvalloc(most)));
    assert(IS_NONE(aligned_alloc(64, most - 10)));

    p = malloc(0);
    q = malloc(0);
    assert(p && q && p != q);
    free(p);
    free(q);
    free(NULL);
    p = calloc(0, 10);
    assert(p);
    p = realloc(p, 100);
    assert(p);
    memset(p, 7, 100);
    errno = 0;
    assert(realloc(p, most / 2) == NULL && errno == ENOMEM);
    assert(((char *)p)[99] == 7);
    assert(realloc(p, 0) == NULL);
    p = realloc(NULL, 10);
    assert(p);
    assert(reallocf(p, most / 2) == NULL);

    assert(posix_memalign(&p, 3, 8) == EINVAL);
    assert(posix_memalign(&p, 4, 8) == EINVAL);
    assert(posix_memalign(&p, 0, 8) == EINVAL);
    errno = 77;
    assert(posix_memalign(&p, 64, most / 2) == ENOMEM && errno == 77);
    for (size_t align = 8; align <= 1 << 23; align *= 2) {
        assert(posix_memalign(&p, align, 100) == 0 && (uintptr_t)p % align == 0);
        free_aligned_sized(p, align, 100);
    }
    p = memalign(3, 8);
    assert(p && (uintptr_t)p % 4 == 0);
    cfree(p);
    errno = 0;
    assert(memalign(most, 8) == NULL && errno == EINVAL);
    p = aligned_alloc(4096, 10);
    assert((uintptr_t)p % 4096 == 0);
    free_sized(p, 10);
    p = valloc(10);
    assert((uintptr_t)p % (uintptr_t)getpagesize() == 0);
    free(p);
    p = pvalloc(10);
    assert(malloc_usable_size(p) >= (size_t)getpagesize());
    free(p);
    assert(malloc_usable_size(NULL) == 0);

    /* free keeps errno, whatever it has to do. */
    for (size_t size = 1; size < 64 << 20; size *= 2) {
        p = malloc(size);
        memset(p, 1, size);
        errno = 77;
        free(p);
        assert(errno == 77);
    }

    p = malloc(5 << 20);
    struct mallinfo2 info = mallinfo2();
    assert(info.hblks >= 1 && info.hblkhd >= 5 << 20 && info.uordblks <= info.arena);
    assert(mallinfo().hblks >= 1);
    free(p);
    assert(mallopt(M_MMAP_THRESHOLD, 1000) == 1);
    malloc_trim(0);
    assert(malloc_info(1, stdout) == -1 && malloc_info(0, stdout) == 0);
    malloc_stats();

    p = cenote_malloc_realloc(cenote_malloc_zalloc(10), 1000);
    assert(cenote_malloc_usable_size(p) >= 1000);
    cenote_malloc_get_stats(&stats);
    assert(stats.live >= 1000 && stats.objects >= 1 && stats.held >= stats.live);
    cenote_malloc_free(p);
    assert(cenote_malloc_aligned(3, 10) == NULL);
    cenote_malloc_free(cenote_malloc_aligned(64, 10));
    cenote_malloc_free(cenote_malloc_alloc(10));
    cenote_malloc_trim();
    puts("edges: ok");
    return 0;
}
