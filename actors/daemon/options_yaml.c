/* The configuration file: one YAML mapping (JSON is YAML), keys named as flags, as etcd reads it
 * (contract section 14). What is stricter than YAML, on purpose: numbers, durations (nanoseconds) and
 * booleans are plain scalars, lists hold scalars, nothing is recursive, and anchors are refused.
 * A null or empty value leaves the default; unknown keys are ignored with a warning. */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "actors/daemon/go_value.h"
#include "actors/daemon/options_steps.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* Keys inside the mappings that hold several flags. */
static const struct {
    const char *section;
    const char *key;
    flag_t flag;
} nested[] = {
    {"client-transport-security", "cert-file", FLAG_CERT_FILE},
    {"client-transport-security", "key-file", FLAG_KEY_FILE},
    {"client-transport-security", "client-cert-file", FLAG_CLIENT_CERT_FILE},
    {"client-transport-security", "client-key-file", FLAG_CLIENT_KEY_FILE},
    {"client-transport-security", "client-cert-auth", FLAG_CLIENT_CERT_AUTH},
    {"client-transport-security", "trusted-ca-file", FLAG_TRUSTED_CA_FILE},
    {"client-transport-security", "auto-tls", FLAG_AUTO_TLS},
    {"client-transport-security", "allowed-hostname", FLAG_CLIENT_HOSTNAME},
    {"peer-transport-security", "cert-file", FLAG_PEER_CERT_FILE},
    {"peer-transport-security", "key-file", FLAG_PEER_KEY_FILE},
    {"peer-transport-security", "client-cert-file", FLAG_PEER_CLIENT_CERT},
    {"peer-transport-security", "client-key-file", FLAG_PEER_CLIENT_KEY},
    {"peer-transport-security", "client-cert-auth", FLAG_PEER_CERT_AUTH},
    {"peer-transport-security", "trusted-ca-file", FLAG_PEER_CA_FILE},
    {"peer-transport-security", "auto-tls", FLAG_PEER_AUTO_TLS},
    {"peer-transport-security", "allowed-cn", FLAG_PEER_ALLOWED_CN},
    {"peer-transport-security", "allowed-hostname", FLAG_PEER_HOSTNAME},
    {"peer-transport-security", "skip-client-san-verification", FLAG_PEER_SKIP_SAN},
    {"socket-options", "reuse-port", FLAG_REUSE_PORT},
    {"socket-options", "reuse-address", FLAG_REUSE_ADDRESS},
};
enum { NESTED_COUNT = sizeof nested / sizeof *nested };

typedef struct {
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
    flag_set_t *flags;
    options_t *options;
    char *error;
} reader_t;

static void fail(reader_t *self, const yaml_mark_t *mark, char *what)
{
    if (!self->error) {
        self->error = xasprintf("line %zu: %s", mark->line + 1, what);
    }
    free(what);
}

/* The next event, or YAML_NO_EVENT when something is wrong: self->error says what. */
static yaml_event_type_t next_event(reader_t *self)
{
    if (self->has_event) {
        yaml_event_delete(&self->event);
        self->has_event = false;
    }
    if (self->error) {
        return YAML_NO_EVENT;
    }
    if (!yaml_parser_parse(&self->parser, &self->event)) {
        const char *problem = self->parser.problem ? self->parser.problem : "not YAML";
        fail(self, &self->parser.problem_mark, xstrdup(problem));
        return YAML_NO_EVENT;
    }
    self->has_event = true;
    bool anchored =
        self->event.type == YAML_ALIAS_EVENT ||
        (self->event.type == YAML_SCALAR_EVENT && self->event.data.scalar.anchor) ||
        (self->event.type == YAML_SEQUENCE_START_EVENT && self->event.data.sequence_start.anchor) ||
        (self->event.type == YAML_MAPPING_START_EVENT && self->event.data.mapping_start.anchor);
    if (anchored) {
        fail(self, &self->event.start_mark, xstrdup("anchors and aliases are not supported"));
        return YAML_NO_EVENT;
    }
    return self->event.type;
}

static bool is_plain(const yaml_event_t *event)
{
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* The scalar's text; NULL when it holds a zero byte, which no flag may. */
static const char *scalar_text(reader_t *self)
{
    const char *text = (const char *)self->event.data.scalar.value;
    if (strlen(text) != self->event.data.scalar.length) {
        fail(self, &self->event.start_mark, xstrdup("zero byte in a value"));
        return NULL;
    }
    return text;
}

static bool is_null(const reader_t *self, const char *text)
{
    static const char *const words[] = {"~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof words / sizeof *words && is_plain(&self->event); i++) {
        if (strcmp(text, words[i]) == 0) {
            return true;
        }
    }
    return *text == '\0';
}

/* YAML 1.1's booleans, to those that Go reads; NULL when it is none. */
static const char *bool_word(const char *text)
{
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes", "YES",
                                      "on",   "On",   "ON",   "y",   "Y"};
    static const char *const no[] = {"false", "False", "FALSE", "no", "No", "NO",
                                     "off",   "Off",   "OFF",   "n",  "N"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcmp(text, yes[i]) == 0) {
            return "true";
        }
        if (strcmp(text, no[i]) == 0) {
            return "false";
        }
    }
    return NULL;
}

static void put(reader_t *self, flag_t flag, const char *key, const char *text)
{
    char *error = flag_set_put(self->flags, flag, text);
    if (error) {
        char *quoted = go_quote(text);
        fail(self, &self->event.start_mark,
             xasprintf("invalid value %s for %s: %s", quoted, key, error));
        free(quoted);
        free(error);
    }
}

static void put_duration(reader_t *self, flag_t flag, const char *key, const char *text)
{
    int64_t nanoseconds = 0;
    if (!is_plain(&self->event) || go_int(text, &nanoseconds) != 0) {
        fail(self, &self->event.start_mark,
             xasprintf("%s must be an integer number of nanoseconds", key));
        return;
    }
    char *duration = go_duration_text(nanoseconds);
    put(self, flag, key, duration);
    free(duration);
}

static void on_scalar(reader_t *self, flag_t flag, const char *key)
{
    const char *text = scalar_text(self);
    if (!text || is_null(self, text)) {
        return;
    }
    const char *word = NULL;
    switch (flag_info(flag)->type) {
    case FLAG_TYPE_DURATION: put_duration(self, flag, key, text); return;
    case FLAG_TYPE_STRINGS:
        /* This one is a comma-separated text in files too. */
        if (flag != FLAG_HOST_WHITELIST) {
            fail(self, &self->event.start_mark, xasprintf("%s must be a list", key));
            return;
        }
        break;
    case FLAG_TYPE_BOOL:
        word = is_plain(&self->event) ? bool_word(text) : NULL;
        if (!word) {
            fail(self, &self->event.start_mark, xasprintf("%s must be true or false", key));
            return;
        }
        text = word;
        break;
    case FLAG_TYPE_UINT:
    case FLAG_TYPE_UINT32:
    case FLAG_TYPE_INT:
        if (!is_plain(&self->event)) {
            fail(self, &self->event.start_mark, xasprintf("%s must be a number", key));
            return;
        }
        break;
    default: break;
    }
    put(self, flag, key, text);
}

static void on_list(reader_t *self, flag_t flag, const char *key)
{
    if (flag_info(flag)->type != FLAG_TYPE_STRINGS || flag == FLAG_HOST_WHITELIST) {
        fail(self, &self->event.start_mark, xasprintf("%s must not be a list", key));
        return;
    }
    buf_t joined = {0};
    yaml_event_type_t type = next_event(self);
    for (; type == YAML_SCALAR_EVENT; type = next_event(self)) {
        const char *text = scalar_text(self);
        if (!text) {
            continue;
        }
        if (joined.len > 0) {
            buf_byte(&joined, ',');
        }
        buf_append(&joined, text, strlen(text));
    }
    if (type == YAML_SEQUENCE_END_EVENT && joined.len > 0) {
        buf_byte(&joined, '\0');
        put(self, flag, key, (const char *)joined.data);
    } else if (type != YAML_SEQUENCE_END_EVENT && type != YAML_NO_EVENT) {
        fail(self, &self->event.start_mark, xasprintf("%s must hold plain values only", key));
    }
    buf_deinit(&joined);
}

/* Passes over the value that starts at the current event. True if there was anything in it. */
static bool skip_value(reader_t *self)
{
    unsigned depth = 0;
    bool found = false;
    yaml_event_type_t type = self->event.type;
    for (;;) {
        if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT) {
            depth++;
        } else if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT) {
            depth--;
        } else if (type == YAML_SCALAR_EVENT) {
            const char *text = scalar_text(self);
            found = found || (text && !is_null(self, text));
        } else {
            return found; /* an error: self->error is set */
        }
        if (depth == 0) {
            return found;
        }
        if (depth > LIMIT_CONFIG_DEPTH) {
            fail(self, &self->event.start_mark, xstrdup("nested too deeply"));
        }
        type = next_event(self);
    }
}

static void ignore(reader_t *self, const char *section, const char *key)
{
    char *name = section ? xasprintf("%s.%s", section, key) : xstrdup(key);
    char *fields = options_field("key", name);
    options_note(self->options, LEVEL_WARN, "ignored unknown key in configuration file", fields);
    free(fields);
    free(name);
    (void)skip_value(self);
}

static flag_t find_key(const char *section, const char *key)
{
    if (!section) {
        flag_t flag = flag_find(key, strlen(key));
        return flag < FLAG_COUNT && flag_info(flag)->in_file ? flag : FLAG_COUNT;
    }
    for (size_t i = 0; i < NESTED_COUNT; i++) {
        if (strcmp(nested[i].section, section) == 0 && strcmp(nested[i].key, key) == 0) {
            return nested[i].flag;
        }
    }
    return FLAG_COUNT;
}

/* The value of a key that is no mapping; the current event is its first. */
static void on_value(reader_t *self, const char *section, const char *key)
{
    flag_t flag = find_key(section, key);
    if (flag == FLAG_COUNT) {
        ignore(self, section, key);
    } else if (self->event.type == YAML_SCALAR_EVENT) {
        on_scalar(self, flag, key);
    } else if (self->event.type == YAML_SEQUENCE_START_EVENT) {
        on_list(self, flag, key);
    } else {
        fail(self, &self->event.start_mark, xasprintf("%s must not be a mapping", key));
    }
}

/* Takes the key of the next pair, yours, and moves to the first event of its value. NULL = the
 * mapping has ended, or an error. */
static char *next_key(reader_t *self)
{
    yaml_event_type_t type = next_event(self);
    if (type == YAML_MAPPING_END_EVENT || type == YAML_NO_EVENT) {
        return NULL;
    }
    if (type != YAML_SCALAR_EVENT) {
        fail(self, &self->event.start_mark, xstrdup("a key must be a plain name"));
        return NULL;
    }
    const char *text = scalar_text(self);
    char *key = text ? xstrdup(text) : NULL;
    if (next_event(self) == YAML_NO_EVENT) {
        free(key);
        return NULL;
    }
    return key;
}

static bool is_section(const char *key)
{
    for (size_t i = 0; i < NESTED_COUNT; i++) {
        if (strcmp(nested[i].section, key) == 0) {
            return true;
        }
    }
    return false;
}

static void on_section(reader_t *self, const char *section)
{
    if (self->event.type != YAML_MAPPING_START_EVENT) {
        if (skip_value(self)) {
            fail(self, &self->event.start_mark, xasprintf("%s must be a mapping", section));
        }
        return;
    }
    char *key = NULL;
    while ((key = next_key(self)) != NULL) {
        on_value(self, section, key);
        free(key);
    }
}

static void on_discovery(reader_t *self)
{
    if (skip_value(self)) {
        fail(self, &self->event.start_mark,
             xstrdup("discovery-config: discovery is not supported yet"));
    }
}

static bool next_is(reader_t *self, yaml_event_type_t type)
{
    return next_event(self) == type;
}

static void read_document(reader_t *self)
{
    if (!next_is(self, YAML_STREAM_START_EVENT) || !next_is(self, YAML_DOCUMENT_START_EVENT)) {
        return; /* nothing but comments, or an error */
    }
    yaml_event_type_t type = next_event(self);
    if (type == YAML_SCALAR_EVENT) {
        const char *text = scalar_text(self);
        if (text && is_null(self, text)) {
            return;
        }
    }
    if (type != YAML_MAPPING_START_EVENT) {
        fail(self, &self->event.start_mark, xstrdup("the file must hold one mapping"));
        return;
    }
    char *key = NULL;
    while ((key = next_key(self)) != NULL) {
        if (is_section(key)) {
            on_section(self, key);
        } else if (strcmp(key, "discovery-config") == 0) {
            on_discovery(self);
        } else {
            on_value(self, NULL, key);
        }
        free(key);
    }
    if (next_is(self, YAML_DOCUMENT_END_EVENT) && !next_is(self, YAML_STREAM_END_EVENT)) {
        fail(self, &self->event.start_mark, xstrdup("the file must hold one document"));
    }
}

char *options_parse_yaml(flag_set_t *flags, slice_t content, options_t *self)
{
    reader_t reader = {.flags = flags, .options = self};
    if (!yaml_parser_initialize(&reader.parser)) {
        return xstrdup("out of memory");
    }
    const unsigned char *data = content.len ? content.data : (const unsigned char *)"";
    yaml_parser_set_input_string(&reader.parser, data, content.len);
    read_document(&reader);
    if (reader.has_event) {
        yaml_event_delete(&reader.event);
    }
    yaml_parser_delete(&reader.parser);
    return reader.error;
}
