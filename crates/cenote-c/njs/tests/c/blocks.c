#include "check.h"
#include <pthread.h>

void a_cluster_has_as_many_pages_as_its_size_says(void);
void a_page_has_as_many_chunks_as_its_size_says(void);
void an_object_above_a_page_is_a_block_of_its_own(void);
void an_emptied_cluster_does_not_show(void);
void a_page_that_empties_serves_other_sizes(void);
void large_objects_come_and_go_in_any_order(void);
void mixed_sizes_come_and_go_in_any_order(void);
void objects_that_come_and_go_at_random_keep_their_content(void);
void a_pool_destroyed_with_objects_in_it_leaves_nothing(void);
void pools_on_several_threads_and_from_one_to_another(void);

static void check_blocks(njs_mp_t *mp, size_t blocks, size_t size)
{
    njs_mp_stat_t stat;
    njs_mp_stat(mp, &stat);
    CHECK_EQUAL(stat.nblocks, blocks);
    CHECK_EQUAL(stat.size, size);
    CHECK_EQUAL(njs_mp_is_empty(mp), blocks == 0);
}

void a_cluster_has_as_many_pages_as_its_size_says(void)
{
    object_t objects[3 * 256 + 1];
    for (size_t i = 0; i < valid_count; i++) {
        const config_t *c = &valid[i];
        njs_mp_t *mp = pool_of(c);
        size_t pages = c->cluster / c->page, count = 3 * pages + 1;
        for (size_t n = 0; n < count; n++) {
            objects[n] = make(mp, c, 1, n % 2 ? c->page : c->page / 2 + 1);
            size_t clusters = n / pages + 1;
            check_blocks(mp, clusters, clusters * c->cluster);
        }
        drop_all(mp, objects, count, REVERSED);
        check_empty(mp);
        njs_mp_destroy(mp);
    }
}

void a_page_has_as_many_chunks_as_its_size_says(void)
{
    object_t objects[3 * 32 + 1];
    for (size_t i = 0; i < valid_count; i++) {
        /* One page to a cluster, so that the figures show pages. */
        config_t c = valid[i];
        c.cluster = c.page;
        for (size_t chunk = c.chunk; chunk <= c.page; chunk *= 2) {
            njs_mp_t *mp = pool_of(&c);
            size_t chunks = c.page / chunk, count = 3 * chunks + 1;
            for (size_t n = 0; n < count; n++) {
                /* The least and the most that such a chunk is for. */
                size_t size = n % 2 || chunk == c.chunk ? chunk : chunk / 2 + 1;
                objects[n] = make(mp, &c, 1, size);
                size_t pages = n / chunks + 1;
                check_blocks(mp, pages, pages * c.page);
            }
            drop_all(mp, objects, count, RANDOM);
            check_empty(mp);
            njs_mp_destroy(mp);
        }
    }
}

void an_object_above_a_page_is_a_block_of_its_own(void)
{
    const config_t *c = &valid[0];
    njs_mp_t *mp = pool_of(c);
    object_t page = make(mp, c, 1, 512);
    check_blocks(mp, 1, 8192);
    object_t large = make(mp, c, 1, 513);
    check_blocks(mp, 2, 8192 + 513);
    object_t larger = make(mp, c, 1, 1000000);
    check_blocks(mp, 3, 8192 + 513 + 1000000);
    /* And so is one aligned to more than pages are. */
    object_t aligned = make(mp, c, 256, 300);
    check_blocks(mp, 4, 8192 + 513 + 1000000 + 300);
    drop(mp, &larger);
    check_blocks(mp, 3, 8192 + 513 + 300);
    drop(mp, &page);
    check_blocks(mp, 2, 513 + 300);
    drop(mp, &large);
    drop(mp, &aligned);
    check_empty(mp);
    njs_mp_destroy(mp);
}

void an_emptied_cluster_does_not_show(void)
{
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        for (size_t n = 0; n < 100; n++) {
            object_t object = make(mp, &valid[i], 1, 1);
            check_blocks(mp, 1, valid[i].cluster);
            drop(mp, &object);
            check_empty(mp);
        }
        njs_mp_destroy(mp);
    }
}

void a_page_that_empties_serves_other_sizes(void)
{
    const config_t *c = &valid[0];
    object_t objects[512];
    njs_mp_t *mp = pool_of(c);
    for (size_t chunk = 16; chunk <= 512; chunk *= 2) {
        /* All of one cluster, which is the only one all the time. */
        size_t count = 8192 / chunk;
        for (size_t n = 0; n < count; n++) {
            objects[n] = make(mp, c, 1, chunk);
        }
        check_blocks(mp, 1, 8192);
        object_t kept = objects[--count];
        drop_all(mp, objects, count, RANDOM);
        check_blocks(mp, 1, 8192);
        /* All pages but one are free again. */
        for (size_t n = 0; n < 15; n++) {
            objects[n] = make(mp, c, 1, 512);
        }
        check_blocks(mp, 1, 8192);
        drop_all(mp, objects, 15, IN_ORDER);
        drop(mp, &kept);
        check_empty(mp);
    }
    njs_mp_destroy(mp);
}

void large_objects_come_and_go_in_any_order(void)
{
    static object_t objects[600];
    const config_t *c = &valid[0];
    njs_mp_t *mp = pool_of(c);
    for (order_t order = IN_ORDER; order < ORDERS; order++) {
        size_t bytes = 0;
        for (size_t n = 0; n < COUNT(objects); n++) {
            size_t size = 513 + chance(n % 50 == 0 ? 200000 : 5000);
            objects[n] = make(mp, c, (size_t) 1 << chance(13), size);
            bytes += size;
            check_blocks(mp, n + 1, bytes);
        }
        drop_all(mp, objects, COUNT(objects), order);
        check_empty(mp);
    }
    njs_mp_destroy(mp);
    CHECK_EQUAL(bad_frees(), 0);
}

void mixed_sizes_come_and_go_in_any_order(void)
{
    static object_t objects[5000];
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        for (order_t order = IN_ORDER; order < ORDERS; order++) {
            size_t count = valid[i].page > 1024 || under_valgrind() ? 1000 : COUNT(objects);
            for (size_t n = 0; n < count; n++) {
                size_t size = chance((uint32_t) (chance(10) ? valid[i].page / 2 : 3 * valid[i].page));
                objects[n] = make(mp, &valid[i], chance(4) ? 1 : (size_t) 1 << chance(10), size);
            }
            drop_all(mp, objects, count, order);
            check_empty(mp);
        }
        njs_mp_destroy(mp);
    }
    CHECK_EQUAL(bad_frees(), 0);
}

void objects_that_come_and_go_at_random_keep_their_content(void)
{
    static object_t objects[2000];
    for (size_t i = 0; i < valid_count; i++) {
        const config_t *c = &valid[i];
        njs_mp_t *mp = pool_of(c);
        size_t count = 0;
        for (size_t step = 0; step < 20000; step++) {
            /* More come in the first half of each thousand, more go in the second. */
            bool comes = chance(100) < (step % 1000 < 500 ? 70 : 30);
            if (comes && count < COUNT(objects)) {
                size_t size = chance((uint32_t) (chance(20) ? c->page / 4 + 1 : 3 * c->page));
                objects[count++] = make(mp, c, 1, size);
            } else if (!comes && count > 0) {
                size_t which = chance((uint32_t) count);
                drop(mp, &objects[which]);
                objects[which] = objects[--count];
            }
            if (count == 0) {
                check_empty(mp);
            }
        }
        drop_all(mp, objects, count, RANDOM);
        check_empty(mp);
        njs_mp_destroy(mp);
    }
    CHECK_EQUAL(bad_frees(), 0);
}

void a_pool_destroyed_with_objects_in_it_leaves_nothing(void)
{
    /* That nothing is left is for valgrind and the leak sanitizer to see. */
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        for (size_t n = 0; n < 500; n++) {
            make(mp, &valid[i], 1, chance((uint32_t) (3 * valid[i].page)));
        }
        njs_mp_destroy(mp);
    }
}

static void *with_own_pools(void *arg)
{
    object_t objects[100];
    (void) arg;
    for (size_t round = 0; round < 50; round++) {
        njs_mp_t *mp = njs_pool();
        for (size_t n = 0; n < COUNT(objects); n++) {
            size_t size = 7 * n + round;
            objects[n] = (object_t){njs_mp_alloc(mp, size), size, (uint32_t) (n ^ (uintptr_t) mp)};
            CHECK(objects[n].at != NULL);
            fill(&objects[n]);
        }
        for (size_t n = 0; n < COUNT(objects); n++) {
            drop(mp, &objects[n]);
        }
        check_empty(mp);
        njs_mp_destroy(mp);
    }
    return NULL;
}

static void *with_a_pool_from_elsewhere(void *arg)
{
    for (size_t n = 0; n < 1000; n++) {
        CHECK(njs_mp_alloc(arg, n) != NULL);
    }
    return NULL;
}

void pools_on_several_threads_and_from_one_to_another(void)
{
    pthread_t threads[4];
    for (size_t n = 0; n < COUNT(threads); n++) {
        CHECK(pthread_create(&threads[n], NULL, with_own_pools, NULL) == 0);
    }
    for (size_t n = 0; n < COUNT(threads); n++) {
        CHECK(pthread_join(threads[n], NULL) == 0);
    }
    njs_mp_t *mp = njs_pool();
    void *here = njs_mp_alloc(mp, 100);
    CHECK(pthread_create(&threads[0], NULL, with_a_pool_from_elsewhere, mp) == 0);
    CHECK(pthread_join(threads[0], NULL) == 0);
    njs_mp_free(mp, here);
    njs_mp_destroy(mp);
    CHECK_EQUAL(bad_frees(), 0);
}
