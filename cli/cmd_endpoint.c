/* endpoint status, hashkv: questions that every endpoint gets for itself. */
#include <stdlib.h>

#include "cli/cluster.h"
#include "messages/xalloc.h"

/* What is asked. */
typedef struct question {
    const char *what; /* "status" */
    const char *path;
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *answer_type;
} question_t;

typedef struct answer {
    const char *endpoint; /* in answers.endpoints */
    ProtobufCMessage *message;
} answer_t;

/* The answers there are, in the order of the endpoints. */
typedef struct answers {
    strings_t endpoints;
    answer_t *items;
    size_t n;
    char *error; /* of the last endpoint that has given none */
} answers_t;

static void answers_deinit(answers_t *self)
{
    for (size_t i = 0; i < self->n; i++) {
        protobuf_c_message_free_unpacked(self->items[i].message, NULL);
    }
    free(self->items);
    free(self->error);
    strings_deinit(&self->endpoints);
}

/* An endpoint without an answer is reported and does not keep the others from being asked. */
static int ask(cli_t *cli, const question_t *question, char *endpoint, answers_t *answers)
{
    int code = 0;
    ProtobufCMessage *message = NULL;
    char *error = NULL;
    grpc_client_t *client = cli_new_client(cli, &endpoint, 1, &code);
    if (client == NULL) {
        return code;
    }
    if (cli_call(client, question->path, question->request, question->answer_type,
                 cli_command_timeout_ms(cli), RETRY_REPEATABLE, &message, &error) == 0) {
        answers->items[answers->n++] = (answer_t){endpoint, message};
    } else {
        fprintf(cli->err, "Failed to get the %s of endpoint %s (%s)\n", question->what, endpoint,
                error);
        free(answers->error);
        answers->error = error;
    }
    grpc_client_destroy(&client);
    return 0;
}

/* 0 or an exit code; the caller deinits the answers in any case. */
static int ask_all(cli_t *cli, const question_t *question, answers_t *answers)
{
    int code = cli_configure(cli);
    if (code == 0) {
        code = cluster_endpoints(cli, &answers->endpoints);
    }
    answers->items = xcalloc(answers->endpoints.n + 1, sizeof *answers->items);
    for (size_t i = 0; i < answers->endpoints.n && code == 0; i++) {
        code = ask(cli, question, answers->endpoints.items[i], answers);
    }
    return code;
}

/* ---- status ---- */

static int run_status(cli_t *cli, const strings_t *args)
{
    (void)args;
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    question_t question = {"status", "/etcdserverpb.Maintenance/Status", &request.base,
                           &etcdserverpb__status_response__descriptor};
    answers_t answers = {0};
    int code = ask_all(cli, &question, &answers);
    if (code == 0) {
        endpoint_status_t *items = xcalloc(answers.n + 1, sizeof *items);
        for (size_t i = 0; i < answers.n; i++) {
            items[i] =
                (endpoint_status_t){answers.items[i].endpoint,
                                    (const Etcdserverpb__StatusResponse *)answers.items[i].message};
        }
        code = PRINT(&cli->printer, status, items, answers.n);
        free(items);
    }
    if (code == 0 && answers.error != NULL) {
        code = EXIT_ERROR;
    }
    answers_deinit(&answers);
    return code;
}

/* ---- hashkv ---- */

static const flag_def_t hashkv_flags[] = {
    {"rev", 0, FLAG_INT, "0", "the history up to this revision (0: all of it)"},
    {0},
};

static int run_hashkv(cli_t *cli, const strings_t *args)
{
    (void)args;
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    request.revision = flags_int(&cli->flags, "rev");
    question_t question = {"hash", "/etcdserverpb.Maintenance/HashKV", &request.base,
                           &etcdserverpb__hash_kvresponse__descriptor};
    answers_t answers = {0};
    int code = ask_all(cli, &question, &answers);
    if (code == 0) {
        endpoint_hashkv_t *items = xcalloc(answers.n + 1, sizeof *items);
        for (size_t i = 0; i < answers.n; i++) {
            items[i] =
                (endpoint_hashkv_t){answers.items[i].endpoint,
                                    (const Etcdserverpb__HashKVResponse *)answers.items[i].message};
        }
        code = PRINT(&cli->printer, hashkv, items, answers.n);
        free(items);
    }
    if (code == 0 && answers.error != NULL) {
        code = cli_fail(cli, EXIT_ERROR, "%s", answers.error);
    }
    answers_deinit(&answers);
    return code;
}

/* ---- the family ---- */

static const flag_def_t endpoint_flags[] = {
    {"cluster", 0, FLAG_BOOL, "false", "all client URLs of the cluster's member list"},
    {0},
};

static const command_t endpoint_status = {
    .name = "status",
    .summary = "Shows the state of every endpoint of --endpoints",
    .text =
        "Shows the state of every endpoint of --endpoints. With -w simple the columns are:\n"
        "endpoint, id, version, storage version, size of the database, size in use, percentage\n"
        "not in use, quota, is leader, is learner, Raft term, Raft index, applied Raft index,\n"
        "errors, version to downgrade to, downgrade enabled.",
    .run = run_status};
static const command_t endpoint_hashkv = {
    .name = "hashkv",
    .summary = "Shows a hash over the history of all keys, which is equal on all members",
    .text = "Shows a hash over the history of all keys up to a revision, which is equal on all\n"
            "members. With -w simple the columns are: endpoint, hash, revision.",
    .flags = hashkv_flags,
    .run = run_hashkv};

static const command_t *const endpoint_commands[] = {
    &endpoint_hashkv,
    &endpoint_health,
    &endpoint_status,
    NULL,
};

const command_t command_endpoint = {
    .name = "endpoint",
    .summary = "The servers themselves",
    .group = GROUP_CLUSTER,
    .shared_flags = endpoint_flags,
    .children = endpoint_commands,
};
