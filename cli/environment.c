#include "cli/environment.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/go_format.h"
#include "messages/xalloc.h"

static const char *const prefixes[] = {"QUORALCTL_", "ETCDCTL_"};

#define PREFIXES_N (sizeof prefixes / sizeof prefixes[0])

char *environment_name(const char *prefix, const char *flag)
{
    char *name = xasprintf("%s%s", prefix, flag);
    for (char *c = name + strlen(prefix); *c != 0; c++) {
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    }
    return name;
}

/* NULL when it is not set. */
static const char *lookup(char *const *env, const char *name)
{
    size_t size = strlen(name);
    for (; *env != NULL; env++) {
        if (strncmp(*env, name, size) == 0 && (*env)[size] == '=') {
            return *env + size + 1;
        }
    }
    return NULL;
}

const char *environment_value(char *const *env, const char *name)
{
    for (size_t i = 0; i < PREFIXES_N; i++) {
        char *full = xasprintf("%s%s", prefixes[i], name);
        const char *value = lookup(env, full);
        free(full);
        if (value != NULL && value[0] != 0) {
            return value;
        }
    }
    return "";
}

static char *apply_variable(flag_t *flag, bool on_command_line, const char *name, const char *value)
{
    if (on_command_line) {
        return xasprintf("conflicting environment variable %s is shadowed by the command line flag "
                         "--%s (unset the variable or leave the flag out)",
                         name, flag->def->name);
    }
    if (value[0] == 0) {
        return NULL;
    }
    if (flag->changed) {
        return xasprintf("conflicting environment variables: QUORALCTL_ and ETCDCTL_ both set --%s",
                         flag->def->name);
    }
    char *reason = flags_set(flag, value);
    if (reason == NULL) {
        return NULL;
    }
    char *quoted = go_quoted(value, strlen(value));
    char *error = xasprintf("invalid value %s for %s: %s", quoted, name, reason);
    free(quoted);
    free(reason);
    return error;
}

static bool is_of_flag(const char *variable, size_t size, const char *prefix,
                       const flag_def_t *const *tables)
{
    for (; *tables != NULL; tables++) {
        for (const flag_def_t *def = *tables; def->name != NULL; def++) {
            char *name = environment_name(prefix, def->name);
            bool same = strlen(name) == size && memcmp(name, variable, size) == 0;
            free(name);
            if (same) {
                return true;
            }
        }
    }
    return false;
}

static bool is_known(const char *variable, size_t size, const flag_def_t *const *tables,
                     bool watch_variables)
{
    static const char *const others[] = {"API", "WATCH_KEY", "WATCH_RANGE_END"};
    for (size_t p = 0; p < PREFIXES_N; p++) {
        if (is_of_flag(variable, size, prefixes[p], tables)) {
            return true;
        }
        /* ETCDCTL_API=3 was needed once and is still set in many places. */
        for (size_t i = 0; i < (watch_variables ? 3 : 1); i++) {
            size_t prefix = strlen(prefixes[p]);
            if (size == prefix + strlen(others[i]) && memcmp(variable, prefixes[p], prefix) == 0 &&
                memcmp(variable + prefix, others[i], size - prefix) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void warn_unknown(const flag_def_t *const *tables, char *const *env, bool watch_variables,
                         FILE *err)
{
    for (; *env != NULL; env++) {
        for (size_t p = 0; p < PREFIXES_N; p++) {
            if (strncmp(*env, prefixes[p], strlen(prefixes[p])) == 0 &&
                !is_known(*env, strcspn(*env, "="), tables, watch_variables)) {
                fprintf(err, "Warning: unrecognized environment variable %s\n", *env);
            }
        }
    }
}

static char *apply_flag(flag_t *flag, char *const *env)
{
    bool on_command_line = flag->changed;
    char *error = NULL;
    for (size_t p = 0; p < PREFIXES_N && error == NULL; p++) {
        char *name = environment_name(prefixes[p], flag->def->name);
        const char *value = lookup(env, name);
        error = value != NULL ? apply_variable(flag, on_command_line, name, value) : NULL;
        free(name);
    }
    return error;
}

char *environment_apply(flags_t *flags, const flag_def_t *const *tables, char *const *env,
                        bool watch_variables, FILE *err)
{
    for (size_t t = 0; tables[t] != NULL; t++) {
        for (const flag_def_t *def = tables[t]; def->name != NULL; def++) {
            flag_t *flag = flags_find(flags, def->name, strlen(def->name));
            char *error = flag != NULL ? apply_flag(flag, env) : NULL;
            if (error != NULL) {
                return error;
            }
        }
    }
    const char *api = lookup(env, "ETCDCTL_API");
    if (api != NULL && api[0] != 0 && strcmp(api, "3") != 0) {
        return xasprintf("ETCDCTL_API=%s: only version 3 of the API is supported", api);
    }
    warn_unknown(tables, env, watch_variables, err);
    return NULL;
}
