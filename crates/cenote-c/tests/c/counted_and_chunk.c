/* cenote_counted_* and cenote_chunk_*: what the header says of them. */
#include "check.h"

static char order[64];

static void note(void *data)
{
    strcat(order, data);
}

static void a_block_comes_back_with_its_last_object(void)
{
    cenote_counted_t *pool = cenote_counted_create();
    CHECK(pool != NULL);
    enum { MANY = 1000 };
    char *objects[MANY];
    for (int i = 0; i < MANY; i++) {
        objects[i] = cenote_counted_alloc(pool, 100);
        CHECK(objects[i] != NULL && is_aligned(objects[i], 16));
        memset(objects[i], i, 100);
    }
    CHECK_SIZE(cenote_counted_live(pool), MANY);
    size_t most = cenote_counted_held(pool);
    for (int i = 0; i < MANY; i++) {
        CHECK(is_filled(objects[i], i, 100));
        CHECK_STATUS(cenote_counted_free(pool, objects[i]), CENOTE_OK);
    }
    CHECK_SIZE(cenote_counted_live(pool), 0);
    CHECK(cenote_counted_held(pool) < most / 4);
    CHECK(cenote_counted_trim(pool) > 0);
    CHECK_SIZE(cenote_counted_held(pool), 0);
    /* For ever in one block. */
    for (int i = 0; i < 20000; i++)
        CHECK_STATUS(cenote_counted_free(pool, cenote_counted_alloc_bytes(pool, 33)), CENOTE_OK);
    CHECK_SIZE(cenote_counted_held(pool), 4096);
    CHECK_STATUS(cenote_counted_destroy(pool), CENOTE_OK);
}

static void counted_objects_of_every_sort(void)
{
    cenote_counted_options_t options = CENOTE_COUNTED_OPTIONS_INIT;
    options.page = 1024;
    options.name = "stream";
    options.zero_on_release = 1;
    cenote_counted_t *pool = cenote_counted_create_with(&options);
    char *zeroed = cenote_counted_zalloc(pool, 500), *array = cenote_counted_calloc(pool, 30, 30);
    char *aligned = cenote_counted_alloc_aligned(pool, 10, 512);
    char *nothing = cenote_counted_alloc(pool, 0), *large = cenote_counted_alloc(pool, 100000);
    CHECK(is_filled(zeroed, 0, 500) && is_filled(array, 0, 900) && is_aligned(aligned, 512));
    CHECK(nothing != NULL && nothing != aligned && large != NULL);
    strcpy(aligned, "kept");
    aligned = cenote_counted_realloc(pool, aligned, 10, 20000);
    CHECK(strcmp(aligned, "kept") == 0);
    aligned = cenote_counted_realloc(pool, aligned, 20000, 5);
    CHECK(strcmp(aligned, "kept") == 0);
    CHECK_SIZE(cenote_counted_live(pool), 5);
    CHECK(cenote_counted_realloc(pool, NULL, 0, 5) != NULL);

    uint64_t first = cenote_counted_cleanup_add(pool, note, "a");
    cenote_counted_cleanup_add(pool, note, "b");
    CHECK_STATUS(cenote_counted_cleanup_run(pool, first), CENOTE_OK);
    CHECK_STATUS(cenote_counted_cleanup_cancel(pool, first), CENOTE_ERR_NOT_FOUND);
    CHECK_STATUS(cenote_counted_reset(pool), CENOTE_OK);
    CHECK(strcmp(order, "ab") == 0);
    CHECK_SIZE(cenote_counted_live(pool), 0);
    CHECK_STATUS(cenote_counted_destroy(pool), CENOTE_OK);
    options.page = 5000;
    CHECK_NONE(cenote_counted_create_with(&options), CENOTE_ERR_CONFIG);
}

static void chunks_come_and_go_in_any_order(void)
{
    cenote_chunk_t *pool = cenote_chunk_create();
    CHECK_STATUS(cenote_chunk_is_empty(pool), 1);
    enum { MANY = 2000 };
    static char *objects[MANY];
    static size_t sizes[MANY];
    unsigned random = 7;
    for (int step = 0; step < 20000; step++) {
        random = random * 1103515245 + 12345;
        int i = (int)(random >> 8) % MANY;
        if (objects[i] != NULL) {
            CHECK(is_filled(objects[i], i, sizes[i]));
            CHECK_STATUS(cenote_chunk_free(pool, objects[i]), CENOTE_OK);
            objects[i] = NULL;
        } else {
            sizes[i] = (random >> 20) % 1500;
            CHECK((objects[i] = cenote_chunk_alloc(pool, sizes[i])) != NULL);
            CHECK(is_aligned(objects[i], 16));
            memset(objects[i], i, sizes[i]);
        }
    }
    CHECK_STATUS(cenote_chunk_is_empty(pool), 0);
    for (int i = 0; i < MANY; i++)
        CHECK_STATUS(cenote_chunk_free(pool, objects[i]), CENOTE_OK);
    CHECK_STATUS(cenote_chunk_is_empty(pool), 1);
    CHECK_STATUS(cenote_chunk_settle(pool), CENOTE_OK);
    /* One cluster is kept back. */
    CHECK(cenote_chunk_held(pool) <= 65536 + 4096);
    size_t held = cenote_chunk_held(pool), trimmed = cenote_chunk_trim(pool);
    CHECK(trimmed > 0);
    CHECK(cenote_chunk_held(pool) == held - trimmed);
    CHECK_STATUS(cenote_chunk_destroy(pool), CENOTE_OK);
}

static void chunks_of_every_sort(void)
{
    cenote_chunk_options_t options = CENOTE_CHUNK_OPTIONS_INIT;
    options.name = "sessions";
    options.cluster_size = 8192;
    options.page_size = 512;
    options.min_chunk_size = 16;
    options.page_alignment = 64;
    cenote_chunk_t *pool = cenote_chunk_create_with(&options);
    char *zeroed = cenote_chunk_zalloc(pool, 500), *array = cenote_chunk_calloc(pool, 30, 30);
    char *aligned = cenote_chunk_alloc_aligned(pool, 10, 4096);
    CHECK(is_filled(zeroed, 0, 500) && is_filled(array, 0, 900) && is_aligned(aligned, 4096));
    strcpy(aligned, "kept");
    char *moved = cenote_chunk_realloc(pool, aligned, 10, 300);
    CHECK(strcmp(moved, "kept") == 0);
    CHECK(cenote_chunk_realloc(pool, NULL, 0, 300) != NULL);
    CHECK_NONE(cenote_chunk_realloc(pool, moved, 300, SIZE_MAX), CENOTE_ERR_SIZE);
    CHECK(strcmp(moved, "kept") == 0);

    order[0] = '\0';
    uint64_t first = cenote_chunk_cleanup_add(pool, note, "a");
    uint64_t second = cenote_chunk_cleanup_add(pool, note, "b");
    cenote_chunk_cleanup_add(pool, note, "c");
    CHECK_STATUS(cenote_chunk_cleanup_run(pool, first), CENOTE_OK);
    CHECK_STATUS(cenote_chunk_cleanup_cancel(pool, second), CENOTE_OK);
    CHECK_STATUS(cenote_chunk_reset(pool), CENOTE_OK);
    CHECK(strcmp(order, "ac") == 0);
    CHECK_STATUS(cenote_chunk_is_empty(pool), 1);
    CHECK_STATUS(cenote_chunk_destroy(pool), CENOTE_OK);
    options.min_chunk_size = 512;
    CHECK_NONE(cenote_chunk_create_with(&options), CENOTE_ERR_CONFIG);
    CHECK(strcmp(cenote_last_error(), "min_chunk_size is 512: it must be less than page_size") == 0);
}

int main(void)
{
    a_block_comes_back_with_its_last_object();
    counted_objects_of_every_sort();
    chunks_come_and_go_in_any_order();
    chunks_of_every_sort();
    return 0;
}
