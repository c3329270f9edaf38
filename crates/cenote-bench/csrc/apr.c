/* APR pools as httpd uses them: one allocator and one root pool for a worker, a child pool for a
 * request. Nothing is locked. */
#include <stdlib.h>

#include <apr_general.h>
#include <apr_pools.h>

#include "shared.h"

static apr_pool_t *root(void) {
    static apr_pool_t *made;
    if (made == NULL) {
        apr_allocator_t *allocator;
        if (apr_initialize() != APR_SUCCESS || apr_allocator_create(&allocator) != APR_SUCCESS
            || apr_pool_create_ex(&made, NULL, NULL, allocator) != APR_SUCCESS) {
            abort();
        }
    }
    return made;
}

void apr_request(const uint32_t *sizes, size_t count, uint64_t times) {
    apr_pool_t *parent = root();
    for (uint64_t i = 0; i < times; i++) {
        apr_pool_t *pool;
        if (apr_pool_create(&pool, parent) != APR_SUCCESS) {
            abort();
        }
        for (size_t k = 0; k < count; k++) {
            touch(apr_palloc(pool, sizes[k]), i);
        }
        apr_pool_destroy(pool);
    }
}

void apr_reset(const uint32_t *sizes, size_t count, uint64_t times) {
    apr_pool_t *pool;
    if (apr_pool_create(&pool, root()) != APR_SUCCESS) {
        abort();
    }
    for (uint64_t i = 0; i < times; i++) {
        for (size_t k = 0; k < count; k++) {
            touch(apr_palloc(pool, sizes[k]), i);
        }
        apr_pool_clear(pool);
    }
    apr_pool_destroy(pool);
}
