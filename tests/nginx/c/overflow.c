/* Writes one byte beyond an object, into the next one of its block. */

#include "world.h"


int
main(void)
{
    u_char       *volatile object;
    ngx_log_t     log;
    ngx_pool_t   *pool;

    memset(&log, 0, sizeof(log));
    pool = ngx_create_pool(1024, &log);
    object = ngx_palloc(pool, 16);
    (void) ngx_palloc(pool, 16);
    object[16] = 1;
    ngx_destroy_pool(pool);

    return 0;
}
