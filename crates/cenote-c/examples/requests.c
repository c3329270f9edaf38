/*
 * A server's day in small: each request has a pool, all pools are on one account, and who holds how
 * much can be seen at any time.
 *
 *     cargo build --release -p cenote-c
 *     cc -Icrates/cenote-c/include crates/cenote-c/examples/requests.c \
 *         target/release/libcenote_c.a -lpthread -ldl -lm -o requests && ./requests
 */
#include <cenote.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct header {
    const char *name, *value;
    struct header *next;
};

static void log_end(void *data)
{
    printf("  end of %s\n", (const char *)data);
}

/* Answers with as many copies of a header as are asked for; -1 where there is no memory for it. */
static int answer(cenote_pool_t *pool, const char *line, size_t copies)
{
    struct header *first = NULL;
    for (size_t i = 0; i < copies; i++) {
        struct header *header = cenote_pool_alloc(pool, sizeof *header);
        if (header == NULL)
            return -1;
        header->name = "x-copy";
        header->value = cenote_pool_strdup(pool, line);
        header->next = first;
        first = header;
    }
    return cenote_pool_cleanup_add(pool, log_end, cenote_pool_strdup(pool, line)) == 0 ? -1 : 0;
}

int main(void)
{
    static const struct { const char *line; size_t copies; } requests[] = {
        {"GET /small", 3}, {"GET /large", 400}, {"GET /too-large", 40000},
    };
    cenote_account_t *process = cenote_account_root("process");
    cenote_account_t *worker = cenote_account_child(process, "worker-0");
    cenote_account_set_limit(worker, 256 << 10);

    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        cenote_pool_t *pool = cenote_pool_create_on(worker);
        if (answer(pool, requests[i].line, requests[i].copies) == 0)
            printf("200 %s, %zu bytes held\n", requests[i].line, cenote_pool_held(pool));
        else
            printf("503 %s: %s\n", requests[i].line, cenote_last_error());
        cenote_pool_destroy(pool);
    }

    char text[4096];
    cenote_snapshot_text(process, text, sizeof text);
    fputs(text, stdout);
    cenote_account_destroy(worker);
    cenote_account_destroy(process);
    return EXIT_SUCCESS;
}
