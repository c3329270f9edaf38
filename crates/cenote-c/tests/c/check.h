/* What the C tests share: checks that say where they failed, and memory with a tag in it. */
#ifndef CHECK_H
#define CHECK_H

#include <cenote.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the library keeps free behind each object; 16 where a checker is to see into its pools. */
#ifndef GAP
#define GAP 0
#endif

#define CHECK(what)                                                                               \
    do {                                                                                          \
        if (!(what)) {                                                                            \
            fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__, #what,     \
                    cenote_last_error());                                                         \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

#define CHECK_SIZE(left, right)                                                                   \
    do {                                                                                          \
        unsigned long long left_ = (unsigned long long)(left);                                    \
        unsigned long long right_ = (unsigned long long)(right);                                  \
        if (left_ != right_) {                                                                    \
            fprintf(stderr, "%s:%d: %s is %llu, not %llu (last error: %s)\n", __FILE__, __LINE__,  \
                    #left, left_, right_, cenote_last_error());                                   \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

#define CHECK_STATUS(call, status)                                                                \
    do {                                                                                          \
        int got_ = (call);                                                                        \
        if (got_ != (status)) {                                                                   \
            fprintf(stderr, "%s:%d: %s is %d, not %d (last error: %s)\n", __FILE__, __LINE__,      \
                    #call, got_, (int)(status), cenote_last_error());                             \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* The call gives NULL, with this status. */
#define CHECK_NONE(call, status)                                                                  \
    do {                                                                                          \
        CHECK((call) == NULL);                                                                    \
        CHECK_STATUS(cenote_last_status(), status);                                               \
        CHECK(cenote_last_error()[0] != '\0');                                                    \
    } while (0)

static inline int is_aligned(const void *object, size_t align)
{
    return (uintptr_t)object % align == 0;
}

static inline int is_filled(const void *object, int byte, size_t size)
{
    const unsigned char *bytes = object;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)byte)
            return 0;
    return 1;
}

#endif
