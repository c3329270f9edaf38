/* Runs the cases named, or all of them; lists them with --list. */
#include "check.h"

#define CASE(name) void name(void);
#include "cases.h"
#undef CASE

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
#define CASE(name) {#name, name},
#include "cases.h"
#undef CASE
};

int main(int argc, char **argv)
{
    int ran = 0;
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool wanted = argc == 1;
        for (int arg = 1; arg < argc; arg++) {
            if (strcmp(argv[arg], "--list") == 0) {
                puts(cases[i].name);
            }
            wanted |= strcmp(argv[arg], cases[i].name) == 0;
        }
        if (wanted) {
            fprintf(stderr, "%s\n", cases[i].name);
            bad_frees_before = cenote_njs_bad_frees();
            cases[i].run();
            ran++;
        }
    }
    fprintf(stderr, "%d ran\n", ran);
    return ran > 0 || (argc == 2 && strcmp(argv[1], "--list") == 0) ? 0 : 2;
}
