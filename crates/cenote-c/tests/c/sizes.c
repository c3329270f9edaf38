/* Sizes and alignments that can be, and such that cannot, in every call that takes one. */
#include "check.h"

static const size_t possible[] = {
    0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 255, 256, 257,
    511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 4000, 4032, 4047, 4048, 4049, 4063, 4064, 4065,
    4095, 4096, 4097, 8191, 8192, 8193, 16351, 16352, 16353, 16383, 16384, 16385, 32767, 32768, 32769,
    65535, 65536, 65537, 131071, 131072, 131073, 1 << 20, (1 << 20) + 1,
};

static const size_t impossible[] = {
    (size_t)PTRDIFF_MAX - 65536, (size_t)PTRDIFF_MAX - 4096, (size_t)PTRDIFF_MAX - 4095,
    (size_t)PTRDIFF_MAX - 64, (size_t)PTRDIFF_MAX - 17, (size_t)PTRDIFF_MAX - 16,
    (size_t)PTRDIFF_MAX - 15, (size_t)PTRDIFF_MAX - 14, (size_t)PTRDIFF_MAX - 8,
    (size_t)PTRDIFF_MAX - 7, (size_t)PTRDIFF_MAX - 1, (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1,
    (size_t)PTRDIFF_MAX + 2, SIZE_MAX - 65536, SIZE_MAX - 4096, SIZE_MAX - 64, SIZE_MAX - 32,
    SIZE_MAX - 17, SIZE_MAX - 16, SIZE_MAX - 15, SIZE_MAX - 14, SIZE_MAX - 8, SIZE_MAX - 7,
    SIZE_MAX - 1, SIZE_MAX,
};

static const size_t no_alignment[] = {
    0, 3, 5, 6, 7, 9, 12, 24, 100, 4095, 4097, (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1,
    SIZE_MAX - 1, SIZE_MAX,
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef void *(*alloc_fn)(void *pool, size_t size, size_t align);
typedef int (*free_fn)(void *pool, void *object);

static struct {
    unsigned char *start;
    size_t size;
    int tag;
} live[4096];
static size_t lives;

static void keep(void *object, size_t size)
{
    CHECK(lives < COUNT(live));
    live[lives].start = object;
    live[lives].size = size;
    live[lives].tag = (int)(lives * 37 % 251) + 1;
    memset(object, live[lives].tag, size);
    lives++;
}

static int plain(int status)
{
    return status == CENOTE_ERR_SIZE || status == CENOTE_ERR_MEMORY;
}

/* Every size there is through one way to allocate, and whether all objects are apart. */
static void try_all(const char *what, void *pool, alloc_fn alloc, size_t promised, int aligned,
                    free_fn give)
{
    lives = 0;
    for (size_t i = 0; i < COUNT(possible); i++) {
        void *object = alloc(pool, possible[i], 16);
        if (object == NULL) {
            fprintf(stderr, "%s(%zu)\n", what, possible[i]);
            CHECK(object != NULL);
        }
        CHECK(is_aligned(object, promised));
        keep(object, possible[i]);
    }
    for (size_t i = 0; i < COUNT(impossible); i++) {
        if (alloc(pool, impossible[i], 16) != NULL || !plain(cenote_last_status())) {
            fprintf(stderr, "%s(%zu)\n", what, impossible[i]);
            CHECK(0);
        }
    }
    for (size_t align = 1; aligned && align <= 2 << 20; align *= 2) {
        for (size_t size = 0; size <= 5000; size += 999) {
            void *object = alloc(pool, size, align);
            CHECK(object != NULL && is_aligned(object, align));
            keep(object, size);
        }
        for (size_t i = 0; i < COUNT(impossible); i++)
            CHECK(alloc(pool, impossible[i], align) == NULL && plain(cenote_last_status()));
    }
    for (size_t i = 0; aligned && i < COUNT(no_alignment); i++)
        for (size_t size = 0; size <= 100; size += 50)
            CHECK_NONE(alloc(pool, size, no_alignment[i]), CENOTE_ERR_SIZE);
    for (size_t i = 0; i < lives; i++) {
        CHECK(is_filled(live[i].start, live[i].tag, live[i].size));
        if (give != NULL)
            CHECK_STATUS(give(pool, live[i].start), CENOTE_OK);
    }
}

#define ALLOC(name, call)                                                                         \
    static void *name(void *pool, size_t size, size_t align)                                      \
    {                                                                                             \
        (void)align;                                                                              \
        return call;                                                                              \
    }

ALLOC(pool_alloc, cenote_pool_alloc(pool, size))
ALLOC(pool_zalloc, cenote_pool_zalloc(pool, size))
ALLOC(pool_calloc, cenote_pool_calloc(pool, 1, size))
ALLOC(pool_aligned, cenote_pool_alloc_aligned(pool, size, align))
ALLOC(pool_bytes, cenote_pool_alloc_bytes(pool, size))
ALLOC(pool_memdup, cenote_pool_memdup(pool, NULL, size))
ALLOC(pool_strndup, cenote_pool_strndup(pool, NULL, size))
ALLOC(pool_realloc, cenote_pool_realloc(pool, NULL, 0, size))
ALLOC(pool_grown, cenote_pool_realloc(pool, cenote_pool_alloc(pool, 10), 10, size))
ALLOC(counted_alloc, cenote_counted_alloc(pool, size))
ALLOC(counted_zalloc, cenote_counted_zalloc(pool, size))
ALLOC(counted_calloc, cenote_counted_calloc(pool, size, 1))
ALLOC(counted_aligned, cenote_counted_alloc_aligned(pool, size, align))
ALLOC(counted_bytes, cenote_counted_alloc_bytes(pool, size))
ALLOC(counted_realloc, cenote_counted_realloc(pool, NULL, 0, size))
ALLOC(counted_grown, cenote_counted_realloc(pool, cenote_counted_alloc(pool, 10), 10, size))
ALLOC(chunk_alloc, cenote_chunk_alloc(pool, size))
ALLOC(chunk_zalloc, cenote_chunk_zalloc(pool, size))
ALLOC(chunk_calloc, cenote_chunk_calloc(pool, size, 1))
ALLOC(chunk_aligned, cenote_chunk_alloc_aligned(pool, size, align))
ALLOC(chunk_realloc, cenote_chunk_realloc(pool, NULL, 0, size))
ALLOC(chunk_grown, cenote_chunk_realloc(pool, cenote_chunk_alloc(pool, 10), 10, size))
ALLOC(buddy_alloc, cenote_buddy_alloc(pool, size))

static int counted_free(void *pool, void *object) { return cenote_counted_free(pool, object); }
static int chunk_free(void *pool, void *object) { return cenote_chunk_free(pool, object); }
static int buddy_free(void *buddy, void *block) { return cenote_buddy_free(buddy, block); }

#define TRY(pool, way, promised, aligned, give) try_all(#way, pool, way, promised, aligned, give)

int main(void)
{
    cenote_pool_t *pool = cenote_pool_create();
    TRY(pool, pool_alloc, 16, 0, NULL);
    TRY(pool, pool_zalloc, 16, 0, NULL);
    TRY(pool, pool_calloc, 16, 0, NULL);
    TRY(pool, pool_aligned, 16, 1, NULL);
    TRY(pool, pool_bytes, 1, 0, NULL);
    TRY(pool, pool_memdup, 16, 0, NULL);
    TRY(pool, pool_strndup, 1, 0, NULL);
    TRY(pool, pool_realloc, 16, 0, NULL);
    TRY(pool, pool_grown, 16, 0, NULL);
    CHECK_STATUS(cenote_pool_destroy(pool), CENOTE_OK);

    cenote_counted_t *counted = cenote_counted_create();
    TRY(counted, counted_alloc, 16, 0, counted_free);
    TRY(counted, counted_zalloc, 16, 0, counted_free);
    TRY(counted, counted_calloc, 16, 0, counted_free);
    TRY(counted, counted_aligned, 16, 1, counted_free);
    TRY(counted, counted_bytes, 1, 0, counted_free);
    TRY(counted, counted_realloc, 16, 0, counted_free);
    TRY(counted, counted_grown, 16, 0, counted_free);
    /* Those that were to become impossibly large are still there. */
    CHECK_SIZE(cenote_counted_live(counted), COUNT(impossible));
    CHECK_STATUS(cenote_counted_destroy(counted), CENOTE_OK);

    cenote_chunk_t *chunk = cenote_chunk_create();
    TRY(chunk, chunk_alloc, 16, 0, chunk_free);
    TRY(chunk, chunk_zalloc, 16, 0, chunk_free);
    TRY(chunk, chunk_calloc, 16, 0, chunk_free);
    TRY(chunk, chunk_aligned, 16, 1, chunk_free);
    TRY(chunk, chunk_realloc, 16, 0, chunk_free);
    CHECK_STATUS(cenote_chunk_is_empty(chunk), 1);
    TRY(chunk, chunk_grown, 16, 0, chunk_free);
    CHECK_STATUS(cenote_chunk_is_empty(chunk), 0);
    CHECK_NONE(cenote_chunk_alloc(chunk, 0xffffffffu), CENOTE_ERR_SIZE);
    CHECK_STATUS(cenote_chunk_destroy(chunk), CENOTE_OK);

    cenote_buddy_t *buddy = cenote_buddy_create(16 << 20);
    TRY(buddy, buddy_alloc, 4096, 0, buddy_free);
    /* What is in quarantine is not free before it is needed: then all of it is. */
    CHECK_STATUS(cenote_buddy_free(buddy, cenote_buddy_alloc(buddy, 16 << 20)), CENOTE_OK);
    CHECK_SIZE(cenote_buddy_bytes(buddy), 16 << 20);
    CHECK_STATUS(cenote_buddy_destroy(buddy), CENOTE_OK);

    /* Products that wrap to something small. */
    static const size_t factors[][2] = {
        {SIZE_MAX, 2}, {2, SIZE_MAX}, {SIZE_MAX / 2 + 1, 2}, {SIZE_MAX / 2 + 2, 2},
        {SIZE_MAX / 16 + 1, 16}, {(size_t)1 << 32, (size_t)1 << 32}, {SIZE_MAX, SIZE_MAX},
    };
    pool = cenote_pool_create();
    counted = cenote_counted_create();
    chunk = cenote_chunk_create();
    for (size_t i = 0; i < COUNT(factors); i++) {
        CHECK_NONE(cenote_pool_calloc(pool, factors[i][0], factors[i][1]), CENOTE_ERR_SIZE);
        CHECK_NONE(cenote_counted_calloc(counted, factors[i][0], factors[i][1]), CENOTE_ERR_SIZE);
        CHECK_NONE(cenote_chunk_calloc(chunk, factors[i][0], factors[i][1]), CENOTE_ERR_SIZE);
    }
    CHECK(cenote_pool_calloc(pool, 0, SIZE_MAX) != NULL);
    CHECK(cenote_pool_calloc(pool, SIZE_MAX, 0) != NULL);
    cenote_pool_destroy(pool);
    cenote_counted_destroy(counted);
    cenote_chunk_destroy(chunk);
    return 0;
}
