/* environment: flags from the environment. --write-out is ETCDCTL_WRITE_OUT or
 * QUORALCTL_WRITE_OUT; a flag on the command line and a variable for it are a conflict, as with
 * etcdctl. Pure: the environment is an argument. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "cli/flags.h"

/* PREFIX_ + the flag's name in capitals with underscores; a fresh string. */
char *environment_name(const char *prefix, const char *flag);
/* Sets flags that were not changed. `tables`, up to NULL, are all flags that may be set so; a
 * variable for one that this command does not take is ignored. NULL, or a fresh error text. Unknown
 * variables with one of the prefixes are warned about on `err`; watch_variables: those of watch are
 * known. */
char *environment_apply(flags_t *flags, const flag_def_t *const *tables, char *const *env,
                        bool watch_variables, FILE *err);
/* The value of PREFIX_name with either prefix; "" when unset. */
const char *environment_value(char *const *env, const char *name);
