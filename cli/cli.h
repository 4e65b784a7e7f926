/* cli: what every command of quoralctl works with: the parsed flags, the streams, the printer and
 * calls to the server. Created by cli_run, one per process (or per test), one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/printer.h"
#include "client/grpc_client.h"
#include "etcd/rpc.pb-c.h"

/* Exit codes, as etcdctl's. */
enum {
    EXIT_DONE = 0,
    EXIT_ERROR = 1,
    EXIT_BAD_CONNECTION = 2,
    EXIT_INVALID_INPUT = 3,
    EXIT_BAD_FEATURE = 4,
    EXIT_INTERRUPTED = 5,
    EXIT_BAD_ARGS = 128,
};

typedef struct cli {
    FILE *in; /* NULL: nothing to read a value from */
    FILE *out;
    FILE *err;
    char *const *argv; /* the whole command line; watch looks for its "--" there */
    size_t argc;
    char *const *env;
    const char *command; /* name of the command that runs */
    flags_t flags;
    printer_t printer;
    grpc_client_t *client; /* after cli_connect */
} cli_t;

/* The whole program: returns the exit code. `env` as environ. */
int cli_run(char *const *argv, size_t argc, char *const *env, FILE *in, FILE *out, FILE *err);

/* "Error: …" on stderr; returns `code`. */
int cli_fail(cli_t *self, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4), warn_unused_result));

/* Reads the environment, checks the global flags, sets the printer up. 0 or an exit code. Must be
 * called before the global flags and the printer are used. */
int cli_configure(cli_t *self) __attribute__((warn_unused_result));
/* cli_configure, then a client for --endpoints. */
int cli_connect(cli_t *self) __attribute__((warn_unused_result));
/* A client for the given endpoints. NULL: *code_p is the exit code and the error is printed. */
grpc_client_t *cli_new_client(cli_t *self, char *const *endpoints, size_t n, int *code_p);
int64_t cli_command_timeout_ms(const cli_t *self);
/* Of the monotonic clock. */
int64_t cli_now_ms(void);
/* A fresh copy without the blanks around it, as endpoints are used. */
char *cli_trimmed(const char *text);

/* Whether a call that ended as Unavailable may be sent again. Any call is sent again that the server
 * has not begun, or that a learner has refused when there are other endpoints. */
typedef enum retry {
    RETRY_NEVER,      /* the server may have done it already */
    RETRY_REPEATABLE, /* reads, and what does no harm twice */
} retry_t;

/* One unary call. 0: *answer_p is the caller's. 1: *error_p is a fresh text for people. */
int cli_call(grpc_client_t *client, const char *path, const ProtobufCMessage *request,
             const ProtobufCMessageDescriptor *answer_type, int64_t timeout_ms, retry_t retry,
             ProtobufCMessage **answer_p, char **error_p) __attribute__((warn_unused_result));
/* What etcdctl says about a failed call: an etcd error as it is, "context deadline exceeded", or
 * "rpc error: code = X desc = Y". A fresh string. */
char *cli_status_text(const grpc_status_t *status);
/* The server's text is one that clients know (contract section 10). */
bool cli_known_error(const char *text);
/* It is this one: clients tell errors by their texts. */
bool cli_is_error(const grpc_status_t *status, api_error_t error);

/* Hexadecimal lease id. 0 or an exit code; the error is printed. */
int cli_parse_lease(cli_t *self, const char *what, const char *text, int64_t *id_p)
    __attribute__((warn_unused_result));
/* "l" or "s". */
int cli_parse_consistency(cli_t *self, const char *text, bool *serializable_p)
    __attribute__((warn_unused_result));

/* ---- the commands, one file per family ---- */
extern const command_t command_get;
extern const command_t command_put;
extern const command_t command_del;
extern const command_t command_txn;
extern const command_t command_compaction;
extern const command_t command_watch;
extern const command_t command_lease;
extern const command_t command_member;
extern const command_t command_endpoint;
extern const command_t command_move_leader;
extern const command_t command_keygen;
extern const command_t command_service;
extern const command_t command_version;
extern const command_t command_completion;
extern const command_t command_options;
extern const command_t command_root;
extern const flag_def_t cli_global_flags[];
