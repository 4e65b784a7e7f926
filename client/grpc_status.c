#include "client/grpc_status.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/xalloc.h"

void grpc_status_set(grpc_status_t *self, int code, const char *message)
{
    char *copy = xstrdup(message);
    free(self->message);
    self->code = code;
    self->message = copy;
}

void grpc_status_setf(grpc_status_t *self, int code, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    assert(size >= 0);
    grpc_status_set(self, code, text);
    free(text);
}

void grpc_status_deinit(grpc_status_t *self)
{
    free(self->message);
    *self = (grpc_status_t){0};
}

const char *grpc_code_name(int code, char buffer[GRPC_CODE_NAME_BYTES])
{
    static const char *const names[] = {
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    };
    if (code >= 0 && code < (int)(sizeof names / sizeof names[0])) {
        return names[code];
    }
    snprintf(buffer, GRPC_CODE_NAME_BYTES, "Code(%d)", code);
    return buffer;
}

grpc_code_t grpc_code_of_http(int http_status)
{
    switch (http_status) {
    case 400: return GRPC_INTERNAL;
    case 401: return GRPC_UNAUTHENTICATED;
    case 403: return GRPC_PERMISSION_DENIED;
    case 404: return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504: return GRPC_UNAVAILABLE;
    default: return GRPC_UNKNOWN;
    }
}

/* RFC 9113 section 7; the numbers index the table. */
static const struct {
    const char *name;
    grpc_code_t code;
} resets[] = {
    {"NO_ERROR", GRPC_INTERNAL},
    {"PROTOCOL_ERROR", GRPC_INTERNAL},
    {"INTERNAL_ERROR", GRPC_INTERNAL},
    {"FLOW_CONTROL_ERROR", GRPC_RESOURCE_EXHAUSTED},
    {"SETTINGS_TIMEOUT", GRPC_INTERNAL},
    {"STREAM_CLOSED", GRPC_UNKNOWN},
    {"FRAME_SIZE_ERROR", GRPC_INTERNAL},
    {"REFUSED_STREAM", GRPC_UNAVAILABLE},
    {"CANCEL", GRPC_CANCELLED},
    {"COMPRESSION_ERROR", GRPC_INTERNAL},
    {"CONNECT_ERROR", GRPC_INTERNAL},
    {"ENHANCE_YOUR_CALM", GRPC_RESOURCE_EXHAUSTED},
    {"INADEQUATE_SECURITY", GRPC_PERMISSION_DENIED},
    {"HTTP_1_1_REQUIRED", GRPC_INTERNAL},
};

grpc_code_t grpc_code_of_reset(uint32_t error_code)
{
    return error_code < sizeof resets / sizeof resets[0] ? resets[error_code].code : GRPC_UNKNOWN;
}

const char *grpc_reset_name(uint32_t error_code)
{
    return error_code < sizeof resets / sizeof resets[0] ? resets[error_code].name : "UNKNOWN";
}
