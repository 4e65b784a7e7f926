#include "tests/support/tmpdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/xalloc.h"

char *tmpdir_new(void)
{
    const char *parent = getenv("TMPDIR");
    char *path = xasprintf("%s/quoral-test-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(path)) {
        perror(path);
        abort();
    }
    return path;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    (void)where;
    return remove(path);
}

void tmpdir_destroy(char **path_p)
{
    if (*path_p) {
        (void)nftw(*path_p, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        free(*path_p);
        *path_p = NULL;
    }
}
