/* Samba's talloc: a context for each request, with and without a pool of 4,096 bytes under it. */
#include <stdlib.h>
#include <stdint.h>
#include <sys/types.h>

#include <talloc.h>

#include "shared.h"

void talloc_request(const uint32_t *sizes, size_t count, size_t pool, uint64_t times) {
    for (uint64_t i = 0; i < times; i++) {
        void *context = pool ? talloc_pool(NULL, pool) : talloc_new(NULL);
        for (size_t k = 0; k < count; k++) {
            touch(talloc_size(context, sizes[k]), i);
        }
        talloc_free(context);
    }
}

void talloc_reset(const uint32_t *sizes, size_t count, size_t pool, uint64_t times) {
    void *context = talloc_pool(NULL, pool);
    for (uint64_t i = 0; i < times; i++) {
        for (size_t k = 0; k < count; k++) {
            touch(talloc_size(context, sizes[k]), i);
        }
        talloc_free_children(context);
    }
    talloc_free(context);
}
