#include "actors/daemon/gates.h"

#include <stdlib.h>
#include <string.h>

#include "actors/daemon/go_value.h"
#include "messages/xalloc.h"

static const gate_t gates[] = {
    {"AllAlpha", "ALPHA", false},
    {"AllBeta", "BETA", false},
    {"CompactHashCheck", "ALPHA", false},
    {"FastLeaseKeepAlive", "BETA", true},
    {"InitialCorruptCheck", "ALPHA", false},
    {"LeaseCheckpoint", "ALPHA", false},
    {"LeaseCheckpointPersist", "ALPHA", false},
    {"PriorityRequest", "ALPHA", false},
    {"SetMemberLocalAddr", "ALPHA", false},
    {"StopGRPCServiceOnDefrag", "ALPHA", false},
    {"TxnModeWriteWithSharedBuffer", "BETA", true},
};

const gate_t *gates_all(size_t *count)
{
    *count = sizeof gates / sizeof *gates;
    return gates;
}

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    for (size_t len = strlen(text); len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t');
         len--) {
        text[len - 1] = '\0';
    }
    return text;
}

/* One "name=value". */
static char *check_one(char *item, bool *is_default)
{
    char *equals = strchr(item, '=');
    if (equals) {
        *equals = '\0';
    }
    const char *name = trim(item);
    if (!equals) {
        return xasprintf("missing bool value for %s", name);
    }
    const char *word = trim(equals + 1);
    bool value = false;
    if (go_bool(word, &value) != 0) {
        char *quoted = go_quote(word);
        char *error =
            xasprintf("invalid value of %s=%s, err: strconv.ParseBool: parsing %s: invalid syntax",
                      name, word, quoted);
        free(quoted);
        return error;
    }
    for (size_t i = 0; i < sizeof gates / sizeof *gates; i++) {
        if (strcmp(gates[i].name, name) == 0) {
            *is_default = *is_default && gates[i].initial == value;
            return NULL;
        }
    }
    return xasprintf("unrecognized feature gate: %s", name);
}

static char *scan(const char *text, bool *is_default)
{
    char *copy = xstrdup(text);
    char *error = NULL;
    char *rest = copy;
    *is_default = true;
    while (rest && !error) {
        char *item = strsep(&rest, ",");
        if (*item) {
            error = check_one(item, is_default);
        }
    }
    free(copy);
    return error;
}

char *gates_check(const char *text)
{
    bool is_default = true;
    return scan(text, &is_default);
}

bool gates_are_default(const char *text)
{
    bool is_default = true;
    char *error = scan(text, &is_default);
    free(error);
    return !error && is_default;
}
