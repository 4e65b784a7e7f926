/* flags: command line flags in the manner of Go's pflag, which etcdctl's users know:
 * --name=value, --name value, -n value, -nvalue, -n=value, flags between and after arguments, "--"
 * ends them. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum flag_kind {
    FLAG_BOOL,
    FLAG_INT,
    FLAG_STRING,
    FLAG_DURATION,
    FLAG_STRINGS, /* comma separated, repeatable */
} flag_kind_t;

/* Tables of these end with {0}. */
typedef struct flag_def {
    const char *name;
    char shorthand; /* 0: none */
    flag_kind_t kind;
    const char *initial; /* the default as one would write it; "" for none */
    const char *usage;
} flag_def_t;

typedef struct strings {
    char **items;
    size_t n;
    size_t capacity;
} strings_t;

void strings_add(strings_t *self, const char *text);
void strings_deinit(strings_t *self);

typedef struct flag {
    const flag_def_t *def;
    bool changed;
    bool yes;          /* FLAG_BOOL */
    int64_t number;    /* FLAG_INT; FLAG_DURATION in nanoseconds */
    char *text;        /* FLAG_STRING */
    strings_t strings; /* FLAG_STRINGS */
} flag_t;

/* Zeroed is empty. */
typedef struct flags {
    flag_t *items;
    size_t n;
    size_t capacity;
} flags_t;

/* Adds definitions up to one without a name; NULL is none. They must outlive the flags, and their
 * defaults must parse. */
void flags_add(flags_t *self, const flag_def_t *defs);
void flags_deinit(flags_t *self);

flag_t *flags_find(const flags_t *self, const char *name, size_t size);
flag_t *flags_find_shorthand(const flags_t *self, char shorthand);
/* NULL, or a fresh reason why the value does not fit (without naming the flag). */
char *flags_set(flag_t *flag, const char *value);

enum flags_outcome {
    FLAGS_ERROR = 1, /* *error_p is a fresh text */
    FLAGS_HELP = 2,  /* --help or -h */
};
/* Sets flags; what is none is added to `args`. */
int flags_parse(flags_t *self, char *const *argv, size_t argc, strings_t *args, char **error_p)
    __attribute__((warn_unused_result));

/* The value of a flag that was defined with this kind. */
bool flags_bool(const flags_t *self, const char *name);
int64_t flags_int(const flags_t *self, const char *name);
const char *flags_string(const flags_t *self, const char *name);
int64_t flags_duration_ns(const flags_t *self, const char *name);
const strings_t *flags_strings(const flags_t *self, const char *name);
bool flags_changed(const flags_t *self, const char *name);
