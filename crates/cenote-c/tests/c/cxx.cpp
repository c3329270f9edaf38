// The headers in C++: they compile, link, and what an exception in a cleanup leads to.
#include <cenote.h>
#include <cenote/mp.h>

#include <cstdio>
#include <cstring>
#include <stdexcept>

static void leave(void *)
{
    throw std::runtime_error("out of a cleanup");
}

static void count(void *data)
{
    ++*static_cast<int *>(data);
}

int main(int argc, char **argv)
{
    cenote_pool_options_t options = CENOTE_POOL_OPTIONS_INIT;
    cenote_counted_options_t counted_options = CENOTE_COUNTED_OPTIONS_INIT;
    cenote_chunk_options_t chunk_options = CENOTE_CHUNK_OPTIONS_INIT;
    cenote_buddy_options_t buddy_options = CENOTE_BUDDY_OPTIONS_INIT;
    options.name = "from C++";
    cenote_pool_t *pool = cenote_pool_create_with(&options);
    cenote_counted_t *counted = cenote_counted_create_with(&counted_options);
    cenote_chunk_t *chunk = cenote_chunk_create_with(&chunk_options);
    cenote_buddy_t *buddy = cenote_buddy_create_with(1 << 16, &buddy_options);
    mp_pool_t *mp = mp_create_pool(4096);
    int ended = 0;
    if (pool == nullptr || counted == nullptr || chunk == nullptr || buddy == nullptr ||
        mp == nullptr || cenote_pool_cleanup_add(pool, count, &ended) == 0)
        return 1;
    if (argc > 1 && std::strcmp(argv[1], "throw") == 0) {
        cenote_pool_cleanup_add(pool, leave, nullptr);
        try {
            cenote_pool_destroy(pool);
        } catch (...) {
            std::puts("caught");    // must not be reached: nothing unwinds out of the library
        }
        return 0;
    }
    int statuses = cenote_pool_destroy(pool) | cenote_counted_destroy(counted) |
                   cenote_chunk_destroy(chunk) | cenote_buddy_destroy(buddy);
    mp_destroy_pool(mp);
    return statuses == CENOTE_OK && ended == 1 ? 0 : 1;
}
