/* Writes down every call that nginx makes of its pools. Linked into nginx with --wrap, so nginx's
 * own files are untouched; calls inside ngx_palloc.c itself are not seen, as they are part of the
 * call that is.
 *
 * Writing begins with the first accepted connection, and only for pools made since: what reading
 * the configuration takes is no part of serving. One call a line:
 *
 *   c POOL SIZE        ngx_create_pool; POOL is a number that is used again once destroyed
 *   a POOL SIZE        ngx_palloc
 *   n POOL SIZE        ngx_pnalloc
 *   z POOL SIZE        ngx_pcalloc
 *   m POOL SIZE ALIGN  ngx_pmemalign
 *   f POOL OBJECT      ngx_pfree of the OBJECTth object of that pool, of a large one only
 *   k POOL SIZE        ngx_pool_cleanup_add
 *   r POOL             ngx_reset_pool
 *   d POOL             ngx_destroy_pool
 */
#include <ngx_config.h>
#include <ngx_core.h>

#define POOLS 4096

struct seen {
    ngx_pool_t *pool;
    void **objects;
    size_t used, room;
};

static struct seen pools[POOLS];
static FILE *out;

void __real_ngx_event_accept(ngx_event_t *ev);
void __wrap_ngx_event_accept(ngx_event_t *ev) {
    if (out == NULL) {
        const char *name = getenv("CENOTE_TRACE");
        out = fopen(name ? name : "/dev/null", "w");
        if (out == NULL) {
            abort();
        }
        setvbuf(out, NULL, _IOLBF, 0);
    }
    __real_ngx_event_accept(ev);
}

static int find(ngx_pool_t *pool) {
    for (int i = 0; pool && i < POOLS; i++) {
        if (pools[i].pool == pool) {
            return i;
        }
    }
    return -1;
}

static void *object(char call, ngx_pool_t *pool, size_t size, size_t align, void *made) {
    int at = find(pool);
    if (at >= 0) {
        struct seen *seen = &pools[at];
        if (seen->used == seen->room) {
            seen->room = seen->room ? 2 * seen->room : 64;
            seen->objects = realloc(seen->objects, seen->room * sizeof(void *));
        }
        seen->objects[seen->used++] = made;
        if (align) {
            fprintf(out, "%c %d %zu %zu\n", call, at, size, align);
        } else {
            fprintf(out, "%c %d %zu\n", call, at, size);
        }
    }
    return made;
}

ngx_pool_t *__real_ngx_create_pool(size_t size, ngx_log_t *log);
ngx_pool_t *__wrap_ngx_create_pool(size_t size, ngx_log_t *log) {
    ngx_pool_t *pool = __real_ngx_create_pool(size, log);
    if (out != NULL) {
        int at = 0;
        while (pools[at].pool) {
            if (++at == POOLS) {
                abort();
            }
        }
        pools[at].pool = pool;
        pools[at].used = 0;
        fprintf(out, "c %d %zu\n", at, size);
    }
    return pool;
}

void __real_ngx_destroy_pool(ngx_pool_t *pool);
void __wrap_ngx_destroy_pool(ngx_pool_t *pool) {
    int at = find(pool);
    __real_ngx_destroy_pool(pool);
    if (at >= 0) {
        pools[at].pool = NULL;
        fprintf(out, "d %d\n", at);
    }
}

void __real_ngx_reset_pool(ngx_pool_t *pool);
void __wrap_ngx_reset_pool(ngx_pool_t *pool) {
    int at = find(pool);
    if (at >= 0) {
        pools[at].used = 0;
        fprintf(out, "r %d\n", at);
    }
    __real_ngx_reset_pool(pool);
}

void *__real_ngx_palloc(ngx_pool_t *pool, size_t size);
void *__wrap_ngx_palloc(ngx_pool_t *pool, size_t size) {
    return object('a', pool, size, 0, __real_ngx_palloc(pool, size));
}

void *__real_ngx_pnalloc(ngx_pool_t *pool, size_t size);
void *__wrap_ngx_pnalloc(ngx_pool_t *pool, size_t size) {
    return object('n', pool, size, 0, __real_ngx_pnalloc(pool, size));
}

void *__real_ngx_pcalloc(ngx_pool_t *pool, size_t size);
void *__wrap_ngx_pcalloc(ngx_pool_t *pool, size_t size) {
    return object('z', pool, size, 0, __real_ngx_pcalloc(pool, size));
}

void *__real_ngx_pmemalign(ngx_pool_t *pool, size_t size, size_t alignment);
void *__wrap_ngx_pmemalign(ngx_pool_t *pool, size_t size, size_t alignment) {
    return object('m', pool, size, alignment, __real_ngx_pmemalign(pool, size, alignment));
}

ngx_int_t __real_ngx_pfree(ngx_pool_t *pool, void *p);
ngx_int_t __wrap_ngx_pfree(ngx_pool_t *pool, void *p) {
    int at = find(pool);
    ngx_int_t answer = __real_ngx_pfree(pool, p);
    if (at >= 0 && answer == NGX_OK) {
        for (size_t i = pools[at].used; i-- > 0;) {
            if (pools[at].objects[i] == p) {
                pools[at].objects[i] = NULL;
                fprintf(out, "f %d %zu\n", at, i);
                break;
            }
        }
    }
    return answer;
}

ngx_pool_cleanup_t *__real_ngx_pool_cleanup_add(ngx_pool_t *pool, size_t size);
ngx_pool_cleanup_t *__wrap_ngx_pool_cleanup_add(ngx_pool_t *pool, size_t size) {
    ngx_pool_cleanup_t *cleanup = __real_ngx_pool_cleanup_add(pool, size);
    int at = find(pool);
    if (at >= 0) {
        fprintf(out, "k %d %zu\n", at, size);
    }
    return cleanup;
}
