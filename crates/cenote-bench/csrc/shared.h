/* What the C loops share: the sizes come from the caller, objects are written to, and nothing is
 * folded away. Loops are in files of their own, so that the calls into a peer are real calls, as
 * they are in programs that use it. */
#ifndef CENOTE_BENCH_SHARED_H
#define CENOTE_BENCH_SHARED_H

#include <stddef.h>
#include <stdint.h>

/* Writes the first eight bytes and makes the compiler believe that somebody reads them. */
static inline void touch(void *object, uint64_t value) {
    *(uint64_t *) object = value;
    __asm__ volatile("" : : "r"(object) : "memory");
}

#endif
