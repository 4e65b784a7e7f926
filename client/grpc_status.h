/* grpc_status: how a call ended. Pure. A status is embedded in its owner, which calls deinit. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "messages/errors.h"

typedef struct grpc_status {
    int code;         /* grpc_code_t, or a number a server made up */
    char *message;    /* never NULL after set; owned */
    bool unprocessed; /* the server has said that it never began: any call may be repeated */
} grpc_status_t;

/* Copies the message. */
void grpc_status_set(grpc_status_t *self, int code, const char *message);
void grpc_status_setf(grpc_status_t *self, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void grpc_status_deinit(grpc_status_t *self);

/* Go's name of a code ("DeadlineExceeded"); "Code(42)" style names are written to `buffer`. */
#define GRPC_CODE_NAME_BYTES 24
const char *grpc_code_name(int code, char buffer[GRPC_CODE_NAME_BYTES]);
/* What an answer without grpc-status means (gRPC's http-grpc-status-mapping). */
grpc_code_t grpc_code_of_http(int http_status);
/* What a stream that was reset with this HTTP/2 error code means. */
grpc_code_t grpc_code_of_reset(uint32_t error_code);
const char *grpc_reset_name(uint32_t error_code);
