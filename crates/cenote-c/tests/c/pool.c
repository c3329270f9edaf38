/* cenote_pool_*: what the header says of them. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static char order[64];

static void note(void *data)
{
    strcat(order, data);
}

static void memory_is_what_was_asked_for(void)
{
    cenote_pool_t *pool = cenote_pool_create();
    CHECK(pool != NULL);
    CHECK_SIZE(cenote_pool_held(pool), 0);
    for (size_t size = 1; size <= 3000; size += 37) {
        void *plain = cenote_pool_alloc(pool, size);
        CHECK(plain != NULL && is_aligned(plain, 16));
        memset(plain, 0xa5, size);
        void *zeroed = cenote_pool_zalloc(pool, size);
        CHECK(zeroed != NULL && is_aligned(zeroed, 16) && is_filled(zeroed, 0, size));
        CHECK(is_filled(plain, 0xa5, size));
    }
    CHECK(cenote_pool_used(pool) <= cenote_pool_held(pool));
    /* What was used before is zeroed all the same. */
    CHECK_STATUS(cenote_pool_reset(pool), CENOTE_OK);
    CHECK_SIZE(cenote_pool_used(pool), 0);
    CHECK(is_filled(cenote_pool_calloc(pool, 100, 30), 0, 3000));
    for (size_t align = 1; align <= 1 << 16; align *= 2) {
        void *aligned = cenote_pool_alloc_aligned(pool, 10, align);
        CHECK(aligned != NULL && is_aligned(aligned, align));
        memset(aligned, 1, 10);
    }
    /* Bytes are packed: each below the one before, with nothing between that is not a gap. */
    char *one = cenote_pool_alloc_bytes(pool, 3), *two = cenote_pool_alloc_bytes(pool, 5);
    CHECK(one != NULL && two + 5 + GAP == one);
    CHECK_STATUS(cenote_pool_destroy(pool), CENOTE_OK);
    CHECK_STATUS(cenote_pool_destroy(NULL), CENOTE_OK);
}

static void copies_are_copies(void)
{
    cenote_pool_t *pool = cenote_pool_create();
    char text[] = "a text";
    char *copy = cenote_pool_strdup(pool, text), *part = cenote_pool_strndup(pool, text, 3);
    char *bytes = cenote_pool_memdup(pool, text, sizeof text);
    memset(text, 'x', sizeof text);
    CHECK(strcmp(copy, "a text") == 0 && strcmp(part, "a t") == 0 && strcmp(bytes, "a text") == 0);
    CHECK(strcmp(cenote_pool_strdup(pool, NULL), "") == 0);
    CHECK(is_filled(cenote_pool_strndup(pool, NULL, 9), 0, 10));
    CHECK(cenote_pool_memdup(pool, NULL, 9) != NULL);
    CHECK(cenote_pool_memdup(pool, NULL, 0) != NULL);
    CHECK_NONE(cenote_pool_strndup(pool, text, SIZE_MAX), CENOTE_ERR_SIZE);
    cenote_pool_destroy(pool);
}

static void objects_grow_and_shrink(void)
{
    cenote_pool_t *pool = cenote_pool_create();
    char *object = cenote_pool_realloc(pool, NULL, 0, 20);
    memcpy(object, "nineteen characters", 20);
    /* The newest grows in place, whatever its size is. */
    for (size_t size = 20; size < 1000; size += 20) {
        char *grown = cenote_pool_realloc(pool, object, size, size + 20);
        CHECK(grown == object);
    }
    void *newer = cenote_pool_alloc(pool, 8);
    char *moved = cenote_pool_realloc(pool, object, 1000, 2000);
    CHECK(moved != object && (void *)moved != newer && strcmp(moved, "nineteen characters") == 0);
    /* Small, large, larger, and back. */
    size_t sizes[] = {2000, 30000, 300000, 200000, 100, 1, 0, 50};
    for (size_t i = 1; i < sizeof sizes / sizeof *sizes; i++) {
        moved = cenote_pool_realloc(pool, moved, sizes[i - 1], sizes[i]);
        CHECK(moved != NULL && is_aligned(moved, 16));
        CHECK(strncmp(moved, "nineteen characters", sizes[i] < 20 ? sizes[i] : 20) == 0 ||
              sizes[i - 1] < 20);
    }
    /* One without alignment becomes one with. */
    char *packed = cenote_pool_strdup(pool, "packed");
    packed = cenote_pool_realloc(pool, packed, 7, 100);
    CHECK(is_aligned(packed, 16) && strcmp(packed, "packed") == 0);
    CHECK_NONE(cenote_pool_realloc(pool, packed, 100, SIZE_MAX), CENOTE_ERR_SIZE);
    CHECK(strcmp(packed, "packed") == 0);
    cenote_pool_destroy(pool);
}

static void large_objects_are_freed_early(void)
{
    cenote_pool_t *pool = cenote_pool_create();
    char *large = cenote_pool_alloc(pool, 1 << 20), *small = cenote_pool_alloc(pool, 100);
    CHECK(cenote_pool_held(pool) >= 1 << 20);
    CHECK_STATUS(cenote_pool_free(pool, small), CENOTE_DECLINED);
    CHECK_STATUS(cenote_pool_free(pool, large + 1), CENOTE_DECLINED);
    memset(large, 1, 1 << 20);
    CHECK_STATUS(cenote_pool_free(pool, large), CENOTE_OK);
    CHECK(cenote_pool_held(pool) < 1 << 20);
    CHECK_STATUS(cenote_pool_free(pool, large), CENOTE_DECLINED);
    CHECK_STATUS(cenote_pool_free(pool, NULL), CENOTE_OK);
    memset(small, 1, 100);
    cenote_pool_destroy(pool);
}

static cenote_pool_t *ending;

static void add_another(void *data)
{
    note(data);
    /* The pool can be used to its end. */
    char *late = cenote_pool_strdup(ending, "L");
    CHECK(late != NULL && cenote_pool_alloc(ending, 100000) != NULL);
    CHECK(cenote_pool_cleanup_add(ending, note, late) != 0);
}

static void try_to_end(void *data)
{
    note(data);
    CHECK_STATUS(cenote_pool_reset(ending), CENOTE_ERR_BUSY);
    CHECK_STATUS(cenote_pool_destroy(ending), CENOTE_ERR_BUSY);
    CHECK(strstr(cenote_last_error(), "cleanup") != NULL);
}

static void cleanups_run_once_the_last_first(void)
{
    ending = cenote_pool_create();
    uint64_t first = cenote_pool_cleanup_add(ending, note, "1");
    uint64_t second = cenote_pool_cleanup_add(ending, note, "2");
    uint64_t third = cenote_pool_cleanup_add(ending, add_another, "3");
    uint64_t fourth = cenote_pool_cleanup_add(ending, try_to_end, "4");
    CHECK(first && second && third && fourth && first != second && third != fourth);
    CHECK_SIZE(cenote_pool_cleanup_add(ending, NULL, "5"), 0);
    CHECK_STATUS(cenote_last_status(), CENOTE_ERR_CONFIG);

    CHECK_STATUS(cenote_pool_cleanup_cancel(ending, second), CENOTE_OK);
    CHECK_STATUS(cenote_pool_cleanup_cancel(ending, second), CENOTE_ERR_NOT_FOUND);
    CHECK_STATUS(cenote_pool_cleanup_run(ending, second), CENOTE_ERR_NOT_FOUND);
    CHECK_STATUS(cenote_pool_cleanup_run(ending, 0), CENOTE_ERR_NOT_FOUND);
    CHECK_STATUS(cenote_pool_cleanup_run(ending, first), CENOTE_OK);
    CHECK(strcmp(order, "1") == 0);

    CHECK_STATUS(cenote_pool_reset(ending), CENOTE_OK);
    CHECK(strcmp(order, "143L") == 0);
    CHECK_STATUS(cenote_pool_reset(ending), CENOTE_OK);
    CHECK(strcmp(order, "143L") == 0);

    /* One that is run early may not end its pool either, and the pool is not held for ever. */
    order[0] = '\0';
    uint64_t early = cenote_pool_cleanup_add(ending, try_to_end, "e");
    CHECK_STATUS(cenote_pool_cleanup_run(ending, early), CENOTE_OK);
    CHECK(cenote_pool_cleanup_add(ending, try_to_end, "6") != 0);
    CHECK(cenote_pool_cleanup_add(ending, add_another, "7") != 0);
    CHECK_STATUS(cenote_pool_destroy(ending), CENOTE_OK);
    CHECK(strcmp(order, "e7L6") == 0);
}

static void cleanups_of_one_pool_are_not_anothers(void)
{
    order[0] = '\0';
    cenote_pool_t *one = cenote_pool_create(), *two = cenote_pool_create();
    uint64_t of_one = cenote_pool_cleanup_add(one, note, "1");
    uint64_t of_two = cenote_pool_cleanup_add(two, note, "2");
    CHECK_STATUS(cenote_pool_cleanup_cancel(two, of_one), CENOTE_ERR_NOT_FOUND);
    CHECK_STATUS(cenote_pool_cleanup_run(one, of_two), CENOTE_ERR_NOT_FOUND);
    cenote_pool_destroy(one);
    /* Its number is not found in what stands in its place now. */
    one = cenote_pool_create();
    CHECK(cenote_pool_cleanup_add(one, note, "3") != of_one);
    CHECK_STATUS(cenote_pool_cleanup_run(one, of_one), CENOTE_ERR_NOT_FOUND);
    cenote_pool_destroy(two);
    cenote_pool_destroy(one);
    CHECK(strcmp(order, "123") == 0);
}

static void no_two_cleanups_have_one_number(void)
{
    enum { POOLS = 40, EACH = 10 };
    cenote_pool_t *pools[POOLS];
    uint64_t numbers[POOLS * EACH];
    order[0] = '\0';
    for (int i = 0; i < POOLS; i++) {
        pools[i] = cenote_pool_create();
        for (int j = 0; j < EACH; j++)
            numbers[i * EACH + j] = cenote_pool_cleanup_add(pools[i], note, "");
    }
    for (int i = 0; i < POOLS * EACH; i++)
        for (int j = 0; j < i; j++)
            CHECK(numbers[i] != numbers[j]);
    for (int i = 0; i < POOLS; i++)
        cenote_pool_destroy(pools[i]);
}

static void a_forked_child_goes_on_with_its_pools(void)
{
    cenote_pool_t *pool = cenote_pool_create();
    char *text = cenote_pool_strdup(pool, "from before");
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(strcmp(text, "from before") == 0);
        CHECK(cenote_pool_alloc(pool, 100000) != NULL);
        CHECK_STATUS(cenote_pool_destroy(pool), CENOTE_OK);
        cenote_pool_t *own = cenote_pool_create();
        CHECK(cenote_pool_alloc(own, 100) != NULL);
        CHECK_STATUS(cenote_pool_destroy(own), CENOTE_OK);
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(strcmp(text, "from before") == 0);
    CHECK_STATUS(cenote_pool_destroy(pool), CENOTE_OK);
}

static int is_open(int fd)
{
    return fcntl(fd, F_GETFD) != -1 || errno != EBADF;
}

static void files_end_with_their_pool(void)
{
    char path[] = "/tmp/cenote-c-test-XXXXXX";
    int file = mkstemp(path), other = open("/dev/null", O_RDONLY);
    CHECK(file >= 0 && other >= 0);
    cenote_pool_t *pool = cenote_pool_create();
    CHECK_STATUS(cenote_pool_attach_fd(pool, file), CENOTE_OK);
    CHECK_STATUS(cenote_pool_attach_fd(pool, other), CENOTE_OK);
    CHECK_STATUS(cenote_pool_attach_fd(pool, -1), CENOTE_ERR_CONFIG);
    CHECK_STATUS(cenote_pool_delete_path(pool, path), CENOTE_OK);
    CHECK_STATUS(cenote_pool_delete_path(pool, "/tmp/cenote-c-test-there-is-none"), CENOTE_OK);
    CHECK_STATUS(cenote_pool_delete_path(pool, NULL), CENOTE_ERR_CONFIG);
    CHECK_STATUS(cenote_pool_close_fd(pool, other), CENOTE_OK);
    CHECK(!is_open(other) && is_open(file) && access(path, F_OK) == 0);
    CHECK_STATUS(cenote_pool_close_fd(pool, other), CENOTE_ERR_NOT_FOUND);
    CHECK_STATUS(cenote_pool_destroy(pool), CENOTE_OK);
    CHECK(!is_open(file) && access(path, F_OK) != 0);
}

static void options_are_checked(void)
{
    cenote_pool_options_t options = CENOTE_POOL_OPTIONS_INIT;
    options.name = "session";
    options.first_block = 256;
    options.largest_block = 8192;
    options.large_threshold = 1024;
    options.zero_on_release = 1;
    cenote_pool_t *pool = cenote_pool_create_with(&options);
    CHECK(cenote_pool_alloc(pool, 100) != NULL);
    CHECK_SIZE(cenote_pool_held(pool), 256);
    cenote_pool_destroy(pool);

    CHECK((pool = cenote_pool_create_with(NULL)) != NULL);
    cenote_pool_destroy(pool);
    options.first_block = 300;
    CHECK_NONE(cenote_pool_create_with(&options), CENOTE_ERR_CONFIG);
    CHECK(strcmp(cenote_last_error(),
                 "first_block is 300: it must be a power of two from 256 to 65536 bytes") == 0);
    options.size = 0;
    CHECK_NONE(cenote_pool_create_with(&options), CENOTE_ERR_CONFIG);
    /* A program that was compiled with an older header: what it does not know is the default. */
    options.size = offsetof(cenote_pool_options_t, first_block);
    CHECK((pool = cenote_pool_create_with(&options)) != NULL);
    CHECK(cenote_pool_alloc(pool, 1) != NULL);
    CHECK_SIZE(cenote_pool_held(pool), 4096);
    cenote_pool_destroy(pool);
    /* One that was compiled with a newer one: fine, as long as it does not use what is new. */
    struct {
        cenote_pool_options_t known;
        size_t unknown;
    } newer = {CENOTE_POOL_OPTIONS_INIT, 0};
    newer.known.size = sizeof newer;
    CHECK((pool = cenote_pool_create_with(&newer.known)) != NULL);
    cenote_pool_destroy(pool);
    newer.unknown = 1;
    CHECK_NONE(cenote_pool_create_with(&newer.known), CENOTE_ERR_CONFIG);
}

static void many_pools_at_once_are_all_themselves(void)
{
    enum { MANY = 2000 };
    static cenote_pool_t *pools[MANY];
    static int *numbers[MANY];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            CHECK((pools[i] = cenote_pool_create()) != NULL);
            CHECK((numbers[i] = cenote_pool_alloc(pools[i], sizeof(int))) != NULL);
            *numbers[i] = i;
        }
        for (int i = 0; i < MANY; i++)
            CHECK(*numbers[i] == i);
        for (int i = 0; i < MANY; i++)
            CHECK_STATUS(cenote_pool_destroy(pools[(i * 7) % MANY]), CENOTE_OK);
    }
}

int main(void)
{
    memory_is_what_was_asked_for();
    copies_are_copies();
    objects_grow_and_shrink();
    large_objects_are_freed_early();
    cleanups_run_once_the_last_first();
    cleanups_of_one_pool_are_not_anothers();
    no_two_cleanups_have_one_number();
    a_forked_child_goes_on_with_its_pools();
    files_end_with_their_pool();
    options_are_checked();
    many_pools_at_once_are_all_themselves();
    return 0;
}
