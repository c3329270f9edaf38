/* Writes to a small object before it is freed, or after: only a checker can tell. */
#include "check.h"

int main(int argc, char **argv)
{
    njs_mp_t *mp = njs_pool();
    char *volatile object = njs_mp_alloc(mp, 100);
    bool after = argc == 2 && strcmp(argv[1], "after") == 0;
    if (after) {
        njs_mp_free(mp, object);
    }
    object[50] = 1;
    if (!after) {
        njs_mp_free(mp, object);
    }
    njs_mp_destroy(mp);
    return 0;
}
