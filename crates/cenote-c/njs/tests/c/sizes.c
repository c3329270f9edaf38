#include "check.h"

void every_size_up_to_two_pages_and_one_can_be_had_and_freed_in_any_order(void);
void every_alignment_up_to_4096_is_kept_at_every_size(void);
void an_alignment_that_is_no_power_of_two_is_refused(void);
void an_alignment_of_zero_is_any_alignment(void);
void no_bytes_are_an_object_like_any_other(void);
void zeroed_memory_is_zero_where_other_objects_were_before(void);
void sizes_of_4_gib_less_one_and_more_are_refused(void);
void sizes_just_below_the_limit_are_had_or_refused_without_harm(void);
void alignments_that_no_memory_has_are_refused(void);

void every_size_up_to_two_pages_and_one_can_be_had_and_freed_in_any_order(void)
{
    static object_t objects[2 * 4096 + 2];
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        size_t count = 2 * valid[i].page + 2;
        CHECK(count <= COUNT(objects));
        for (order_t order = IN_ORDER; order < ORDERS; order++) {
            size_t made = 0, step = under_valgrind() && count > 2050 ? 7 : 1;
            for (size_t size = 0; size < count; size += step) {
                objects[made++] = make(mp, &valid[i], 1, size);
            }
            drop_all(mp, objects, made, order);
            check_empty(mp);
        }
        njs_mp_destroy(mp);
    }
    CHECK_EQUAL(bad_frees(), 0);
}

void every_alignment_up_to_4096_is_kept_at_every_size(void)
{
    static object_t objects[13 * 2048];
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        /* Every size of a small page; of larger ones a part, and all that are near an edge. */
        size_t end = 2 * valid[i].page + 2, step = end > 2048 ? 61 : under_valgrind() ? 7 : 1;
        for (order_t order = IN_ORDER; order < ORDERS; order++) {
            size_t count = 0;
            for (size_t size = 0; size < end; size++) {
                bool edge = size + 1 >= end;
                for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
                    edge |= size + 1 >= alignment && size <= alignment + 1;
                }
                if (size % step != 0 && !edge) {
                    continue;
                }
                for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
                    CHECK(count < COUNT(objects));
                    objects[count++] = make(mp, &valid[i], alignment, size);
                }
            }
            drop_all(mp, objects, count, order);
            check_empty(mp);
        }
        njs_mp_destroy(mp);
    }
    CHECK_EQUAL(bad_frees(), 0);
}

void an_alignment_that_is_no_power_of_two_is_refused(void)
{
    const size_t sizes[] = {0, 1, 16, 17, 256, 512, 513, 5000};
    njs_mp_t *mp = njs_pool();
    for (size_t alignment = 3; alignment < 5000; alignment++) {
        if ((alignment & (alignment - 1)) == 0) {
            continue;
        }
        for (size_t i = 0; i < COUNT(sizes); i++) {
            CHECK(njs_mp_align(mp, alignment, sizes[i]) == NULL);
            CHECK(njs_mp_zalign(mp, alignment, sizes[i]) == NULL);
        }
    }
    CHECK(njs_mp_align(mp, SIZE_MAX, 1) == NULL);
    CHECK(njs_mp_align(mp, SIZE_MAX / 2, 1) == NULL);
    check_empty(mp);
    njs_mp_destroy(mp);
}

void an_alignment_of_zero_is_any_alignment(void)
{
    njs_mp_t *mp = njs_pool();
    for (size_t size = 0; size < 2000; size += 7) {
        void *a = njs_mp_align(mp, 0, size), *b = njs_mp_zalign(mp, 0, size);
        CHECK(a != NULL && b != NULL && a != b);
        check_zero(b, size);
        njs_mp_free(mp, a);
        njs_mp_free(mp, b);
    }
    check_empty(mp);
    njs_mp_destroy(mp);
}

void no_bytes_are_an_object_like_any_other(void)
{
    enum { MANY = 100 };
    void *objects[4 * MANY];
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        for (size_t n = 0; n < COUNT(objects); n += 4) {
            objects[n] = njs_mp_alloc(mp, 0);
            objects[n + 1] = njs_mp_zalloc(mp, 0);
            objects[n + 2] = njs_mp_align(mp, 4096, 0);
            objects[n + 3] = njs_mp_zalign(mp, 64, 0);
        }
        for (size_t n = 0; n < COUNT(objects); n++) {
            CHECK(objects[n] != NULL);
            for (size_t other = 0; other < n; other++) {
                CHECK(objects[n] != objects[other]);
            }
        }
        for (size_t n = 0; n < COUNT(objects); n++) {
            njs_mp_free(mp, objects[n]);
        }
        check_empty(mp);
        njs_mp_destroy(mp);
    }
    CHECK_EQUAL(bad_frees(), 0);
}

void zeroed_memory_is_zero_where_other_objects_were_before(void)
{
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        for (size_t size = 0; size < 2 * valid[i].page + 2; size += 3) {
            void *dirty = njs_mp_alloc(mp, size);
            memset(dirty, 0xee, size);
            njs_mp_free(mp, dirty);
            void *zeroed = njs_mp_zalloc(mp, size);
            check_zero(zeroed, size);
            memset(zeroed, 0xee, size);
            njs_mp_free(mp, zeroed);
            zeroed = njs_mp_zalign(mp, 64, size);
            check_zero(zeroed, size);
            njs_mp_free(mp, zeroed);
        }
        check_empty(mp);
        njs_mp_destroy(mp);
    }
}

/* Both functions of each kind refuse this size at every alignment. */
static void check_refused(njs_mp_t *mp, size_t size)
{
    CHECK(njs_mp_alloc(mp, size) == NULL);
    CHECK(njs_mp_zalloc(mp, size) == NULL);
    for (size_t alignment = 1; alignment != 0; alignment *= 2) {
        CHECK(njs_mp_align(mp, alignment, size) == NULL);
        CHECK(njs_mp_zalign(mp, alignment, size) == NULL);
    }
    CHECK(njs_mp_cleanup_add(mp, size) == NULL);
}

void sizes_of_4_gib_less_one_and_more_are_refused(void)
{
    njs_mp_t *mp = njs_pool();
    for (size_t more = 0; more < 600; more++) {
        check_refused(mp, (size_t) UINT32_MAX + more);
        check_refused(mp, SIZE_MAX - more);
        check_refused(mp, SIZE_MAX / 2 - 300 + more);
        check_refused(mp, SIZE_MAX / 4 - 300 + more);
    }
    for (size_t bit = (size_t) 1 << 32; bit != 0; bit *= 2) {
        check_refused(mp, bit);
        check_refused(mp, bit + 1);
        check_refused(mp, bit + 511);
    }
    check_empty(mp);
    /* And the pool goes on. */
    void *object = njs_mp_zalloc(mp, 100);
    CHECK(object != NULL);
    njs_mp_free(mp, object);
    check_empty(mp);
    njs_mp_destroy(mp);
}

void sizes_just_below_the_limit_are_had_or_refused_without_harm(void)
{
    njs_mp_t *mp = njs_pool();
    for (size_t less = 1; less < 20; less++) {
        unsigned char *object = njs_mp_alloc(mp, (size_t) UINT32_MAX - less);
        if (object != NULL) {
            object[0] = 1;
            njs_mp_free(mp, object);
        }
        check_empty(mp);
    }
    njs_mp_destroy(mp);
    CHECK_EQUAL(bad_frees(), 0);
}

void alignments_that_no_memory_has_are_refused(void)
{
    njs_mp_t *mp = njs_pool();
    const size_t sizes[] = {0, 1, 100, 512, 513, 100000};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (size_t alignment = (size_t) 1 << 48; alignment != 0; alignment *= 2) {
            if (under_valgrind() && alignment >> 63 == 0) {
                continue;
            }
            CHECK(njs_mp_align(mp, alignment, sizes[i]) == NULL);
            CHECK(njs_mp_zalign(mp, alignment, sizes[i]) == NULL);
        }
        for (size_t alignment = 8192; alignment <= (size_t) 2 << 20; alignment *= 2) {
            void *object = njs_mp_zalign(mp, alignment, sizes[i]);
            CHECK(object != NULL);
            CHECK_EQUAL((uintptr_t) object % alignment, 0);
            njs_mp_free(mp, object);
        }
    }
    check_empty(mp);
    njs_mp_destroy(mp);
}
