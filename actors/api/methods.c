#include "actors/api/methods.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static const method_info_t methods[] = {
#define X(id, service, name, type) {"/" service "/" name, service, name, type},
    API_METHODS(X)
#undef X
};

/* Lengths are known at compile time, so that most paths differ before their bytes are looked at. */
static const size_t path_lens[] = {
#define X(id, service, name, type) sizeof("/" service "/" name) - 1,
    API_METHODS(X)
#undef X
};

method_t method_find(const char *path, unsigned long len)
{
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        if (path_lens[i] == len && memcmp(methods[i].path, path, len) == 0) {
            return (method_t)i;
        }
    }
    return METHOD_UNKNOWN;
}

const method_info_t *method_info(method_t method)
{
    assert((unsigned)method < METHOD_COUNT);
    return &methods[method];
}
