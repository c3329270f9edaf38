/* cenote through its C ABI, in the loops that nginx's pools run in; and the C library's malloc where
 * nginx has nothing. */
#include <stdlib.h>

#include <cenote.h>

#include "shared.h"

void capi_request(const uint32_t *sizes, size_t count, uint64_t times) {
    for (uint64_t i = 0; i < times; i++) {
        cenote_pool_t *pool = cenote_pool_create();
        for (size_t k = 0; k < count; k++) {
            touch(cenote_pool_alloc(pool, sizes[k]), i);
        }
        cenote_pool_destroy(pool);
    }
}

void capi_reset(const uint32_t *sizes, size_t count, uint64_t times) {
    cenote_pool_t *pool = cenote_pool_create();
    for (uint64_t i = 0; i < times; i++) {
        for (size_t k = 0; k < count; k++) {
            touch(cenote_pool_alloc(pool, sizes[k]), i);
        }
        cenote_pool_reset(pool);
    }
    cenote_pool_destroy(pool);
}

/* The same by calls alone, without the header's short way. */
void capi_request_calls(const uint32_t *sizes, size_t count, uint64_t times) {
    for (uint64_t i = 0; i < times; i++) {
        cenote_pool_t *pool = cenote_pool_create();
        for (size_t k = 0; k < count; k++) {
            touch((cenote_pool_alloc)(pool, sizes[k]), i);
        }
        cenote_pool_destroy(pool);
    }
}

void capi_reset_calls(const uint32_t *sizes, size_t count, uint64_t times) {
    cenote_pool_t *pool = cenote_pool_create();
    for (uint64_t i = 0; i < times; i++) {
        for (size_t k = 0; k < count; k++) {
            touch((cenote_pool_alloc)(pool, sizes[k]), i);
        }
        cenote_pool_reset(pool);
    }
    cenote_pool_destroy(pool);
}

void *capi_large_create(void **objects, size_t live, size_t size) {
    cenote_pool_t *pool = cenote_pool_create();
    for (size_t i = 0; i < live; i++) {
        objects[i] = cenote_pool_alloc(pool, size);
        touch(objects[i], 0); /* its page is not new when time is taken */
    }
    return pool;
}

void capi_large_destroy(void *pool) { cenote_pool_destroy(pool); }

void capi_large(void *pool, void **objects, const uint32_t *order, size_t size, uint64_t times) {
    for (uint64_t i = 0; i < times; i++) {
        uint32_t at = order[i];
        if (cenote_pool_free(pool, objects[at]) != CENOTE_OK) {
            abort();
        }
        objects[at] = cenote_pool_alloc(pool, size);
        touch(objects[at], i);
    }
}

void *capi_chunk_create(void) { return cenote_chunk_create(); }
void capi_chunk_destroy(void *pool) { cenote_chunk_destroy(pool); }

/* Objects of sizes[i & mask], freed and allocated again in the order that `order` gives. A pool of
 * NULL means malloc. Objects that are NULL are not there yet. */
void capi_chunk(void *pool, void **objects, const uint32_t *order, const uint32_t *sizes, size_t mask,
    uint64_t times)
{
    for (uint64_t i = 0; i < times; i++) {
        uint32_t at = order[i & mask];
        if (pool) {
            if (objects[at] && cenote_chunk_free(pool, objects[at]) != CENOTE_OK) {
                abort();
            }
            objects[at] = cenote_chunk_alloc(pool, sizes[i & mask]);
        } else {
            free(objects[at]);
            objects[at] = malloc(sizes[i & mask]);
        }
        touch(objects[at], i);
    }
}
