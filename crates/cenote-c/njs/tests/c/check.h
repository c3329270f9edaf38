/* What the test files share: checks, configurations, tagged objects, a source of chance. */
#ifndef TEST_CHECK_H
#define TEST_CHECK_H

#include "njs_mp.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                          \
    do {                                                                     \
        if (!(what)) {                                                       \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            exit(1);                                                         \
        }                                                                    \
    } while (0)

/* Both must be so, and say what they were if not. */
#define CHECK_EQUAL(is, should)                                                      \
    do {                                                                             \
        unsigned long long is_ = (is), should_ = (should);                           \
        if (is_ != should_) {                                                        \
            fprintf(stderr, "%s:%d: %s is %llu, not %llu\n", __FILE__, __LINE__, #is, \
                    is_, should_);                                                   \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

typedef struct {
    size_t cluster, alignment, page, chunk;
} config_t;

/* Those that are accepted: njs's own first, then each rule at its edge. */
extern const config_t valid[];
extern const size_t valid_count;
/* And those that are not. */
extern const config_t refused[];
extern const size_t refused_count;

static inline njs_mp_t *pool_of(const config_t *c)
{
    njs_mp_t *mp = njs_mp_create(c->cluster, c->alignment, c->page, c->chunk);
    CHECK(mp != NULL);
    return mp;
}

/* Wrong frees since the case began. */
extern uint64_t bad_frees_before;
static inline uint64_t bad_frees(void)
{
    return cenote_njs_bad_frees() - bad_frees_before;
}

/* Whether valgrind runs the program: fifty times slower, and it ends programs that ask for
   alignments above 16 MiB, which the system merely refuses. */
bool under_valgrind(void);

/* As every caller in njs makes its pools. */
static inline njs_mp_t *njs_pool(void)
{
    njs_mp_t *mp = njs_mp_fast_create(8192, 128, 512, 16);
    CHECK(mp != NULL);
    return mp;
}

/* Whether nothing is in it, by both ways to ask. */
static inline void check_empty(njs_mp_t *mp)
{
    njs_mp_stat_t stat;
    CHECK(njs_mp_is_empty(mp) == 1);
    njs_mp_stat(mp, &stat);
    CHECK_EQUAL(stat.nblocks, 0);
    CHECK_EQUAL(stat.size, 0);
    CHECK(njs_mp_is_empty(mp) == 1);
}

/* The alignment that an object of a size and alignment has at least. */
bool watched(void);
size_t alignment_of(const config_t *c, size_t alignment, size_t size);

/* An object with a content that no other one has. */
typedef struct {
    unsigned char *at;
    size_t size;
    uint32_t tag;
} object_t;

/* Fills it, or checks that it still is as it was filled. */
void fill(const object_t *object);
void check_filled(const object_t *object);
void check_zero(const void *at, size_t size);

/* Allocates by one of the four functions, checks the place, and fills it. */
object_t make(njs_mp_t *mp, const config_t *c, size_t alignment, size_t size);
/* Checks the content and frees it. */
void drop(njs_mp_t *mp, object_t *object);

/* The same numbers in each run. */
uint32_t chance(uint32_t below);

/* Orders of freeing. */
typedef enum { IN_ORDER, REVERSED, RANDOM, ORDERS } order_t;
void drop_all(njs_mp_t *mp, object_t *objects, size_t count, order_t order);

#endif
