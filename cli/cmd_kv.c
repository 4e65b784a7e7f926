/* get, put, del, compaction. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/go_format.h"
#include "cli/kv_requests.h"
#include "messages/xalloc.h"

/* ---- get ---- */

/* What a stream of chunks has given so far. */
typedef struct range_stream {
    Etcdserverpb__RangeResponse *sum;
    bool malformed;
    bool done;
    grpc_status_t status;
} range_stream_t;

/* Adds a chunk the way protobuf merges messages: lists grow, other fields are taken when set. */
static void merge_chunk(Etcdserverpb__RangeResponse *sum, Etcdserverpb__RangeResponse *chunk)
{
    if (chunk->n_kvs > 0) {
        size_t n = sum->n_kvs + chunk->n_kvs;
        sum->kvs = xrealloc(sum->kvs, n * sizeof(*sum->kvs));
        memcpy(sum->kvs + sum->n_kvs, chunk->kvs, chunk->n_kvs * sizeof(*sum->kvs));
        sum->n_kvs = n;
        chunk->n_kvs = 0; /* the items have moved; the list itself is freed with the chunk */
        free(chunk->kvs);
        chunk->kvs = NULL;
    }
    if (chunk->header != NULL && sum->header == NULL) {
        sum->header = chunk->header;
        chunk->header = NULL;
    }
    sum->more |= chunk->more;
    sum->count = chunk->count != 0 ? chunk->count : sum->count;
}

static void on_chunk(void *arg, const uint8_t *message, size_t size)
{
    range_stream_t *stream = arg;
    Etcdserverpb__RangeStreamResponse *chunk =
        etcdserverpb__range_stream_response__unpack(NULL, size, message);
    if (chunk == NULL) {
        stream->malformed = true;
        return;
    }
    if (chunk->range_response != NULL) {
        merge_chunk(stream->sum, chunk->range_response);
    }
    etcdserverpb__range_stream_response__free_unpacked(chunk, NULL);
}

static void on_stream_done(void *arg, const grpc_status_t *status)
{
    range_stream_t *stream = arg;
    stream->done = true;
    grpc_status_set(&stream->status, status->code, status->message);
}

static int call_range_stream(cli_t *cli, const Etcdserverpb__RangeRequest *request,
                             Etcdserverpb__RangeResponse **answer_p, char **error_p)
{
    range_stream_t stream = {.sum = xmalloc(sizeof *stream.sum)};
    etcdserverpb__range_response__init(stream.sum);
    grpc_stream_t *call = grpc_client_start(
        cli->client, &(grpc_stream_cfg_t){.path = "/etcdserverpb.KV/RangeStream",
                                          .timeout_ms = cli_command_timeout_ms(cli),
                                          .on_message = on_chunk,
                                          .on_done = on_stream_done,
                                          .arg = &stream});
    grpc_stream_send_message(call, &request->base);
    grpc_stream_close_send(call);
    while (!stream.done) {
        grpc_client_run(cli->client, -1);
    }
    if (stream.malformed && stream.status.code == GRPC_OK) {
        grpc_status_set(&stream.status, GRPC_INTERNAL,
                        "grpc: failed to unmarshal the received message");
    }
    int rc = 0;
    if (stream.status.code == GRPC_OK) {
        *answer_p = stream.sum;
    } else {
        *error_p = cli_status_text(&stream.status);
        etcdserverpb__range_response__free_unpacked(stream.sum, NULL);
        rc = 1;
    }
    grpc_status_deinit(&stream.status);
    return rc;
}

static int call_range(cli_t *cli, const Etcdserverpb__RangeRequest *request,
                      Etcdserverpb__RangeResponse **answer_p, char **error_p)
{
    if (flags_bool(&cli->flags, "stream")) {
        return call_range_stream(cli, request, answer_p, error_p);
    }
    ProtobufCMessage *answer = NULL;
    int rc = cli_call(cli->client, "/etcdserverpb.KV/Range", &request->base,
                      &etcdserverpb__range_response__descriptor, cli_command_timeout_ms(cli),
                      RETRY_REPEATABLE, &answer, error_p);
    *answer_p = (Etcdserverpb__RangeResponse *)answer;
    return rc;
}

static int print_range(cli_t *cli, const Etcdserverpb__RangeResponse *answer)
{
    if (flags_bool(&cli->flags, "count-only") && cli->printer.ops != &printer_fields) {
        return cli_fail(cli, EXIT_BAD_ARGS, "--count-only is only for `--write-out=fields`");
    }
    if (flags_bool(&cli->flags, "print-value-only")) {
        if (cli->printer.ops != &printer_simple) {
            return cli_fail(cli, EXIT_BAD_ARGS,
                            "print-value-only is only for `--write-out=simple`");
        }
        cli->printer.value_only = true;
    }
    return PRINT(&cli->printer, range, answer);
}

static int run_get(cli_t *cli, const strings_t *args)
{
    Etcdserverpb__RangeRequest *request = NULL;
    Etcdserverpb__RangeResponse *answer = NULL;
    char *error = NULL;
    int code = kv_range_request(cli, &cli->flags, args, &request);
    if (code != 0) {
        return code;
    }
    code = cli_connect(cli);
    if (code == 0 && call_range(cli, request, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_ERROR, "%s", error);
        free(error);
    } else if (code == 0) {
        code = print_range(cli, answer);
        etcdserverpb__range_response__free_unpacked(answer, NULL);
    }
    etcdserverpb__range_request__free_unpacked(request, NULL);
    return code;
}

const command_t command_get = {
    .name = "get",
    .arguments = "[options] <key> [range_end]",
    .summary = "Reads a key or a range of keys",
    .group = GROUP_KV,
    .flags = kv_get_flags,
    .run = run_get,
};

/* ---- put ---- */

static int run_put(cli_t *cli, const strings_t *args)
{
    Etcdserverpb__PutRequest *request = NULL;
    ProtobufCMessage *answer = NULL;
    char *error = NULL;
    int code = kv_put_request(cli, &cli->flags, args, &request);
    if (code != 0) {
        return code;
    }
    code = cli_connect(cli);
    if (code == 0 && cli_call(cli->client, "/etcdserverpb.KV/Put", &request->base,
                              &etcdserverpb__put_response__descriptor, cli_command_timeout_ms(cli),
                              RETRY_NEVER, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_ERROR, "%s", error);
        free(error);
    } else if (code == 0) {
        code = PRINT(&cli->printer, put, (const Etcdserverpb__PutResponse *)answer);
        protobuf_c_message_free_unpacked(answer, NULL);
    }
    etcdserverpb__put_request__free_unpacked(request, NULL);
    return code;
}

const command_t command_put = {
    .name = "put",
    .arguments = "[options] <key> <value>",
    .summary = "Writes a key",
    .text =
        "Writes a key. Without a value on the command line, the value is what comes on standard\n"
        "input. A key or value that begins with '-' needs \"--\" before it:\n\n"
        "  put <key> -- <value>\n"
        "  put -- <key> <value>",
    .group = GROUP_KV,
    .flags = kv_put_flags,
    .run = run_put,
};

/* ---- del ---- */

static int run_del(cli_t *cli, const strings_t *args)
{
    Etcdserverpb__DeleteRangeRequest *request = NULL;
    ProtobufCMessage *answer = NULL;
    char *error = NULL;
    int code = kv_del_request(cli, &cli->flags, args, &request);
    if (code != 0) {
        return code;
    }
    code = cli_connect(cli);
    if (code == 0 && cli_call(cli->client, "/etcdserverpb.KV/DeleteRange", &request->base,
                              &etcdserverpb__delete_range_response__descriptor,
                              cli_command_timeout_ms(cli), RETRY_NEVER, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_ERROR, "%s", error);
        free(error);
    } else if (code == 0) {
        code = PRINT(&cli->printer, del, (const Etcdserverpb__DeleteRangeResponse *)answer);
        protobuf_c_message_free_unpacked(answer, NULL);
    }
    etcdserverpb__delete_range_request__free_unpacked(request, NULL);
    return code;
}

const command_t command_del = {
    .name = "del",
    .arguments = "[options] <key> [range_end]",
    .summary = "Deletes a key or the keys of a range [key, range_end)",
    .group = GROUP_KV,
    .flags = kv_del_flags,
    .run = run_del,
};

/* ---- compaction ---- */

static const flag_def_t compaction_flags[] = {
    {"physical", 0, FLAG_BOOL, "false", "wait until the old revisions are really removed"},
    {0},
};

static int run_compaction(cli_t *cli, const strings_t *args)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    if (args->n != 1) {
        return cli_fail(cli, EXIT_BAD_ARGS, "compaction command needs 1 argument");
    }
    const char *reason = go_parse_int(args->items[0], 10, &request.revision);
    if (reason != NULL) {
        char *quoted = go_quoted(args->items[0], strlen(args->items[0]));
        int code = cli_fail(cli, EXIT_ERROR, "strconv.ParseInt: parsing %s: %s", quoted, reason);
        free(quoted);
        return code;
    }
    request.physical = flags_bool(&cli->flags, "physical");
    int code = cli_connect(cli);
    if (code != 0) {
        return code;
    }
    ProtobufCMessage *answer = NULL;
    char *error = NULL;
    if (cli_call(cli->client, "/etcdserverpb.KV/Compact", &request.base,
                 &etcdserverpb__compaction_response__descriptor, cli_command_timeout_ms(cli),
                 RETRY_NEVER, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_ERROR, "%s", error);
        free(error);
        return code;
    }
    protobuf_c_message_free_unpacked(answer, NULL);
    fprintf(cli->out, "compacted revision %lld\n", (long long)request.revision);
    return EXIT_DONE;
}

const command_t command_compaction = {
    .name = "compaction",
    .arguments = "[options] <revision>",
    .summary = "Forgets the history before a revision",
    .group = GROUP_KV,
    .flags = compaction_flags,
    .run = run_compaction,
};
