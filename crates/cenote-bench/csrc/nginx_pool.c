/* nginx's own pools, in the loops that the bench times. Compiled once for each optimisation of
 * nginx's files, with BENCH(name) giving the name. */
#include <ngx_config.h>
#include <ngx_core.h>

#include "shared.h"

static ngx_log_t quiet;

/* What nginx calls when malloc fails; nothing here makes it fail. */
void ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err, const char *fmt, ...) {
    (void) level; (void) log; (void) err; (void) fmt;
    abort();
}

volatile ngx_cycle_t *ngx_cycle;

/* requests of `count` objects each: create, allocate, destroy */
void BENCH(request)(const uint32_t *sizes, size_t count, size_t pool_size, uint64_t times) {
    for (uint64_t i = 0; i < times; i++) {
        ngx_pool_t *pool = ngx_create_pool(pool_size, &quiet);
        for (size_t k = 0; k < count; k++) {
            touch(ngx_palloc(pool, sizes[k]), i);
        }
        ngx_destroy_pool(pool);
    }
}

/* the same in one pool that is reset */
void BENCH(reset)(const uint32_t *sizes, size_t count, size_t pool_size, uint64_t times) {
    ngx_pool_t *pool = ngx_create_pool(pool_size, &quiet);
    for (uint64_t i = 0; i < times; i++) {
        for (size_t k = 0; k < count; k++) {
            touch(ngx_palloc(pool, sizes[k]), i);
        }
        ngx_reset_pool(pool);
    }
    ngx_destroy_pool(pool);
}

void *BENCH(create)(size_t size) { return ngx_create_pool(size, &quiet); }
void BENCH(destroy)(void *pool) { ngx_destroy_pool(pool); }
void *BENCH(palloc)(void *pool, size_t size) { return ngx_palloc(pool, size); }

/* Frees one of the large objects and allocates another in its place, `times` times, in the order
 * that `order` gives. `objects` holds `live` of them. */
void BENCH(large)(void *pool, void **objects, const uint32_t *order, size_t mask, size_t size,
    uint64_t times)
{
    for (uint64_t i = 0; i < times; i++) {
        uint32_t at = order[i & mask];
        if (ngx_pfree(pool, objects[at]) != NGX_OK) {
            abort();
        }
        objects[at] = ngx_palloc(pool, size);
        touch(objects[at], i);
    }
}

static void add_one(void *counter) { *(volatile uint64_t *) counter += 1; }

/* A fuller request: two large objects, three cleanups, two growing arrays and a formatted text. */
void BENCH(request_full)(const uint32_t *sizes, size_t count, size_t pool_size, size_t large,
    size_t pushes, uint64_t times)
{
    static uint64_t counter;
    for (uint64_t i = 0; i < times; i++) {
        ngx_pool_t *pool = ngx_create_pool(pool_size, &quiet);
        for (size_t k = 0; k < count; k++) {
            touch(ngx_palloc(pool, sizes[k]), i);
        }
        touch(ngx_palloc(pool, large), i);
        touch(ngx_palloc(pool, large), i);
        for (int k = 0; k < 3; k++) {
            ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(pool, 0);
            cleanup->handler = add_one;
            cleanup->data = &counter;
        }
        ngx_array_t *one = ngx_array_create(pool, 4, sizeof(uint64_t));
        ngx_array_t *two = ngx_array_create(pool, 4, sizeof(uint64_t));
        for (size_t k = 0; k < pushes; k++) {
            *(uint64_t *) ngx_array_push(one) = k;
            *(uint64_t *) ngx_array_push(two) = k;
        }
        touch(one->elts, i);
        touch(two->elts, i);
        u_char *text = ngx_pnalloc(pool, 64);
        ngx_sprintf(text, "GET %s HTTP/1.%ui from %uL%Z", "/index.html", (ngx_uint_t) 1, i);
        __asm__ volatile("" : : "r"(text) : "memory");
        ngx_destroy_pool(pool);
    }
}

/* One recorded call; the same in src/groups/trace.rs. */
struct op {
    uint8_t kind;
    uint16_t pool;
    uint32_t size;
    uint32_t align;
    uint32_t handle; /* 0: never freed by itself */
};

/* Plays a trace `times` times. `pools` and `handles` have room for all that it numbers. */
void BENCH(replay)(const struct op *ops, size_t count, ngx_pool_t **pools, void **handles,
    uint64_t times)
{
    static uint64_t counter;
    for (uint64_t i = 0; i < times; i++) {
        for (const struct op *op = ops; op < ops + count; op++) {
            ngx_pool_t *pool = pools[op->pool];
            void *made;
            switch (op->kind) {
            case 'c':
                pools[op->pool] = ngx_create_pool(op->size, &quiet);
                continue;
            case 'a':
                made = ngx_palloc(pool, op->size);
                break;
            case 'n':
                made = ngx_pnalloc(pool, op->size);
                break;
            case 'z':
                made = ngx_pcalloc(pool, op->size);
                break;
            case 'm':
                made = ngx_pmemalign(pool, op->size, op->align);
                break;
            case 'f':
                if (ngx_pfree(pool, handles[op->handle]) != NGX_OK) {
                    abort();
                }
                continue;
            case 'k': {
                ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(pool, op->size);
                cleanup->handler = add_one;
                cleanup->data = &counter;
                continue;
            }
            case 'r':
                ngx_reset_pool(pool);
                continue;
            default:
                ngx_destroy_pool(pool);
                continue;
            }
            if (op->size) {
                *(volatile uint8_t *) made = (uint8_t) i;
            }
            handles[op->handle] = made;
        }
    }
}
