/* move-leader: only the leader can hand its office over, so the endpoints are asked for it first. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/go_format.h"

/* One call to one endpoint, within what is left of the command's time. */
static int call(cli_t *cli, grpc_client_t *client, const char *path,
                const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer_type,
                int64_t deadline_ms, ProtobufCMessage **answer_p)
{
    char *error = NULL;
    int64_t left = deadline_ms - cli_now_ms();
    if (cli_call(client, path, request, answer_type, left > 0 ? left : 0, RETRY_REPEATABLE,
                 answer_p, &error) == 0) {
        return 0;
    }
    int code = cli_fail(cli, EXIT_ERROR, "%s", error);
    free(error);
    return code;
}

/* Whether the server behind `client` is the leader; then *id_p is its id. 0 or an exit code. */
static int is_leader(cli_t *cli, grpc_client_t *client, int64_t deadline_ms, bool *is_p,
                     uint64_t *id_p)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    int code = call(cli, client, "/etcdserverpb.Maintenance/Status", &request.base,
                    &etcdserverpb__status_response__descriptor, deadline_ms, &message);
    if (code != 0) {
        return code;
    }
    const Etcdserverpb__StatusResponse *status = (const Etcdserverpb__StatusResponse *)message;
    *id_p = status->leader;
    *is_p = status->leader == (status->header != NULL ? status->header->member_id : 0);
    protobuf_c_message_free_unpacked(message, NULL);
    return 0;
}

static int no_leader(cli_t *cli, const strings_t *endpoints)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; i < endpoints->n; i++) {
        char *endpoint = cli_trimmed(endpoints->items[i]);
        fprintf(out, "%s%s", i > 0 ? " " : "", endpoint);
        free(endpoint);
    }
    fclose(out);
    int code = cli_fail(cli, EXIT_BAD_ARGS, "no leader endpoint given at [%s]", text);
    free(text);
    return code;
}

/* 0: cli->client talks to the leader, whose id is *id_p. */
static int find_leader(cli_t *cli, int64_t deadline_ms, uint64_t *id_p)
{
    const strings_t *endpoints = flags_strings(&cli->flags, "endpoints");
    for (size_t i = 0; i < endpoints->n; i++) {
        bool found = false;
        int code = 0;
        grpc_client_destroy(&cli->client);
        cli->client = cli_new_client(cli, &endpoints->items[i], 1, &code);
        if (code == 0) {
            code = is_leader(cli, cli->client, deadline_ms, &found, id_p);
        }
        if (code != 0 || found) {
            return code;
        }
    }
    return no_leader(cli, endpoints);
}

static int run_move_leader(cli_t *cli, const strings_t *args)
{
    Etcdserverpb__MoveLeaderRequest request = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    uint64_t leader = 0;
    if (args->n != 1) {
        return cli_fail(cli, EXIT_BAD_ARGS, "move-leader command needs 1 argument");
    }
    const char *reason = go_parse_uint(args->items[0], 16, &request.targetid);
    if (reason != NULL) {
        char *quoted = go_quoted(args->items[0], strlen(args->items[0]));
        int code =
            cli_fail(cli, EXIT_BAD_ARGS, "strconv.ParseUint: parsing %s: %s", quoted, reason);
        free(quoted);
        return code;
    }
    int code = cli_connect(cli);
    int64_t deadline_ms = cli_now_ms() + cli_command_timeout_ms(cli);
    if (code == 0) {
        code = find_leader(cli, deadline_ms, &leader);
    }
    if (code == 0) {
        code = call(cli, cli->client, "/etcdserverpb.Maintenance/MoveLeader", &request.base,
                    &etcdserverpb__move_leader_response__descriptor, deadline_ms, &answer);
    }
    if (code != 0) {
        return code;
    }
    code = PRINT(&cli->printer, move_leader, leader, request.targetid,
                 (const Etcdserverpb__MoveLeaderResponse *)answer);
    protobuf_c_message_free_unpacked(answer, NULL);
    return code;
}

const command_t command_move_leader = {
    .name = "move-leader",
    .arguments = "<transferee-member-id>",
    .summary = "Makes another member the leader",
    .text = "Makes another member the leader. The present leader must be among --endpoints.",
    .group = GROUP_CLUSTER,
    .run = run_move_leader,
};
