#include "actors/daemon/flags.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "actors/daemon/gates.h"
#include "actors/daemon/go_value.h"
#include "messages/xalloc.h"

static const flag_info_t table[] = {
#define X(id, name, type, initial, support, section, in_file, detail, help)                        \
    {name,    FLAG_TYPE_##type, initial, FLAG_SUPPORT_##support, FLAG_SECTION_##section,           \
     in_file, detail,           help},
    FLAG_TABLE(X)
#undef X
};

const flag_info_t *flag_info(flag_t flag)
{
    assert(flag < FLAG_COUNT);
    return &table[flag];
}

flag_t flag_find(const char *name, size_t len)
{
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0) {
            return (flag_t)i;
        }
    }
    return FLAG_COUNT;
}

char *flag_env_name(flag_t flag, const char *prefix)
{
    char *name = xasprintf("%s_%s", prefix, flag_info(flag)->name);
    for (char *c = name + strlen(prefix); *c; c++) {
        if (*c == '-') {
            *c = '_';
        } else if (*c >= 'a' && *c <= 'z') {
            *c = (char)(*c - 'a' + 'A');
        }
    }
    return name;
}

void flag_set_init(flag_set_t *self)
{
    *self = (flag_set_t){0};
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        char *error = flag_set_put(self, (flag_t)i, table[i].initial);
        assert(!error);
        self->values[i].is_set = false;
    }
}

void flag_set_deinit(flag_set_t *self)
{
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        free(self->values[i].text);
        urls_deinit(&self->values[i].urls);
    }
    *self = (flag_set_t){0};
}

static char *number_error(int outcome)
{
    switch (outcome) {
    case 0: return NULL;
    case GO_RANGE: return xstrdup("value out of range");
    default: return xstrdup("parse error");
    }
}

/* max-concurrent-streams is a type of etcd's own, which passes strconv's words on. */
static char *uint32_error(int outcome, const char *text)
{
    if (outcome == 0) {
        return NULL;
    }
    char *quoted = go_quote(text);
    char *error = xasprintf("strconv.ParseUint: parsing %s: %s", quoted,
                            outcome == GO_RANGE ? "value out of range" : "invalid syntax");
    free(quoted);
    return error;
}

static bool is_one_of(const char *words, const char *text)
{
    size_t len = strlen(text);
    for (const char *word = words; *word;) {
        size_t size = strcspn(word, ",");
        if (size == len && memcmp(word, text, len) == 0) {
            return true;
        }
        word += size + (word[size] == ',');
    }
    return false;
}

char *flag_set_put(flag_set_t *self, flag_t flag, const char *text)
{
    const flag_info_t *info = flag_info(flag);
    flag_value_t *value = &self->values[flag];
    char *error = NULL;
    switch (info->type) {
    case FLAG_TYPE_STRING:
    case FLAG_TYPE_STRINGS: break;
    case FLAG_TYPE_BOOL: error = number_error(go_bool(text, &value->yes)); break;
    case FLAG_TYPE_UINT: error = number_error(go_uint(text, UINT64_MAX, &value->number)); break;
    case FLAG_TYPE_UINT32:
        error = uint32_error(go_uint(text, UINT32_MAX, &value->number), text);
        break;
    case FLAG_TYPE_INT: error = number_error(go_int(text, &value->integer)); break;
    case FLAG_TYPE_DURATION: error = number_error(go_duration(text, &value->integer)); break;
    case FLAG_TYPE_URLS:
        /* An empty text leaves the list as it is, as with etcd. */
        error = *text ? urls_parse(&value->urls, text) : NULL;
        break;
    case FLAG_TYPE_CHOICE:
        error = is_one_of(info->detail, text) ? NULL : xstrdup("invalid value");
        break;
    case FLAG_TYPE_GATES: error = gates_check(text); break;
    }
    if (!error) {
        free(value->text);
        value->text = xstrdup(text);
        value->is_set = true;
    }
    return error;
}

bool flag_is_default(const flag_set_t *self, flag_t flag)
{
    const flag_info_t *info = flag_info(flag);
    const flag_value_t *value = &self->values[flag];
    flag_set_t initial = {0};
    char *error = flag_set_put(&initial, flag, info->initial);
    assert(!error);
    const flag_value_t *other = &initial.values[flag];
    bool same = false;
    switch (info->type) {
    case FLAG_TYPE_STRING:
    case FLAG_TYPE_STRINGS:
    case FLAG_TYPE_CHOICE: same = strcmp(value->text, other->text) == 0; break;
    case FLAG_TYPE_BOOL: same = value->yes == other->yes; break;
    case FLAG_TYPE_UINT:
    case FLAG_TYPE_UINT32: same = value->number == other->number; break;
    case FLAG_TYPE_INT:
    case FLAG_TYPE_DURATION: same = value->integer == other->integer; break;
    case FLAG_TYPE_URLS: same = urls_equal(&value->urls, &other->urls); break;
    case FLAG_TYPE_GATES: same = gates_are_default(value->text); break;
    }
    flag_set_deinit(&initial);
    return same;
}
