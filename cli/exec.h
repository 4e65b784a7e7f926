/* exec: runs the command of `watch … -- command` for one event. Starts processes. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "cli/flags.h"
#include "etcd/kv.pb-c.h"

/* Waits for the command. 0: it succeeded; 1: it did not, which is said on `err`. */
int exec_event(const strings_t *command, int64_t revision, const Mvccpb__Event *event,
               char *const *env, FILE *err) __attribute__((warn_unused_result));
