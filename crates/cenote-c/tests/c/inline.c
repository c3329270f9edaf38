/*
 * The short way of cenote_pool_alloc() in cenote/inline.h: linked with --wrap=cenote_pool_alloc, so that
 * calls of the library are counted.
 */
#include "check.h"

void *__real_cenote_pool_alloc(cenote_pool_t *pool, size_t size);
void *__wrap_cenote_pool_alloc(cenote_pool_t *pool, size_t size);

static int calls;

void *__wrap_cenote_pool_alloc(cenote_pool_t *pool, size_t size)
{
    calls++;
    return __real_cenote_pool_alloc(pool, size);
}

int main(void)
{
    cenote_set_misuse_policy(CENOTE_MISUSE_RETURN);
    cenote_pool_t *pool = cenote_pool_create();
    char *objects[100];
    for (size_t i = 0; i < 100; i++) {
        CHECK((objects[i] = cenote_pool_alloc(pool, i % 7 + 1)) != NULL);
        CHECK(is_aligned(objects[i], 16));
        memset(objects[i], (int)i, i % 7 + 1);
    }
    for (size_t i = 0; i < 100; i++)
        CHECK(is_filled(objects[i], (int)i, i % 7 + 1));
    /* The first, for which the pool took its block. */
    CHECK_SIZE(calls, 1);
    CHECK_SIZE(cenote_pool_used(pool), 1600);

    /* Sizes that are none of small objects, and such as no object can have. */
    CHECK(cenote_pool_alloc(pool, 0) != NULL);
    CHECK(cenote_pool_alloc(pool, 100000) != NULL);
    CHECK_NONE(cenote_pool_alloc(pool, SIZE_MAX), CENOTE_ERR_SIZE);
    CHECK_NONE(cenote_pool_alloc(pool, SIZE_MAX - 14), CENOTE_ERR_SIZE);
    CHECK_SIZE(calls, 5);

    /* Where something of 8 bytes came between, one goes by way of the library, and aligns it again. */
    CHECK(cenote_pool_cleanup_add(pool, free, NULL) != 0);
    for (int i = 0; i < 10; i++)
        CHECK(is_aligned(cenote_pool_alloc(pool, 24), 16));
    CHECK(calls <= 6);

    /* Objects never meet what is packed at the block's other end. */
    calls = 0;
    cenote_pool_t *full = cenote_pool_create();
    for (int i = 0; i < 40; i++) {
        char *text = cenote_pool_alloc_bytes(full, 61), *object = cenote_pool_alloc(full, 48);
        CHECK(text != NULL && object != NULL);
        memset(text, 1, 61), memset(object, 2, 48);
        CHECK(is_filled(text, 1, 61) && is_filled(object, 2, 48));
    }
    CHECK_SIZE(cenote_pool_destroy(full), CENOTE_OK);

    /* Bad handles: each is told, and nothing is touched. */
    calls = 0;
    cenote_chunk_t *chunk = cenote_chunk_create();
    CHECK_NONE(cenote_pool_alloc(NULL, 8), CENOTE_ERR_HANDLE);
    CHECK_NONE(cenote_pool_alloc((cenote_pool_t *)(void *)chunk, 8), CENOTE_ERR_HANDLE);
    CHECK_SIZE(cenote_pool_destroy(pool), CENOTE_OK);
    CHECK_NONE(cenote_pool_alloc(pool, 8), CENOTE_ERR_HANDLE);
    cenote_pool_t *again = cenote_pool_create();
    CHECK(again != pool);
    CHECK_NONE(cenote_pool_alloc(pool, 8), CENOTE_ERR_HANDLE);
    CHECK_SIZE(calls, 4);
    CHECK_SIZE(cenote_pool_destroy(again), CENOTE_OK);
    CHECK_SIZE(cenote_chunk_destroy(chunk), CENOTE_OK);

    /* By its name alone it is the library's function. */
    void *(*volatile function)(cenote_pool_t *, size_t) = &cenote_pool_alloc;
    CHECK_NONE(function(NULL, 8), CENOTE_ERR_HANDLE);
    CHECK_SIZE(calls, 5);
    return 0;
}
