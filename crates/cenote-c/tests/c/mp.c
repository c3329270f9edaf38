/* The scenario of the small pools after nginx's: what comes back, and when. */
#include <cenote/mp.h>
#include "check.h"

enum { PAGE = 4096 };

/* The figures of the pool, by the functions of cenote.h. */
static size_t blocks_in_use(mp_pool_t *pool)
{
    static char json[100000];
    size_t used = 0;
    CHECK(cenote_snapshot_json(pool, json, sizeof json) < sizeof json);
    for (char *at = json; (at = strstr(at, "\"references\":")) != NULL; at++)
        used += strncmp(at, "\"references\":0,", 15) != 0;
    return used;
}

int main(void)
{
    void *objects[100];
    mp_pool_t *pool = mp_create_pool(PAGE);
    CHECK(pool != NULL);
    monitor_mp_poll(pool, "created");

    for (int i = 0; i < 30; i++) {
        CHECK((objects[i] = mp_malloc(pool, 512)) != NULL && is_aligned(objects[i], 32));
        memset(objects[i], i, 512);
    }
    monitor_mp_poll(pool, "512 bytes, 30 times");
    CHECK_SIZE(cenote_counted_live(pool), 30);
    CHECK_SIZE(blocks_in_use(pool), 5);
    for (int i = 0; i < 30; i++) {
        CHECK(is_filled(objects[i], i, 512));
        mp_free(pool, objects[i]);
    }
    monitor_mp_poll(pool, "all 30 freed");
    CHECK_SIZE(blocks_in_use(pool), 0);
    CHECK_SIZE(cenote_counted_live(pool), 0);

    for (int i = 0; i < 50; i++) {
        CHECK((objects[i] = mp_calloc(pool, 32)) != NULL);
        CHECK(is_aligned(objects[i], 32) && is_filled(objects[i], 0, 32));
    }
    monitor_mp_poll(pool, "zeroed 32 bytes, 50 times");
    CHECK_SIZE(blocks_in_use(pool), 1);
    for (int i = 50; i < 100; i++)
        CHECK((objects[i] = mp_alloc(pool, 3)) != NULL);
    monitor_mp_poll(pool, "3 bytes, 50 times");
    CHECK_SIZE(cenote_counted_live(pool), 100);

    void *large[10];
    for (int i = 0; i < 10; i++) {
        CHECK((large[i] = mp_alloc(pool, 5120)) != NULL && is_aligned(large[i], 32));
        memset(large[i], i, 5120);
    }
    monitor_mp_poll(pool, "5120 bytes, 10 times");
    CHECK_SIZE(cenote_counted_live(pool), 110);
    for (int i = 0; i < 10; i++)
        mp_free(pool, large[i]);
    monitor_mp_poll(pool, "the 10 freed");
    CHECK_SIZE(cenote_counted_live(pool), 100);

    mp_reset_pool(pool);
    monitor_mp_poll(pool, "reset");
    CHECK_SIZE(cenote_counted_live(pool), 0);
    CHECK_SIZE(blocks_in_use(pool), 0);
    for (int i = 0; i < 100; i++)
        CHECK((objects[i] = mp_alloc(pool, 256)) != NULL && is_aligned(objects[i], 32));
    monitor_mp_poll(pool, "256 bytes, 100 times");
    CHECK_SIZE(cenote_counted_live(pool), 100);
    mp_destroy_pool(pool);

    /* Sizes as given: less than a page, or no multiple, is a page. */
    static const struct { size_t asked, page; } sizes[] = {
        {0, 4096}, {1, 4096}, {4095, 4096}, {4096, 4096}, {5000, 4096}, {8192, 8192},
        {12288, 16384}, {1 << 20, 1 << 20}, {1 << 22, 1 << 20}, {SIZE_MAX, 4096},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK((pool = mp_create_pool(sizes[i].asked)) != NULL);
        CHECK(mp_nalloc(pool, 1) != NULL);
        CHECK_SIZE(cenote_counted_held(pool), sizes[i].page);
        char *one = mp_nalloc(pool, 3), *two = mp_nalloc(pool, 5);
        CHECK(two + 5 + GAP == one);
        CHECK(mp_alloc(pool, 0) == NULL && mp_malloc(pool, 0) == NULL);
        CHECK(mp_calloc(pool, 0) == NULL && mp_nalloc(pool, 0) == NULL);
        CHECK(mp_alloc(pool, SIZE_MAX) == NULL && mp_nalloc(pool, SIZE_MAX) == NULL);
        CHECK(mp_calloc(pool, (size_t)PTRDIFF_MAX) == NULL);
        mp_free(pool, NULL);
        monitor_mp_poll(pool, NULL);
        mp_destroy_pool(pool);
    }

    /* NULL does nothing. */
    mp_destroy_pool(NULL);
    mp_reset_pool(NULL);
    mp_free(NULL, NULL);
    monitor_mp_poll(NULL, "none");
    CHECK(mp_alloc(NULL, 1) == NULL && mp_malloc(NULL, 1) == NULL);
    CHECK(mp_nalloc(NULL, 1) == NULL && mp_calloc(NULL, 1) == NULL);
    return 0;
}
