/*
 * cenote/inline.h - the short way of cenote_pool_alloc(), compiled into its callers. cenote.h includes
 * it; there is nothing here to be used by name.
 *
 * A pool's handle is the address of a place, at a multiple of 512, plus a number below that; and the
 * place knows the key of the handle that is live there. So a handle that was destroyed, one of another
 * kind and one that never was are noticed here as well: their key differs, and the library is called,
 * which says so. It is called, too, where the current block has no room.
 *
 * The key's constant stands for this layout. A library with another layout has another constant, and a
 * program compiled with this header then calls it each time. So do all programs where the library was
 * built for a checker that must see each object.
 *
 * Not with AddressSanitizer, which would take the look at a bad handle's place for an error of the
 * program, and not with -DCENOTE_NO_INLINE.
 */
#ifndef CENOTE_INLINE_H
#define CENOTE_INLINE_H

#if defined(__has_feature) && !defined(CENOTE_NO_INLINE)
#if __has_feature(address_sanitizer)
#define CENOTE_NO_INLINE
#endif
#endif

#if !defined(CENOTE_NO_INLINE) && !defined(__SANITIZE_ADDRESS__) && defined(__GNUC__) &&           \
    UINTPTR_MAX > 0xffffffff

#ifdef __cplusplus
extern "C" {
#endif

#define CENOTE_POOL_KEY ((uintptr_t)0x2f6d3b95)
#define CENOTE_POOL_PLACE ((uintptr_t)512)

/* What a pool's place begins with. The library's own. */
struct cenote_pool_front {
    uintptr_t key;          /* the handle and the constant, as long as it is live */
    uintptr_t kept[11];
    unsigned char *last;    /* where the next object goes */
    void *block;
    unsigned char *end;     /* how far the current block's room reaches */
};

static inline void *cenote_pool_alloc_inline(cenote_pool_t *pool, size_t size)
{
    uintptr_t handle = (uintptr_t)pool;
    /* One compare for both: 0 is not small. */
    if (__builtin_expect(pool != NULL && size - 1 < INT32_MAX, 1)) {
        struct cenote_pool_front *front =
            (struct cenote_pool_front *)(handle & ~(CENOTE_POOL_PLACE - 1));
        if (__builtin_expect(
                __atomic_load_n(&front->key, __ATOMIC_RELAXED) == handle + CENOTE_POOL_KEY, 1)) {
            unsigned char *last = front->last;
            size_t room = (size + 15) & ~(size_t)15;
            if (__builtin_expect((uintptr_t)last % 16 == 0 &&
                                     (uintptr_t)last + room <= (uintptr_t)front->end, 1)) {
                front->last = last + room;
                return last;
            }
        }
    }
    return (cenote_pool_alloc)(pool, size);
}

/* (cenote_pool_alloc)(...) and &cenote_pool_alloc are the function. */
#define cenote_pool_alloc(pool, size) cenote_pool_alloc_inline(pool, size)

#ifdef __cplusplus
}
#endif

#endif

#endif /* CENOTE_INLINE_H */
