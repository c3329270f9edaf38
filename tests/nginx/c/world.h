/* The pools' surroundings in the tests. */

#ifndef WORLD_H
#define WORLD_H

#include <ngx_config.h>
#include <ngx_core.h>

/* how many calls for memory there were */
extern size_t      world_allocations;
/* after so many more calls, all fail; -1: none does */
extern size_t      world_fail_after;
/* what was logged last, addresses left out */
extern char        world_last_line[1024];
extern ngx_uint_t  world_last_level;
extern int         world_lines;
/* how many of them told of a large object that was freed */
extern int         world_frees;
/* whether to print what is logged */
extern int         world_print;

#endif
