/* flags: the flags of flag_table.h as data, and a set of values for them. Pure. */
#pragma once

#include "actors/daemon/flag_table.h"
#include "actors/core/urls.h"
#include "messages/buf.h"

typedef enum {
#define X(id, name, type, initial, support, section, in_file, detail, help) FLAG_##id,
    FLAG_TABLE(X)
#undef X
        FLAG_COUNT
} flag_t;

typedef enum {
    FLAG_TYPE_STRING,
    FLAG_TYPE_BOOL,
    FLAG_TYPE_UINT,
    FLAG_TYPE_UINT32,
    FLAG_TYPE_INT,
    FLAG_TYPE_DURATION, /* nanoseconds */
    FLAG_TYPE_URLS,
    FLAG_TYPE_STRINGS, /* comma-separated */
    FLAG_TYPE_CHOICE,  /* one of the words in `detail` */
    FLAG_TYPE_GATES    /* A=true,B=false */
} flag_type_t;

typedef enum {
    FLAG_SUPPORT_ON,
    FLAG_SUPPORT_LATER,
    FLAG_SUPPORT_INERT,
    FLAG_SUPPORT_RULE
} flag_support_t;

typedef enum {
    FLAG_SECTION_MEMBER,
    FLAG_SECTION_CLUSTERING,
    FLAG_SECTION_SECURITY,
    FLAG_SECTION_AUTH,
    FLAG_SECTION_MONITORING,
    FLAG_SECTION_LOGGING,
    FLAG_SECTION_TRACING,
    FLAG_SECTION_FEATURES,
    FLAG_SECTION_UNSAFE,
    FLAG_SECTION_PROGRAM,
    FLAG_SECTION_COUNT
} flag_section_t;

typedef struct {
    const char *name;
    flag_type_t type;
    const char *initial;
    flag_support_t support;
    flag_section_t section;
    bool in_file;
    const char *detail;
    const char *help;
} flag_info_t;

const flag_info_t *flag_info(flag_t flag);
/* FLAG_COUNT when there is no such flag; the name is `len` bytes. */
flag_t flag_find(const char *name, size_t len);
/* "ETCD_DATA_DIR" for prefix "ETCD"; yours. */
char *flag_env_name(flag_t flag, const char *prefix);

typedef struct {
    char *text;      /* as given, or the default */
    bool is_set;     /* given by somebody */
    bool yes;        /* BOOL */
    uint64_t number; /* UINT, UINT32 */
    int64_t integer; /* INT, DURATION */
    urls_t urls;     /* URLS */
} flag_value_t;

typedef struct {
    flag_value_t values[FLAG_COUNT];
} flag_set_t;

/* All defaults. */
void flag_set_init(flag_set_t *self);
void flag_set_deinit(flag_set_t *self);
/* NULL = the value holds now; else why it does not fit, in the words of Go's flag package; yours. */
char *flag_set_put(flag_set_t *self, flag_t flag, const char *text)
    __attribute__((warn_unused_result));
/* Does the value mean the same as the default? */
bool flag_is_default(const flag_set_t *self, flag_t flag);

/* The help texts. */
void flags_print_usage(buf_t *out);
void flags_print_help(buf_t *out);
