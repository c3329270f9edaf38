/* The declarations of njs's pool functions, as the tests need them. Programs use njs's own. */
#ifndef TEST_NJS_MP_H
#define TEST_NJS_MP_H

#include <stddef.h>
#include <stdint.h>

typedef struct njs_mp_s njs_mp_t;
typedef uintptr_t njs_bool_t;

typedef struct njs_mp_cleanup_s njs_mp_cleanup_t;
struct njs_mp_cleanup_s {
    void (*handler)(void *data);
    void *data;
    njs_mp_cleanup_t *next;
};

typedef struct {
    size_t size;
    size_t nblocks;
    size_t page_size;
    size_t cluster_size;
} njs_mp_stat_t;

njs_mp_t *njs_mp_create(size_t cluster_size, size_t page_alignment, size_t page_size,
                        size_t min_chunk_size);
njs_mp_t *njs_mp_fast_create(size_t cluster_size, size_t page_alignment, size_t page_size,
                             size_t min_chunk_size);
njs_bool_t njs_mp_is_empty(njs_mp_t *mp);
void njs_mp_destroy(njs_mp_t *mp);
void njs_mp_stat(njs_mp_t *mp, njs_mp_stat_t *stat);
void *njs_mp_alloc(njs_mp_t *mp, size_t size);
void *njs_mp_zalloc(njs_mp_t *mp, size_t size);
void *njs_mp_align(njs_mp_t *mp, size_t alignment, size_t size);
void *njs_mp_zalign(njs_mp_t *mp, size_t alignment, size_t size);
void njs_mp_free(njs_mp_t *mp, void *p);
njs_mp_cleanup_t *njs_mp_cleanup_add(njs_mp_t *mp, size_t size);

/* Not njs's: how many wrong frees there were in this process. */
uint64_t cenote_njs_bad_frees(void);

#endif
