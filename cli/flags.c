#include "cli/flags.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cli/go_format.h"
#include "messages/xalloc.h"

void strings_add(strings_t *self, const char *text)
{
    self->items = xgrow(self->items, &self->capacity, self->n + 1, sizeof *self->items);
    self->items[self->n++] = xstrdup(text);
}

void strings_deinit(strings_t *self)
{
    for (size_t i = 0; i < self->n; i++) {
        free(self->items[i]);
    }
    free(self->items);
    *self = (strings_t){0};
}

void flags_add(flags_t *self, const flag_def_t *defs)
{
    for (; defs != NULL && defs->name != NULL; defs++) {
        self->items = xgrow(self->items, &self->capacity, self->n + 1, sizeof *self->items);
        flag_t *flag = &self->items[self->n++];
        *flag = (flag_t){.def = defs};
        if (defs->initial[0] != 0 || defs->kind == FLAG_STRING) {
            char *error = flags_set(flag, defs->initial);
            assert(error == NULL);
        }
        flag->changed = false;
    }
}

void flags_deinit(flags_t *self)
{
    for (size_t i = 0; i < self->n; i++) {
        free(self->items[i].text);
        strings_deinit(&self->items[i].strings);
    }
    free(self->items);
    *self = (flags_t){0};
}

flag_t *flags_find(const flags_t *self, const char *name, size_t size)
{
    for (size_t i = 0; i < self->n; i++) {
        if (strlen(self->items[i].def->name) == size &&
            memcmp(self->items[i].def->name, name, size) == 0) {
            return &self->items[i];
        }
    }
    return NULL;
}

flag_t *flags_find_shorthand(const flags_t *self, char shorthand)
{
    for (size_t i = 0; i < self->n; i++) {
        if (shorthand != 0 && self->items[i].def->shorthand == shorthand) {
            return &self->items[i];
        }
    }
    return NULL;
}

/* The first value replaces the default, later ones are added. */
static char *set_strings(flag_t *flag, const char *value)
{
    if (strchr(value, '"') != NULL) {
        return xstrdup("quotes are not supported in a list");
    }
    if (!flag->changed) {
        strings_deinit(&flag->strings);
    }
    const char *item = value;
    while (value[0] != 0) {
        size_t size = strcspn(item, ",");
        char *copy = xmemdup(item, size + 1);
        copy[size] = 0;
        strings_add(&flag->strings, copy);
        free(copy);
        if (item[size] == 0) {
            break;
        }
        item += size + 1;
    }
    return NULL;
}

char *flags_set(flag_t *flag, const char *value)
{
    const char *function = NULL;
    const char *reason = NULL;
    char *error = NULL;
    switch (flag->def->kind) {
    case FLAG_BOOL:
        function = "ParseBool";
        reason = go_parse_bool(value, &flag->yes);
        break;
    case FLAG_INT:
        function = "ParseInt";
        reason = go_parse_int(value, 0, &flag->number);
        break;
    case FLAG_DURATION: error = go_parse_duration(value, &flag->number); break;
    case FLAG_STRINGS: error = set_strings(flag, value); break;
    case FLAG_STRING:
        free(flag->text);
        flag->text = xstrdup(value);
        break;
    }
    if (reason != NULL) {
        char *quoted = go_quoted(value, strlen(value));
        error = xasprintf("strconv.%s: parsing %s: %s", function, quoted, reason);
        free(quoted);
    }
    if (error == NULL) {
        flag->changed = true;
    }
    return error;
}

static char *set_named(flag_t *flag, const char *value)
{
    char *reason = flags_set(flag, value);
    if (reason == NULL) {
        return NULL;
    }
    char shorthand[] = {'-', flag->def->shorthand, ',', ' ', 0};
    char *name = xasprintf("%s--%s", flag->def->shorthand != 0 ? shorthand : "", flag->def->name);
    char *quoted = go_quoted(value, strlen(value));
    char *error = xasprintf("invalid argument %s for \"%s\" flag: %s", quoted, name, reason);
    free(name);
    free(quoted);
    free(reason);
    return error;
}

/* What is left of the command line. */
typedef struct rest {
    char *const *argv;
    size_t n;
} rest_t;

static const char *take(rest_t *rest)
{
    rest->n--;
    return *rest->argv++;
}

static int fail(char **error_p, char *error)
{
    *error_p = error;
    return error == NULL ? 0 : FLAGS_ERROR;
}

/* --name, --name=value, --name value */
static int parse_long(flags_t *self, const char *arg, rest_t *rest, char **error_p)
{
    const char *name = arg + 2;
    if (name[0] == '-' || name[0] == '=') {
        return fail(error_p, xasprintf("bad flag syntax: %s", arg));
    }
    size_t size = strcspn(name, "=");
    flag_t *flag = flags_find(self, name, size);
    if (flag == NULL) {
        if (size == 4 && memcmp(name, "help", 4) == 0) {
            return FLAGS_HELP;
        }
        return fail(error_p, xasprintf("unknown flag: --%.*s", (int)size, name));
    }
    if (name[size] == '=') {
        return fail(error_p, set_named(flag, name + size + 1));
    }
    if (flag->def->kind == FLAG_BOOL) {
        return fail(error_p, set_named(flag, "true"));
    }
    if (rest->n == 0) {
        return fail(error_p, xasprintf("flag needs an argument: %s", arg));
    }
    return fail(error_p, set_named(flag, take(rest)));
}

/* -abc, -n value, -nvalue, -n=value */
static int parse_short(flags_t *self, const char *arg, rest_t *rest, char **error_p)
{
    for (const char *c = arg + 1; *c != 0; c++) {
        flag_t *flag = flags_find_shorthand(self, *c);
        if (flag == NULL) {
            return *c == 'h'
                       ? FLAGS_HELP
                       : fail(error_p, xasprintf("unknown shorthand flag: '%c' in -%s", *c, c));
        }
        const char *value = NULL;
        if (c[1] == '=' && c[2] != 0) {
            value = c + 2;
        } else if (flag->def->kind != FLAG_BOOL && c[1] != 0) {
            value = c + 1;
        } else if (flag->def->kind != FLAG_BOOL && rest->n > 0) {
            value = take(rest);
        } else if (flag->def->kind != FLAG_BOOL) {
            return fail(error_p, xasprintf("flag needs an argument: '%c' in -%s", *c, c));
        }
        if (value != NULL) {
            return fail(error_p, set_named(flag, value));
        }
        char *error = set_named(flag, "true");
        assert(error == NULL);
    }
    return 0;
}

int flags_parse(flags_t *self, char *const *argv, size_t argc, strings_t *args, char **error_p)
{
    rest_t rest = {argv, argc};
    bool help = false;
    while (rest.n > 0) {
        const char *arg = take(&rest);
        if (arg[0] != '-' || arg[1] == 0) {
            strings_add(args, arg);
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            while (rest.n > 0) {
                strings_add(args, take(&rest));
            }
            break;
        }
        int rc = arg[1] == '-' ? parse_long(self, arg, &rest, error_p)
                               : parse_short(self, arg, &rest, error_p);
        if (rc == FLAGS_ERROR) {
            return rc;
        }
        /* A bad flag after --help is still an error, as with cobra. */
        help |= rc == FLAGS_HELP;
    }
    return help ? FLAGS_HELP : 0;
}

static const flag_t *get(const flags_t *self, const char *name, flag_kind_t kind)
{
    const flag_t *flag = flags_find(self, name, strlen(name));
    assert(flag != NULL);
    assert(flag->def->kind == kind);
    return flag;
}

bool flags_bool(const flags_t *self, const char *name)
{
    return get(self, name, FLAG_BOOL)->yes;
}

int64_t flags_int(const flags_t *self, const char *name)
{
    return get(self, name, FLAG_INT)->number;
}

const char *flags_string(const flags_t *self, const char *name)
{
    return get(self, name, FLAG_STRING)->text;
}

int64_t flags_duration_ns(const flags_t *self, const char *name)
{
    return get(self, name, FLAG_DURATION)->number;
}

const strings_t *flags_strings(const flags_t *self, const char *name)
{
    return &get(self, name, FLAG_STRINGS)->strings;
}

bool flags_changed(const flags_t *self, const char *name)
{
    const flag_t *flag = flags_find(self, name, strlen(name));
    assert(flag != NULL);
    return flag->changed;
}
