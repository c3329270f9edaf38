#include "check.h"

void cleanups_run_last_in_first_out(void);
void a_cleanup_has_the_data_that_was_asked_for(void);
void a_cleanup_without_a_handler_is_skipped(void);
void cleanups_are_linked_from_the_newest_to_the_oldest(void);
void a_cleanup_added_while_the_pool_is_destroyed_runs(void);
void a_cleanup_may_use_the_pool(void);
void a_handler_changed_or_cleared_before_the_end_counts(void);
void a_pool_destroyed_by_its_own_cleanup_is_destroyed_once(void);
void a_cleanup_whose_data_cannot_be_had_is_not_added(void);
void a_cleanup_keeps_its_pool_from_being_empty(void);

/* What ran, in order. */
static int ran[1000];
static size_t count;

static void note(void *data)
{
    CHECK(count < COUNT(ran));
    ran[count++] = *(int *) data;
}

static void add(njs_mp_t *mp, int number)
{
    njs_mp_cleanup_t *cleanup = njs_mp_cleanup_add(mp, sizeof(int));
    CHECK(cleanup != NULL && cleanup->data != NULL);
    cleanup->handler = note;
    *(int *) cleanup->data = number;
}

void cleanups_run_last_in_first_out(void)
{
    for (size_t i = 0; i < valid_count; i++) {
        njs_mp_t *mp = pool_of(&valid[i]);
        for (int n = 0; n < (int) COUNT(ran); n++) {
            add(mp, n);
            njs_mp_alloc(mp, (size_t) n);
        }
        count = 0;
        njs_mp_destroy(mp);
        CHECK_EQUAL(count, COUNT(ran));
        for (size_t n = 0; n < COUNT(ran); n++) {
            CHECK_EQUAL(ran[n], COUNT(ran) - 1 - n);
        }
    }
}

void a_cleanup_has_the_data_that_was_asked_for(void)
{
    njs_mp_t *mp = njs_pool();
    for (size_t size = 0; size < 1100; size++) {
        njs_mp_cleanup_t *cleanup = njs_mp_cleanup_add(mp, size);
        CHECK(cleanup != NULL && cleanup->handler == NULL);
        CHECK_EQUAL((uintptr_t) cleanup % sizeof(void *), 0);
        CHECK_EQUAL(cleanup->data == NULL, size == 0);
        if (size != 0) {
            CHECK_EQUAL((uintptr_t) cleanup->data % 16, 0);
            memset(cleanup->data, 0xaa, size);
        }
    }
    njs_mp_destroy(mp);
}

void a_cleanup_without_a_handler_is_skipped(void)
{
    njs_mp_t *mp = njs_pool();
    add(mp, 1);
    CHECK(njs_mp_cleanup_add(mp, 10) != NULL);
    add(mp, 2);
    CHECK(njs_mp_cleanup_add(mp, 0) != NULL);
    count = 0;
    njs_mp_destroy(mp);
    CHECK_EQUAL(count, 2);
    CHECK_EQUAL(ran[0], 2);
    CHECK_EQUAL(ran[1], 1);
}

void cleanups_are_linked_from_the_newest_to_the_oldest(void)
{
    njs_mp_cleanup_t *before = NULL;
    njs_mp_t *mp = njs_pool();
    for (size_t n = 0; n < 500; n++) {
        njs_mp_cleanup_t *cleanup = njs_mp_cleanup_add(mp, n);
        CHECK(cleanup->next == before);
        before = cleanup;
    }
    size_t linked = 0;
    for (njs_mp_cleanup_t *at = before; at != NULL; at = at->next) {
        linked++;
    }
    CHECK_EQUAL(linked, 500);
    njs_mp_destroy(mp);
}

typedef struct {
    njs_mp_t *mp;
    int number, left;
} adding_t;

static void add_another(void *data)
{
    adding_t *adding = data;
    note(&adding->number);
    if (adding->left > 0) {
        njs_mp_cleanup_t *cleanup = njs_mp_cleanup_add(adding->mp, sizeof(adding_t));
        CHECK(cleanup != NULL);
        cleanup->handler = add_another;
        *(adding_t *) cleanup->data =
            (adding_t){adding->mp, adding->number + 1, adding->left - 1};
    }
}

void a_cleanup_added_while_the_pool_is_destroyed_runs(void)
{
    njs_mp_t *mp = njs_pool();
    add(mp, -1);
    njs_mp_cleanup_t *cleanup = njs_mp_cleanup_add(mp, sizeof(adding_t));
    cleanup->handler = add_another;
    *(adding_t *) cleanup->data = (adding_t){mp, 0, 300};
    add(mp, -2);
    count = 0;
    njs_mp_destroy(mp);
    CHECK_EQUAL(count, 303);
    CHECK(ran[0] == -2 && ran[302] == -1);
    for (int n = 0; n <= 300; n++) {
        CHECK(ran[n + 1] == n);
    }
}

typedef struct {
    njs_mp_t *mp;
    object_t object;
} using_t;

static void use_pool(void *data)
{
    using_t *using = data;
    const config_t *c = &valid[0];
    drop(using->mp, &using->object);
    for (size_t n = 0; n < 200; n++) {
        object_t object = make(using->mp, c, 1, 11 * n);
        if (n % 2) {
            drop(using->mp, &object);
        }
    }
    count++;
}

void a_cleanup_may_use_the_pool(void)
{
    njs_mp_t *mp = njs_pool();
    for (size_t n = 0; n < 50; n++) {
        njs_mp_cleanup_t *cleanup = njs_mp_cleanup_add(mp, sizeof(using_t));
        cleanup->handler = use_pool;
        *(using_t *) cleanup->data = (using_t){mp, make(mp, &valid[0], 1, 40 * n)};
    }
    count = 0;
    njs_mp_destroy(mp);
    CHECK_EQUAL(count, 50);
    CHECK_EQUAL(bad_frees(), 0);
}

void a_handler_changed_or_cleared_before_the_end_counts(void)
{
    int numbers[] = {0, 1, 2, 3};
    njs_mp_cleanup_t *cleanups[4];
    njs_mp_t *mp = njs_pool();
    for (size_t n = 0; n < COUNT(cleanups); n++) {
        cleanups[n] = njs_mp_cleanup_add(mp, 0);
        cleanups[n]->handler = note;
        cleanups[n]->data = &numbers[n];
    }
    cleanups[1]->handler = NULL;
    cleanups[2]->data = &numbers[0];
    count = 0;
    njs_mp_destroy(mp);
    CHECK_EQUAL(count, 3);
    CHECK(ran[0] == 3 && ran[1] == 0 && ran[2] == 0);
}

static void destroy_it(void *data)
{
    njs_mp_destroy(data);
    count++;
}

void a_pool_destroyed_by_its_own_cleanup_is_destroyed_once(void)
{
    njs_mp_t *mp = njs_pool();
    for (size_t n = 0; n < 3; n++) {
        njs_mp_cleanup_t *cleanup = njs_mp_cleanup_add(mp, 0);
        cleanup->handler = destroy_it;
        cleanup->data = mp;
    }
    count = 0;
    njs_mp_destroy(mp);
    CHECK_EQUAL(count, 3);
}

void a_cleanup_whose_data_cannot_be_had_is_not_added(void)
{
    njs_mp_t *mp = njs_pool();
    CHECK(njs_mp_cleanup_add(mp, SIZE_MAX) == NULL);
    CHECK(njs_mp_cleanup_add(mp, UINT32_MAX) == NULL);
    check_empty(mp);
    add(mp, 1);
    CHECK(njs_mp_cleanup_add(mp, SIZE_MAX) == NULL);
    CHECK(njs_mp_cleanup_add(mp, 0)->next != NULL);
    count = 0;
    njs_mp_destroy(mp);
    CHECK_EQUAL(count, 1);
}

void a_cleanup_keeps_its_pool_from_being_empty(void)
{
    njs_mp_stat_t stat;
    njs_mp_t *mp = njs_pool();
    CHECK(njs_mp_cleanup_add(mp, 0) != NULL);
    CHECK_EQUAL(njs_mp_is_empty(mp), 0);
    njs_mp_stat(mp, &stat);
    CHECK_EQUAL(stat.nblocks, 1);
    CHECK_EQUAL(stat.size, 8192);
    njs_mp_destroy(mp);
}
