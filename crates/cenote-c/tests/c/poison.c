/*
 * What AddressSanitizer sees inside of pools when the library is built with --cfg cenote_asan: each
 * case touches what it must not, and has to end in a report. Run by .ci/capi.
 */
#include "check.h"

static volatile char sink;

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    cenote_pool_t *pool = cenote_pool_create();
    cenote_counted_t *counted = cenote_counted_create();
    cenote_chunk_t *chunk = cenote_chunk_create();
    cenote_buddy_t *buddy = cenote_buddy_create(1 << 20);
    char *in_pool = cenote_pool_alloc(pool, 64), *in_chunk = cenote_chunk_alloc(chunk, 64);
    char *in_counted = cenote_counted_alloc(counted, 64), *in_buddy = cenote_buddy_alloc(buddy, 64);
    const char *wrong = argv[1];
    /* All of it is there to be used. */
    memset(in_pool, 1, 64), memset(in_counted, 1, 64), memset(in_chunk, 1, 64);
    memset(in_buddy, 1, 64);
    if (strcmp(wrong, "none") == 0)
        return cenote_pool_destroy(pool) | cenote_counted_destroy(counted) |
               cenote_chunk_destroy(chunk) | cenote_buddy_destroy(buddy);
    if (strcmp(wrong, "pool-after-reset") == 0) {
        cenote_pool_reset(pool);
        sink = in_pool[0];
    } else if (strcmp(wrong, "pool-after-destroy") == 0) {
        cenote_pool_destroy(pool);
        sink = in_pool[0];
    } else if (strcmp(wrong, "pool-beyond-the-newest") == 0) {
        in_pool[64] = 1;
    } else if (strcmp(wrong, "pool-before-a-neighbour") == 0) {
        CHECK(cenote_pool_alloc(pool, 64) == in_pool + 64 + GAP);
        in_pool[64] = 1;
    } else if (strcmp(wrong, "pool-large-after-free") == 0) {
        char *large = cenote_pool_alloc(pool, 1 << 20);
        CHECK_STATUS(cenote_pool_free(pool, large), CENOTE_OK);
        sink = large[0];
    } else if (strcmp(wrong, "counted-after-free") == 0) {
        CHECK_STATUS(cenote_counted_free(counted, in_counted), CENOTE_OK);
        in_counted[0] = 1;
    } else if (strcmp(wrong, "chunk-after-free") == 0) {
        CHECK_STATUS(cenote_chunk_free(chunk, in_chunk), CENOTE_OK);
        in_chunk[0] = 1;
    } else if (strcmp(wrong, "buddy-after-free") == 0) {
        CHECK_STATUS(cenote_buddy_free(buddy, in_buddy), CENOTE_OK);
        sink = in_buddy[2000];
    } else if (strcmp(wrong, "buddy-beyond-what-was-asked") == 0) {
        in_buddy[64] = 1;
    } else {
        fprintf(stderr, "no case %s\n", wrong);
        return 2;
    }
    return 0;
}
