/* Handles that go from thread to thread, and threads that come and go with pools of their own. */
#include "check.h"
#include <pthread.h>

enum { THREADS = 4, ROUNDS = 60 };

static cenote_account_t *process, *shared;

static void *work(void *data)
{
    cenote_account_t *own = cenote_account_child(process, "worker");
    for (int round = 0; round < ROUNDS; round++) {
        cenote_pool_t *pools[3] = {
            cenote_pool_create(), cenote_pool_create_on(own), cenote_pool_create_on(shared),
        };
        cenote_chunk_t *chunk = cenote_chunk_create_on(shared);
        for (int i = 0; i < 50; i++) {
            for (int p = 0; p < 3; p++) {
                void *object = cenote_pool_alloc(pools[p], 100);
                CHECK(object != NULL);
                memset(object, round, 100);
            }
            CHECK_STATUS(cenote_chunk_free(chunk, cenote_chunk_alloc(chunk, 200)), CENOTE_OK);
        }
        CHECK_NONE(cenote_pool_alloc(pools[0], SIZE_MAX), CENOTE_ERR_SIZE);
        for (int p = 0; p < 3; p++)
            CHECK_STATUS(cenote_pool_destroy(pools[p]), CENOTE_OK);
        CHECK_STATUS(cenote_chunk_destroy(chunk), CENOTE_OK);
    }
    /* One that is made here, and destroyed by whoever joins. */
    cenote_pool_t **left = data;
    *left = cenote_pool_create_on(own);
    strcpy(cenote_pool_alloc(*left, 20), "from another thread");
    cenote_account_destroy(own);
    cenote_thread_trim();
    return NULL;
}

static void *read_on(void *data)
{
    char text[4096];
    volatile int *stop = data;
    do
        CHECK(cenote_snapshot_text(process, text, sizeof text) > 0);
    while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE));
    return NULL;
}

int main(void)
{
    process = cenote_account_root("process");
    shared = cenote_account_shared_child(process, "shared");
    pthread_t reader, threads[THREADS];
    int stop = 0;
    CHECK(pthread_create(&reader, NULL, read_on, &stop) == 0);
    for (int round = 0; round < 3; round++) {
        cenote_pool_t *left[THREADS] = {NULL};
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_create(&threads[i], NULL, work, &left[i]) == 0);
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
            CHECK(cenote_pool_alloc(left[i], 100) != NULL);
            CHECK_STATUS(cenote_pool_destroy(left[i]), CENOTE_OK);
        }
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    CHECK(pthread_join(reader, NULL) == 0);
    cenote_thread_trim();
    CHECK_SIZE(cenote_account_held(process), 0);
    CHECK_SIZE(cenote_account_live(shared), 0);
    CHECK_SIZE(cenote_account_created(shared), 2 * 3 * THREADS * ROUNDS);
    cenote_account_destroy(shared);
    cenote_account_destroy(process);
    return 0;
}
