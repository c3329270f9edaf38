/*
 * A long random life of pools, printed step by step: where each object lies in its pool, what each
 * call answers, and what the head says. Linked with nginx's own pools and with cenote's, it is to
 * print the same.
 */

#include "world.h"


static unsigned long  seed = 88172645463325252ul;


static unsigned long
next(unsigned long below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;

    return (seed >> 11) % below;
}


/* the block that an address is in, and how far from its beginning */

static void
place(ngx_pool_t *pool, void *object)
{
    int          n;
    u_char      *p = object;
    ngx_pool_t  *block;

    for (n = 0, block = pool; block; n++, block = block->d.next) {
        if (p >= (u_char *) block && p <= block->d.end) {
            printf(" %d+%zu", n, (size_t) (p - (u_char *) block));
            return;
        }
    }

    printf(" large%s", (uintptr_t) p % 16 ? " unaligned" : "");
}


static void
head(ngx_pool_t *pool)
{
    int          n;
    ngx_pool_t  *block;

    printf(" | max %zu chain %d cleanup %d |", pool->max, pool->chain != NULL,
           pool->cleanup != NULL);

    for (n = 0, block = pool; block; n++, block = block->d.next) {
        printf(" %d%s:%zu,%zu,%d", n, block == pool->current ? "*" : "",
               (size_t) (block->d.last - (u_char *) block),
               (size_t) (block->d.end - (u_char *) block),
               (int) block->d.failed);
    }

    printf("\n");
}


static int  ran[64];
static int  nran;


static void
handler(void *data)
{
    ran[nran++ % 64] = data ? *(int *) data : -1;
}


static void
life(size_t size, int steps, ngx_log_t *log)
{
    int                  i, n, step, count, ids;
    void                *p, *large[400];
    size_t               want;
    ngx_pool_t          *pool;
    ngx_array_t         *array;
    ngx_pool_cleanup_t  *c;

    pool = ngx_create_pool(size, log);
    printf("create %zu:", size);
    head(pool);

    n = 0;
    ids = 0;
    array = NULL;

    for (step = 0; step < steps; step++) {

        switch (next(14)) {

        case 0: case 1: case 2: case 3:
            want = next(pool->max / 8 + 2);
            p = ngx_palloc(pool, want);
            printf("palloc %zu:", want);
            place(pool, p);
            memset(p, 0xaa, want);
            break;

        case 4: case 5:
            want = next(pool->max + 1);
            p = ngx_pnalloc(pool, want);
            printf("pnalloc %zu:", want);
            place(pool, p);
            memset(p, 0xbb, want);
            break;

        case 6:
            want = next(200);
            p = ngx_pcalloc(pool, want);
            printf("pcalloc %zu:", want);
            place(pool, p);

            for (i = 0; i < (int) want; i++) {
                if (((u_char *) p)[i]) {
                    printf(" not zero");
                    break;
                }
            }

            break;

        case 7:
            if (n == 400) {
                continue;
            }

            want = pool->max + 1 + next(10000);
            large[n] = ngx_palloc(pool, want);
            printf("palloc %zu:", want);
            place(pool, large[n]);
            memset(large[n], 0xcc, want);
            n++;
            break;

        case 8:
            if (n == 0) {
                continue;
            }

            /* the newest, whose record both find at once */
            n--;
            printf("pfree: %d then %d\n", (int) ngx_pfree(pool, large[n]),
                   (int) ngx_pfree(pool, (u_char *) pool + sizeof(ngx_pool_t)));
            continue;

        case 9:
            want = next(2) ? next(60) + 4 : 0;
            c = ngx_pool_cleanup_add(pool, want);
            printf("cleanup %zu:", want);
            place(pool, c);

            if (want) {
                place(pool, c->data);
                *(int *) c->data = ids++;
            }

            if (c->handler != NULL || (want == 0 && c->data != NULL)) {
                printf(" not empty");
            }

            if (next(4)) {
                c->handler = handler;
            }

            break;

        case 10:
            array = ngx_array_create(pool, 1 + next(4), 1 + next(24));
            printf("array:");
            place(pool, array->elts);
            break;

        case 11: case 12:
            if (array == NULL) {
                continue;
            }

            p = next(2) ? ngx_array_push(array) : ngx_array_push_n(array, 2);
            printf("push:");
            place(pool, p);
            break;

        default:
            if (array == NULL) {
                continue;
            }

            ngx_array_destroy(array);
            array = NULL;
            printf("array destroyed:");
            break;
        }

        head(pool);
    }

    nran = 0;
    /* nginx also tells of records whose object is freed already */
    count = world_lines - world_frees;
    ngx_destroy_pool(pool);
    printf("destroy: %d handlers, %d lines:", nran, world_lines - world_frees - count);

    for (i = 0; i < nran && i < 64; i++) {
        printf(" %d", ran[i]);
    }

    printf("\n");
}


int
main(void)
{
    int        i;
    ngx_log_t  log;

    memset(&log, 0, sizeof(log));
    log.log_level = NGX_LOG_DEBUG_ALL;

    /* nginx makes its first pool before it knows the size of a page */
    ngx_pagesize = 0;
    life(1024, 20, &log);
    ngx_pagesize = 4096;

    /*
     * Few steps, so that no pool has eight blocks, after which cenote's are larger; and powers of
     * two, since of others cenote uses what its blocks have in addition.
     */

    for (i = 0; i < 400; i++) {
        life((size_t) 256 << next(7), 12, &log);
    }

    return 0;
}
