/*
 * "cenote_status;" in a location: this worker's pools, by who made them and how large, as text,
 * or as JSON where the request has "?json" or accepts nothing but that.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


void *cenote_nginx_status(ngx_pool_t *pool, size_t worker, int json,
    size_t *length);


static char *ngx_http_cenote_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_cenote_status_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_cenote_status_json(ngx_http_request_t *r);


static ngx_command_t  ngx_http_cenote_status_commands[] = {

    { ngx_string("cenote_status"),
      NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_cenote_status,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_cenote_status_module_ctx = {
    NULL,                          /* preconfiguration */
    NULL,                          /* postconfiguration */

    NULL,                          /* create main configuration */
    NULL,                          /* init main configuration */

    NULL,                          /* create server configuration */
    NULL,                          /* merge server configuration */

    NULL,                          /* create location configuration */
    NULL                           /* merge location configuration */
};


ngx_module_t  ngx_http_cenote_status_module = {
    NGX_MODULE_V1,
    &ngx_http_cenote_status_module_ctx,
    ngx_http_cenote_status_commands,
    NGX_HTTP_MODULE,
    NULL,                          /* init master */
    NULL,                          /* init module */
    NULL,                          /* init process */
    NULL,                          /* init thread */
    NULL,                          /* exit thread */
    NULL,                          /* exit process */
    NULL,                          /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_http_cenote_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *location;

    location = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    location->handler = ngx_http_cenote_status_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_cenote_status_handler(ngx_http_request_t *r)
{
    size_t        length;
    ngx_int_t     rc;
    ngx_buf_t    *body;
    ngx_uint_t    json;
    ngx_chain_t   out;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    json = ngx_http_cenote_status_json(r);

    if (json) {
        ngx_str_set(&r->headers_out.content_type, "application/json");
    } else {
        ngx_str_set(&r->headers_out.content_type, "text/plain");
    }

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    body = ngx_calloc_buf(r->pool);
    if (body == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    length = 0;
    body->pos = cenote_nginx_status(r->pool, ngx_worker, json, &length);
    if (body->pos == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body->last = body->pos + length;
    body->memory = 1;
    body->last_buf = (r == r->main);
    body->last_in_chain = 1;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = length;

    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = body;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_uint_t
ngx_http_cenote_status_json(ngx_http_request_t *r)
{
    ngx_str_t         value;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    if (r->args.len == 4 && ngx_strncmp(r->args.data, "json", 4) == 0) {
        return 1;
    }

    if (ngx_http_arg(r, (u_char *) "json", 4, &value) == NGX_OK) {
        return 1;
    }

    /* not every nginx is built to know this header by itself */

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        header = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (header[i].key.len == sizeof("Accept") - 1
                && ngx_strncasecmp(header[i].key.data, (u_char *) "Accept",
                                   sizeof("Accept") - 1)
                   == 0)
            {
                return ngx_strnstr(header[i].value.data, "application/json",
                                   header[i].value.len)
                       != NULL;
            }
        }
    }

    return 0;
}
