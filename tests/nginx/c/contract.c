/*
 * What the pool functions promise, and where cenote's promise more. Each case is a function;
 * the first argument names the one to run, "all" runs all.
 */

#include "world.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>


void *cenote_nginx_status(ngx_pool_t *pool, size_t worker, int json,
    size_t *length);


static ngx_log_t  plain;
static int        passthrough;


#define check(condition)                                                      \
    if (!(condition)) {                                                       \
        printf("line %d: not so: %s\n", __LINE__, #condition);                \
        exit(1);                                                              \
    }


/* handlers that note the order they ran in */

static int           order[32];
static int           norder;
static ngx_pool_t   *adding_to;


static void
note(void *data)
{
    order[norder++] = *(int *) data;
}


static void
note_and_add(void *data)
{
    ngx_pool_cleanup_t  *c;

    note(data);

    c = ngx_pool_cleanup_add(adding_to, sizeof(int));
    *(int *) c->data = 100 + *(int *) data;
    c->handler = note;
}


static void
add(ngx_pool_t *pool, ngx_pool_cleanup_pt handler, int n)
{
    ngx_pool_cleanup_t  *c;

    c = ngx_pool_cleanup_add(pool, sizeof(int));
    *(int *) c->data = n;
    c->handler = handler;
}


static void
a_pool_is_its_head_and_a_window(void)
{
    ngx_pool_t  *p;

    p = ngx_create_pool(4096, &plain);

    check((uintptr_t) p % 16 == 0);
    check(sizeof(ngx_pool_t) == 80);
    check(p->max == 4016);
    check(p->current == p && p->d.next == NULL && p->d.failed == 0);
    check(p->chain == NULL && p->large == NULL && p->cleanup == NULL);
    check(p->log == &plain);
    check(p->d.last <= p->d.end);

    if (!passthrough) {
        check(p->d.last == (u_char *) p + 80);
        check(p->d.end == (u_char *) p + 4096);
    }

    ngx_destroy_pool(p);

    p = ngx_create_pool(16384, &plain);
    check(p->max == 4095);
    ngx_destroy_pool(p);

    ngx_pagesize = 0;
    p = ngx_create_pool(16384, &plain);
    check(p->max == 16304);
    ngx_destroy_pool(p);
    ngx_pagesize = 4096;
}


static void
objects_are_apart_aligned_and_keep_what_is_in_them(void)
{
    int          i, round;
    size_t       size, sizes[2000];
    u_char      *objects[2000];
    ngx_pool_t  *p;

    for (round = 0; round < 4; round++) {
        p = ngx_create_pool((size_t) 128 << (2 * round), &plain);

        for (i = 0; i < 2000; i++) {
            size = (i * 7919) % (i % 50 ? 300 : 6000);
            sizes[i] = size;

            switch (i % 4) {
            case 0:
                objects[i] = ngx_pnalloc(p, size);
                break;
            case 1:
                objects[i] = ngx_pcalloc(p, size);
                check(size == 0 || (objects[i][0] == 0 && objects[i][size - 1] == 0));
                break;
            default:
                objects[i] = ngx_palloc(p, size);
            }

            check(objects[i] != NULL);
            check(i % 4 == 0 || (uintptr_t) objects[i] % NGX_ALIGNMENT == 0);
            memset(objects[i], i & 0xff, size);
        }

        for (i = 0; i < 2000; i++) {
            for (size = 0; size < sizes[i]; size++) {
                check(objects[i][size] == (i & 0xff));
            }
        }

        ngx_destroy_pool(p);
    }
}


static void
any_size_of_pool_is_safe(void)
{
    size_t       size, n;
    u_char      *o;
    ngx_pool_t  *p;

    for (size = 0; size < 700; size++) {
        p = ngx_create_pool(size, &plain);
        check(p != NULL);
        check(p->d.last <= p->d.end);
        check((uintptr_t) p->d.end % 16 == 0);

        for (n = 0; n < 60; n++) {
            o = ngx_pnalloc(p, n % 23);
            memset(o, 1, n % 23);
            o = ngx_palloc(p, n % 31);
            check((uintptr_t) o % NGX_ALIGNMENT == 0);
            memset(o, 2, n % 31);
            /* all that a small object may be */
            o = ngx_palloc(p, p->max);
            memset(o, 3, p->max);
        }

        ngx_destroy_pool(p);
    }
}


static void
a_block_that_fails_too_often_is_passed_by(void)
{
    int          i;
    ngx_pool_t  *p;

    if (passthrough) {
        return;
    }

    /* larger blocks hold two of them, so not each object is a failure */
    p = ngx_create_pool(1024, &plain);

    for (i = 0; i < 40; i++) {
        (void) ngx_palloc(p, 900);
        check(p->d.failed <= 6);
        check((p->d.failed < 6) == (p->current == p));
    }

    check(p->current != p);
    ngx_destroy_pool(p);
}


static void
arrays_grow_in_place_and_give_back(void)
{
    int           i;
    void         *elts;
    u_char       *last;
    ngx_pool_t   *p;
    ngx_array_t  *a;

    p = ngx_create_pool(4096, &plain);
    last = p->d.last;

    a = ngx_array_create(p, 3, 7);
    elts = a->elts;

    for (i = 0; i < 50; i++) {
        memset(ngx_array_push(a), i, 7);
    }

    check(passthrough || a->elts == elts);

    for (i = 0; i < 50; i++) {
        check(((u_char *) a->elts)[7 * i + 6] == i);
    }

    ngx_array_destroy(a);
    check(passthrough || p->d.last == last);

    ngx_destroy_pool(p);
}


static void
large_objects_are_freed_and_nothing_else(void)
{
    int          i, n;
    u_char      *small, *large[3000];
    ngx_pool_t  *p, *other;

    p = ngx_create_pool(1024, &plain);
    other = ngx_create_pool(1024, &plain);

    small = ngx_palloc(p, 10);

    if (!passthrough) {
        check(ngx_pfree(p, small) == NGX_DECLINED);
        check(p->large == NULL);
    }

    check(ngx_pfree(p, NULL) == NGX_DECLINED);
    check(ngx_pfree(p, &i) == NGX_DECLINED);

    for (i = 0; i < 3000; i++) {
        large[i] = ngx_palloc(p, 2000 + i);
        memset(large[i], i & 0xff, 2000 + i);
        check(p->large->alloc == large[i]);
    }

    /* every third, then every second, then the rest; each is freed once */
    for (n = 3; n; n--) {
        for (i = 0; i < 3000; i++) {
            if (large[i] == NULL || i % n) {
                continue;
            }

            check(large[i][0] == (i & 0xff) && large[i][1999 + i] == (i & 0xff));
            check(ngx_pfree(other, large[i]) == NGX_DECLINED);
            check(ngx_pfree(p, large[i] + 16) == NGX_DECLINED);
            check(ngx_pfree(p, large[i]) == NGX_OK);
            check(ngx_pfree(p, large[i]) == NGX_DECLINED);
            large[i] = NULL;
        }
    }

    check(passthrough || p->large == NULL);
    ngx_destroy_pool(p);
    ngx_destroy_pool(other);
}


static void
the_list_of_large_objects_is_that_of_the_live_ones(void)
{
    int                i, n, step, live, found;
    unsigned           seed;
    void              *large[40];
    ngx_pool_t        *p;
    ngx_pool_large_t  *l;

    p = ngx_create_pool(1024, &plain);
    memset(large, 0, sizeof(large));
    live = 0;
    seed = 1;

    for (step = 0; step < 20000; step++) {
        seed = seed * 1103515245 + 12345;
        /* up to forty and down to none, again and again */
        n = (seed >> 16) % 40;

        if (large[n]) {
            check(ngx_pfree(p, large[n]) == NGX_OK);
            large[n] = NULL;
            live--;

        } else if ((step / 500) % 2 == 0) {
            large[n] = ngx_palloc(p, 2000 + n);
            live++;
        }

        found = 0;

        for (l = p->large; l; l = l->next) {
            for (i = 0; i < 40 && large[i] != l->alloc; i++) { /* void */ }
            /* in passthrough there are other objects, too; here is none */
            check(i < 40 && l->alloc != NULL);
            found++;
        }

        check(found == live);
    }

    ngx_destroy_pool(p);
}


static void
records_of_large_objects_are_used_again(void)
{
    int          i;
    void        *o;
    u_char      *last;
    ngx_pool_t  *p;

    p = ngx_create_pool(1024, &plain);
    o = ngx_palloc(p, 5000);
    last = p->d.last;

    for (i = 0; i < 100000; i++) {
        check(ngx_pfree(p, o) == NGX_OK);
        o = i % 2 ? ngx_palloc(p, 5000) : ngx_pmemalign(p, 5000, 64);
    }

    check(p->d.last == last && p->d.next == NULL);
    ngx_destroy_pool(p);
}


static void
alignments_are_as_asked(void)
{
    size_t       a;
    void        *o;
    ngx_pool_t  *p;

    p = ngx_create_pool(1024, &plain);

    for (a = 8; a <= 65536; a *= 2) {
        o = ngx_pmemalign(p, 100, a);
        check((uintptr_t) o % a == 0);
        memset(o, 1, 100);
        check(a % 16 || ngx_pfree(p, o) == NGX_OK);
    }

    ngx_destroy_pool(p);
}


static void
cleanups_run_last_in_first_out_and_those_added_meanwhile_too(void)
{
    static int   expected[] = { 4, 3, 103, 1 };
    ngx_pool_t  *p;

    p = ngx_create_pool(256, &plain);
    adding_to = p;

    add(p, note, 1);
    add(p, NULL, 2);
    add(p, note_and_add, 3);
    add(p, note, 4);

    norder = 0;
    ngx_destroy_pool(p);
    check(norder == 4 && memcmp(order, expected, sizeof(expected)) == 0);
}


static void
others_may_change_the_list_of_cleanups(void)
{
    ngx_pool_t          *p;
    ngx_pool_cleanup_t  *c;

    p = ngx_create_pool(256, &plain);
    add(p, note, 1);
    add(p, note, 2);
    add(p, note, 3);

    /* as limit_conn does: run the newest, and unlink it */
    norder = 0;
    c = p->cleanup;
    c->handler(c->data);
    p->cleanup = c->next;

    /* as others do: switch one off, and on again */
    c = p->cleanup;
    check(*(int *) c->data == 2);
    c->handler = NULL;
    c->handler = note;
    c->next->handler = NULL;

    ngx_destroy_pool(p);
    check(norder == 2 && order[0] == 3 && order[1] == 2);

    p = ngx_create_pool(256, &plain);
    c = ngx_pool_cleanup_add(p, 0);
    check(c->data == NULL && c->handler == NULL && c->next == NULL);
    ngx_destroy_pool(p);
}


static void
a_reset_pool_is_as_new(void)
{
    int          i;
    size_t       before;
    void        *first;
    ngx_pool_t  *p;

    p = ngx_create_pool(1024, &plain);
    first = ngx_palloc(p, 16);

    for (i = 0; i < 100; i++) {
        memset(ngx_palloc(p, 500), 1, 500);
        memset(ngx_palloc(p, 5000), 1, 5000);
    }

    add(p, note, 7);
    p->chain = first;
    norder = 0;

    ngx_reset_pool(p);

    check(norder == 1 && order[0] == 7);
    check(p->cleanup == NULL && p->large == NULL && p->chain == NULL);
    check(p->current == p && p->d.next == NULL && p->d.failed == 0);

    if (!passthrough) {
        check(p->d.last == (u_char *) p + 80);
        check(ngx_palloc(p, 16) == first);

        /* and its blocks are at hand for the next one */
        before = world_allocations;

        for (i = 0; i < 100; i++) {
            (void) ngx_palloc(p, 500);
        }

        check(world_allocations == before);
    }

    ngx_destroy_pool(p);
    check(norder == 1);
}


static void
a_requests_pools_cost_no_call_for_memory(void)
{
    int          i, n;
    size_t       before;
    ngx_pool_t  *connection, *request;

    if (passthrough) {
        return;
    }

    before = 0;

    for (i = 0; i < 10000; i++) {

        if (i == 10) {
            before = world_allocations;
        }

        connection = ngx_create_pool(512, &plain);
        request = ngx_create_pool(4096, &plain);

        for (n = 0; n < 100; n++) {
            (void) ngx_palloc(request, 8 + n % 200);
        }

        ngx_destroy_pool(request);
        ngx_destroy_pool(connection);
    }

    check(world_allocations == before);
}


static void
pools_that_keep_growing_take_larger_blocks(void)
{
    int          i, blocks;
    size_t       largest, size;
    ngx_pool_t  *p, *b;

    if (passthrough) {
        return;
    }

    p = ngx_create_pool(1024, &plain);

    for (i = 0; i < 10000; i++) {
        (void) ngx_palloc(p, 600);
    }

    blocks = 0;
    largest = 0;

    for (b = p; b; b = b->d.next) {
        size = b->d.end - (u_char *) b;
        largest = size > largest ? size : largest;
        blocks++;
    }

    /* six megabytes: ten thousand blocks of nginx's */
    check(blocks < 200);
    check(largest == 65536);
    ngx_destroy_pool(p);
}


static void
files_are_closed_and_deleted(void)
{
    int                       fd, gone;
    char                      name[] = "/tmp/cenote-nginx-XXXXXX";
    ngx_pool_t               *p;
    struct stat               st;
    ngx_pool_cleanup_t       *c;
    ngx_pool_cleanup_file_t  *f;

    /* run early, and not again */
    p = ngx_create_pool(512, &plain);
    fd = open("/dev/null", O_RDONLY);
    c = ngx_pool_cleanup_add(p, sizeof(ngx_pool_cleanup_file_t));
    c->handler = ngx_pool_cleanup_file;
    f = c->data;
    f->fd = fd;
    f->name = (u_char *) "/dev/null";
    f->log = &plain;

    ngx_pool_run_cleanup_file(p, fd + 1);
    ngx_pool_run_cleanup_file(p, fd - 1);
    check(fcntl(fd, F_GETFD) != -1);
    ngx_pool_run_cleanup_file(p, fd);
    check(fcntl(fd, F_GETFD) == -1);
    check(c->handler == NULL);

    world_lines = 0;
    ngx_destroy_pool(p);
    check(world_lines == 0);

    /* deleted and closed; gone already is fine */
    for (gone = 0; gone < 2; gone++) {
        strcpy(name, "/tmp/cenote-nginx-XXXXXX");
        fd = mkstemp(name);
        p = ngx_create_pool(512, &plain);
        c = ngx_pool_cleanup_add(p, sizeof(ngx_pool_cleanup_file_t));
        c->handler = ngx_pool_delete_file;
        f = c->data;
        f->fd = fd;
        f->name = (u_char *) name;
        f->log = &plain;

        if (gone) {
            unlink(name);
        }

        ngx_destroy_pool(p);
        check(fcntl(fd, F_GETFD) == -1 && stat(name, &st) == -1);
        check(world_lines == 0);
    }

    /* failures are logged as nginx does */
    f = &(ngx_pool_cleanup_file_t) { 999, (u_char *) "/dev/null/none", &plain };
    ngx_pool_cleanup_file(f);
    check(world_lines == 1 && world_last_level == NGX_LOG_ALERT);
    check(strcmp(world_last_line, "close() \"/dev/null/none\" failed") == 0);

    world_lines = 0;
    f->fd = open("/dev/null", O_RDONLY);
    ngx_pool_delete_file(f);
    check(world_lines == 1 && world_last_level == NGX_LOG_CRIT);
    check(strcmp(world_last_line, "unlink() \"/dev/null/none\" failed") == 0);
    world_lines = 0;
}


static void
no_memory_is_null_and_logged_and_changes_nothing(void)
{
    int          i, n;
    ngx_pool_t  *p;

    /* wherever in a life memory is missing */
    for (n = 0; n < 60; n++) {
        world_fail_after = n;
        world_lines = 0;
        p = ngx_create_pool(8192, &plain);

        if (p == NULL) {
            check(world_lines >= 1 && world_last_level == NGX_LOG_EMERG);
            world_fail_after = -1;
            continue;
        }

        for (i = 0; i < 20; i++) {
            (void) ngx_palloc(p, 5000);
            (void) ngx_palloc(p, 100000 + i);
            (void) ngx_pcalloc(p, 3000);
            (void) ngx_pmemalign(p, 100, 64);
            (void) ngx_pool_cleanup_add(p, 100);
        }

        check(world_fail_after != 0 || world_lines > 0);
        check(world_lines == 0 || strstr(world_last_line, ") failed"));
        world_fail_after = -1;
        world_lines = 0;

        for (i = 0; i < 20; i++) {
            check(ngx_palloc(p, 5000) && ngx_palloc(p, 100000));
        }

        ngx_reset_pool(p);
        check(ngx_palloc(p, 1000) != NULL);
        ngx_destroy_pool(p);
    }

    world_lines = 0;
    check(ngx_create_pool((size_t) -1, &plain) == NULL);
    check(ngx_create_pool((size_t) -1 / 2 - 100, &plain) == NULL);
    check(world_lines == 2);

    p = ngx_create_pool(512, &plain);
    check(ngx_palloc(p, (size_t) -1 / 2) == NULL);
    check(ngx_palloc(p, (size_t) -1) == NULL);
    check(ngx_pmemalign(p, (size_t) -1 / 2, 64) == NULL);
    check(world_lines == 5 && world_last_level == NGX_LOG_EMERG);
    ngx_destroy_pool(p);
    world_lines = 0;
}


static void
the_log_may_change_and_may_lie_in_the_pool(void)
{
    int          large;
    ngx_log_t   *log;
    ngx_pool_t  *p;

    /* in a block, and then in a large object of its own */
    for (large = 0; large < 2; large++) {
        p = ngx_create_pool(1024, &plain);
        log = ngx_pcalloc(p, large ? 5000 : sizeof(ngx_log_t));
        log->log_level = NGX_LOG_DEBUG_ALL;
        p->log = log;
        (void) ngx_palloc(p, 5000);
        add(p, note, 1);
        norder = 0;
        world_frees = 0;
        ngx_destroy_pool(p);
        check(norder == 1);

        /* each line is written while what it is about, and the log, are there */
        check(passthrough ? world_frees >= 2 : world_frees == 1 + large);
        check(strncmp(world_last_line, "free: <address>, unused: ", 25) == 0);
    }
}


static void
every_object_is_seen_for_itself(void)
{
    size_t       before;
    ngx_pool_t  *p;

    if (!passthrough) {
        return;
    }

    p = ngx_create_pool(4096, &plain);
    before = world_allocations;
    memset(ngx_palloc(p, 10), 1, 10);
    memset(ngx_pnalloc(p, 10), 1, 10);
    memset(ngx_pcalloc(p, 10), 1, 10);
    check(world_allocations >= before + 3);
    check(p->d.next == NULL);
    ngx_destroy_pool(p);
}


/* each thread's pools are its own; one that is left here is destroyed by whoever finds it */

static pthread_mutex_t   lock = PTHREAD_MUTEX_INITIALIZER;
static ngx_pool_t       *left_behind[64];


static void *
thread(void *data)
{
    int          i, n;
    unsigned     seed;
    ngx_pool_t  *p, *other;

    seed = (unsigned) (uintptr_t) data;

    for (i = 0; i < 3000; i++) {
        seed = seed * 1103515245 + 12345;
        p = ngx_create_pool((size_t) 256 << (seed >> 16) % 6, &plain);

        for (n = 0; n < 30; n++) {
            memset(ngx_palloc(p, n * 13), n, n * 13);
        }

        check(ngx_pfree(p, ngx_palloc(p, 5000)) == NGX_OK);
        (void) ngx_palloc(p, 5000);
        add(p, NULL, i);

        pthread_mutex_lock(&lock);
        other = left_behind[(seed >> 8) % 64];
        left_behind[(seed >> 8) % 64] = p;
        pthread_mutex_unlock(&lock);

        if (other) {
            memset(ngx_palloc(other, 100), 1, 100);
            ngx_destroy_pool(other);
        }
    }

    return NULL;
}


static void
pools_may_be_made_and_destroyed_on_any_thread(void)
{
    int          i;
    char        *text;
    size_t       length;
    ngx_pool_t  *p;
    pthread_t    threads[4];

    for (i = 0; i < 4; i++) {
        check(pthread_create(&threads[i], NULL, thread, (void *) (uintptr_t) (i + 1)) == 0);
    }

    for (i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }

    for (i = 0; i < 64; i++) {
        if (left_behind[i]) {
            ngx_destroy_pool(left_behind[i]);
        }
    }

    /* whatever was counted on which thread: what is left is the pool that the answer is in */
    p = ngx_create_pool(1024, &plain);
    text = cenote_nginx_status(p, 7, 1, &length);
    check(text != NULL && length > 100);
    text[length - 1] = '\0';
    text = strstr(text, "[\"nginx\",\"worker-7\"],\"pool_bytes\":null,\"live\":1,");
    check(text != NULL);
    text = strstr(text, "\"refused\":");
    check(strstr(text, "\"blocks\":1,\"large\":0,\"cleanups\":0,") - text < 20);
    ngx_destroy_pool(p);
}


/* for counting instructions: so many large objects live, so many freed in an unkind order */

static void
free_of_many(int live)
{
    int          i;
    void       **large;
    ngx_pool_t  *p;

    p = ngx_create_pool(16384, &plain);
    large = malloc(live * sizeof(void *));

    for (i = 0; i < live; i++) {
        large[i] = ngx_palloc(p, 20000);
    }

    /* the oldest, which nginx finds last, and a new one, ten thousand times */
    for (i = 0; i < 10000; i++) {
        check(ngx_pfree(p, large[i % live]) == NGX_OK);
        large[i % live] = ngx_palloc(p, 20000);
    }

    free(large);
    ngx_destroy_pool(p);
}


static struct {
    const char  *name;
    void       (*run)(void);
} cases[] = {
#define named(f)  { #f, f }
    named(a_pool_is_its_head_and_a_window),
    named(objects_are_apart_aligned_and_keep_what_is_in_them),
    named(any_size_of_pool_is_safe),
    named(a_block_that_fails_too_often_is_passed_by),
    named(arrays_grow_in_place_and_give_back),
    named(large_objects_are_freed_and_nothing_else),
    named(the_list_of_large_objects_is_that_of_the_live_ones),
    named(records_of_large_objects_are_used_again),
    named(alignments_are_as_asked),
    named(cleanups_run_last_in_first_out_and_those_added_meanwhile_too),
    named(others_may_change_the_list_of_cleanups),
    named(a_reset_pool_is_as_new),
    named(a_requests_pools_cost_no_call_for_memory),
    named(pools_that_keep_growing_take_larger_blocks),
    named(files_are_closed_and_deleted),
    named(no_memory_is_null_and_logged_and_changes_nothing),
    named(the_log_may_change_and_may_lie_in_the_pool),
    named(every_object_is_seen_for_itself),
    named(pools_may_be_made_and_destroyed_on_any_thread),
};


int
main(int argc, char **argv)
{
    size_t  i, ran;

    plain.log_level = NGX_LOG_INFO;
    passthrough = getenv("CENOTE_DEBUG") != NULL;

    if (argc == 3) {
        free_of_many(atoi(argv[2]));
        return 0;
    }

    ran = 0;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (argc < 2 || strcmp(argv[1], "all") == 0
            || strcmp(argv[1], cases[i].name) == 0)
        {
            printf("%s\n", cases[i].name);
            fflush(stdout);
            cases[i].run();
            ran++;
        }
    }

    return ran == 0;
}
