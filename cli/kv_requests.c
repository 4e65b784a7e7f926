#include "cli/kv_requests.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "cli/go_format.h"
#include "messages/xalloc.h"

#define BOTH_PREFIX_AND_FROM_KEY                                                                   \
    "`--prefix` and `--from-key` cannot be set at the same time, choose one"
#define TOO_MANY_ARGUMENTS                                                                         \
    "too many arguments, only accept one argument when `--prefix` or `--from-key` is set"

const flag_def_t kv_get_flags[] = {
    {"consistency", 0, FLAG_STRING, "l", "l: linearizable, s: serializable (this member's state)"},
    {"order", 0, FLAG_STRING, "", "order of the results: ASCEND or DESCEND"},
    {"sort-by", 0, FLAG_STRING, "", "what to sort by: CREATE, KEY, MODIFY, VALUE or VERSION"},
    {"limit", 0, FLAG_INT, "0", "most keys to return (0: all)"},
    {"prefix", 0, FLAG_BOOL, "false", "all keys that begin with the given one"},
    {"from-key", 0, FLAG_BOOL, "false", "all keys from the given one on, by byte order"},
    {"rev", 0, FLAG_INT, "0", "the state at this revision"},
    {"keys-only", 0, FLAG_BOOL, "false", "no values"},
    {"count-only", 0, FLAG_BOOL, "false", "only how many keys there are (with -w fields)"},
    {"print-value-only", 0, FLAG_BOOL, "false", "print values without their keys (with -w simple)"},
    {"min-create-rev", 0, FLAG_INT, "0", "leave out keys created before this revision"},
    {"max-create-rev", 0, FLAG_INT, "0", "leave out keys created after this revision"},
    {"min-mod-rev", 0, FLAG_INT, "0", "leave out keys last changed before this revision"},
    {"max-mod-rev", 0, FLAG_INT, "0", "leave out keys last changed after this revision"},
    {"stream", 0, FLAG_BOOL, "false", "read through the RangeStream call"},
    {0},
};

const flag_def_t kv_put_flags[] = {
    {"lease", 0, FLAG_STRING, "0", "id (hexadecimal) of the lease to attach the key to"},
    {"prev-kv", 0, FLAG_BOOL, "false", "print the key and value that were there before"},
    {"ignore-value", 0, FLAG_BOOL, "false", "keep the current value"},
    {"ignore-lease", 0, FLAG_BOOL, "false", "keep the current lease"},
    {0},
};

const flag_def_t kv_del_flags[] = {
    {"prefix", 0, FLAG_BOOL, "false", "all keys that begin with the given one"},
    {"prev-kv", 0, FLAG_BOOL, "false", "print what was deleted"},
    {"from-key", 0, FLAG_BOOL, "false", "all keys from the given one on, by byte order"},
    {"range", 0, FLAG_BOOL, "false", "delete a range without the two seconds to think"},
    {0},
};

/* ---- keys ---- */

ProtobufCBinaryData kv_bytes(const void *data, size_t size)
{
    ProtobufCBinaryData bytes = {0};
    if (size > 0) {
        bytes.data = xmemdup(data, size);
        bytes.len = size;
    }
    return bytes;
}

ProtobufCBinaryData kv_prefix_end(const char *prefix)
{
    size_t size = strlen(prefix);
    while (size > 0 && (uint8_t)prefix[size - 1] == 0xFF) {
        size--;
    }
    if (size == 0) {
        return kv_bytes("", 1);
    }
    ProtobufCBinaryData end = kv_bytes(prefix, size);
    end.data[size - 1]++;
    return end;
}

/* Key and range end from `key [range_end]` and the flags --prefix and --from-key. An empty key with
 * one of them means every key. */
static void set_interval(const flags_t *flags, const strings_t *args, ProtobufCBinaryData *key,
                         ProtobufCBinaryData *end)
{
    const char *text = args->items[0];
    bool prefix = flags_bool(flags, "prefix");
    bool from_key = flags_bool(flags, "from-key");
    *key = (prefix || from_key) && text[0] == 0 ? kv_bytes("", 1) : kv_bytes(text, strlen(text));
    if (args->n > 1) {
        *end = kv_bytes(args->items[1], strlen(args->items[1]));
    } else if (from_key || (prefix && text[0] == 0)) {
        *end = kv_bytes("", 1);
    } else if (prefix) {
        *end = kv_prefix_end(text);
    }
}

/* ---- get ---- */

static int parse_order(cli_t *cli, const flags_t *flags, Etcdserverpb__RangeRequest *request)
{
    static const struct {
        const char *name;
        Etcdserverpb__RangeRequest__SortTarget target;
    } targets[] = {
        {"CREATE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE},
        {"KEY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
        {"MODIFY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD},
        {"VALUE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE},
        {"VERSION", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION},
        {"", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
    };
    const char *order = flags_string(flags, "order");
    if (strcasecmp(order, "ASCEND") == 0) {
        request->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    } else if (strcasecmp(order, "DESCEND") == 0) {
        request->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    } else if (order[0] != 0) {
        return cli_fail(cli, EXIT_BAD_FEATURE, "bad sort order %s", order);
    }
    const char *target = flags_string(flags, "sort-by");
    size_t i = 0;
    while (i < sizeof targets / sizeof targets[0] && strcasecmp(targets[i].name, target) != 0) {
        i++;
    }
    if (i == sizeof targets / sizeof targets[0]) {
        return cli_fail(cli, EXIT_BAD_FEATURE, "bad sort target %s", target);
    }
    request->sort_target = targets[i].target;
    /* Keys come in ascending order anyway; asking for it would make the server sort. */
    if (request->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY &&
        request->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND) {
        request->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    }
    return 0;
}

static int64_t positive(const flags_t *flags, const char *name)
{
    int64_t value = flags_int(flags, name);
    return value > 0 ? value : 0;
}

static int parse_revisions(cli_t *cli, const flags_t *flags, Etcdserverpb__RangeRequest *request)
{
    request->revision = positive(flags, "rev");
    request->min_create_revision = positive(flags, "min-create-rev");
    request->max_create_revision = positive(flags, "max-create-rev");
    request->min_mod_revision = positive(flags, "min-mod-rev");
    request->max_mod_revision = positive(flags, "max-mod-rev");
    if (request->max_create_revision > 0 &&
        request->min_create_revision > request->max_create_revision) {
        return cli_fail(cli, EXIT_BAD_FEATURE, "getMinCreateRev(=%lld) > getMaxCreateRev(=%lld)",
                        (long long)request->min_create_revision,
                        (long long)request->max_create_revision);
    }
    if (request->max_mod_revision > 0 && request->min_mod_revision > request->max_mod_revision) {
        return cli_fail(cli, EXIT_BAD_FEATURE, "getMinModRev(=%lld) > getMaxModRev(=%lld)",
                        (long long)request->min_mod_revision, (long long)request->max_mod_revision);
    }
    return 0;
}

static int fill_range(cli_t *cli, const flags_t *flags, const strings_t *args,
                      Etcdserverpb__RangeRequest *request)
{
    bool serializable = false;
    if (args->n == 0) {
        return cli_fail(cli, EXIT_BAD_ARGS,
                        "get command needs one argument as key and an optional argument as "
                        "range_end");
    }
    bool interval = flags_bool(flags, "prefix") || flags_bool(flags, "from-key");
    if (flags_bool(flags, "prefix") && flags_bool(flags, "from-key")) {
        return cli_fail(cli, EXIT_BAD_ARGS, BOTH_PREFIX_AND_FROM_KEY);
    }
    request->keys_only = flags_bool(flags, "keys-only");
    request->count_only = flags_bool(flags, "count-only");
    if (request->keys_only && request->count_only) {
        return cli_fail(
            cli, EXIT_BAD_ARGS,
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
    }
    int code = cli_parse_consistency(cli, flags_string(flags, "consistency"), &serializable);
    if (code != 0) {
        return code;
    }
    request->serializable = serializable;
    if (args->n > 1 && interval) {
        return cli_fail(cli, EXIT_BAD_ARGS, TOO_MANY_ARGUMENTS);
    }
    request->limit = flags_int(flags, "limit");
    code = parse_order(cli, flags, request);
    if (code == 0) {
        code = parse_revisions(cli, flags, request);
    }
    if (code == 0) {
        set_interval(flags, args, &request->key, &request->range_end);
    }
    return code;
}

int kv_range_request(cli_t *cli, const flags_t *flags, const strings_t *args,
                     Etcdserverpb__RangeRequest **request_p)
{
    *request_p = xmalloc(sizeof **request_p);
    etcdserverpb__range_request__init(*request_p);
    int code = fill_range(cli, flags, args, *request_p);
    if (code != 0) {
        etcdserverpb__range_request__free_unpacked(*request_p, NULL);
        *request_p = NULL;
    }
    return code;
}

/* ---- put ---- */

/* All of the stream; empty when there is nothing, or no stream. */
static ProtobufCBinaryData read_all(FILE *in)
{
    char *data = NULL;
    size_t size = 0;
    FILE *copy = open_memstream(&data, &size);
    char block[65536];
    size_t n = 0;
    while (in != NULL && (n = fread(block, 1, sizeof block, in)) > 0) {
        fwrite(block, 1, n, copy);
    }
    fclose(copy);
    ProtobufCBinaryData bytes = kv_bytes(data, size);
    free(data);
    return bytes;
}

static int fill_put(cli_t *cli, const flags_t *flags, const strings_t *args,
                    Etcdserverpb__PutRequest *request)
{
    static const char usage[] = "put command needs 1 argument and input from stdin or 2 arguments";
    if (args->n == 0) {
        return cli_fail(cli, EXIT_BAD_ARGS, usage);
    }
    request->ignore_value = flags_bool(flags, "ignore-value");
    request->ignore_lease = flags_bool(flags, "ignore-lease");
    request->prev_kv = flags_bool(flags, "prev-kv");
    if (request->ignore_value && args->n > 1) {
        return cli_fail(cli, EXIT_BAD_ARGS,
                        "put command needs only 1 argument when 'ignore-value' is set");
    }
    request->key = kv_bytes(args->items[0], strlen(args->items[0]));
    if (args->n > 1) {
        request->value = kv_bytes(args->items[1], strlen(args->items[1]));
    } else if (!request->ignore_value) {
        request->value = read_all(cli->in);
        if (request->value.len == 0) {
            return cli_fail(cli, EXIT_BAD_ARGS, usage);
        }
    }
    return cli_parse_lease(cli, "bad lease ID", flags_string(flags, "lease"), &request->lease);
}

int kv_put_request(cli_t *cli, const flags_t *flags, const strings_t *args,
                   Etcdserverpb__PutRequest **request_p)
{
    *request_p = xmalloc(sizeof **request_p);
    etcdserverpb__put_request__init(*request_p);
    int code = fill_put(cli, flags, args, *request_p);
    if (code != 0) {
        etcdserverpb__put_request__free_unpacked(*request_p, NULL);
        *request_p = NULL;
    }
    return code;
}

/* ---- del ---- */

/* A range given as two keys is easily a mistake for two keys to delete. */
static void warn_and_wait(cli_t *cli, const strings_t *args)
{
    char *from = go_quoted(args->items[0], strlen(args->items[0]));
    char *to = go_quoted(args->items[1], strlen(args->items[1]));
    fprintf(cli->err,
            "Warning: Keys between %s and %s will be deleted. Please interrupt the command within "
            "next 2 seconds to cancel. You can provide `--range` flag to avoid the delay.\n",
            from, to);
    fflush(cli->err);
    free(from);
    free(to);
    struct timespec pause = {.tv_sec = 2};
    nanosleep(&pause, NULL);
}

int kv_del_request(cli_t *cli, const flags_t *flags, const strings_t *args,
                   Etcdserverpb__DeleteRangeRequest **request_p)
{
    *request_p = NULL;
    if (args->n == 0 || args->n > 2) {
        return cli_fail(cli, EXIT_BAD_ARGS,
                        "del command needs one argument as key and an optional argument as "
                        "range_end");
    }
    if (flags_bool(flags, "prefix") && flags_bool(flags, "from-key")) {
        return cli_fail(cli, EXIT_BAD_ARGS, BOTH_PREFIX_AND_FROM_KEY);
    }
    if (args->n > 1 && (flags_bool(flags, "prefix") || flags_bool(flags, "from-key"))) {
        return cli_fail(cli, EXIT_BAD_ARGS, TOO_MANY_ARGUMENTS);
    }
    if (args->n > 1 && !flags_bool(flags, "range")) {
        warn_and_wait(cli, args);
    }
    Etcdserverpb__DeleteRangeRequest *request = xmalloc(sizeof *request);
    etcdserverpb__delete_range_request__init(request);
    set_interval(flags, args, &request->key, &request->range_end);
    request->prev_kv = flags_bool(flags, "prev-kv");
    *request_p = request;
    return 0;
}
