/* The system has no more memory: calls say so, what there is stays, and it can be freed. */
#include "check.h"
#include <sys/resource.h>

enum { MANY = 1000, EACH = 8 << 20 };

int main(void)
{
    struct rlimit limit = {256 << 20, 256 << 20};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    cenote_pool_t *pool = cenote_pool_create();
    cenote_counted_t *counted = cenote_counted_create();
    cenote_chunk_t *chunk = cenote_chunk_create();
    static char *objects[3][MANY];
    for (int round = 0; round < 3; round++) {
        int had[3] = {0, 0, 0};
        for (int p = 0; p < 3; p++) {
            for (; had[p] < MANY; had[p]++) {
                char *object = p == 0   ? cenote_pool_alloc(pool, EACH)
                               : p == 1 ? cenote_counted_alloc(counted, EACH)
                                        : cenote_chunk_alloc(chunk, EACH);
                if ((objects[p][had[p]] = object) == NULL)
                    break;
                object[0] = (char)had[p];
            }
            CHECK(had[p] < MANY && (had[p] > 5 || p > 0));
            CHECK_STATUS(cenote_last_status(), CENOTE_ERR_MEMORY);
            CHECK(strstr(cenote_last_error(), "out of memory") != NULL);
            CHECK_NONE(cenote_buddy_create(64 << 20), CENOTE_ERR_MEMORY);
            CHECK_NONE(cenote_pool_calloc(pool, 2, EACH), CENOTE_ERR_MEMORY);
        }
        for (int p = 0; p < 3; p++)
            for (int i = 0; i < had[p]; i++) {
                CHECK(objects[p][i][0] == (char)i);
                CHECK_STATUS(p == 0   ? cenote_pool_free(pool, objects[p][i])
                             : p == 1 ? cenote_counted_free(counted, objects[p][i])
                                      : cenote_chunk_free(chunk, objects[p][i]),
                             CENOTE_OK);
            }
    }
    CHECK(cenote_pool_alloc(pool, EACH) != NULL);
    CHECK_STATUS(cenote_pool_destroy(pool), CENOTE_OK);
    CHECK_STATUS(cenote_counted_destroy(counted), CENOTE_OK);
    CHECK_STATUS(cenote_chunk_destroy(chunk), CENOTE_OK);
    return 0;
}
