/* txn: compares, requests if they hold, requests if they don't; each part ends with an empty line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/kv_requests.h"
#include "cli/words.h"
#include "messages/xalloc.h"

static const flag_def_t txn_flags[] = {
    {"interactive", 'i', FLAG_BOOL, "false", "say what is asked for next"},
    {0},
};

static void prompt(cli_t *cli, const char *text)
{
    if (flags_bool(&cli->flags, "interactive")) {
        fprintf(cli->out, "%s\n", text);
        fflush(cli->out);
    }
}

/* One line without the space around it. 0, or an exit code when the input ends before its end. */
static int read_line(cli_t *cli, char **line_p)
{
    char *line = NULL;
    size_t capacity = 0;
    errno = 0;
    ssize_t size = getline(&line, &capacity, cli->in);
    if (size <= 0 || line[size - 1] != '\n') {
        free(line);
        return cli_fail(cli, EXIT_INVALID_INPUT, "%s", errno != 0 ? strerror(errno) : "EOF");
    }
    size_t end = (size_t)size;
    while (end > 0 && strchr(" \t\r\n\v\f", line[end - 1]) != NULL) {
        end--;
    }
    size_t begin = 0;
    while (begin < end && strchr(" \t\r\n\v\f", line[begin]) != NULL) {
        begin++;
    }
    memmove(line, line + begin, end - begin);
    line[end - begin] = 0;
    *line_p = line;
    return 0;
}

static int read_compares(cli_t *cli, Etcdserverpb__TxnRequest *txn)
{
    for (;;) {
        char *line = NULL;
        int code = read_line(cli, &line);
        if (line == NULL || line[0] == 0) {
            free(line);
            return code;
        }
        Etcdserverpb__Compare *compare = xmalloc(sizeof *compare);
        etcdserverpb__compare__init(compare);
        char *error = words_parse_compare(line, compare);
        free(line);
        if (error != NULL) {
            code = cli_fail(cli, EXIT_INVALID_INPUT, "%s", error);
            free(error);
            etcdserverpb__compare__free_unpacked(compare, NULL);
            return code;
        }
        txn->compare = xrealloc(txn->compare, (txn->n_compare + 1) * sizeof(*txn->compare));
        txn->compare[txn->n_compare++] = compare;
    }
}

/* ---- requests ---- */

static int fill_op(cli_t *cli, const command_t *command, const flags_t *flags,
                   const strings_t *args, Etcdserverpb__RequestOp *op)
{
    if (command == &command_put) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        return kv_put_request(cli, flags, args, &op->request_put);
    }
    if (command == &command_get) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        return kv_range_request(cli, flags, args, &op->request_range);
    }
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    return kv_del_request(cli, flags, args, &op->request_delete_range);
}

/* The words of a line are a command line of their own. */
static int parse_op(cli_t *cli, const char *line, const strings_t *words,
                    Etcdserverpb__RequestOp *op)
{
    static const command_t *const children[] = {&command_put, &command_get, &command_del, NULL};
    static const command_t txn_root = {.name = "", .children = children};
    command_path_t path;
    strings_t rest = {0};
    strings_t args = {0};
    flags_t flags = {0};
    char *error = NULL;
    int code = 0;
    int rc = command_find(&txn_root, NULL, words->items, words->n, &path, &rest, &error);
    if (rc == 0) {
        command_flags(&path, NULL, &flags);
        rc = path.n == 1 ? FLAGS_ERROR : flags_parse(&flags, rest.items, rest.n, &args, &error);
    }
    if (rc == 0) {
        /* Standard input holds the transaction, not the value of a put. */
        FILE *in = cli->in;
        cli->in = NULL;
        code = fill_op(cli, command_last(&path), &flags, &args, op);
        cli->in = in;
    } else {
        code = cli_fail(cli, EXIT_INVALID_INPUT, "invalid txn request: %s", line);
    }
    free(error);
    flags_deinit(&flags);
    strings_deinit(&args);
    strings_deinit(&rest);
    return code;
}

static int read_op(cli_t *cli, const char *line, Etcdserverpb__RequestOp **op_p)
{
    strings_t words = {0};
    int code = 0;
    *op_p = NULL;
    if (!words_split(line, &words)) {
        code = cli_fail(cli, EXIT_INVALID_INPUT, "invalid syntax");
    } else if (words.n < 2) {
        code = cli_fail(cli, EXIT_INVALID_INPUT, "invalid txn compare request: %s", line);
    } else {
        Etcdserverpb__RequestOp *op = xmalloc(sizeof *op);
        etcdserverpb__request_op__init(op);
        code = parse_op(cli, line, &words, op);
        if (code == 0) {
            *op_p = op;
        } else {
            etcdserverpb__request_op__free_unpacked(op, NULL);
        }
    }
    strings_deinit(&words);
    return code;
}

static int read_ops(cli_t *cli, Etcdserverpb__RequestOp ***ops_p, size_t *n_p)
{
    for (;;) {
        char *line = NULL;
        int code = read_line(cli, &line);
        if (line == NULL || line[0] == 0) {
            free(line);
            return code;
        }
        Etcdserverpb__RequestOp *op = NULL;
        code = read_op(cli, line, &op);
        free(line);
        if (code != 0) {
            return code;
        }
        *ops_p = xrealloc(*ops_p, (*n_p + 1) * sizeof(**ops_p));
        (*ops_p)[(*n_p)++] = op;
    }
}

static int read_txn(cli_t *cli, Etcdserverpb__TxnRequest *txn)
{
    prompt(cli, "compares:");
    int code = read_compares(cli, txn);
    if (code == 0) {
        prompt(cli, "success requests (get, put, del):");
        code = read_ops(cli, &txn->success, &txn->n_success);
    }
    if (code == 0) {
        prompt(cli, "failure requests (get, put, del):");
        code = read_ops(cli, &txn->failure, &txn->n_failure);
    }
    return code;
}

static int commit(cli_t *cli, const Etcdserverpb__TxnRequest *txn)
{
    ProtobufCMessage *answer = NULL;
    char *error = NULL;
    /* Without a deadline, as etcdctl: what was typed in must not be lost to a short outage. */
    if (cli_call(cli->client, "/etcdserverpb.KV/Txn", &txn->base,
                 &etcdserverpb__txn_response__descriptor, GRPC_NO_TIMEOUT, RETRY_NEVER, &answer,
                 &error) != 0) {
        int code = cli_fail(cli, EXIT_ERROR, "%s", error);
        free(error);
        return code;
    }
    int code = PRINT(&cli->printer, txn, (const Etcdserverpb__TxnResponse *)answer);
    protobuf_c_message_free_unpacked(answer, NULL);
    return code;
}

static int run_txn(cli_t *cli, const strings_t *args)
{
    if (args->n != 0) {
        return cli_fail(cli, EXIT_BAD_ARGS, "txn command does not accept argument");
    }
    int code = cli_connect(cli);
    if (code != 0) {
        return code;
    }
    Etcdserverpb__TxnRequest *txn = xmalloc(sizeof *txn);
    etcdserverpb__txn_request__init(txn);
    code = read_txn(cli, txn);
    if (code == 0) {
        code = commit(cli, txn);
    }
    etcdserverpb__txn_request__free_unpacked(txn, NULL);
    return code;
}

const command_t command_txn = {
    .name = "txn",
    .arguments = "[options]",
    .summary = "Applies several requests at once, depending on conditions",
    .text = "Reads a transaction from standard input and applies it at once. It has three parts,\n"
            "each ended by an empty line: conditions, requests to apply when all of them hold,\n"
            "requests to apply otherwise.\n\n"
            "  mod(\"key1\") > \"0\"\n\n"
            "  put key1 \"it was there\"\n\n"
            "  put key1 \"it is new\"\n"
            "  get key2\n\n"
            "Conditions compare version, create, mod, value or lease of a key by =, !=, < or >.",
    .group = GROUP_KV,
    .flags = txn_flags,
    .run = run_txn,
};
