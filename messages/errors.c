#include "messages/errors.h"

#include <assert.h>

static const struct {
    grpc_code_t code;
    const char *text;
} errors[] = {
#define X(name, code, text) {code, text},
    API_ERRORS(X)
#undef X
};

grpc_code_t api_error_code(api_error_t error)
{
    assert((unsigned)error < API_ERRORS_COUNT);
    return errors[error].code;
}

const char *api_error_text(api_error_t error)
{
    assert((unsigned)error < API_ERRORS_COUNT);
    return errors[error].text;
}
