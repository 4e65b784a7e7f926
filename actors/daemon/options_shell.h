/* options_shell: options_parse for a real process: reads the configuration file, prints what is to be
 * printed, opens the log. */
#pragma once

#include "actors/daemon/log_shell.h"
#include "actors/daemon/options.h"

/* For options_parse. */
char *options_read_file(const char *path, buf_t *content) __attribute__((warn_unused_result));

/* -1 = go on: *log_p is open (yours, log_close), options are valid, options->action is OPTIONS_RUN or
 * OPTIONS_PRINT_WIRING (then *log_p is NULL). Else exit with that code: everything has been said.
 * options needs options_deinit in any case. */
int options_load(int argc, char *const *argv, char *const *environment, options_t *options,
                 log_t **log_p) __attribute__((warn_unused_result));
