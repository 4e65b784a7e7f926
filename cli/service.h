/* service: what the commands of `quoralctl service` share. They speak the native protocol, through libquoral. */
#pragma once

#include "cli/cli.h"
#include "client/quoral.h"

/* Checks names of services and instances. 0 or an exit code. */
int service_check_name(cli_t *cli, const char *what, const char *name)
    __attribute__((warn_unused_result));
/* For people. */
const char *service_state_name(quoral_instance_state_t state);

/* `service run` and `service register`, the same without a program. */
int service_run(cli_t *cli, const strings_t *args);
extern const flag_def_t service_run_flags[];
