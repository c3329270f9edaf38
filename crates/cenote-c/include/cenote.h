/*
 * cenote.h - memory pools for servers: one for every worker, connection and request.
 *
 * A pool belongs to a lifetime. What is allocated in it is freed with it, in one step; and since
 * a pool charges its memory to an account, one can see who holds how much, and bound it.
 *
 *     cenote_account_t *requests = cenote_account_root("requests");
 *     cenote_account_set_limit(requests, 64 << 20);
 *
 *     cenote_pool_t *pool = cenote_pool_create_on(requests);
 *     struct header *header = cenote_pool_alloc(pool, sizeof *header);
 *     if (header == NULL)
 *         answer_503(cenote_last_error());
 *     ...
 *     cenote_pool_destroy(pool);
 *
 * WHICH POOL
 *     cenote_pool_*      memory comes back all at once       a request
 *     cenote_counted_*   a block, when the last object in    a connection of days
 *                        it is freed
 *     cenote_chunk_*     an object at a time                 tables, caches
 *     cenote_buddy_*     pages, by powers of two             a region of your own
 *
 * FAILURES
 *     A function that returns a pointer returns NULL, one that returns a cleanup's number 0, and
 *     one that returns an int a value of enum cenote_status below 0. cenote_last_error() then
 *     says why, in words, and cenote_last_status() as a number. Nothing has changed by a failure.
 *     No function sets errno of its own accord.
 *
 * HANDLES
 *     Every function takes NULL for a handle: it does nothing, and fails. (Destroying NULL is
 *     fine.) A handle that was destroyed, one of another kind, and an address inside of what a
 *     handle points to are misuse, and noticed; so is any other address, as long as there is
 *     memory at it. What is noticed of a destroyed handle does not depend on luck, unless its
 *     place was used for 512 other handles since. Handles are not to be followed or changed.
 *
 * MISUSE
 *     A bad handle, or a free of what is no object of the pool, changes nothing. By default it is
 *     reported on standard error and the process aborted, as free() does: a program that frees
 *     wrongly may do worse next. See cenote_set_misuse_policy().
 *
 *     In the environment, CENOTE_DEBUG=poison,canary,guard,quarantine (or some of them) makes every
 *     object of a pool an allocation of its own and looks for more: writing beyond an object, or to
 *     what is freed. It is found when the object is freed, or with its pool at the latest, and is
 *     misuse. Limits are reached earlier then.
 *
 * THREADS
 *     A pool or buddy belongs to one thread at a time: it may be handed over, by whatever means
 *     make one thread's writes visible to the other, but not used by two at once. Accounts may be
 *     used by any number of threads at once, except that cenote_account_destroy() must be the
 *     last use of its handle. The functions without a handle may be called on any thread.
 *
 * ALIGNMENT AND SIZE
 *     Memory asked for by size alone is aligned to 16 bytes, as malloc() has it. Alignments are
 *     powers of two. A size of 0 gives memory of 1 byte. A size that no object can have (above
 *     PTRDIFF_MAX with its alignment) fails with CENOTE_ERR_SIZE. What memory holds at first is
 *     undefined unless said otherwise.
 *
 * CALLBACKS
 *     A callback may use any function of this library, and the pool that it is called for, unless
 *     said otherwise; what it may not do is leave by longjmp(). An exception of C++ that leaves
 *     it ends the process.
 *
 * FORK
 *     The child of a process with one thread may go on using its pools. If there are several
 *     threads, one of them may be inside of the library at the fork; create, destroy and snapshot
 *     nothing in the child then.
 */
#ifndef CENOTE_H
#define CENOTE_H

#include <stddef.h>
#include <stdint.h>

#define CENOTE_VERSION_MAJOR 0
#define CENOTE_VERSION_MINOR 1
#define CENOTE_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* A pool for one lifetime, such as a request. */
typedef struct cenote_pool cenote_pool_t;
/* A pool that gives back a block when the last object in it is freed. */
typedef struct cenote_counted cenote_counted_t;
/* A pool that gives back an object at a time. */
typedef struct cenote_chunk cenote_chunk_t;
/* Pages of one region, split and merged by powers of two. */
typedef struct cenote_buddy cenote_buddy_t;
/* Who holds memory, and how much they may. */
typedef struct cenote_account cenote_account_t;
/* Bytes of an account for memory that no pool has. */
typedef struct cenote_reservation cenote_reservation_t;

/* ---- what goes wrong -------------------------------------------------------------------------- */

enum cenote_status {
    CENOTE_OK = 0,
    CENOTE_DECLINED = 1,        /* not large: it stays until the reset (cenote_pool_free) */
    CENOTE_ERR_MEMORY = -1,     /* the system, or the buddy, has no more memory */
    CENOTE_ERR_LIMIT = -2,      /* an account's limit: the message names it */
    CENOTE_ERR_SIZE = -3,       /* no object can have that size or alignment */
    CENOTE_ERR_CONFIG = -4,     /* an argument or option that cannot be: the message names it */
    CENOTE_ERR_HANDLE = -5,     /* NULL, destroyed, of another kind, or no handle */
    CENOTE_ERR_BUSY = -6,       /* a cleanup cannot reset or destroy the pool it is called for */
    CENOTE_ERR_NOT_FOUND = -7,  /* that cleanup or descriptor is not pending in this pool */
    CENOTE_ERR_STOPPED = -8,    /* the function to write with did not return 0 */
    CENOTE_ERR_INTERNAL = -9,   /* a mistake in the library */
    /* bad frees */
    CENOTE_ERR_FOREIGN = -20,   /* the address is in no memory of this pool */
    CENOTE_ERR_INTERIOR = -21,  /* it is inside an object, or between objects */
    CENOTE_ERR_DOUBLE = -22,    /* the object is free already */
    CENOTE_ERR_EMPTY = -23,     /* the page or block has no objects: all were freed */
    CENOTE_ERR_HEADER = -24,    /* it is in the pool's own bookkeeping */
    CENOTE_ERR_LAYOUT = -25,    /* the object has another size */
    /* bad writes, found with CENOTE_DEBUG */
    CENOTE_ERR_OVERRUN = -26,   /* the object was written beyond its end */
    CENOTE_ERR_WRITTEN = -27    /* the object was written to after it was freed */
};

/*
 * Why the last call on this thread that failed did so, in words; "" if none has. Never NULL. The
 * text is valid until the next failure on the same thread. Calls that succeed leave it as it is.
 */
const char *cenote_last_error(void);

/* The same as a value of enum cenote_status. */
int cenote_last_status(void);

enum cenote_misuse {
    CENOTE_MISUSE_RETURN = 0,   /* the call fails, and that is all */
    CENOTE_MISUSE_REPORT = 1,   /* it is reported, and the call fails */
    CENOTE_MISUSE_ABORT = 2     /* it is reported, and the process aborted: the default */
};

/*
 * Sets what is done about misuse, for the whole process from now on. Returns what was set before,
 * or CENOTE_ERR_CONFIG for a value that is none.
 */
int cenote_set_misuse_policy(int policy);

/*
 * What is told about misuse. `message` is one line without its end, valid and the same during the
 * call, whatever is called in it. It may be called on any thread, and must not use the pool that the
 * message is about.
 */
typedef void (*cenote_report_fn)(void *data, const char *message);

/* Sets what is told about misuse, for the whole process; NULL, the default: standard error. */
void cenote_on_misuse(cenote_report_fn report, void *data);

/* The library's version, such as "0.1.0". */
const char *cenote_version(void);

/*
 * Gives back to the system what the calling thread keeps for its next pools, and to the others
 * what it has in reserve of shared accounts. Returns how many bytes went back. Worth calling when
 * a thread goes idle.
 */
size_t cenote_thread_trim(void);

/* ---- accounts --------------------------------------------------------------------------------- */

/* No limit. */
#define CENOTE_NO_LIMIT SIZE_MAX

/*
 * An account without a parent. The name is copied.
 *
 * Pools charge whole blocks to their account and to all above it. Where that would pass a limit on
 * the way up, the allocation fails with CENOTE_ERR_LIMIT, and no figure but `refused` changes.
 * Making an account takes some 300 bytes from the system; the process is aborted where it has none.
 */
cenote_account_t *cenote_account_root(const char *name);

/*
 * An account under another one. It belongs to the thread on which the first pool on it is made:
 * charging it costs least there. So give each thread an account, and put the rest under that.
 */
cenote_account_t *cenote_account_child(cenote_account_t *parent, const char *name);

/* The same for an account on which several threads make pools at once. */
cenote_account_t *cenote_account_shared_child(cenote_account_t *parent, const char *name);

/* Ends the handle. The account itself lives as long as there are pools on it or accounts under it. */
int cenote_account_destroy(cenote_account_t *account);

/*
 * Sets the limit in bytes; CENOTE_NO_LIMIT, the default: none. One below what is held takes nothing
 * away; it refuses more until less is held.
 */
int cenote_account_set_limit(cenote_account_t *account, size_t bytes);

/* The limit in bytes, or CENOTE_NO_LIMIT. */
size_t cenote_account_limit(const cenote_account_t *account);
/* Bytes that pools and reservations on this account, and on those under it, hold now. */
size_t cenote_account_held(const cenote_account_t *account);
/* The most that was held at any one time. */
size_t cenote_account_peak(const cenote_account_t *account);
/* The most in the last half a minute to a minute; since it was asked for, if that is longer ago. */
size_t cenote_account_recent_peak(const cenote_account_t *account);
/* Pools on this very account that exist now. */
size_t cenote_account_live(const cenote_account_t *account);
/* Pools that were ever made on it. */
uint64_t cenote_account_created(const cenote_account_t *account);
/* How often its limit refused. */
uint64_t cenote_account_refused(const cenote_account_t *account);

/* ---- reservations ----------------------------------------------------------------------------- */

/*
 * Charges bytes to an account for memory that lies elsewhere: of another library's heap, a mapped
 * file, a device. Nothing is allocated for them; they count under the same limits as the blocks of
 * pools. Reserve before the memory is had, shrink after it is gone. NULL where there is no room:
 * CENOTE_ERR_LIMIT. A reservation may go from thread to thread; one at a time may use it. It keeps
 * its account.
 */
cenote_reservation_t *cenote_account_reserve(cenote_account_t *account, size_t bytes);

/*
 * The same, but waits for room for so many milliseconds; UINT64_MAX: for as long as it takes. Who
 * waits gets room in the order in which they came, before anybody who came later. Fails at once
 * where a limit is less than that, with CENOTE_ERR_LIMIT, as it does when the time is over.
 */
cenote_reservation_t *cenote_account_reserve_wait(cenote_account_t *account, size_t bytes,
                                                  uint64_t milliseconds);

/* Gives all of it back. NULL is fine. */
int cenote_reservation_destroy(cenote_reservation_t *reservation);

/* How many bytes it has. */
size_t cenote_reservation_bytes(const cenote_reservation_t *reservation);

/* Reserves more; CENOTE_ERR_LIMIT, with nothing changed, where there is no room. */
int cenote_reservation_try_grow(cenote_reservation_t *reservation, size_t more);

/*
 * The same whatever the limits are, for memory that is there already. What was beyond a limit is
 * told by cenote_account_overcommitted(). CENOTE_ERR_SIZE where the sum would be more than any
 * memory is.
 */
int cenote_reservation_grow(cenote_reservation_t *reservation, size_t more);

/* Gives some back; CENOTE_ERR_CONFIG where it has less. */
int cenote_reservation_shrink(cenote_reservation_t *reservation, size_t less);

/* Makes it so many bytes, by try_grow or shrink. */
int cenote_reservation_resize(cenote_reservation_t *reservation, size_t bytes);

/* Makes some of its bytes a reservation of their own; CENOTE_ERR_CONFIG where it has less. */
cenote_reservation_t *cenote_reservation_split(cenote_reservation_t *reservation, size_t bytes);

/*
 * Adds all that another one of the same account has, and ends the other's handle. CENOTE_ERR_CONFIG,
 * with nothing changed, where it is of another account.
 */
int cenote_reservation_merge(cenote_reservation_t *reservation, cenote_reservation_t *other);

/* Of the bytes that an account holds, those of reservations. */
size_t cenote_account_reserved(const cenote_account_t *account);

/* Bytes that reservations have charged beyond its limit so far. */
uint64_t cenote_account_overcommitted(const cenote_account_t *account);

/* ---- cleanups --------------------------------------------------------------------------------- */

/* What is called when a pool is reset or destroyed. */
typedef void (*cenote_cleanup_fn)(void *data);

/*
 * The functions cenote_..._cleanup_add() register a call, to be made once, when the pool is reset
 * or destroyed: the last one registered is called first, while everything in the pool can still be
 * used. One that is registered by a cleanup runs too. They return the cleanup's number, or 0.
 * A number means that one cleanup as long as the process lives; it is never given again.
 * cenote_..._cleanup_run() makes the call now instead, and cenote_..._cleanup_cancel() sees to it
 * that it is never made; both take time in the number of cleanups that were added since.
 */

/* ---- cenote_pool: all at once ----------------------------------------------------------------- */

/* Zeros, and NULL, mean the default. Begin with CENOTE_POOL_OPTIONS_INIT, and set what you need. */
typedef struct cenote_pool_options {
    size_t size;                /* sizeof (cenote_pool_options_t) */
    const char *name;           /* what snapshots and reports call it; copied */
    cenote_account_t *account;  /* who is charged; NULL: nobody */
    size_t first_block;         /* bytes; a power of two from 256 to 65536; default 4096 */
    size_t largest_block;       /* up to which blocks double; at most 16 MiB; default 65536 */
    size_t large_threshold;     /* objects above it get memory of their own: from 64 bytes to half
                                   the largest block; default a quarter of that */
    int zero_on_release;        /* whether memory is zeroed before it is given back, for secrets */
} cenote_pool_options_t;

#define CENOTE_POOL_OPTIONS_INIT {sizeof(cenote_pool_options_t), NULL, NULL, 0, 0, 0, 0}

/* A pool, on no account. It holds no memory until something is allocated. */
cenote_pool_t *cenote_pool_create(void);
/* A pool that charges its memory to an account. Fails where that is NULL. */
cenote_pool_t *cenote_pool_create_on(cenote_account_t *account);
/* A pool with options; NULL: the defaults. */
cenote_pool_t *cenote_pool_create_with(const cenote_pool_options_t *options);

/* Runs the cleanups, and frees everything in the pool, and the pool. NULL is fine. */
int cenote_pool_destroy(cenote_pool_t *pool);
/* Runs the cleanups, and frees everything in the pool; keeps blocks for what comes next. */
int cenote_pool_reset(cenote_pool_t *pool);

/*
 * Memory of `size` bytes, valid until the pool is reset or destroyed. With GCC and Clang this is also
 * a macro, so that no call is needed where the current block has room (cenote/inline.h); define
 * CENOTE_NO_INLINE before this header for calls only.
 */
void *cenote_pool_alloc(cenote_pool_t *pool, size_t size);
/* The same, zeroed. */
void *cenote_pool_zalloc(cenote_pool_t *pool, size_t size);
/* Zeroed memory for `count` objects of `size` bytes. The product is checked. */
void *cenote_pool_calloc(cenote_pool_t *pool, size_t count, size_t size);
/* Memory of an alignment. */
void *cenote_pool_alloc_aligned(cenote_pool_t *pool, size_t size, size_t align);
/* Memory without any alignment, packed: for text and bytes. */
void *cenote_pool_alloc_bytes(cenote_pool_t *pool, size_t size);

/* A copy of `size` bytes. Of NULL: memory of that size. */
void *cenote_pool_memdup(cenote_pool_t *pool, const void *bytes, size_t size);
/* A copy of a text with its NUL. Of NULL: an empty one. */
char *cenote_pool_strdup(cenote_pool_t *pool, const char *text);
/* A copy of `length` characters (which are all there), and a NUL. Of NULL: so many zeros. */
char *cenote_pool_strndup(cenote_pool_t *pool, const char *text, size_t length);

/*
 * Changes the size of an object of this pool, which has `old_size` bytes: in place if it is the
 * newest and its block has room, or large and its memory has; else in new memory, to which as much
 * as fits is copied. Returns where it is now, or NULL, and then it is as it was. Of NULL: memory of
 * `new_size`. `old_size` is what was asked for.
 *
 * `object` is checked before anything is read there: what lies in no memory of this pool in use
 * (CENOTE_ERR_FOREIGN; freed large objects, and those of before a reset, are such or INTERIOR), in a
 * block's header (CENOTE_ERR_HEADER), in the free middle of a block or inside of a large object, or at
 * no multiple of 8 where objects are aligned (CENOTE_ERR_INTERIOR), or cannot have `old_size` bytes
 * (CENOTE_ERR_LAYOUT) is misuse. The inside of a small object is not noticed, nor is a small one that
 * was moved away. It takes time in the number of blocks, of which the newest is looked at first. With
 * CENOTE_DEBUG, and in builds for a checker, an object that is not the newest always moves.
 */
void *cenote_pool_realloc(cenote_pool_t *pool, void *object, size_t old_size, size_t new_size);

/*
 * Frees a large object early, however many there are, and returns CENOTE_OK. CENOTE_DECLINED where
 * the address is that of no large object of this pool - a small one, another pool's, one freed
 * before, one inside of an object: nothing has changed then. NULL is fine.
 */
int cenote_pool_free(cenote_pool_t *pool, void *object);

uint64_t cenote_pool_cleanup_add(cenote_pool_t *pool, cenote_cleanup_fn call, void *data);
int cenote_pool_cleanup_run(cenote_pool_t *pool, uint64_t cleanup);
int cenote_pool_cleanup_cancel(cenote_pool_t *pool, uint64_t cleanup);

/* Closes a descriptor when the pool is reset or destroyed; at once, where this fails for memory. */
int cenote_pool_attach_fd(cenote_pool_t *pool, int fd);
/* Closes an attached descriptor now. */
int cenote_pool_close_fd(cenote_pool_t *pool, int fd);
/* Deletes a file when the pool is reset or destroyed. The path is copied; the file may be gone. */
int cenote_pool_delete_path(cenote_pool_t *pool, const char *path);

/* Bytes of blocks and large objects that the pool holds. */
size_t cenote_pool_held(const cenote_pool_t *pool);
/* Bytes that objects take, padding included. */
size_t cenote_pool_used(const cenote_pool_t *pool);

/* ---- cenote_counted: a block at a time -------------------------------------------------------- */

/* Zeros, and NULL, mean the default. Begin with CENOTE_COUNTED_OPTIONS_INIT. */
typedef struct cenote_counted_options {
    size_t size;                /* sizeof (cenote_counted_options_t) */
    const char *name;           /* what snapshots and reports call it; copied */
    cenote_account_t *account;  /* who is charged; NULL: nobody */
    size_t page;                /* bytes of a block: a power of two from 1024 to 1 MiB; default 4096 */
    int zero_on_release;        /* whether memory is zeroed when its block empties, for secrets */
} cenote_counted_options_t;

#define CENOTE_COUNTED_OPTIONS_INIT {sizeof(cenote_counted_options_t), NULL, NULL, 0, 0}

cenote_counted_t *cenote_counted_create(void);
cenote_counted_t *cenote_counted_create_on(cenote_account_t *account);
cenote_counted_t *cenote_counted_create_with(const cenote_counted_options_t *options);
int cenote_counted_destroy(cenote_counted_t *pool);
int cenote_counted_reset(cenote_counted_t *pool);

/* Memory that is valid until it is freed, or the pool reset or destroyed; as for cenote_pool. */
void *cenote_counted_alloc(cenote_counted_t *pool, size_t size);
void *cenote_counted_zalloc(cenote_counted_t *pool, size_t size);
void *cenote_counted_calloc(cenote_counted_t *pool, size_t count, size_t size);
void *cenote_counted_alloc_aligned(cenote_counted_t *pool, size_t size, size_t align);
void *cenote_counted_alloc_bytes(cenote_counted_t *pool, size_t size);
/*
 * As cenote_pool_realloc(), but always in new memory. `object` is checked to be one before anything is
 * read there, as far as cenote_counted_free() notices; with an `old_size` that reaches beyond what is in
 * use of its block it is CENOTE_ERR_LAYOUT.
 */
void *cenote_counted_realloc(cenote_counted_t *pool, void *object, size_t old_size,
                             size_t new_size);

/*
 * Frees an object. Its memory comes back with the last object of its block; a large one's at once.
 *
 * What is noticed as a bad free: an address in no block of this pool (CENOTE_ERR_FOREIGN), in a
 * block's header (CENOTE_ERR_HEADER), in a block without objects (CENOTE_ERR_EMPTY), in the free
 * middle of a block, or no multiple of 8 where objects are aligned (CENOTE_ERR_INTERIOR). What is
 * not, since a block counts its objects and does not know which they are: freeing one twice while
 * others are in its block, and the inside of an object. They count another object out; the pool
 * stays sound, but the block may be used again too early. cenote_chunk notices those as well.
 * NULL is fine.
 */
int cenote_counted_free(cenote_counted_t *pool, void *object);

/* Gives back what is kept for later: empty blocks. How many bytes that was. */
size_t cenote_counted_trim(cenote_counted_t *pool);

uint64_t cenote_counted_cleanup_add(cenote_counted_t *pool, cenote_cleanup_fn call, void *data);
int cenote_counted_cleanup_run(cenote_counted_t *pool, uint64_t cleanup);
int cenote_counted_cleanup_cancel(cenote_counted_t *pool, uint64_t cleanup);

/* Bytes of blocks, large objects and bookkeeping that the pool holds. */
size_t cenote_counted_held(const cenote_counted_t *pool);
/* Objects that are not freed. Looks at every block. */
size_t cenote_counted_live(const cenote_counted_t *pool);

/* ---- cenote_chunk: an object at a time -------------------------------------------------------- */

/* Zeros, and NULL, mean the default. Begin with CENOTE_CHUNK_OPTIONS_INIT. */
typedef struct cenote_chunk_options {
    size_t size;                /* sizeof (cenote_chunk_options_t) */
    const char *name;           /* what snapshots and reports call it; copied */
    cenote_account_t *account;  /* who is charged; NULL: nobody */
    size_t cluster_size;        /* bytes of a cluster of pages: a multiple of the page size, at most
                                   256 pages; default 65536 */
    size_t page_alignment;      /* the largest alignment of chunks: a power of two; default 128 */
    size_t page_size;           /* bytes of a page, the largest chunk: a power of two, at least 64, at
                                   most 32 of the smallest chunks; default 1024 */
    size_t min_chunk_size;      /* the smallest chunk: a power of two below the page; default 32 */
    int zero_on_release;        /* whether an object is zeroed when it is freed, for secrets */
} cenote_chunk_options_t;

#define CENOTE_CHUNK_OPTIONS_INIT {sizeof(cenote_chunk_options_t), NULL, NULL, 0, 0, 0, 0, 0}

cenote_chunk_t *cenote_chunk_create(void);
cenote_chunk_t *cenote_chunk_create_on(cenote_account_t *account);
cenote_chunk_t *cenote_chunk_create_with(const cenote_chunk_options_t *options);
int cenote_chunk_destroy(cenote_chunk_t *pool);
int cenote_chunk_reset(cenote_chunk_t *pool);

/*
 * Memory that is valid until it is freed, or the pool reset or destroyed; as for cenote_pool. No
 * object has 2^32 - 1 bytes or more.
 */
void *cenote_chunk_alloc(cenote_chunk_t *pool, size_t size);
void *cenote_chunk_zalloc(cenote_chunk_t *pool, size_t size);
void *cenote_chunk_calloc(cenote_chunk_t *pool, size_t count, size_t size);
void *cenote_chunk_alloc_aligned(cenote_chunk_t *pool, size_t size, size_t align);
/*
 * As cenote_pool_realloc(), but always in new memory. `object` is checked to be one before anything is
 * read there, as cenote_chunk_free() does; with an `old_size` that is more than it has it is
 * CENOTE_ERR_LAYOUT.
 */
void *cenote_chunk_realloc(cenote_chunk_t *pool, void *object, size_t old_size, size_t new_size);

/* Frees an object. Every bad free is noticed. NULL is fine. */
int cenote_chunk_free(cenote_chunk_t *pool, void *object);

/* Lets pages and clusters go that only remembered frees keep: before a pool rests for a while. */
int cenote_chunk_settle(cenote_chunk_t *pool);
/*
 * Gives back what holds no object, while others are in the pool: clusters that are kept empty, and
 * the memory of free pages in those that are not (on Linux; the pool still holds those, and they are
 * resident again once used). How many bytes that was. For a timer, where a cache shrinks or the sizes
 * that are asked for change.
 */
size_t cenote_chunk_trim(cenote_chunk_t *pool);
/* 1 if there is no object and no cleanup in the pool, else 0. 0 for NULL. */
int cenote_chunk_is_empty(const cenote_chunk_t *pool);

uint64_t cenote_chunk_cleanup_add(cenote_chunk_t *pool, cenote_cleanup_fn call, void *data);
int cenote_chunk_cleanup_run(cenote_chunk_t *pool, uint64_t cleanup);
int cenote_chunk_cleanup_cancel(cenote_chunk_t *pool, uint64_t cleanup);

/* Bytes of clusters, large objects and bookkeeping that the pool holds. */
size_t cenote_chunk_held(const cenote_chunk_t *pool);

/* ---- cenote_buddy: pages ---------------------------------------------------------------------- */

/* Zeros, and NULL, mean the default. Begin with CENOTE_BUDDY_OPTIONS_INIT. */
typedef struct cenote_buddy_options {
    size_t size;                /* sizeof (cenote_buddy_options_t) */
    const char *name;           /* what snapshots and reports call it; copied */
    cenote_account_t *account;  /* who is charged for a region that the library takes; NULL: nobody */
    size_t page;                /* bytes of the smallest block: a power of two of at least 64; default
                                   4096 */
    size_t largest_block;       /* a power of two; default the largest that the region has */
    void *region;               /* memory of your own, of as many bytes as are given; NULL: from the
                                   system. Yours again when the handle is destroyed. */
} cenote_buddy_options_t;

#define CENOTE_BUDDY_OPTIONS_INIT {sizeof(cenote_buddy_options_t), NULL, NULL, 0, 0, NULL}

/* Pages over `bytes` bytes. */
cenote_buddy_t *cenote_buddy_create(size_t bytes);
cenote_buddy_t *cenote_buddy_create_with(size_t bytes, const cenote_buddy_options_t *options);
/* Gives the region back, whether all blocks have come back or not. */
int cenote_buddy_destroy(cenote_buddy_t *buddy);

/* A block of `size` bytes, rounded up to a power of two of pages, and aligned to that. */
void *cenote_buddy_alloc(cenote_buddy_t *buddy, size_t size);
/* Gives a block back. Every bad free is noticed. NULL is fine. */
int cenote_buddy_free(cenote_buddy_t *buddy, void *block);

/* Bytes of the block that begins there; 0 if no block in use does. To use all of them, ask for as
 * many: checkers and CENOTE_DEBUG look at what was not asked for. */
size_t cenote_buddy_capacity(const cenote_buddy_t *buddy, const void *block);
/* Bytes of a page. */
size_t cenote_buddy_page(const cenote_buddy_t *buddy);
/* Bytes of all pages. */
size_t cenote_buddy_bytes(const cenote_buddy_t *buddy);
/* Bytes of blocks that are out. */
size_t cenote_buddy_used(const cenote_buddy_t *buddy);
/* Bytes of the largest block that can be had now. */
size_t cenote_buddy_largest_free(const cenote_buddy_t *buddy);

/* ---- snapshots -------------------------------------------------------------------------------- */

/*
 * What a handle stands for at this moment: how much it holds, block by block, or account by
 * account. `handle` is one of any kind: of a pool of the calling thread, or of an account. Figures
 * only; no snapshot shows what is in memory.
 *
 * As text, it is for people. As JSON, a pool is an object with its fields; an account is
 *     {"schema": 1, "accounts": [{"path": ["process", "worker-0"], "live": 1, "created": 812,
 *       "held_bytes": 4096, "used_bytes": null, "peak_bytes": 8192, "limit_bytes": 1048576,
 *       "refused": 0, "blocks": null, "large": null, "cleanups": null, "created_at": "C"}, ...]}
 * with all accounts under it, those of the same path added up. What only a pool's own thread can
 * tell is null, and so is the limit where there is none.
 *
 * Snapshots take memory from the system; the process is aborted where it has none.
 */

/*
 * Writes it to a buffer of `size` bytes, as many whole characters as fit, with a NUL at the end. Returns the length
 * of all of it without the NUL, as snprintf() does, so that a return of `size` or more means that
 * there was no room; 0 where it failed. The buffer may be NULL if `size` is 0.
 */
size_t cenote_snapshot_text(const void *handle, char *buffer, size_t size);
size_t cenote_snapshot_json(const void *handle, char *buffer, size_t size);

/* What is given a snapshot, in one call or several. `text` has no NUL. Returns 0 to go on. */
typedef int (*cenote_write_fn)(void *data, const char *text, size_t length);

/* Gives it to a function. */
int cenote_snapshot_text_to(const void *handle, cenote_write_fn write, void *data);
int cenote_snapshot_json_to(const void *handle, cenote_write_fn write, void *data);

#ifdef __cplusplus
}
#endif

#include <cenote/inline.h>

#endif /* CENOTE_H */
