/* cenote_account_reserve() and its kin. */
#include "check.h"
#include <pthread.h>

static void reserved_bytes_are_held_and_come_back(void)
{
    cenote_account_t *process = cenote_account_root("process");
    cenote_account_t *queries = cenote_account_child(process, "queries");
    CHECK_STATUS(cenote_account_set_limit(queries, 1000), CENOTE_OK);
    cenote_reservation_t *sort = cenote_account_reserve(queries, 600);
    CHECK(sort != NULL);
    CHECK_SIZE(cenote_reservation_bytes(sort), 600);
    CHECK_SIZE(cenote_account_held(queries), 600);
    CHECK_SIZE(cenote_account_reserved(queries), 600);
    CHECK_SIZE(cenote_account_held(process), 600);

    CHECK_STATUS(cenote_reservation_try_grow(sort, 600), CENOTE_ERR_LIMIT);
    CHECK(strstr(cenote_last_error(), "process/queries") != NULL);
    CHECK_SIZE(cenote_account_refused(queries), 1);
    CHECK_NONE(cenote_account_reserve(queries, 401), CENOTE_ERR_LIMIT);
    CHECK_STATUS(cenote_reservation_try_grow(sort, 400), CENOTE_OK);
    CHECK_STATUS(cenote_reservation_shrink(sort, 1001), CENOTE_ERR_CONFIG);
    CHECK(strstr(cenote_last_error(), "1001") != NULL);
    CHECK_STATUS(cenote_reservation_shrink(sort, 100), CENOTE_OK);
    CHECK_STATUS(cenote_reservation_resize(sort, 800), CENOTE_OK);
    CHECK_STATUS(cenote_reservation_resize(sort, 1001), CENOTE_ERR_LIMIT);
    CHECK_SIZE(cenote_reservation_bytes(sort), 800);

    /* What is there already is counted, whatever the limit; and how much was beyond it. */
    CHECK_STATUS(cenote_reservation_grow(sort, 500), CENOTE_OK);
    CHECK_SIZE(cenote_account_held(queries), 1300);
    CHECK_SIZE(cenote_account_overcommitted(queries), 300);
    CHECK_STATUS(cenote_reservation_grow(sort, SIZE_MAX), CENOTE_ERR_SIZE);
    CHECK_STATUS(cenote_reservation_try_grow(sort, SIZE_MAX), CENOTE_ERR_SIZE);
    CHECK_NONE(cenote_account_reserve(queries, SIZE_MAX), CENOTE_ERR_SIZE);
    CHECK_SIZE(cenote_reservation_bytes(sort), 1300);

    cenote_reservation_t *part = cenote_reservation_split(sort, 300);
    CHECK(part != NULL);
    CHECK_SIZE(cenote_reservation_bytes(part), 300);
    CHECK_SIZE(cenote_reservation_bytes(sort), 1000);
    CHECK_NONE(cenote_reservation_split(sort, 1001), CENOTE_ERR_CONFIG);
    cenote_reservation_t *others = cenote_account_reserve(process, 50);
    CHECK_STATUS(cenote_reservation_merge(sort, others), CENOTE_ERR_CONFIG);
    CHECK(strstr(cenote_last_error(), "process/queries") != NULL);
    CHECK_STATUS(cenote_reservation_merge(sort, sort), CENOTE_ERR_CONFIG);
    CHECK_SIZE(cenote_reservation_bytes(others), 50);
    CHECK_STATUS(cenote_reservation_merge(sort, part), CENOTE_OK);
    CHECK_SIZE(cenote_reservation_bytes(sort), 1300);
    CHECK_STATUS(cenote_reservation_destroy(others), CENOTE_OK);

    /* The account stays for as long as something is reserved of it. */
    CHECK_STATUS(cenote_account_destroy(queries), CENOTE_OK);
    CHECK_SIZE(cenote_account_held(process), 1300);
    CHECK_STATUS(cenote_reservation_destroy(sort), CENOTE_OK);
    CHECK_STATUS(cenote_reservation_destroy(NULL), CENOTE_OK);
    CHECK_SIZE(cenote_account_held(process), 0);
    CHECK_SIZE(cenote_account_reserved(process), 0);
    /* With what a thread keeps in reserve. */
    CHECK(cenote_account_peak(process) >= 1350);
    CHECK_SIZE(cenote_account_recent_peak(process), cenote_account_peak(process));
    CHECK_STATUS(cenote_account_destroy(process), CENOTE_OK);
    CHECK_NONE(cenote_account_reserve(NULL, 1), CENOTE_ERR_HANDLE);
}

struct wait {
    cenote_account_t *account;
    cenote_reservation_t *got;
};

static void *waits_for_room(void *data)
{
    struct wait *wait = data;
    wait->got = cenote_account_reserve_wait(wait->account, 600, UINT64_MAX);
    return NULL;
}

static void who_waits_gets_what_others_give_back(void)
{
    cenote_account_t *sorts = cenote_account_root("sorts");
    CHECK_STATUS(cenote_account_set_limit(sorts, 1000), CENOTE_OK);
    for (int round = 0; round < 50; round++) {
        cenote_reservation_t *first = cenote_account_reserve_wait(sorts, 800, 0);
        CHECK(first != NULL);
        struct wait wait = {sorts, NULL};
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, waits_for_room, &wait) == 0);
        /* It may wait already, or not yet: that is not to matter. */
        CHECK_STATUS(cenote_reservation_resize(first, 400), CENOTE_OK);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(wait.got != NULL);
        CHECK_SIZE(cenote_account_held(sorts), 1000);
        CHECK_STATUS(cenote_reservation_destroy(wait.got), CENOTE_OK);
        CHECK_STATUS(cenote_reservation_destroy(first), CENOTE_OK);
        CHECK_SIZE(cenote_account_held(sorts), 0);
    }
    CHECK_STATUS(cenote_account_destroy(sorts), CENOTE_OK);
}

static void who_waits_in_vain_is_told_why(void)
{
    cenote_account_t *sorts = cenote_account_root("sorts");
    CHECK_STATUS(cenote_account_set_limit(sorts, 1000), CENOTE_OK);
    cenote_reservation_t *all = cenote_account_reserve(sorts, 1000);
    CHECK_NONE(cenote_account_reserve_wait(sorts, 1, 3), CENOTE_ERR_LIMIT);
    CHECK(strstr(cenote_last_error(), "within 3 ms") != NULL);
    CHECK(strstr(cenote_last_error(), "sorts") != NULL);
    /* More than there can ever be. */
    CHECK_NONE(cenote_account_reserve_wait(sorts, 1001, UINT64_MAX), CENOTE_ERR_LIMIT);
    /* Who gave up leaves nothing behind. */
    CHECK_STATUS(cenote_reservation_destroy(all), CENOTE_OK);
    CHECK_SIZE(cenote_account_held(sorts), 0);
    CHECK_STATUS(cenote_account_destroy(sorts), CENOTE_OK);
}

int main(void)
{
    reserved_bytes_are_held_and_come_back();
    who_waits_gets_what_others_give_back();
    who_waits_in_vain_is_told_why();
    return 0;
}
