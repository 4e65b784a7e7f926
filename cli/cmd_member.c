/* member add, remove, update, promote, list. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/cluster.h"
#include "cli/go_format.h"
#include "cli/go_url.h"
#include "messages/xalloc.h"

static const flag_def_t peer_urls_flags[] = {
    {"peer-urls", 0, FLAG_STRING, "", "URLs the other members reach it by, separated by commas"},
    {0},
};

static const flag_def_t add_flags[] = {
    {"peer-urls", 0, FLAG_STRING, "", "URLs the other members reach it by, separated by commas"},
    {"learner", 0, FLAG_BOOL, "false", "add it as a learner, which has no vote until promoted"},
    {0},
};

static const flag_def_t list_flags[] = {
    {"consistency", 0, FLAG_STRING, "l",
     "l: linearizable, s: serializable (what one member knows)"},
    {0},
};

/* ---- arguments ---- */

static int parse_id(cli_t *cli, const strings_t *args, uint64_t *id_p)
{
    if (args->n != 1) {
        return cli_fail(cli, EXIT_BAD_ARGS, "member ID is not provided");
    }
    const char *reason = go_parse_uint(args->items[0], 16, id_p);
    if (reason == NULL) {
        return 0;
    }
    char *quoted = go_quoted(args->items[0], strlen(args->items[0]));
    int code =
        cli_fail(cli, EXIT_BAD_ARGS,
                 "bad member ID arg (strconv.ParseUint: parsing %s: %s), expecting ID in Hex",
                 quoted, reason);
    free(quoted);
    return code;
}

/* The items of --peer-urls as they are. */
static int parse_peer_urls(cli_t *cli, strings_t *urls)
{
    const char *rest = flags_string(&cli->flags, "peer-urls");
    if (rest[0] == 0) {
        return cli_fail(cli, EXIT_BAD_ARGS, "member peer urls not provided");
    }
    for (bool more = true; more;) {
        size_t size = strcspn(rest, ",");
        char *item = xmemdup(rest, size + 1);
        item[size] = 0;
        strings_add(urls, item);
        free(item);
        more = rest[size] != 0;
        rest += size + 1;
    }
    return 0;
}

/* The servers take what the clients have checked. */
static int check_urls(cli_t *cli, const strings_t *urls)
{
    for (size_t i = 0; i < urls->n; i++) {
        char *error = go_check_url(urls->items[i]);
        if (error != NULL) {
            int code = cli_fail(cli, EXIT_ERROR, "%s", error);
            free(error);
            return code;
        }
    }
    return 0;
}

/* ---- calls ---- */

/* 0: *answer_p is the caller's. Otherwise an exit code; the error is printed. */
static int call(cli_t *cli, const char *path, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *answer_type, ProtobufCMessage **answer_p)
{
    char *error = NULL;
    if (cli_call(cli->client, path, request, answer_type, cli_command_timeout_ms(cli), RETRY_NEVER,
                 answer_p, &error) == 0) {
        return 0;
    }
    int code = cli_fail(cli, EXIT_ERROR, "%s", error);
    free(error);
    return code;
}

/* Asks for a change of a member and prints the answer. */
static int change(cli_t *cli, const char *path, const ProtobufCMessage *request, const char *done,
                  uint64_t id)
{
    ProtobufCMessage *answer = NULL;
    int code = call(cli, path, request, &etcdserverpb__member_list_response__descriptor, &answer);
    if (code != 0) {
        return code;
    }
    member_change_t result = {done, id, (const Etcdserverpb__MemberListResponse *)answer};
    code = PRINT(&cli->printer, member_change, &result);
    protobuf_c_message_free_unpacked(answer, NULL);
    return code;
}

/* ---- add ---- */

static int bad_names(cli_t *cli, const strings_t *args)
{
    if (args->n == 0) {
        return cli_fail(cli, EXIT_BAD_ARGS, "member name not provided");
    }
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    fputs("too many arguments", out);
    for (size_t i = 0; i < args->n; i++) {
        if (strncasecmp(args->items[i], "http", 4) == 0) {
            fprintf(out, ", did you mean --peer-urls=%s", args->items[i]);
        }
    }
    fclose(out);
    int code = cli_fail(cli, EXIT_BAD_ARGS, "%s", text);
    free(text);
    return code;
}

static void print_variable(FILE *out, const char *name, const char *value)
{
    fprintf(out, "%s=", name);
    go_write_quoted(out, value, strlen(value));
    fputc('\n', out);
}

/* The environment that the new member is to be started with. */
static void print_environment(cli_t *cli, const char *name,
                              const Etcdserverpb__MemberAddResponse *answer)
{
    char *cluster = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&cluster, &size);
    const char *separator = "";
    for (size_t i = 0; i < answer->n_members; i++) {
        const Etcdserverpb__Member *member = answer->members[i];
        bool added = answer->member != NULL && member->id == answer->member->id;
        for (size_t k = 0; k < member->n_peerurls; k++) {
            fprintf(out, "%s%s=%s", separator, added ? name : member->name, member->peerurls[k]);
            separator = ",";
        }
    }
    fclose(out);
    fputc('\n', cli->out);
    print_variable(cli->out, "ETCD_NAME", name);
    print_variable(cli->out, "ETCD_INITIAL_CLUSTER", cluster);
    print_variable(cli->out, "ETCD_INITIAL_ADVERTISE_PEER_URLS",
                   flags_string(&cli->flags, "peer-urls"));
    print_variable(cli->out, "ETCD_INITIAL_CLUSTER_STATE", "existing");
    free(cluster);
}

static int add(cli_t *cli, const char *name, const strings_t *urls)
{
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    request.peerurls = urls->items;
    request.n_peerurls = urls->n;
    request.islearner = flags_bool(&cli->flags, "learner");
    int code = call(cli, "/etcdserverpb.Cluster/MemberAdd", &request.base,
                    &etcdserverpb__member_add_response__descriptor, &message);
    if (code != 0) {
        return code;
    }
    const Etcdserverpb__MemberAddResponse *answer =
        (const Etcdserverpb__MemberAddResponse *)message;
    code = PRINT(&cli->printer, member_add, answer);
    if (code == 0 && cli->printer.ops == &printer_simple) {
        print_environment(cli, name, answer);
    }
    protobuf_c_message_free_unpacked(message, NULL);
    return code;
}

static int run_add(cli_t *cli, const strings_t *args)
{
    strings_t urls = {0};
    if (args->n != 1) {
        return bad_names(cli, args);
    }
    int code = parse_peer_urls(cli, &urls);
    if (code == 0) {
        code = cli_connect(cli);
    }
    if (code == 0) {
        code = check_urls(cli, &urls);
    }
    if (code == 0) {
        code = add(cli, args->items[0], &urls);
    }
    strings_deinit(&urls);
    return code;
}

/* ---- remove, update, promote ---- */

static int run_remove(cli_t *cli, const strings_t *args)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    int code = parse_id(cli, args, &request.id);
    if (code == 0) {
        code = cli_connect(cli);
    }
    return code != 0 ? code
                     : change(cli, "/etcdserverpb.Cluster/MemberRemove", &request.base,
                              "removed from", request.id);
}

static int run_update(cli_t *cli, const strings_t *args)
{
    Etcdserverpb__MemberUpdateRequest request = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;
    strings_t urls = {0};
    int code = parse_id(cli, args, &request.id);
    if (code == 0) {
        code = parse_peer_urls(cli, &urls);
    }
    if (code == 0) {
        code = cli_connect(cli);
    }
    if (code == 0) {
        code = check_urls(cli, &urls);
    }
    if (code == 0) {
        request.peerurls = urls.items;
        request.n_peerurls = urls.n;
        code = change(cli, "/etcdserverpb.Cluster/MemberUpdate", &request.base, "updated in",
                      request.id);
    }
    strings_deinit(&urls);
    return code;
}

static int run_promote(cli_t *cli, const strings_t *args)
{
    Etcdserverpb__MemberPromoteRequest request = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    int code = parse_id(cli, args, &request.id);
    if (code == 0) {
        code = cli_connect(cli);
    }
    return code != 0 ? code
                     : change(cli, "/etcdserverpb.Cluster/MemberPromote", &request.base,
                              "promoted in", request.id);
}

/* ---- list ---- */

static int run_list(cli_t *cli, const strings_t *args)
{
    (void)args;
    bool serializable = false;
    Etcdserverpb__MemberListResponse *answer = NULL;
    char *error = NULL;
    int code = cli_parse_consistency(cli, flags_string(&cli->flags, "consistency"), &serializable);
    if (code == 0) {
        code = cli_connect(cli);
    }
    if (code != 0) {
        return code;
    }
    if (cluster_fetch_members(cli, serializable, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_ERROR, "%s", error);
        free(error);
        return code;
    }
    code = PRINT(&cli->printer, members, answer);
    etcdserverpb__member_list_response__free_unpacked(answer, NULL);
    return code;
}

/* ---- the family ---- */

static const command_t member_add = {
    .name = "add",
    .arguments = "<memberName> [options]",
    .summary = "Adds a member to the cluster",
    .text =
        "Adds a member to the cluster, which is to be started afterwards. With -w simple the\n"
        "environment to start it with is printed, too. A learner gets the data and has no vote\n"
        "until \"member promote\".\n\n"
        "  member add four --peer-urls=http://10.0.0.4:2380 --learner",
    .flags = add_flags,
    .run = run_add};
static const command_t member_remove = {.name = "remove",
                                        .arguments = "<memberID>",
                                        .summary = "Removes a member from the cluster",
                                        .run = run_remove};
static const command_t member_update = {.name = "update",
                                        .arguments = "<memberID> [options]",
                                        .summary = "Tells the cluster new peer URLs of a member",
                                        .flags = peer_urls_flags,
                                        .run = run_update};
static const command_t member_promote = {.name = "promote",
                                         .arguments = "<memberID>",
                                         .summary = "Gives a learner that has caught up a vote",
                                         .run = run_promote};
static const command_t member_list = {
    .name = "list",
    .summary = "Lists the members of the cluster",
    .text = "Lists the members of the cluster. With -w simple the columns are: id, status, name,\n"
            "peer URLs, client URLs, is learner.",
    .flags = list_flags,
    .run = run_list};

static const command_t *const member_commands[] = {
    &member_add, &member_list, &member_promote, &member_remove, &member_update, NULL,
};

const command_t command_member = {
    .name = "member",
    .summary = "The members of the cluster",
    .group = GROUP_CLUSTER,
    .children = member_commands,
};
