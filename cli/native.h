/* native: how commands that speak the native protocol, through libquoral, find and trust the members. Reads the files
 * of keys that flags name. */
#pragma once

#include "cli/cli.h"
#include "client/quoral.h"

/* --native-endpoints and the keys for CURVE. */
extern const flag_def_t cli_native_flags[];

/* What is said of connections while a command runs. */
typedef enum {
    NATIVE_QUIET, /* nothing: a call that fails says why. With --debug all the same */
    NATIVE_TELLS, /* on stderr, for commands that go on until they are ended */
} native_talk_t;

/* cli_configure, then a client by these flags. NULL: *code_p is the exit code, the error is printed. */
quoral_client_t *native_connect(cli_t *cli, native_talk_t talk, int *code_p);
