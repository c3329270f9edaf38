/*
 * Objects that change size: what is none is noticed before anything is read there, and what is one is
 * counted right whatever size and alignment it was made with.
 */
#define _DEFAULT_SOURCE
#include "check.h"
#include <sys/mman.h>

/* At a level of checking each object is memory of its own, and an address may be wrong otherwise. */
#define CHECK_WRONG(call, status)                                                                 \
    do {                                                                                          \
        CHECK((call) == NULL);                                                                    \
        CHECK(cenote_last_status() <= CENOTE_ERR_FOREIGN);                                        \
        if (getenv("CENOTE_DEBUG") == NULL)                                                       \
            CHECK_STATUS(cenote_last_status(), status);                                           \
    } while (0)

typedef void *(*realloc_fn)(void *pool, void *object, size_t old_size, size_t new_size);

static void *pool_realloc(void *pool, void *object, size_t old_size, size_t new_size)
{
    return cenote_pool_realloc(pool, object, old_size, new_size);
}

static void *counted_realloc(void *pool, void *object, size_t old_size, size_t new_size)
{
    return cenote_counted_realloc(pool, object, old_size, new_size);
}

static void *chunk_realloc(void *pool, void *object, size_t old_size, size_t new_size)
{
    return cenote_chunk_realloc(pool, object, old_size, new_size);
}

/* An address at which there is no memory. */
static void *gone(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    CHECK(munmap(page, 4096) == 0);
    return page;
}

/* What is wrong in any pool, at `object`, which has 64 bytes. */
static void wrong_in_any(void *pool, realloc_fn change, char *object)
{
    static const size_t sizes[] = {1, 64, 100, 5000, 100000};
    char on_stack[64] = {0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK_WRONG(change(pool, gone(), 64, sizes[i]), CENOTE_ERR_FOREIGN);
        CHECK_WRONG(change(pool, on_stack, 64, sizes[i]), CENOTE_ERR_FOREIGN);
        CHECK_WRONG(change(pool, object + 1, 63, sizes[i]), CENOTE_ERR_INTERIOR);
        CHECK_WRONG(change(pool, object, 200000, sizes[i]), CENOTE_ERR_LAYOUT);
        CHECK(is_filled(object, 7, 64));
    }
    CHECK_NONE(change(pool, gone(), 64, SIZE_MAX), CENOTE_ERR_SIZE);
}

static void in_pools(void)
{
    cenote_pool_t *pool = cenote_pool_create();
    char *object = cenote_pool_alloc(pool, 64);
    memset(object, 7, 64);
    size_t used = cenote_pool_used(pool), held = cenote_pool_held(pool);
    wrong_in_any(pool, pool_realloc, object);
    CHECK_SIZE(cenote_pool_used(pool), used);
    CHECK_SIZE(cenote_pool_held(pool), held);
    char *large = cenote_pool_alloc(pool, 100000);
    CHECK_WRONG(cenote_pool_realloc(pool, large + 64, 64, 128), CENOTE_ERR_INTERIOR);
    CHECK_STATUS(cenote_pool_free(pool, large), CENOTE_OK);
    CHECK_WRONG(cenote_pool_realloc(pool, large, 100000, 200000), CENOTE_ERR_FOREIGN);
    /* In the oldest of many blocks. */
    for (int i = 0; i < 1000; i++)
        CHECK(cenote_pool_alloc(pool, 1000) != NULL);
    object = cenote_pool_realloc(pool, object, 64, 5000);
    CHECK(object != NULL && is_filled(object, 7, 64));
    cenote_pool_reset(pool);
    CHECK(cenote_pool_realloc(pool, object, 64, 128) == NULL);
    CHECK(cenote_last_status() <= CENOTE_ERR_FOREIGN);
    cenote_pool_destroy(pool);
}

static void in_counted(void)
{
    cenote_counted_t *pool = cenote_counted_create();
    char *keep = cenote_counted_alloc(pool, 64), *object = cenote_counted_alloc(pool, 64);
    memset(object, 7, 64);
    wrong_in_any(pool, counted_realloc, object);
    CHECK_SIZE(cenote_counted_live(pool), 2);
    CHECK_STATUS(cenote_counted_free(pool, object), CENOTE_OK);
    CHECK_WRONG(cenote_counted_realloc(pool, object, 64, 64), CENOTE_ERR_INTERIOR);
    CHECK_WRONG(cenote_counted_realloc(pool, (char *)((uintptr_t)keep & ~(uintptr_t)4095), 8, 64),
               CENOTE_ERR_HEADER);
    char *large = cenote_counted_alloc(pool, 100000);
    CHECK_STATUS(cenote_counted_free(pool, large), CENOTE_OK);
    CHECK_WRONG(cenote_counted_realloc(pool, large, 100000, 10), CENOTE_ERR_FOREIGN);
    CHECK_SIZE(cenote_counted_live(pool), 1);
    CHECK_STATUS(cenote_counted_free(pool, keep), CENOTE_OK);
    CHECK_WRONG(cenote_counted_realloc(pool, keep, 64, 64), CENOTE_ERR_EMPTY);
    cenote_counted_destroy(pool);
}

static void in_chunks(void)
{
    cenote_chunk_t *pool = cenote_chunk_create();
    char *keep = cenote_chunk_alloc(pool, 64), *object = cenote_chunk_alloc(pool, 64);
    memset(object, 7, 64);
    wrong_in_any(pool, chunk_realloc, object);
    CHECK_WRONG(cenote_chunk_realloc(pool, object, GAP == 0 ? 65 : 129, 300), CENOTE_ERR_LAYOUT);
    CHECK_STATUS(cenote_chunk_free(pool, object), CENOTE_OK);
    CHECK_WRONG(cenote_chunk_realloc(pool, object, 64, 64), CENOTE_ERR_DOUBLE);
    /* No two have one place. */
    char *first = cenote_chunk_alloc(pool, 64), *second = cenote_chunk_alloc(pool, 64);
    CHECK(first != second && first != keep && second != keep);
    static const size_t sizes[] = {1500, 16000, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *large = cenote_chunk_alloc(pool, sizes[i]);
        CHECK_STATUS(cenote_chunk_free(pool, large), CENOTE_OK);
        CHECK(cenote_chunk_realloc(pool, large, sizes[i], 64) == NULL);
        CHECK(cenote_last_status() == CENOTE_ERR_DOUBLE || cenote_last_status() == CENOTE_ERR_FOREIGN);
    }
    cenote_chunk_destroy(pool);
}

/* What is large by its alignment, or just so by its size, is not lost when its size changes. */
static void counted_right(size_t threshold, size_t size, size_t align, size_t next)
{
    cenote_pool_options_t options = CENOTE_POOL_OPTIONS_INIT;
    options.large_threshold = threshold;
    cenote_pool_t *pool = cenote_pool_create_with(&options);
    CHECK(pool != NULL && cenote_pool_alloc(pool, 10) != NULL);
    int large = cenote_pool_free(pool, cenote_pool_alloc_aligned(pool, size, align)) == CENOTE_OK;
    for (int round = 1; round <= 5; round++) {
        char *object = cenote_pool_alloc_aligned(pool, size, align);
        CHECK(object != NULL && is_aligned(object, align));
        memset(object, round, size);
        object = cenote_pool_realloc(pool, object, size, next);
        CHECK(object != NULL && is_filled(object, round, size < next ? size : next));
        /* Such that it is large for sure. */
        object = cenote_pool_realloc(pool, object, next, 40000);
        CHECK(object != NULL && is_filled(object, round, size < next ? size : next));
        CHECK_STATUS(cenote_pool_free(pool, object), CENOTE_OK);
    }
    if (large && getenv("CENOTE_DEBUG") == NULL) {
        size_t used = cenote_pool_used(pool), held = cenote_pool_held(pool);
        for (int round = 1; round <= 200; round++) {
            char *object = cenote_pool_alloc_aligned(pool, size, align);
            /* Every other one becomes smaller before, if it may. */
            int cut = next < size && round % 2 == 0;
            if (cut)
                object = cenote_pool_realloc(pool, object, size, next);
            object = cenote_pool_realloc(pool, object, cut ? next : size, 40000);
            CHECK_STATUS(cenote_pool_free(pool, object), CENOTE_OK);
        }
        /* As long as the current block has room, it is there; a block or two may have been filled. */
        CHECK(cenote_pool_used(pool) <= used + 131072 && cenote_pool_held(pool) <= held + 131072);
    }
    cenote_pool_destroy(pool);
}

int main(void)
{
    cenote_set_misuse_policy(CENOTE_MISUSE_RETURN);
    in_pools();
    in_counted();
    in_chunks();
    static const size_t thresholds[] = {0, 64, 1000, 1001, 1007, 1008, 1009, 4095, 16384};
    for (size_t i = 0; i < sizeof thresholds / sizeof *thresholds; i++) {
        for (size_t size = 985; size <= 1010; size++)
            counted_right(thresholds[i], size, 16, 3000);
        counted_right(thresholds[i], 13000, 4096, 14000);
        counted_right(thresholds[i], 13000, 4096, 100);
        counted_right(thresholds[i], 20000, 16, 19000);
        counted_right(thresholds[i], 20000, 16, 100);
        counted_right(thresholds[i], 100, 8192, 300);
    }
    return 0;
}
