/* options_steps: the steps of options_parse, each in a file of its own. Pure; for options*.c and
 * their tests. */
#pragma once

#include "actors/daemon/options.h"

/* Go's flag syntax. 0 or 2 with *message; *help = -h was given; *stray = first word that is no flag
 * (borrowed from argv) or NULL. */
int options_parse_args(flag_set_t *flags, int argc, char *const *argv, bool *help,
                       const char **stray, char **message) __attribute__((warn_unused_result));

/* ETCD_* and QUORAL_* variables. 0 or 1, notes say what happened. */
int options_parse_env(flag_set_t *flags, char *const *environment, options_t *self)
    __attribute__((warn_unused_result));
/* The value of one flag's variable, "" = unset, borrowed. 1 when the two prefixes disagree. */
int options_env_value(flag_t flag, char *const *environment, options_t *self, const char **value)
    __attribute__((warn_unused_result));

/* The content of a configuration file. NULL or the reason why not, yours; notes for ignored keys. */
char *options_parse_yaml(flag_set_t *flags, slice_t content, options_t *self)
    __attribute__((warn_unused_result));

/* Checks all values and refuses what is not supported. NULL = self is filled; else why not, yours. */
char *options_check(const flag_set_t *flags, options_t *self) __attribute__((warn_unused_result));

/* The flags of the native side, given the client URLs. NULL, or why not, yours. */
char *options_check_native(const flag_set_t *flags, options_t *self)
    __attribute__((warn_unused_result));

/* The fields of a log line: `"key":"value"`, escaped; yours. */
char *options_field(const char *key, const char *value);
