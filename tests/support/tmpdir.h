/* tmpdir: a fresh directory for one test, removed with all that is in it. */
#pragma once

char *tmpdir_new(void); /* path; yours, give it to tmpdir_destroy */
void tmpdir_destroy(char **path_p);
