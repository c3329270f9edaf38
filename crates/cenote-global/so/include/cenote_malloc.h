/* cenote's global allocator under names of its own, for programs that keep their malloc as well.
 *
 * Link with -lcenote_malloc: then malloc, free and all their kin are this allocator's, too. With
 * LD_PRELOAD=libcenote_malloc.so nothing has to be linked.
 *
 * All calls may be made from any thread at any time, but not from a signal handler. */
#ifndef CENOTE_MALLOC_H
#define CENOTE_MALLOC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An object of `size` bytes, aligned to 16, or null without memory. Of 0 bytes: an address of its own. */
void *cenote_malloc_alloc(size_t size);
/* The same, of zeros. */
void *cenote_malloc_zalloc(size_t size);
/* At a multiple of `align`, a power of two; null also if it is none. */
void *cenote_malloc_aligned(size_t align, size_t size);
/* Another size: in place or moved. Null without memory: the object is then as it was.
 * Of null: a new object. */
void *cenote_malloc_realloc(void *object, size_t size);
/* Frees; nothing for null. What is no object ends the process with a line that says so. */
void cenote_malloc_free(void *object);
/* The bytes that may be used, at least those asked for; 0 for null. */
size_t cenote_malloc_usable_size(void *object);
/* Gives memory that nobody uses back to the system now; the bytes given back. */
size_t cenote_malloc_trim(void);

typedef struct {
    size_t live;    /* bytes of objects, as their sizes are rounded up to */
    size_t objects; /* how many */
    size_t held;    /* bytes of pages with objects */
    size_t cached;  /* bytes of free pages that may be in memory until they are given back */
    size_t mapped;  /* bytes of address space */
} cenote_malloc_stats_t;

void cenote_malloc_get_stats(cenote_malloc_stats_t *out);

#ifdef __cplusplus
}
#endif
#endif
