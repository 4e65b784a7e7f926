#include "messages/xalloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *memory)
{
    if (!memory) {
        abort();
    }
    return memory;
}

void *xmalloc(size_t size)
{
    return checked(malloc(size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
    return checked(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *old, size_t size)
{
    return checked(realloc(old, size ? size : 1));
}

char *xstrdup(const char *text)
{
    return checked(strdup(text));
}

void *xmemdup(const void *data, size_t size)
{
    void *copy = xmalloc(size);
    if (size) {
        memcpy(copy, data, size);
    }
    return copy;
}

char *xasprintf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0) {
        abort();
    }
    return text;
}

void *xgrow(void *items, size_t *capacity, size_t needed, size_t item_size)
{
    if (needed <= *capacity) {
        return items;
    }
    size_t wanted = *capacity ? *capacity : 8;
    while (wanted < needed) {
        wanted *= 2;
    }
    if (wanted > SIZE_MAX / item_size) {
        abort();
    }
    *capacity = wanted;
    return xrealloc(items, wanted * item_size);
}
