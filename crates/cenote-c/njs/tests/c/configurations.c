#include "check.h"

void every_valid_configuration_is_accepted_and_works(void);
void every_invalid_configuration_is_refused(void);
void fast_create_makes_a_working_pool_of_any_sizes(void);
void a_new_pool_is_empty_and_tells_its_sizes(void);

/* A few objects of each kind, whatever the sizes of the pool are. */
static void use(njs_mp_t *mp, const config_t *c)
{
    object_t objects[64];
    for (size_t i = 0; i < COUNT(objects); i++) {
        objects[i] = make(mp, c, 1, chance((uint32_t) (3 * c->page)));
    }
    drop_all(mp, objects, COUNT(objects), RANDOM);
    check_empty(mp);
}

void every_valid_configuration_is_accepted_and_works(void)
{
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        use(mp, &valid[i]);
        njs_mp_destroy(mp);
        mp = njs_mp_fast_create(valid[i].cluster, valid[i].alignment, valid[i].page, valid[i].chunk);
        CHECK(mp != NULL);
        use(mp, &valid[i]);
        njs_mp_destroy(mp);
    }
}

void every_invalid_configuration_is_refused(void)
{
    for (size_t i = 0; i < refused_count; i++) {
        const config_t *c = &refused[i];
        CHECK(njs_mp_create(c->cluster, c->alignment, c->page, c->chunk) == NULL);
    }
}

void fast_create_makes_a_working_pool_of_any_sizes(void)
{
    for (size_t i = 0; i < refused_count; i++) {
        const config_t *c = &refused[i];
        njs_mp_t *mp = njs_mp_fast_create(c->cluster, c->alignment, c->page, c->chunk);
        CHECK(mp != NULL);
        njs_mp_stat_t stat;
        njs_mp_stat(mp, &stat);
        /* What it made of them would have been accepted. */
        CHECK(stat.page_size >= 64 && (stat.page_size & (stat.page_size - 1)) == 0);
        CHECK(stat.cluster_size % stat.page_size == 0);
        CHECK(stat.cluster_size / stat.page_size >= 1 && stat.cluster_size / stat.page_size <= 256);
        if (stat.page_size <= 4096) {
            const config_t made = {stat.cluster_size, 16, stat.page_size, stat.page_size / 32};
            use(mp, &made);
        } else if (!under_valgrind()) {
            /* Its clusters are gigabytes, if the system has so much at all. */
            njs_mp_free(mp, njs_mp_alloc(mp, 1));
            check_empty(mp);
        }
        njs_mp_destroy(mp);
    }
}

void a_new_pool_is_empty_and_tells_its_sizes(void)
{
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        njs_mp_stat_t stat = {1, 2, 3, 4};
        check_empty(mp);
        njs_mp_stat(mp, &stat);
        CHECK_EQUAL(stat.page_size, valid[i].page);
        CHECK_EQUAL(stat.cluster_size, valid[i].cluster);
        njs_mp_destroy(mp);
    }
}
