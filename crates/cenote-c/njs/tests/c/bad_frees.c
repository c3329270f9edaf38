#include "check.h"

void freeing_null_is_fine(void);
void a_foreign_free_is_counted_and_harmless(void);
void a_free_inside_an_object_is_counted_and_harmless(void);
void a_double_free_is_counted_and_harmless(void);
void a_free_in_another_pool_is_counted_and_harmless(void);
void a_free_in_an_emptied_page_is_counted_and_harmless(void);
void a_free_of_a_cleanup_is_counted_and_harmless(void);
void a_free_anywhere_in_and_around_a_cluster_is_counted_and_harmless(void);
void wrong_frees_among_right_ones_change_nothing(void);
void no_pool_is_met_everywhere(void);

/* Frees what is no object of the pool: counted, and nothing else. */
static void free_wrongly(njs_mp_t *mp, uintptr_t address)
{
    uint64_t before = bad_frees();
    njs_mp_free(mp, (void *) address);
    CHECK_EQUAL(bad_frees(), before + 1);
}

static uintptr_t at(const void *pointer)
{
    return (uintptr_t) pointer;
}

void freeing_null_is_fine(void)
{
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        njs_mp_free(mp, NULL);
        object_t object = make(mp, &valid[i], 1, 10);
        njs_mp_free(mp, NULL);
        drop(mp, &object);
        njs_mp_free(mp, NULL);
        check_empty(mp);
        njs_mp_destroy(mp);
    }
    CHECK_EQUAL(bad_frees(), 0);
}

void a_foreign_free_is_counted_and_harmless(void)
{
    static char fixed[64];
    char local[64];
    char *heap = malloc(64);
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        object_t objects[3];
        for (int full = 0; full < 2; full++) {
            free_wrongly(mp, at(fixed));
            free_wrongly(mp, at(local));
            free_wrongly(mp, at(heap));
            free_wrongly(mp, at(mp));
            free_wrongly(mp, at((const void *) valid));
            for (size_t bit = 1; bit != 0; bit *= 2) {
                free_wrongly(mp, bit);
                free_wrongly(mp, bit - 1 ? bit - 1 : UINTPTR_MAX);
                free_wrongly(mp, ~bit);
            }
            for (size_t n = 0; n < COUNT(objects) && !full; n++) {
                objects[n] = make(mp, &valid[i], 1, n * valid[i].page);
            }
        }
        drop_all(mp, objects, COUNT(objects), IN_ORDER);
        check_empty(mp);
        njs_mp_destroy(mp);
    }
    free(heap);
}

void a_free_inside_an_object_is_counted_and_harmless(void)
{
    for (size_t i = 0; i < valid_count; i++) {
        const config_t *c = &valid[i];
        njs_mp_t *mp = pool_of(c);
        for (size_t size = 2; size <= 2 * c->page; size *= 2) {
            object_t object = make(mp, c, 1, size);
            for (size_t inside = 1; inside < size; inside++) {
                free_wrongly(mp, at(object.at) + inside);
            }
            drop(mp, &object);
            check_empty(mp);
        }
        njs_mp_destroy(mp);
    }
}

void a_double_free_is_counted_and_harmless(void)
{
    object_t objects[200];
    for (size_t i = 0; i < valid_count; i++) {
        const config_t *c = &valid[i];
        njs_mp_t *mp = pool_of(c);
        for (size_t size = 0; size <= 2 * c->page; size = 2 * size + 1) {
            uintptr_t first = 0;
            for (size_t n = 0; n < COUNT(objects); n++) {
                objects[n] = make(mp, c, 1, size);
            }
            for (size_t n = 0; n < COUNT(objects); n++) {
                uintptr_t address = at(objects[n].at);
                drop(mp, &objects[n]);
                free_wrongly(mp, address);
                if (first != 0) {
                    free_wrongly(mp, first);
                }
                first = first ? first : address;
                /* The others are as they were. */
                for (size_t other = n + 1; other < COUNT(objects); other += 37) {
                    check_filled(&objects[other]);
                }
            }
            check_empty(mp);
        }
        njs_mp_destroy(mp);
    }
}

void a_free_in_another_pool_is_counted_and_harmless(void)
{
    for (size_t i = 0; i < valid_count; i++) {
        const config_t *c = &valid[i];
        njs_mp_t *mine = pool_of(c), *other = njs_pool();
        object_t own = make(other, &valid[0], 1, 100);
        for (size_t size = 0; size <= 2 * c->page; size = 2 * size + 1) {
            object_t object = make(mine, c, 1, size);
            free_wrongly(other, at(object.at));
            free_wrongly(mine, at(own.at));
            drop(mine, &object);
        }
        check_filled(&own);
        drop(other, &own);
        check_empty(mine);
        check_empty(other);
        njs_mp_destroy(mine);
        njs_mp_destroy(other);
    }
}

void a_free_in_an_emptied_page_is_counted_and_harmless(void)
{
    const config_t *c = &valid[0];
    object_t objects[32];
    njs_mp_t *mp = pool_of(c);
    /* Something that keeps the cluster in use. */
    object_t kept = make(mp, c, 1, 512);
    for (size_t chunk = 16; chunk <= 512; chunk *= 2) {
        size_t count = 512 / chunk;
        for (size_t n = 0; n < count; n++) {
            objects[n] = make(mp, c, 1, chunk);
        }
        uintptr_t places[32];
        for (size_t n = 0; n < count; n++) {
            places[n] = at(objects[n].at);
        }
        drop_all(mp, objects, count, IN_ORDER);
        njs_mp_stat_t stat;
        njs_mp_stat(mp, &stat);
        CHECK_EQUAL(stat.nblocks, 1);
        for (size_t n = 0; n < count; n++) {
            free_wrongly(mp, places[n]);
        }
    }
    drop(mp, &kept);
    free_wrongly(mp, at(kept.at) + 1);
    check_empty(mp);
    njs_mp_destroy(mp);
}

static size_t handled;

static void handle(void *data)
{
    (void) data;
    handled++;
}

void a_free_of_a_cleanup_is_counted_and_harmless(void)
{
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        for (size_t n = 0; n < 40; n++) {
            njs_mp_cleanup_t *cleanup = njs_mp_cleanup_add(mp, n);
            cleanup->handler = handle;
            free_wrongly(mp, at(cleanup));
            make(mp, &valid[i], 1, sizeof(*cleanup));
        }
        handled = 0;
        njs_mp_destroy(mp);
        CHECK_EQUAL(handled, 40);
    }
}

void a_free_anywhere_in_and_around_a_cluster_is_counted_and_harmless(void)
{
    for (size_t i = 0; i < valid_count; i++) {
        const config_t *c = &valid[i];
        njs_mp_t *mp = pool_of(c);
        object_t object = make(mp, c, 1, c->page / 2);
        size_t step = c->cluster > 8192 ? 8 : 1;
        for (size_t far = step; far < 2 * c->cluster; far += step) {
            free_wrongly(mp, at(object.at) + far);
            free_wrongly(mp, at(object.at) - far);
        }
        CHECK_EQUAL(njs_mp_is_empty(mp), 0);
        drop(mp, &object);
        check_empty(mp);
        njs_mp_destroy(mp);
    }
}

void wrong_frees_among_right_ones_change_nothing(void)
{
    static object_t objects[1000];
    for (size_t i = 0; i < valid_count; i++) {
        const config_t *c = &valid[i];
        njs_mp_t *mp = pool_of(c);
        size_t count = 0;
        uintptr_t freed = 0;
        for (size_t step = 0; step < (under_valgrind() ? 2000 : 10000); step++) {
            uint32_t what = chance(10);
            if (what < 5 && count < COUNT(objects)) {
                objects[count++] = make(mp, c, 1, 1 + chance((uint32_t) (2 * c->page)));
                freed = 0;
            } else if (what < 8 && count > 0) {
                size_t which = chance((uint32_t) count);
                freed = at(objects[which].at);
                drop(mp, &objects[which]);
                objects[which] = objects[--count];
            } else if (what == 8 && freed != 0) {
                free_wrongly(mp, freed);
            } else if (count > 0) {
                const object_t *object = &objects[chance((uint32_t) count)];
                if (object->size > 1) {
                    free_wrongly(mp, at(object->at) + 1 + chance((uint32_t) object->size - 1));
                }
            }
        }
        drop_all(mp, objects, count, RANDOM);
        check_empty(mp);
        njs_mp_destroy(mp);
    }
}

void no_pool_is_met_everywhere(void)
{
    njs_mp_stat_t stat = {1, 2, 3, 4};
    CHECK_EQUAL(njs_mp_is_empty(NULL), 1);
    njs_mp_destroy(NULL);
    njs_mp_stat(NULL, &stat);
    CHECK(stat.size == 0 && stat.nblocks == 0 && stat.page_size == 0 && stat.cluster_size == 0);
    njs_mp_stat(NULL, NULL);
    CHECK(njs_mp_alloc(NULL, 1) == NULL);
    CHECK(njs_mp_zalloc(NULL, 1) == NULL);
    CHECK(njs_mp_align(NULL, 16, 1) == NULL);
    CHECK(njs_mp_zalign(NULL, 16, 1) == NULL);
    CHECK(njs_mp_cleanup_add(NULL, 1) == NULL);
    njs_mp_free(NULL, NULL);
    CHECK_EQUAL(bad_frees(), 0);
    free_wrongly(NULL, 16);
    njs_mp_t *mp = njs_pool();
    njs_mp_stat(mp, NULL);
    njs_mp_destroy(mp);
}
