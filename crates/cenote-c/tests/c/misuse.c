/*
 * Misuse, case by case: what each returns, whether it counts as misuse, and that nothing has
 * changed by it.
 *
 *     misuse list              a case to a line, with what is to happen under the default policy
 *     misuse CASE [POLICY]     one case, under return, report or abort
 *     misuse all return        all of them, one after the other
 */
#include <cenote/mp.h>
#include "check.h"

static cenote_pool_t *pool, *other_pool;
static cenote_counted_t *counted, *other_counted;
static cenote_chunk_t *chunk, *other_chunk;
static cenote_buddy_t *buddy, *other_buddy;
static cenote_account_t *account;
static cenote_reservation_t *reservation, *other_reservation;

/* Memory that is no handle's, on any page of the program. */
static union { char bytes[8192]; size_t words[1024]; } foreign;

static void *in_foreign(void)
{
    return foreign.bytes + 4096;
}

/* The status that a call which returns a pointer or a figure leaves. */
static int status_of(int failed)
{
    return failed ? cenote_last_status() : CENOTE_OK;
}

/* ---- handles: every function of a kind says the same of a bad one ------------------------------ */

static char buffer[100];

static void nothing(void *data)
{
    (void)data;
}

static int stop(void *data, const char *text, size_t length)
{
    (void)data, (void)text, (void)length;
    return 1;
}

#define ALL(...)                                                                                   \
    do {                                                                                           \
        int statuses[] = {__VA_ARGS__};                                                            \
        for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)                            \
            if (statuses[i] != statuses[0]) {                                                      \
                fprintf(stderr, "call %zu gave %d, not %d\n", i, statuses[i], statuses[0]);        \
                exit(1);                                                                           \
            }                                                                                      \
        return statuses[0];                                                                        \
    } while (0)

#define NONE(call) status_of((call) == NULL)
#define ZERO(call) status_of((call) == 0)

static int use_pool(void *handle)
{
    cenote_pool_t *bad = handle;
    ALL(cenote_pool_reset(bad), NONE(cenote_pool_alloc(bad, 8)), NONE(cenote_pool_zalloc(bad, 8)),
        NONE(cenote_pool_calloc(bad, 8, 8)), NONE(cenote_pool_alloc_aligned(bad, 8, 8)),
        NONE(cenote_pool_alloc_bytes(bad, 8)), NONE(cenote_pool_memdup(bad, "x", 1)),
        NONE(cenote_pool_strdup(bad, "x")), NONE(cenote_pool_strndup(bad, "x", 1)),
        NONE(cenote_pool_realloc(bad, NULL, 0, 8)), NONE(cenote_pool_realloc(bad, buffer, 8, 80)),
        cenote_pool_free(bad, buffer), cenote_pool_free(bad, NULL),
        ZERO(cenote_pool_cleanup_add(bad, nothing, NULL)), cenote_pool_cleanup_run(bad, 1),
        cenote_pool_cleanup_cancel(bad, 1), cenote_pool_attach_fd(bad, 12345),
        cenote_pool_close_fd(bad, 0), cenote_pool_delete_path(bad, "/tmp/none"),
        ZERO(cenote_pool_held(bad)), ZERO(cenote_pool_used(bad)));
}

static int use_snapshot(void *bad)
{
    ALL(ZERO(cenote_snapshot_text(bad, buffer, sizeof buffer)),
        ZERO(cenote_snapshot_json(bad, NULL, 0)), cenote_snapshot_text_to(bad, stop, NULL),
        cenote_snapshot_json_to(bad, stop, NULL));
}

static int use_counted(void *handle)
{
    cenote_counted_t *bad = handle;
    ALL(cenote_counted_reset(bad), NONE(cenote_counted_alloc(bad, 8)),
        NONE(cenote_counted_zalloc(bad, 8)), NONE(cenote_counted_calloc(bad, 8, 8)),
        NONE(cenote_counted_alloc_aligned(bad, 8, 8)), NONE(cenote_counted_alloc_bytes(bad, 8)),
        NONE(cenote_counted_realloc(bad, NULL, 0, 8)),
        NONE(cenote_counted_realloc(bad, buffer, 8, 80)), cenote_counted_free(bad, buffer),
        cenote_counted_free(bad, NULL), ZERO(cenote_counted_cleanup_add(bad, nothing, NULL)),
        cenote_counted_cleanup_run(bad, 1), cenote_counted_cleanup_cancel(bad, 1),
        ZERO(cenote_counted_trim(bad)), ZERO(cenote_counted_held(bad)),
        ZERO(cenote_counted_live(bad)), NONE(mp_alloc(bad, 8)), NONE(mp_malloc(bad, 8)),
        NONE(mp_nalloc(bad, 8)), NONE(mp_calloc(bad, 8)),
        (mp_free(bad, buffer), cenote_last_status()), (mp_reset_pool(bad), cenote_last_status()),
        (monitor_mp_poll(bad, "bad"), cenote_last_status()));
}

static int use_chunk(void *handle)
{
    cenote_chunk_t *bad = handle;
    ALL(cenote_chunk_reset(bad), NONE(cenote_chunk_alloc(bad, 8)),
        NONE(cenote_chunk_zalloc(bad, 8)), NONE(cenote_chunk_calloc(bad, 8, 8)),
        NONE(cenote_chunk_alloc_aligned(bad, 8, 8)), NONE(cenote_chunk_realloc(bad, NULL, 0, 8)),
        NONE(cenote_chunk_realloc(bad, buffer, 8, 80)), cenote_chunk_free(bad, buffer),
        cenote_chunk_free(bad, NULL), ZERO(cenote_chunk_cleanup_add(bad, nothing, NULL)),
        cenote_chunk_cleanup_run(bad, 1), cenote_chunk_cleanup_cancel(bad, 1),
        cenote_chunk_settle(bad), ZERO(cenote_chunk_trim(bad)), ZERO(cenote_chunk_is_empty(bad)),
        ZERO(cenote_chunk_held(bad)));
}

static int use_buddy(void *handle)
{
    cenote_buddy_t *bad = handle;
    ALL(NONE(cenote_buddy_alloc(bad, 8)), cenote_buddy_free(bad, buffer),
        cenote_buddy_free(bad, NULL), ZERO(cenote_buddy_capacity(bad, buffer)),
        ZERO(cenote_buddy_page(bad)), ZERO(cenote_buddy_bytes(bad)), ZERO(cenote_buddy_used(bad)),
        ZERO(cenote_buddy_largest_free(bad)));
}

static int use_account(void *handle)
{
    cenote_account_t *bad = handle;
    cenote_pool_options_t options = CENOTE_POOL_OPTIONS_INIT;
    options.account = bad;
    int with = bad == NULL ? CENOTE_ERR_HANDLE : NONE(cenote_pool_create_with(&options));
    ALL(cenote_account_set_limit(bad, 1), NONE(cenote_account_child(bad, "x")),
        NONE(cenote_account_shared_child(bad, "x")), ZERO(cenote_account_limit(bad)),
        ZERO(cenote_account_held(bad)), ZERO(cenote_account_peak(bad)),
        ZERO(cenote_account_recent_peak(bad)), ZERO(cenote_account_reserved(bad)),
        ZERO(cenote_account_overcommitted(bad)), NONE(cenote_account_reserve(bad, 1)),
        NONE(cenote_account_reserve_wait(bad, 1, 0)),
        ZERO(cenote_account_live(bad)), ZERO(cenote_account_created(bad)),
        ZERO(cenote_account_refused(bad)), NONE(cenote_pool_create_on(bad)),
        NONE(cenote_counted_create_on(bad)), NONE(cenote_chunk_create_on(bad)), with);
}

static int use_reservation(void *handle)
{
    cenote_reservation_t *bad = handle;
    ALL(cenote_reservation_try_grow(bad, 1), cenote_reservation_grow(bad, 1),
        cenote_reservation_shrink(bad, 0), cenote_reservation_resize(bad, 1),
        NONE(cenote_reservation_split(bad, 0)), ZERO(cenote_reservation_bytes(bad)),
        cenote_reservation_merge(bad, other_reservation),
        cenote_reservation_merge(other_reservation, bad), cenote_reservation_merge(bad, bad));
}

static int end_pool(void *handle) { return cenote_pool_destroy(handle); }
static int end_counted(void *handle) { return cenote_counted_destroy(handle); }
static int end_chunk(void *handle) { return cenote_chunk_destroy(handle); }
static int end_buddy(void *handle) { return cenote_buddy_destroy(handle); }
static int end_account(void *handle) { return cenote_account_destroy(handle); }
static int end_reservation(void *handle) { return cenote_reservation_destroy(handle); }

static void *make_pool(void) { return cenote_pool_create(); }
static void *make_counted(void) { return cenote_counted_create(); }
static void *make_chunk(void) { return cenote_chunk_create(); }
static void *make_buddy(void) { return cenote_buddy_create(1 << 16); }
static void *make_account(void) { return cenote_account_root("x"); }
static void *make_reservation(void) { return cenote_account_reserve(account, 1); }

/* What is done with a handle is `use` or `end`; both have to say the same. */
static int both(int (*use)(void *), int (*end)(void *), void *handle)
{
    int status = use(handle);
    CHECK_STATUS(end(handle), status);
    return status;
}

#define HANDLE_CASES(kind, wrong)                                                                  \
    static int kind##_null(void)                                                                   \
    {                                                                                              \
        CHECK_STATUS(end_##kind(NULL), CENOTE_OK);                                                 \
        return use_##kind(NULL);                                                                   \
    }                                                                                              \
    static int kind##_foreign(void)                                                                \
    {                                                                                              \
        /* Well inside, so that checkers of memory have nothing to say either. */                  \
        size_t words[600] = {0};                                                                   \
        CHECK_STATUS(both(use_##kind, end_##kind, words + 300), CENOTE_ERR_HANDLE);                \
        void *heap = calloc(1, 4096);                                                              \
        CHECK_STATUS(both(use_##kind, end_##kind, (char *)heap + 2048), CENOTE_ERR_HANDLE);        \
        free(heap);                                                                                \
        return both(use_##kind, end_##kind, in_foreign());                                         \
    }                                                                                              \
    static int kind##_object(void)                                                                 \
    {                                                                                              \
        return both(use_##kind, end_##kind, (char *)cenote_pool_calloc(pool, 1, 3000) + 1500);     \
    }                                                                                              \
    static int kind##_interior(void)                                                               \
    {                                                                                              \
        static const int offsets[] = {1, 2, 8, 16, 64, 96, 200, -1, -8};                           \
        for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++)                              \
            CHECK_STATUS(both(use_##kind, end_##kind, (char *)(void *)kind + offsets[i]),          \
                         CENOTE_ERR_HANDLE);                                                       \
        return both(use_##kind, end_##kind, (char *)(void *)kind + 32);                            \
    }                                                                                              \
    static int kind##_wrong_kind(void)                                                             \
    {                                                                                              \
        return both(use_##kind, end_##kind, wrong);                                                \
    }                                                                                              \
    static int kind##_double_destroy(void)                                                         \
    {                                                                                              \
        void *gone = make_##kind();                                                                \
        CHECK_STATUS(end_##kind(gone), CENOTE_OK);                                                 \
        return end_##kind(gone);                                                                   \
    }                                                                                              \
    static int kind##_after_destroy(void)                                                          \
    {                                                                                              \
        void *gone = make_##kind();                                                                \
        CHECK_STATUS(end_##kind(gone), CENOTE_OK);                                                 \
        return both(use_##kind, end_##kind, gone);                                                 \
    }                                                                                              \
    static int kind##_after_its_place_was_used_again(void)                                         \
    {                                                                                              \
        void *gone = make_##kind();                                                                \
        CHECK_STATUS(end_##kind(gone), CENOTE_OK);                                                 \
        void *next[100];                                                                           \
        for (int i = 0; i < 100; i++)                                                              \
            CHECK((next[i] = make_##kind()) != NULL && next[i] != gone);                           \
        int status = both(use_##kind, end_##kind, gone);                                           \
        for (int i = 0; i < 100; i++)                                                              \
            CHECK_STATUS(end_##kind(next[i]), CENOTE_OK);                                          \
        return status;                                                                             \
    }

HANDLE_CASES(pool, counted)
HANDLE_CASES(counted, pool)
HANDLE_CASES(chunk, buddy)
HANDLE_CASES(buddy, account)
HANDLE_CASES(account, reservation)
HANDLE_CASES(reservation, chunk)

/* Every kind where every other belongs. */
static int every_wrong_kind(void)
{
    void *handles[] = {pool, counted, chunk, buddy, account, reservation};
    int (*const uses[])(void *) = {use_pool,  use_counted, use_chunk,
                                        use_buddy, use_account, use_reservation};
    int (*const ends[])(void *) = {end_pool,  end_counted, end_chunk,
                                        end_buddy, end_account, end_reservation};
    for (int wanted = 0; wanted < 6; wanted++)
        for (int given = 0; given < 6; given++)
            if (given != wanted)
                CHECK_STATUS(both(uses[wanted], ends[wanted], handles[given]), CENOTE_ERR_HANDLE);
    return CENOTE_ERR_HANDLE;
}

static int snapshot_null(void) { return use_snapshot(NULL); }
static int snapshot_foreign(void) { return use_snapshot(in_foreign()); }
static int snapshot_interior(void) { return use_snapshot((char *)(void *)account + 1); }
static int snapshot_after_destroy(void)
{
    void *gone = make_pool();
    CHECK_STATUS(end_pool(gone), CENOTE_OK);
    return use_snapshot(gone);
}

/* ---- objects ---------------------------------------------------------------------------------- */

static int pool_free_null(void) { return cenote_pool_free(pool, NULL); }
static int pool_free_foreign(void)
{
    CHECK_STATUS(cenote_pool_free(pool, buffer), CENOTE_DECLINED);
    return cenote_pool_free(pool, &foreign);
}
static int pool_free_interior(void)
{
    char *large = cenote_pool_alloc(pool, 100000);
    CHECK_STATUS(cenote_pool_free(pool, large + 1), CENOTE_DECLINED);
    return cenote_pool_free(pool, large + 4096);
}
static int pool_free_double(void)
{
    char *large = cenote_pool_alloc(pool, 100000);
    CHECK_STATUS(cenote_pool_free(pool, large), CENOTE_OK);
    return cenote_pool_free(pool, large);
}
static int pool_free_cross_pool(void)
{
    void *large = cenote_pool_alloc(other_pool, 100000);
    return cenote_pool_free(pool, large);
}
static int pool_free_after_reset(void)
{
    void *large = cenote_pool_alloc(other_pool, 100000);
    cenote_pool_reset(other_pool);
    return cenote_pool_free(other_pool, large);
}

#define OBJECT_CASES(kind, size)                                                                   \
    static int kind##_free_null(void) { return cenote_##kind##_free(kind, NULL); }                 \
    static int kind##_free_foreign(void)                                                           \
    {                                                                                              \
        char on_stack[64] = {0};                                                                   \
        CHECK_STATUS(cenote_##kind##_free(kind, on_stack), CENOTE_ERR_FOREIGN);                    \
        CHECK_STATUS(cenote_##kind##_free(kind, (void *)1), CENOTE_ERR_FOREIGN);                   \
        CHECK_STATUS(cenote_##kind##_free(kind, (void *)UINTPTR_MAX), CENOTE_ERR_FOREIGN);         \
        CHECK_STATUS(cenote_##kind##_free(kind, (void *)kind), CENOTE_ERR_FOREIGN);                \
        return cenote_##kind##_free(kind, &foreign);                                               \
    }                                                                                              \
    static int kind##_free_interior(void)                                                          \
    {                                                                                              \
        char *object = cenote_##kind##_alloc(kind, size);                                          \
        int status = cenote_##kind##_free(kind, object + 1);                                       \
        CHECK_STATUS(cenote_##kind##_free(kind, object), CENOTE_OK);                               \
        return status;                                                                             \
    }                                                                                              \
    static int kind##_free_double(void)                                                            \
    {                                                                                              \
        void *object = cenote_##kind##_alloc(other_##kind, size);                                  \
        CHECK_STATUS(cenote_##kind##_free(other_##kind, object), CENOTE_OK);                       \
        return cenote_##kind##_free(other_##kind, object);                                         \
    }                                                                                              \
    static int kind##_free_cross_pool(void)                                                        \
    {                                                                                              \
        void *object = cenote_##kind##_alloc(other_##kind, size);                                  \
        int status = cenote_##kind##_free(kind, object);                                           \
        CHECK_STATUS(cenote_##kind##_free(other_##kind, object), CENOTE_OK);                       \
        return status;                                                                             \
    }

OBJECT_CASES(counted, 100)
OBJECT_CASES(chunk, 100)
OBJECT_CASES(buddy, 5000)

static int counted_free_large_double(void)
{
    void *large = cenote_counted_alloc(counted, 100000);
    CHECK_STATUS(cenote_counted_free(counted, large), CENOTE_OK);
    return cenote_counted_free(counted, large);
}
static int counted_free_header(void)
{
    char *object = cenote_counted_alloc(counted, 100);
    int status = cenote_counted_free(counted, (char *)((uintptr_t)object & ~(uintptr_t)4095));
    CHECK_STATUS(cenote_counted_free(counted, object), CENOTE_OK);
    return status;
}
static int counted_free_after_reset(void)
{
    void *object = cenote_counted_alloc(other_counted, 100);
    cenote_counted_reset(other_counted);
    return cenote_counted_free(other_counted, object);
}
static int counted_realloc_foreign(void)
{
    char on_stack[64] = {0};
    size_t live = cenote_counted_live(counted);
    int status = NONE(cenote_counted_realloc(counted, on_stack, 64, 128));
    CHECK_SIZE(cenote_counted_live(counted), live);
    return status;
}
static int counted_realloc_freed(void)
{
    void *keep = cenote_counted_alloc(counted, 64), *object = cenote_counted_alloc(counted, 64);
    CHECK_STATUS(cenote_counted_free(counted, object), CENOTE_OK);
    int status = NONE(cenote_counted_realloc(counted, object, 64, 64));
    CHECK_STATUS(cenote_counted_free(counted, keep), CENOTE_OK);
    return status;
}
static int pool_realloc_foreign(void)
{
    char on_stack[64] = {0};
    return NONE(cenote_pool_realloc(pool, on_stack, 64, 128));
}
static int pool_realloc_freed(void)
{
    void *large = cenote_pool_alloc(pool, 100000);
    CHECK_STATUS(cenote_pool_free(pool, large), CENOTE_OK);
    return NONE(cenote_pool_realloc(pool, large, 100000, 128));
}
static int pool_realloc_too_much(void)
{
    return NONE(cenote_pool_realloc(pool, cenote_pool_alloc(pool, 100000), 200000, 300000));
}
static int chunk_realloc_freed(void)
{
    void *keep = cenote_chunk_alloc(chunk, 64), *object = cenote_chunk_alloc(chunk, 64);
    CHECK_STATUS(cenote_chunk_free(chunk, object), CENOTE_OK);
    int status = NONE(cenote_chunk_realloc(chunk, object, 64, 64));
    CHECK_STATUS(cenote_chunk_free(chunk, keep), CENOTE_OK);
    return status;
}
static int chunk_free_between(void)
{
    char *object = cenote_chunk_alloc(chunk, 100);
    int status = cenote_chunk_free(chunk, object + 32);
    CHECK_STATUS(cenote_chunk_free(chunk, object), CENOTE_OK);
    return status;
}
static int chunk_free_double_among_others(void)
{
    void *keep[20], *object = NULL;
    for (int i = 0; i < 20; i++)
        keep[i] = cenote_chunk_alloc(chunk, 100);
    object = keep[7];
    CHECK_STATUS(cenote_chunk_free(chunk, object), CENOTE_OK);
    int status = cenote_chunk_free(chunk, object);
    for (int i = 0; i < 20; i++)
        if (i != 7)
            CHECK_STATUS(cenote_chunk_free(chunk, keep[i]), CENOTE_OK);
    return status;
}
static int chunk_free_large_interior(void)
{
    char *large = cenote_chunk_alloc(chunk, 100000);
    int status = cenote_chunk_free(chunk, large + 4096);
    CHECK_STATUS(cenote_chunk_free(chunk, large), CENOTE_OK);
    return status;
}
static int chunk_free_after_reset(void)
{
    void *object = cenote_chunk_alloc(other_chunk, 100);
    cenote_chunk_reset(other_chunk);
    return cenote_chunk_free(other_chunk, object);
}
static int chunk_realloc_foreign(void)
{
    char on_stack[64] = {0};
    return NONE(cenote_chunk_realloc(chunk, on_stack, 64, 128));
}
static int buddy_free_middle(void)
{
    char *block = cenote_buddy_alloc(buddy, 10000);
    int status = cenote_buddy_free(buddy, block + 4096);
    CHECK_STATUS(cenote_buddy_free(buddy, block), CENOTE_OK);
    return status;
}
static int mp_free_foreign(void)
{
    mp_free(counted, &foreign);
    return cenote_last_status();
}
static int mp_destroy_twice(void)
{
    mp_pool_t *mp = mp_create_pool(4096);
    mp_destroy_pool(mp);
    mp_destroy_pool(mp);
    return cenote_last_status();
}
static int policy_unknown(void) { return cenote_set_misuse_policy(3); }
static int policy_negative(void) { return cenote_set_misuse_policy(-1); }

/* What each returns, and whether it is misuse, which by default is reported and aborts. */
static const struct { const char *name; int (*run)(void); int status, misuse; } cases[] = {
#define HANDLE(kind)                                                                               \
    {#kind "_null", kind##_null, CENOTE_ERR_HANDLE, 0},                                            \
    {#kind "_foreign", kind##_foreign, CENOTE_ERR_HANDLE, 1},                                      \
    {#kind "_object", kind##_object, CENOTE_ERR_HANDLE, 1},                                        \
    {#kind "_interior", kind##_interior, CENOTE_ERR_HANDLE, 1},                                    \
    {#kind "_wrong_kind", kind##_wrong_kind, CENOTE_ERR_HANDLE, 1},                                \
    {#kind "_double_destroy", kind##_double_destroy, CENOTE_ERR_HANDLE, 1},                        \
    {#kind "_after_destroy", kind##_after_destroy, CENOTE_ERR_HANDLE, 1},                          \
    {#kind "_after_its_place_was_used_again", kind##_after_its_place_was_used_again,               \
     CENOTE_ERR_HANDLE, 1},
    HANDLE(pool) HANDLE(counted) HANDLE(chunk) HANDLE(buddy) HANDLE(account)
    HANDLE(reservation)
#define CASE(name, status, misuse) {#name, name, status, misuse},
    CASE(every_wrong_kind, CENOTE_ERR_HANDLE, 1)
    CASE(snapshot_null, CENOTE_ERR_HANDLE, 0)
    CASE(snapshot_foreign, CENOTE_ERR_HANDLE, 1)
    CASE(snapshot_interior, CENOTE_ERR_HANDLE, 1)
    CASE(snapshot_after_destroy, CENOTE_ERR_HANDLE, 1)
    CASE(pool_free_null, CENOTE_OK, 0)
    CASE(pool_free_foreign, CENOTE_DECLINED, 0)
    CASE(pool_free_interior, CENOTE_DECLINED, 0)
    CASE(pool_free_double, CENOTE_DECLINED, 0)
    CASE(pool_free_cross_pool, CENOTE_DECLINED, 0)
    CASE(pool_free_after_reset, CENOTE_DECLINED, 0)
    CASE(counted_free_null, CENOTE_OK, 0)
    CASE(counted_free_foreign, CENOTE_ERR_FOREIGN, 1)
    CASE(counted_free_interior, CENOTE_ERR_INTERIOR, 1)
    CASE(counted_free_double, CENOTE_ERR_EMPTY, 1)
    CASE(counted_free_large_double, CENOTE_ERR_FOREIGN, 1)
    CASE(counted_free_header, CENOTE_ERR_HEADER, 1)
    CASE(counted_free_cross_pool, CENOTE_ERR_FOREIGN, 1)
    CASE(counted_free_after_reset, CENOTE_ERR_EMPTY, 1)
    CASE(counted_realloc_foreign, CENOTE_ERR_FOREIGN, 1)
    CASE(counted_realloc_freed, CENOTE_ERR_INTERIOR, 1)
    CASE(pool_realloc_foreign, CENOTE_ERR_FOREIGN, 1)
    CASE(pool_realloc_freed, CENOTE_ERR_FOREIGN, 1)
    CASE(pool_realloc_too_much, CENOTE_ERR_LAYOUT, 1)
    CASE(chunk_realloc_freed, CENOTE_ERR_DOUBLE, 1)
    CASE(chunk_free_null, CENOTE_OK, 0)
    CASE(chunk_free_foreign, CENOTE_ERR_FOREIGN, 1)
    CASE(chunk_free_interior, CENOTE_ERR_INTERIOR, 1)
    CASE(chunk_free_between, CENOTE_ERR_INTERIOR, 1)
    CASE(chunk_free_double, CENOTE_ERR_EMPTY, 1)
    CASE(chunk_free_double_among_others, CENOTE_ERR_DOUBLE, 1)
    CASE(chunk_free_large_interior, CENOTE_ERR_INTERIOR, 1)
    CASE(chunk_free_cross_pool, CENOTE_ERR_FOREIGN, 1)
    CASE(chunk_free_after_reset, CENOTE_ERR_EMPTY, 1)
    CASE(chunk_realloc_foreign, CENOTE_ERR_FOREIGN, 1)
    CASE(buddy_free_null, CENOTE_OK, 0)
    CASE(buddy_free_foreign, CENOTE_ERR_FOREIGN, 1)
    CASE(buddy_free_interior, CENOTE_ERR_INTERIOR, 1)
    CASE(buddy_free_middle, CENOTE_ERR_INTERIOR, 1)
    CASE(buddy_free_double, CENOTE_ERR_DOUBLE, 1)
    CASE(buddy_free_cross_pool, CENOTE_ERR_FOREIGN, 1)
    CASE(mp_free_foreign, CENOTE_ERR_FOREIGN, 1)
    CASE(mp_destroy_twice, CENOTE_ERR_HANDLE, 1)
    CASE(policy_unknown, CENOTE_ERR_CONFIG, 0)
    CASE(policy_negative, CENOTE_ERR_CONFIG, 0)
};

static int reports;

static void count(void *data, const char *message)
{
    CHECK(data == &reports && strncmp(message, "cenote: ", 8) == 0);
    CHECK(strcmp(message, cenote_last_error()) == 0);
    reports++;
    fprintf(stderr, "%s\n", message);
}

static void run(size_t index)
{
    /* In each of the pools something lives that must be there afterwards. */
    void *lives[4][10];
    pool = cenote_pool_create(), other_pool = cenote_pool_create();
    counted = cenote_counted_create(), other_counted = cenote_counted_create();
    chunk = cenote_chunk_create(), other_chunk = cenote_chunk_create();
    buddy = cenote_buddy_create(1 << 20), other_buddy = cenote_buddy_create(1 << 20);
    account = cenote_account_root("misused");
    reservation = cenote_account_reserve(account, 100);
    other_reservation = cenote_account_reserve(account, 10);
    for (int i = 0; i < 10; i++) {
        memset(lives[0][i] = cenote_pool_alloc(pool, 100), i, 100);
        memset(lives[1][i] = cenote_counted_alloc(counted, 100), i, 100);
        memset(lives[2][i] = cenote_chunk_alloc(chunk, 100), i, 100);
        memset(lives[3][i] = cenote_buddy_alloc(buddy, 100), i, 100);
    }
    int status = cases[index].run();
    if (status != cases[index].status) {
        fprintf(stderr, "%s gave %d, not %d\n", cases[index].name, status, cases[index].status);
        exit(1);
    }
    for (int i = 0; i < 10; i++) {
        for (int p = 0; p < 4; p++)
            CHECK(is_filled(lives[p][i], i, 100));
        CHECK_STATUS(cenote_counted_free(counted, lives[1][i]), CENOTE_OK);
        CHECK_STATUS(cenote_chunk_free(chunk, lives[2][i]), CENOTE_OK);
        CHECK_STATUS(cenote_buddy_free(buddy, lives[3][i]), CENOTE_OK);
    }
    CHECK_SIZE(cenote_counted_live(counted), 0);
    CHECK_STATUS(cenote_chunk_is_empty(chunk), 1);
    CHECK_SIZE(cenote_buddy_largest_free(buddy), 1 << 20);
    CHECK_SIZE(cenote_reservation_bytes(reservation), 100);
    CHECK_SIZE(cenote_reservation_bytes(other_reservation), 10);
    CHECK_SIZE(cenote_account_held(account), 110);
    CHECK_STATUS(cenote_reservation_destroy(reservation), CENOTE_OK);
    CHECK_STATUS(cenote_reservation_destroy(other_reservation), CENOTE_OK);
    CHECK_SIZE(cenote_account_live(account), 0);
    CHECK_SIZE(cenote_account_limit(account), CENOTE_NO_LIMIT);
    CHECK_STATUS(cenote_pool_destroy(pool), CENOTE_OK);
    CHECK_STATUS(cenote_pool_destroy(other_pool), CENOTE_OK);
    CHECK_STATUS(cenote_counted_destroy(counted), CENOTE_OK);
    CHECK_STATUS(cenote_counted_destroy(other_counted), CENOTE_OK);
    CHECK_STATUS(cenote_chunk_destroy(chunk), CENOTE_OK);
    CHECK_STATUS(cenote_chunk_destroy(other_chunk), CENOTE_OK);
    CHECK_STATUS(cenote_buddy_destroy(buddy), CENOTE_OK);
    CHECK_STATUS(cenote_buddy_destroy(other_buddy), CENOTE_OK);
    CHECK_STATUS(cenote_account_destroy(account), CENOTE_OK);
}

int main(int argc, char **argv)
{
    const size_t number = sizeof cases / sizeof *cases;
    if (argc > 1 && strcmp(argv[1], "list") == 0) {
        for (size_t i = 0; i < number; i++)
            printf("%s %s\n", cases[i].name, cases[i].misuse ? "misuse" : "fine");
        return 0;
    }
    const char *policy = argc > 2 ? argv[2] : "abort";
    /* The default is to abort. */
    if (strcmp(policy, "return") == 0)
        CHECK_STATUS(cenote_set_misuse_policy(CENOTE_MISUSE_RETURN), CENOTE_MISUSE_ABORT);
    if (strcmp(policy, "report") == 0) {
        CHECK_STATUS(cenote_set_misuse_policy(CENOTE_MISUSE_REPORT), CENOTE_MISUSE_ABORT);
        cenote_on_misuse(count, &reports);
    }
    int ran = 0;
    for (size_t i = 0; argc > 1 && i < number; i++)
        if (strcmp(argv[1], "all") == 0 || strcmp(argv[1], cases[i].name) == 0) {
            run(i);
            ran++;
            if (strcmp(policy, "report") == 0)
                CHECK((reports > 0) == cases[i].misuse);
        }
    CHECK(ran > 0);
    return 0;
}
