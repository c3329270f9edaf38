// The C++ library's memory resources, called through their base class, as containers call them.
#include <memory_resource>

#include "shared.h"

namespace {
// So that the compiler does not see which resource it is.
std::pmr::memory_resource *seen(std::pmr::memory_resource *resource) {
    __asm__ volatile("" : "+r"(resource));
    return resource;
}
}

extern "C" {

void pmr_request(const uint32_t *sizes, size_t count, uint64_t times) {
    for (uint64_t i = 0; i < times; i++) {
        std::pmr::monotonic_buffer_resource pool(4096);
        std::pmr::memory_resource *resource = seen(&pool);
        for (size_t k = 0; k < count; k++) {
            touch(resource->allocate(sizes[k], 8), i);
        }
    }
}

void pmr_reset(const uint32_t *sizes, size_t count, uint64_t times) {
    alignas(16) static thread_local char buffer[4096];
    std::pmr::monotonic_buffer_resource pool(buffer, sizeof buffer);
    std::pmr::memory_resource *resource = seen(&pool);
    for (uint64_t i = 0; i < times; i++) {
        for (size_t k = 0; k < count; k++) {
            touch(resource->allocate(sizes[k], 8), i);
        }
        pool.release();
    }
}

void *pmr_pool_new() { return new std::pmr::unsynchronized_pool_resource(); }
void pmr_pool_delete(void *pool) { delete static_cast<std::pmr::unsynchronized_pool_resource *>(pool); }
void *pmr_pool_get(void *pool, size_t size) {
    return static_cast<std::pmr::memory_resource *>(pool)->allocate(size, 8);
}
void pmr_pool_put(void *pool, void *start, size_t size) {
    static_cast<std::pmr::memory_resource *>(pool)->deallocate(start, size, 8);
}
}
