/* A library that is loaded while threads allocate, and whose constructor and destructor allocate in
 * threads of their own; and, without LATE, the program that loads it. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 200
#define OBJECTS 500

/* Objects of many sizes, held all at once. */
static void *work(void *seed)
{
    static _Thread_local unsigned turns;
    char *objects[OBJECTS];
    for (unsigned i = 0; i < OBJECTS; i++) {
        size_t size = 1 + (i * 37 + (unsigned)(size_t)seed) % 3000;
        objects[i] = malloc(size);
        if (!objects[i])
            abort();
        memset(objects[i], (int)i, size);
    }
    for (unsigned i = 0; i < OBJECTS; i++) {
        if (objects[i][0] != (char)i)
            abort();
        free(objects[i]);
    }
    turns++;
    return NULL;
}

static void in_a_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, (void *)7) != 0)
        abort();
    pthread_join(thread, NULL);
}

#ifdef LATE

static void *kept;

__attribute__((constructor)) static void begins(void)
{
    kept = malloc(100);
    in_a_thread();
    work(NULL);
}

__attribute__((destructor)) static void ends(void)
{
    in_a_thread();
    free(kept);
}

#else

static volatile int done;

static void *busy(void *seed)
{
    while (!done)
        work(seed);
    return NULL;
}

int main(int count, char **arguments)
{
    if (count != 2)
        return 2;
    /* Ends it where it hangs. */
    alarm(60);
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, busy, (void *)i) != 0)
            return 3;
    for (int i = 0; i < ROUNDS; i++) {
        void *library = dlopen(arguments[1], i % 2 ? RTLD_NOW : RTLD_LAZY);
        if (!library) {
            fprintf(stderr, "%s\n", dlerror());
            return 4;
        }
        in_a_thread();
        if (dlclose(library) != 0)
            return 5;
    }
    done = 1;
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    puts("late: ok");
    return 0;
}

#endif
