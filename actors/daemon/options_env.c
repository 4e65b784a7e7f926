/* The environment. Rules (contract section 14): an empty variable is unset; one that names a flag
 * which the command line gives too is fatal; ours and etcd's names must not disagree. Values of
 * variables that we don't know are never logged: other programs keep passwords in theirs. */
#include <stdlib.h>
#include <string.h>

#include "actors/daemon/go_value.h"
#include "actors/daemon/options_steps.h"
#include "messages/xalloc.h"

static const char *const prefixes[] = {"QUORAL", "ETCD"};
enum { PREFIX_COUNT = sizeof prefixes / sizeof *prefixes };

/* "" when it is unset or empty. */
static const char *find_variable(char *const *environment, const char *name)
{
    size_t len = strlen(name);
    for (; *environment; environment++) {
        if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=') {
            return *environment + len + 1;
        }
    }
    return "";
}

static int fail(options_t *self, const char *text, const char *variable)
{
    char *fields = options_field("environment-variable", variable);
    options_note(self, LEVEL_FATAL, text, fields);
    free(fields);
    return 1;
}

int options_env_value(flag_t flag, char *const *environment, options_t *self, const char **value)
{
    char *names[PREFIX_COUNT];
    const char *values[PREFIX_COUNT];
    for (size_t i = 0; i < PREFIX_COUNT; i++) {
        names[i] = flag_env_name(flag, prefixes[i]);
        values[i] = find_variable(environment, names[i]);
    }
    int code = 0;
    if (*values[0] && *values[1] && strcmp(values[0], values[1]) != 0) {
        char *both = xasprintf("%s, %s", names[0], names[1]);
        code = fail(self, "environment variables contradict each other", both);
        free(both);
    }
    *value = *values[0] ? values[0] : values[1];
    for (size_t i = 0; i < PREFIX_COUNT; i++) {
        free(names[i]);
    }
    return code;
}

/* A variable that starts with one of the prefixes and "_"; what follows is a flag or not. */
static bool split_variable(const char *variable, const char **name, size_t *name_len)
{
    for (size_t i = 0; i < PREFIX_COUNT; i++) {
        size_t len = strlen(prefixes[i]);
        if (strncmp(variable, prefixes[i], len) == 0 && variable[len] == '_') {
            *name = variable + len + 1;
            *name_len = strcspn(*name, "=");
            return true;
        }
    }
    return false;
}

static flag_t find_flag(const char *variable)
{
    const char *name = NULL;
    size_t len = 0;
    if (!split_variable(variable, &name, &len)) {
        return FLAG_COUNT;
    }
    char *flag_name = xmalloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        bool upper = name[i] >= 'A' && name[i] <= 'Z';
        flag_name[i] = (char)(name[i] == '_' ? '-' : upper ? name[i] - 'A' + 'a' : '?');
        if (name[i] >= '0' && name[i] <= '9') {
            flag_name[i] = name[i];
        }
    }
    flag_t flag = flag_find(flag_name, len);
    free(flag_name);
    return flag;
}

/* What no flag explains, and what the command line hides. */
static int check_variable(const flag_set_t *flags, const char *variable, options_t *self)
{
    const char *name = NULL;
    size_t len = 0;
    if (!split_variable(variable, &name, &len) || name[len] != '=') {
        return 0;
    }
    char *full = xstrdup(variable);
    full[(size_t)(name - variable) + len] = '\0';
    const char *value = name + len + 1;
    char *fields = options_field("environment-variable", full);
    flag_t flag = find_flag(variable);
    int code = 0;
    if (flag == FLAG_VERSION || flag == FLAG_PRINT_WIRING) {
        options_note(self, LEVEL_WARN, "cannot set special environment variable", fields);
    } else if (flag == FLAG_COUNT) {
        options_note(self, LEVEL_WARN, "unrecognized environment variable", fields);
    } else if (*value && flags->values[flag].is_set) {
        code = fail(self,
                    "conflicting environment variable is shadowed by corresponding command-line "
                    "flag (either unset environment variable or disable flag))",
                    full);
    }
    free(fields);
    free(full);
    return code;
}

static int put(flag_set_t *flags, flag_t flag, const char *value, char *const *environment,
               options_t *self)
{
    char *name = flag_env_name(flag, prefixes[0]);
    if (!*find_variable(environment, name)) {
        free(name);
        name = flag_env_name(flag, prefixes[1]);
    }
    char *error = flag_set_put(flags, flag, value);
    int code = error ? 1 : 0;
    if (error) {
        char *quoted = go_quote(value);
        char *text = xasprintf("invalid value %s for %s: %s", quoted, name, error);
        char *fields = options_field("error", text);
        options_note(self, LEVEL_WARN, "failed to verify flags", fields);
        free(fields);
        free(text);
        free(quoted);
    } else {
        bool secret = flag == FLAG_DISCOVERY_PASSWORD || flag == FLAG_DISCOVERY_USER;
        char *first = options_field("variable-name", name);
        char *second = options_field("variable-value", secret ? "(hidden)" : value);
        char *fields = xasprintf("%s,%s", first, second);
        options_note(self, LEVEL_INFO, "recognized and used environment variable", fields);
        free(fields);
        free(second);
        free(first);
    }
    free(error);
    free(name);
    return code;
}

int options_parse_env(flag_set_t *flags, char *const *environment, options_t *self)
{
    for (char *const *variable = environment; *variable; variable++) {
        int code = check_variable(flags, *variable, self);
        if (code != 0) {
            return code;
        }
    }
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        flag_t flag = (flag_t)i;
        const char *value = "";
        if (flag == FLAG_VERSION || flag == FLAG_PRINT_WIRING) {
            continue;
        }
        int code = options_env_value(flag, environment, self, &value);
        if (code == 0 && *value && !flags->values[flag].is_set) {
            code = put(flags, flag, value, environment, self);
        }
        if (code != 0) {
            return code;
        }
    }
    return 0;
}
