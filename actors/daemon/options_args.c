#include <stdlib.h>
#include <string.h>

#include "actors/daemon/go_value.h"
#include "actors/daemon/options_steps.h"
#include "messages/xalloc.h"

/* Everything Go's flag package says is followed by the usage. Takes `line`. */
static int refuse(char *line, char **message)
{
    buf_t out = {0};
    buf_append(&out, line, strlen(line));
    buf_byte(&out, '\n');
    flags_print_usage(&out);
    buf_byte(&out, '\0');
    free(line);
    *message = (char *)out.data;
    return 2;
}

static int put(flag_set_t *flags, flag_t flag, const char *value, char **message)
{
    char *error = flag_set_put(flags, flag, value);
    if (!error) {
        return 0;
    }
    const flag_info_t *info = flag_info(flag);
    char *quoted = go_quote(value);
    char *line = info->type == FLAG_TYPE_BOOL
                     ? xasprintf("invalid boolean value %s for -%s: %s", quoted, info->name, error)
                     : xasprintf("invalid value %s for flag -%s: %s", quoted, info->name, error);
    free(quoted);
    free(error);
    return refuse(line, message);
}

/* One argument that starts with a dash; *next is moved past the value when that is a word of its own. */
static int parse_flag(flag_set_t *flags, int argc, char *const *argv, int *next, bool *help,
                      char **message)
{
    const char *word = argv[*next];
    const char *name = word + (word[1] == '-' ? 2 : 1);
    (*next)++;
    if (*name == '-' || *name == '=') {
        return refuse(xasprintf("bad flag syntax: %s", word), message);
    }
    size_t len = strcspn(name, "=");
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    flag_t flag = flag_find(name, len);
    if (flag == FLAG_COUNT) {
        *help = (len == 1 && *name == 'h') || (len == 4 && memcmp(name, "help", 4) == 0);
        return *help ? 0
                     : refuse(xasprintf("flag provided but not defined: -%.*s", (int)len, name),
                              message);
    }
    if (!value && flag_info(flag)->type == FLAG_TYPE_BOOL) {
        value = "true";
    }
    if (!value && *next < argc) {
        value = argv[(*next)++];
    }
    if (!value) {
        return refuse(xasprintf("flag needs an argument: -%s", flag_info(flag)->name), message);
    }
    return put(flags, flag, value, message);
}

int options_parse_args(flag_set_t *flags, int argc, char *const *argv, bool *help,
                       const char **stray, char **message)
{
    *help = false;
    *stray = NULL;
    int next = 1;
    while (next < argc && !*help) {
        const char *word = argv[next];
        if (strcmp(word, "--") == 0) {
            next++;
            break;
        }
        if (word[0] != '-' || word[1] == '\0') {
            break;
        }
        int code = parse_flag(flags, argc, argv, &next, help, message);
        if (code != 0) {
            return code;
        }
    }
    if (next < argc && !*help) {
        *stray = argv[next];
    }
    return 0;
}
