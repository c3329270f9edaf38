#include "check.h"

const config_t valid[] = {
    {8192, 128, 512, 16},       /* njs's own */
    {65536, 128, 4096, 512},    /* three sizes of chunks, and pages */
    {12288, 128, 4096, 512},    /* a cluster that is no power of two */
    {4096, 4096, 4096, 128},    /* one page to a cluster; the largest alignment */
    {64, 16, 64, 2},            /* the smallest page there can be */
    {8192, 1, 512, 16},         /* an alignment that is raised */
    {8192, 8, 512, 16},
    {8192, 512, 512, 16},       /* one as large as the page */
    {256 * 512, 128, 512, 16},  /* the most pages */
    {8192, 128, 512, 512},      /* a page for each object */
    {256 * 64, 64, 64, 64},
    {3 * 1024, 64, 1024, 512},  /* one size of chunks, and pages */
};
const size_t valid_count = COUNT(valid);

const config_t refused[] = {
    {8192, 128, 500, 16},        {8192, 100, 512, 16},       {8192, 128, 512, 17},
    {8192, 128, 0, 16},          {8192, 128, 512, 0},        {0, 128, 512, 16},
    {8192, 1024, 512, 16},       {8192, 128, 512, 1024},     {8192, 128, 1024, 16},
    {8192, 16, 32, 16},          {256, 128, 512, 16},        {511, 128, 512, 16},
    {8193, 128, 512, 16},        {8192 + 256, 128, 512, 16}, {257 * 512, 128, 512, 16},
    {SIZE_MAX, 128, 512, 16},    {8192, SIZE_MAX, 512, 16},  {8192, 128, SIZE_MAX, 16},
    {8192, 128, 512, SIZE_MAX},  {0, 0, 0, 0},               {8192, 128, 512, 8},
    {SIZE_MAX - 511, 128, 512, 16},
    {SIZE_MAX / 2 + 1, 128, SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 1},
    {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX},
};
const size_t refused_count = COUNT(refused);

uint64_t bad_frees_before;

bool under_valgrind(void)
{
    return getenv("UNDER_VALGRIND") != NULL;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Whether levels of checking are on. Then objects are allocations of their own, not chunks. */
bool watched(void)
{
    const char *levels = getenv("CENOTE_DEBUG");
    return levels != NULL && *levels != '\0';
}

size_t alignment_of(const config_t *c, size_t alignment, size_t size)
{
    size_t page_alignment = most(c->alignment, 16);
    if (watched()) {
        return alignment;
    }
    size_t bytes = most(alignment, size);
    if (alignment > page_alignment || bytes > c->page) {
        return most(alignment, 16);
    }
    size_t chunk = c->chunk;
    while (chunk < bytes) {
        chunk *= 2;
    }
    return most(alignment, least(chunk, page_alignment));
}

/* The byte at a place of an object. */
static unsigned char byte_of(uint32_t tag, size_t place)
{
    return (unsigned char) (tag * 167 + place * 31 + (tag >> 8));
}

void fill(const object_t *object)
{
    for (size_t i = 0; i < object->size; i++) {
        object->at[i] = byte_of(object->tag, i);
    }
}

void check_filled(const object_t *object)
{
    for (size_t i = 0; i < object->size; i++) {
        CHECK_EQUAL(object->at[i], byte_of(object->tag, i));
    }
}

void check_zero(const void *at, size_t size)
{
    const unsigned char *byte = at;
    for (size_t i = 0; i < size; i++) {
        CHECK_EQUAL(byte[i], 0);
    }
}

object_t make(njs_mp_t *mp, const config_t *c, size_t alignment, size_t size)
{
    static uint32_t tag;
    object_t object = {NULL, size, ++tag};
    bool zeroed = tag % 3 == 0;
    if (alignment == 1) {
        object.at = zeroed ? njs_mp_zalloc(mp, size) : njs_mp_alloc(mp, size);
    } else {
        object.at = zeroed ? njs_mp_zalign(mp, alignment, size) : njs_mp_align(mp, alignment, size);
    }
    CHECK(object.at != NULL);
    CHECK_EQUAL((uintptr_t) object.at % alignment_of(c, alignment, size), 0);
    if (zeroed) {
        check_zero(object.at, size);
    }
    CHECK(njs_mp_is_empty(mp) == 0);
    fill(&object);
    return object;
}

void drop(njs_mp_t *mp, object_t *object)
{
    check_filled(object);
    njs_mp_free(mp, object->at);
    object->at = NULL;
}

uint32_t chance(uint32_t below)
{
    static uint64_t state = 0x9e3779b97f4a7c15;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t) ((state >> 32) % below);
}

void drop_all(njs_mp_t *mp, object_t *objects, size_t count, order_t order)
{
    for (size_t left = count; left > 0; left--) {
        size_t which = order == IN_ORDER ? count - left : left - 1;
        if (order == RANDOM) {
            which = chance((uint32_t) left);
        }
        drop(mp, &objects[which]);
        if (order == RANDOM) {
            objects[which] = objects[left - 1];
        }
    }
}
