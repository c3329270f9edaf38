/*
 * The first byte behind an object of 1 to 64 bytes is not the object's, in any pool, whichever way it
 * was allocated, for whoever looks:
 *
 *     CENOTE_DEBUG=canary exact canary     it is written, and that is found
 *     exact asan                           AddressSanitizer (in a build for it, -DWITH_ASAN)
 *     valgrind exact valgrind              memcheck (in a build for it, -DWITH_VALGRIND)
 */
#include <cenote/mp.h>
#include "check.h"

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif
#ifdef WITH_VALGRIND
#include <valgrind/memcheck.h>
#endif

#define LARGEST 64

static int reports;

static void count(void *data, const char *message)
{
    CHECK(data == &reports && strstr(message, "bad write") != NULL);
    reports++;
}

/* Whether the byte at `end` may be touched, and all of those before it may. */
static int ends_there(const char *checker, char *object, size_t size)
{
    (void)checker, (void)object, (void)size;
#ifdef WITH_ASAN
    if (strcmp(checker, "asan") == 0)
        return __asan_region_is_poisoned(object, size) == NULL &&
               __asan_address_is_poisoned(object + size);
#endif
#ifdef WITH_VALGRIND
    if (strcmp(checker, "valgrind") == 0) {
        CHECK(RUNNING_ON_VALGRIND);
        VALGRIND_DISABLE_ERROR_REPORTING;
        int inside = VALGRIND_CHECK_MEM_IS_ADDRESSABLE(object, size) == 0;
        int beyond = VALGRIND_CHECK_MEM_IS_ADDRESSABLE(object + size, 1) != 0;
        VALGRIND_ENABLE_ERROR_REPORTING;
        return inside && beyond;
    }
#endif
    fprintf(stderr, "built without %s\n", checker);
    exit(2);
}

typedef void *(*make_fn)(void);
typedef void *(*alloc_fn)(void *pool, size_t size);
typedef int (*end_fn)(void *pool, void *object);

static void *make_pool(void) { return cenote_pool_create(); }
static void *make_counted(void) { return cenote_counted_create(); }
static void *make_chunk(void) { return cenote_chunk_create(); }
static void *make_buddy(void) { return cenote_buddy_create(1 << 16); }

static int end_pool(void *pool, void *object) { (void)object; return cenote_pool_destroy(pool); }
static int end_counted(void *pool, void *object) { (void)object; return cenote_counted_destroy(pool); }
static int end_chunk(void *pool, void *object) { (void)object; return cenote_chunk_destroy(pool); }
static int end_buddy(void *buddy, void *object)
{
    int status = cenote_buddy_free(buddy, object);
    int end = cenote_buddy_destroy(buddy);
    return status != 0 ? status : end;
}

#define ALLOC(name, call) static void *name(void *pool, size_t size) { return call; }
#define OLD(kind) cenote_##kind##_alloc(pool, 10), 10
#define LONG(kind) cenote_##kind##_alloc(pool, 100), 100
ALLOC(pool_alloc, cenote_pool_alloc(pool, size))
ALLOC(pool_call, (cenote_pool_alloc)(pool, size))
ALLOC(pool_zalloc, cenote_pool_zalloc(pool, size))
ALLOC(pool_calloc, cenote_pool_calloc(pool, 1, size))
ALLOC(pool_aligned, cenote_pool_alloc_aligned(pool, size, 64))
ALLOC(pool_bytes, cenote_pool_alloc_bytes(pool, size))
ALLOC(pool_memdup, cenote_pool_memdup(pool, NULL, size))
ALLOC(pool_strndup, cenote_pool_strndup(pool, NULL, size - 1))
ALLOC(pool_realloc, cenote_pool_realloc(pool, NULL, 0, size))
ALLOC(pool_changed, cenote_pool_realloc(pool, OLD(pool), size))
ALLOC(pool_cut, cenote_pool_realloc(pool, LONG(pool), size))
ALLOC(counted_alloc, cenote_counted_alloc(pool, size))
ALLOC(counted_zalloc, cenote_counted_zalloc(pool, size))
ALLOC(counted_calloc, cenote_counted_calloc(pool, 1, size))
ALLOC(counted_aligned, cenote_counted_alloc_aligned(pool, size, 64))
ALLOC(counted_bytes, cenote_counted_alloc_bytes(pool, size))
ALLOC(counted_realloc, cenote_counted_realloc(pool, NULL, 0, size))
ALLOC(counted_changed, cenote_counted_realloc(pool, OLD(counted), size))
ALLOC(counted_cut, cenote_counted_realloc(pool, LONG(counted), size))
ALLOC(mp_aligned, mp_alloc(pool, size))
ALLOC(mp_bytes, mp_nalloc(pool, size))
ALLOC(mp_zeroed, mp_calloc(pool, size))
ALLOC(chunk_alloc, cenote_chunk_alloc(pool, size))
ALLOC(chunk_zalloc, cenote_chunk_zalloc(pool, size))
ALLOC(chunk_calloc, cenote_chunk_calloc(pool, 1, size))
ALLOC(chunk_aligned, cenote_chunk_alloc_aligned(pool, size, 64))
ALLOC(chunk_realloc, cenote_chunk_realloc(pool, NULL, 0, size))
ALLOC(chunk_changed, cenote_chunk_realloc(pool, OLD(chunk), size))
ALLOC(chunk_cut, cenote_chunk_realloc(pool, LONG(chunk), size))
ALLOC(buddy_alloc, cenote_buddy_alloc(pool, size))

/* One after another in a pool that has others before and behind. */
static void *cut_among_others(void *pool, size_t size)
{
    void *object = cenote_pool_alloc(pool, 100);
    CHECK(cenote_pool_alloc(pool, 100) != NULL);
    return cenote_pool_realloc(pool, object, 100, size);
}

static const struct {
    const char *name;
    make_fn make;
    alloc_fn alloc;
    end_fn end;
} ways[] = {
#define WAY(kind, alloc) {#alloc, make_##kind, alloc, end_##kind},
    WAY(pool, pool_alloc) WAY(pool, pool_call) WAY(pool, pool_zalloc) WAY(pool, pool_calloc)
    WAY(pool, pool_aligned) WAY(pool, pool_bytes) WAY(pool, pool_memdup) WAY(pool, pool_strndup)
    WAY(pool, pool_realloc) WAY(pool, pool_changed) WAY(pool, pool_cut) WAY(pool, cut_among_others)
    WAY(counted, counted_alloc) WAY(counted, counted_zalloc) WAY(counted, counted_calloc)
    WAY(counted, counted_aligned) WAY(counted, counted_bytes) WAY(counted, counted_realloc)
    WAY(counted, counted_changed) WAY(counted, counted_cut) WAY(counted, mp_aligned)
    WAY(counted, mp_bytes) WAY(counted, mp_zeroed)
    WAY(chunk, chunk_alloc) WAY(chunk, chunk_zalloc) WAY(chunk, chunk_calloc) WAY(chunk, chunk_aligned)
    WAY(chunk, chunk_realloc) WAY(chunk, chunk_changed) WAY(chunk, chunk_cut)
    WAY(buddy, buddy_alloc)
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const char *checker = argv[1];
    int missed = 0;
    cenote_set_misuse_policy(CENOTE_MISUSE_REPORT);
    cenote_on_misuse(count, &reports);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        for (size_t size = 1; size <= LARGEST; size++) {
            void *pool = ways[i].make();
            char *object = ways[i].alloc(pool, size);
            CHECK(object != NULL);
            memset(object, 1, size);
            int before = reports, found;
            if (strcmp(checker, "canary") == 0) {
                object[size] = 1;
                ways[i].end(pool, object);
                found = reports == before + 1 && cenote_last_status() == CENOTE_ERR_OVERRUN;
            } else {
                found = ends_there(checker, object, size);
                CHECK_STATUS(ways[i].end(pool, object), CENOTE_OK);
            }
            if (!found) {
                fprintf(stderr, "%s: byte %zu of %zu\n", ways[i].name, size, size);
                missed++;
            }
        }
    }
    if (missed != 0)
        fprintf(stderr, "%d not found\n", missed);
    return missed != 0;
}
