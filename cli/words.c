#include "cli/words.h"

#include <stdlib.h>
#include <string.h>

#include "cli/go_format.h"
#include "messages/xalloc.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

/* The size of the word at text; 0: there is none here. */
static size_t word_size(const char *text)
{
    if (text[0] == '\'') {
        const char *end = strchr(text + 1, '\'');
        return end != NULL ? (size_t)(end - text) + 1 : 0;
    }
    size_t i = 0;
    if (text[0] != '"') {
        while (text[i] != 0 && !is_space(text[i])) {
            i++;
        }
        return i;
    }
    for (i = 1; text[i] != 0 && text[i] != '"'; i++) {
        if (text[i] == '\\' && text[i + 1] != 0) {
            i++;
        }
    }
    return text[i] == '"' ? i + 1 : 0;
}

static bool add_word(const char *text, size_t size, strings_t *words)
{
    char *word = NULL;
    if (text[0] == '"') {
        size_t word_bytes = 0;
        size_t used = 0;
        if (!go_unquote(text, &word, &word_bytes, &used)) {
            return false;
        }
    } else {
        size_t quotes = text[0] == '\'' ? 1 : 0;
        size -= 2 * quotes;
        word = xmemdup(text + quotes, size + 1);
        word[size] = 0;
    }
    strings_add(words, word);
    free(word);
    return true;
}

bool words_split(const char *line, strings_t *words)
{
    while (*line != 0) {
        size_t size = is_space(*line) ? 0 : word_size(line);
        if (size == 0) { /* space, or a quote without its partner */
            line++;
            continue;
        }
        if (!add_word(line, size, words)) {
            return false;
        }
        line += size;
    }
    return true;
}

/* ---- compares ---- */

typedef struct compare_text {
    char *target;
    char *key;
    size_t key_size;
    char *operator;
    char *value;
    size_t value_size;
} compare_text_t;

static const char *skip_space(const char *text)
{
    while (is_space(*text)) {
        text++;
    }
    return text;
}

/* `"key") op "value"`, as far as it goes: what is missing stays NULL. */
static void scan_compare(const char *text, compare_text_t *c)
{
    size_t used = 0;
    text = skip_space(text);
    if (!go_unquote(text, &c->key, &c->key_size, &used)) {
        return;
    }
    text += used;
    if (text[0] != ')' || !is_space(text[1])) {
        return;
    }
    text = skip_space(text + 1);
    size_t size = 0;
    while (text[size] != 0 && !is_space(text[size])) {
        size++;
    }
    if (size == 0) {
        return;
    }
    c->operator= xmemdup(text, size + 1);
    c->operator[size] = 0;
    text = skip_space(text + size);
    if (!go_unquote(text, &c->value, &c->value_size, &used)) {
        c->value = NULL;
    }
}

static char *malformed(const char *line, const compare_text_t *c)
{
    char *key = go_quoted(c->key != NULL ? c->key : "", c->key_size);
    char *value = go_quoted(c->value != NULL ? c->value : "", c->value != NULL ? c->value_size : 0);
    char *error = xasprintf("malformed comparison: %s; got %s(%s) %s %s", line, c->target, key,
                            c->operator!= NULL ? c->operator: "", value);
    free(key);
    free(value);
    return error;
}

/* Moves bytes into a message that protobuf-c frees. */
static ProtobufCBinaryData take_bytes(char **text_p, size_t size)
{
    ProtobufCBinaryData bytes = {size, (uint8_t *)*text_p};
    *text_p = NULL;
    if (size == 0) {
        free(bytes.data);
        bytes.data = NULL;
    }
    return bytes;
}

static const struct {
    const char *name;
    Etcdserverpb__Compare__CompareTarget target;
    Etcdserverpb__Compare__TargetUnionCase which;
} targets[] = {
    {"ver", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
     ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION},
    {"version", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
     ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION},
    {"c", ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION},
    {"create", ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION},
    {"m", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
     ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION},
    {"mod", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
     ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION},
    {"val", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE},
    {"value", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE},
    {"lease", ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE},
};

static const struct {
    const char *name;
    Etcdserverpb__Compare__CompareResult result;
} operators[] = {
    {"=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL},
    {"!=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL},
    {">", ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER},
    {"<", ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS},
};

static char *set_target(const char *line, compare_text_t *c, Etcdserverpb__Compare *compare)
{
    size_t i = 0;
    while (i < sizeof targets / sizeof targets[0] && strcmp(targets[i].name, c->target) != 0) {
        i++;
    }
    if (i == sizeof targets / sizeof targets[0]) {
        return xasprintf("malformed comparison: %s (unknown target %s)", line, c->target);
    }
    compare->target = targets[i].target;
    compare->target_union_case = targets[i].which;
    if (targets[i].which == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE) {
        compare->value = take_bytes(&c->value, c->value_size);
        return NULL;
    }
    /* Lease ids are hexadecimal everywhere in this tool (etcdctl crashes on a compare of leases).
     * The members of the union that hold numbers share their place. */
    int base = targets[i].which == ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE ? 16 : 10;
    if (go_parse_int(c->value, base, &compare->version) != NULL) {
        return xasprintf("invalid txn compare request: %s", line);
    }
    return NULL;
}

static char *set_operator(const char *line, const char *name, Etcdserverpb__Compare *compare)
{
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (strcmp(operators[i].name, name) == 0) {
            compare->result = operators[i].result;
            return NULL;
        }
    }
    return xasprintf("malformed comparison: %s (unknown operator %s)", line, name);
}

char *words_parse_compare(const char *line, Etcdserverpb__Compare *compare)
{
    const char *parenthesis = strchr(line, '(');
    if (parenthesis == NULL) {
        return xasprintf("malformed comparison: %s", line);
    }
    compare_text_t c = {0};
    c.target = xmemdup(line, (size_t)(parenthesis - line) + 1);
    c.target[parenthesis - line] = 0;
    scan_compare(parenthesis + 1, &c);
    char *error = NULL;
    if (c.value == NULL) {
        error = malformed(line, &c);
    } else {
        error = set_operator(line, c.operator, compare);
    }
    if (error == NULL) {
        error = set_target(line, &c, compare);
    }
    if (error == NULL) {
        compare->key = take_bytes(&c.key, c.key_size);
    }
    free(c.target);
    free(c.key);
    free(c.operator);
    free(c.value);
    return error;
}
