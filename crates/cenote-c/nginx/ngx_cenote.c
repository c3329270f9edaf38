/*
 * What only nginx's own headers know: whether this is a debugging build. And a reference to each
 * of the pool functions, so that all of them are in the program for modules that are loaded into
 * it, whether or not nginx itself uses them.
 */

#include <ngx_config.h>
#include <ngx_core.h>


extern u_char  CENOTE_NGINX_DEBUG;


void *const  ngx_cenote_pools[] = {
    (void *) ngx_create_pool,
    (void *) ngx_destroy_pool,
    (void *) ngx_reset_pool,
    (void *) ngx_palloc,
    (void *) ngx_pnalloc,
    (void *) ngx_pcalloc,
    (void *) ngx_pmemalign,
    (void *) ngx_pfree,
    (void *) ngx_pool_cleanup_add,
    (void *) ngx_pool_run_cleanup_file,
    (void *) ngx_pool_cleanup_file,
    (void *) ngx_pool_delete_file,
};


/* the Rust side knows these structs by their layout alone */

typedef char  ngx_cenote_layout[
    (sizeof(ngx_pool_data_t) == 4 * sizeof(void *)
     && offsetof(ngx_pool_data_t, last) == 0
     && offsetof(ngx_pool_data_t, end) == sizeof(void *)
     && offsetof(ngx_pool_data_t, next) == 2 * sizeof(void *)
     && offsetof(ngx_pool_data_t, failed) == 3 * sizeof(void *)
     && sizeof(ngx_pool_t) == 10 * sizeof(void *)
     && offsetof(ngx_pool_t, max) == 4 * sizeof(void *)
     && offsetof(ngx_pool_t, current) == 5 * sizeof(void *)
     && offsetof(ngx_pool_t, chain) == 6 * sizeof(void *)
     && offsetof(ngx_pool_t, large) == 7 * sizeof(void *)
     && offsetof(ngx_pool_t, cleanup) == 8 * sizeof(void *)
     && offsetof(ngx_pool_t, log) == 9 * sizeof(void *)
     && sizeof(ngx_pool_large_t) == 2 * sizeof(void *)
     && offsetof(ngx_pool_large_t, alloc) == sizeof(void *)
     && sizeof(ngx_pool_cleanup_t) == 3 * sizeof(void *)
     && offsetof(ngx_pool_cleanup_t, handler) == 0
     && offsetof(ngx_pool_cleanup_t, data) == sizeof(void *)
     && offsetof(ngx_pool_cleanup_t, next) == 2 * sizeof(void *)
     && sizeof(ngx_pool_cleanup_file_t) == 3 * sizeof(void *)
     && offsetof(ngx_pool_cleanup_file_t, fd) == 0
     && offsetof(ngx_pool_cleanup_file_t, name) == sizeof(void *)
     && offsetof(ngx_pool_cleanup_file_t, log) == 2 * sizeof(void *)
     && offsetof(ngx_log_t, log_level) == 0
     && (NGX_ALIGNMENT == sizeof(void *) || NGX_ALIGNMENT == 16))
    ? 1 : -1];


#if (NGX_DEBUG)

/* before main(), which makes a pool at once */

__attribute__((constructor))
static void
ngx_cenote_debugging(void)
{
    CENOTE_NGINX_DEBUG = 1;
}

#endif
