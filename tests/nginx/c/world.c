/*
 * What pools need of nginx, in place of nginx: a log that counts and can be printed, memory that
 * can be made to fail, and counts of both.
 */

#include "world.h"

ngx_uint_t  ngx_pagesize = 4096;

size_t      world_allocations;
size_t      world_fail_after = (size_t) -1;
char        world_last_line[1024];
ngx_uint_t  world_last_level;
int         world_lines;
int         world_frees;
int         world_print;


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    char        *p, *last;
    va_list      args;
    const char  *text;

    (void) log;

    p = world_last_line;
    last = p + sizeof(world_last_line) - 40;

    va_start(args, fmt);

    for (text = fmt; *text && p < last; text++) {

        if (strncmp(text, "%p", 2) == 0) {
            (void) va_arg(args, void *);
            p += sprintf(p, "<address>");
            text++;

        } else if (strncmp(text, "%uz", 3) == 0) {
            p += sprintf(p, "%zu", va_arg(args, size_t));
            text += 2;

        } else if (strncmp(text, "%d", 2) == 0) {
            p += sprintf(p, "%d", va_arg(args, int));
            text++;

        } else if (strncmp(text, "%s", 2) == 0) {
            p += snprintf(p, last - p, "%s", va_arg(args, char *));
            text++;

        } else {
            *p++ = *text;
        }
    }

    va_end(args);

    *p = '\0';
    world_last_level = level;
    world_lines++;
    world_frees += strcmp(world_last_line, "free: <address>") == 0;

    if (world_print) {
        printf("log %d %s (%d)\n", (int) level, world_last_line, (int) err);
    }
}


static int
world_fails(void)
{
    world_allocations++;

    if (world_fail_after == (size_t) -1) {
        return 0;
    }

    if (world_fail_after == 0) {
        return 1;
    }

    world_fail_after--;

    return 0;
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    void  *p;

    p = world_fails() ? NULL : malloc(size);

    if (p == NULL) {
        ngx_log_error(NGX_LOG_EMERG, log, ENOMEM, "malloc(%uz) failed", size);
    }

    return p;
}


void *
ngx_memalign(size_t alignment, size_t size, ngx_log_t *log)
{
    void  *p;

    if (world_fails() || posix_memalign(&p, alignment, size) != 0) {
        ngx_log_error(NGX_LOG_EMERG, log, ENOMEM,
                      "posix_memalign(%uz, %uz) failed", alignment, size);
        return NULL;
    }

    return p;
}
