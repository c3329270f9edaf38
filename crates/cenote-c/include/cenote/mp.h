/*
 * cenote/mp.h - the names of two small pools after nginx's, mp_*, over cenote's counted pool.
 *
 * A pool has blocks of a page. Each block counts the objects in it, and when the last one is freed,
 * the whole block is free again. An object that does not fit into a block is large: it has memory
 * of its own, which goes back as soon as it is freed.
 *
 * An mp_pool_t is a cenote_counted_t: the functions of both headers work on it, and what cenote.h
 * says about handles, misuse and threads holds here.
 */
#ifndef CENOTE_MP_H
#define CENOTE_MP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cenote_counted_t */
typedef struct cenote_counted mp_pool_t;

/*
 * A pool with blocks of `size` bytes. Less than a page, or no multiple of one, gives a page (4096);
 * other sizes are rounded up to a power of two, and down to 1 MiB. NULL where there is no memory.
 */
mp_pool_t *mp_create_pool(size_t size);
/* Frees everything in the pool, and the pool. */
void mp_destroy_pool(mp_pool_t *pool);
/* Frees everything in the pool, large objects included; every block counts zero. */
void mp_reset_pool(mp_pool_t *pool);

/* Memory of `size` bytes, aligned to 32; NULL for 0, or where it cannot be had. The same twice. */
void *mp_alloc(mp_pool_t *pool, size_t size);
void *mp_malloc(mp_pool_t *pool, size_t size);
/* Without alignment. */
void *mp_nalloc(mp_pool_t *pool, size_t size);
/* Zeroed. */
void *mp_calloc(mp_pool_t *pool, size_t size);
/* Frees an object, large or small. NULL is fine; bad frees are as for cenote_counted_free(). */
void mp_free(mp_pool_t *pool, void *object);

/*
 * Prints to standard output what the pool holds: for every block, how much of it is used and free,
 * how many objects refer to it, how often it was tried in vain, and which is current; and the size
 * of every large object.
 */
void monitor_mp_poll(mp_pool_t *pool, const char *title);

#ifdef __cplusplus
}
#endif

#endif /* CENOTE_MP_H */
