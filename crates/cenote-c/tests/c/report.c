/* What is told about misuse stays as it is during the call, whatever is done and told in it. */
#include "check.h"

static cenote_pool_t *gone;
static int reports;

static void report(void *data, const char *message)
{
    char before[512];
    CHECK(data == &reports && strlen(message) < sizeof before);
    strcpy(before, message);
    reports++;
    /* A failure of another kind, and a misuse that is told while this one is. */
    CHECK_NONE(cenote_pool_alloc(NULL, 1), CENOTE_ERR_HANDLE);
    CHECK(strcmp(message, before) == 0);
    if (reports < 3) {
        CHECK_NONE(cenote_pool_alloc(gone, 1), CENOTE_ERR_HANDLE);
        CHECK(strcmp(message, before) == 0);
    }
}

int main(void)
{
    cenote_set_misuse_policy(CENOTE_MISUSE_REPORT);
    cenote_on_misuse(report, &reports);
    gone = cenote_pool_create();
    CHECK_STATUS(cenote_pool_destroy(gone), CENOTE_OK);
    cenote_chunk_t *pool = cenote_chunk_create();
    CHECK_STATUS(cenote_chunk_free(pool, &reports), CENOTE_ERR_FOREIGN);
    CHECK_SIZE(reports, 3);
    CHECK_STATUS(cenote_chunk_destroy(pool), CENOTE_OK);
    return 0;
}
