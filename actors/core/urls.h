/* urls: lists of URLs as flags and members name them. Pure.
 * The rules are those of etcd's client/pkg/types (contract section 14): scheme http, https, unix or
 * unixs; the first two need "host:port" and no path. A list is sorted and free of duplicates. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    char *text;   /* as written, without surrounding blanks */
    char *scheme; /* lower case */
    char *host;   /* without brackets; unix: the socket's path */
    char *port;   /* digits, may be empty; unix: "" */
} url_t;

typedef struct {
    url_t *items;
    size_t count;
} urls_t; /* zero-initialised is empty */

void urls_deinit(urls_t *self); /* may be called twice */
/* A comma-separated list. NULL = *self holds it (what it held before is released); else the reason
 * why not, yours, and *self is unchanged. */
char *urls_parse(urls_t *self, const char *text) __attribute__((warn_unused_result));
/* The same with one URL in each text: a comma is part of it. At least one. */
char *urls_parse_each(urls_t *self, const char *const *texts, size_t count)
    __attribute__((warn_unused_result));
void urls_copy(urls_t *self, const urls_t *from);
bool urls_equal(const urls_t *a, const urls_t *b);
/* The texts with commas between them; yours. */
char *urls_text(const urls_t *self);
bool url_is_unix(const url_t *self);
bool url_is_encrypted(const url_t *self); /* https, unixs */

/* May these be listened on? A host must be an IP address or localhost. NULL = yes. */
char *urls_check_bind(const urls_t *self) __attribute__((warn_unused_result));
/* May these be told to others? A host must not be empty. NULL = yes. */
char *urls_check_host(const urls_t *self) __attribute__((warn_unused_result));
