/* The C library's obstacks, with their default chunk of 4,064 bytes. */
#include <stdlib.h>

#include <obstack.h>

#include "shared.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free free

void obstack_request(const uint32_t *sizes, size_t count, uint64_t times) {
    for (uint64_t i = 0; i < times; i++) {
        struct obstack stack;
        obstack_init(&stack);
        for (size_t k = 0; k < count; k++) {
            touch(obstack_alloc(&stack, sizes[k]), i);
        }
        obstack_free(&stack, NULL);
    }
}

void obstack_reset(const uint32_t *sizes, size_t count, uint64_t times) {
    struct obstack stack;
    obstack_init(&stack);
    void *bottom = obstack_alloc(&stack, 8);
    for (uint64_t i = 0; i < times; i++) {
        for (size_t k = 0; k < count; k++) {
            touch(obstack_alloc(&stack, sizes[k]), i);
        }
        obstack_free(&stack, bottom);
        bottom = obstack_alloc(&stack, 8);
    }
    obstack_free(&stack, NULL);
}
