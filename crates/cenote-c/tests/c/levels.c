/*
 * What CENOTE_DEBUG finds in C pools: a write beyond an object, and one to what is freed.
 *
 *     CENOTE_DEBUG=canary levels overrun POOL POLICY
 *     CENOTE_DEBUG=quarantine levels written POOL POLICY
 */
#include "check.h"

static int reports;

static void count(void *data, const char *message)
{
    CHECK(data == &reports && strncmp(message, "cenote: ", 8) == 0);
    CHECK(strstr(message, "bad write") != NULL);
    reports++;
}

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    int overrun = strcmp(argv[1], "overrun") == 0;
    if (strcmp(argv[3], "report") == 0) {
        cenote_set_misuse_policy(CENOTE_MISUSE_REPORT);
        cenote_on_misuse(count, &reports);
    }
    if (strcmp(argv[2], "pool") == 0) {
        cenote_pool_t *pool = cenote_pool_create();
        char *object = cenote_pool_alloc(pool, 32);
        memset(object, 1, 32);
        /* At these levels every object is a large one. */
        if (!overrun)
            CHECK_STATUS(cenote_pool_free(pool, object), CENOTE_OK);
        object[overrun ? 32 : 0] = 7;
        CHECK_STATUS(cenote_pool_destroy(pool), CENOTE_OK);
    } else if (strcmp(argv[2], "counted") == 0) {
        cenote_counted_t *pool = cenote_counted_create();
        char *object = cenote_counted_alloc(pool, 32);
        if (!overrun)
            CHECK_STATUS(cenote_counted_free(pool, object), CENOTE_OK);
        object[overrun ? 32 : 0] = 7;
        CHECK_STATUS(cenote_counted_destroy(pool), CENOTE_OK);
    } else {
        cenote_chunk_t *pool = cenote_chunk_create();
        char *object = cenote_chunk_alloc(pool, 32);
        if (!overrun)
            CHECK_STATUS(cenote_chunk_free(pool, object), CENOTE_OK);
        object[overrun ? 32 : 0] = 7;
        CHECK_STATUS(cenote_chunk_destroy(pool), CENOTE_OK);
    }
    CHECK(reports == 1);
    CHECK_STATUS(cenote_last_status(), overrun ? CENOTE_ERR_OVERRUN : CENOTE_ERR_WRITTEN);
    return 0;
}
