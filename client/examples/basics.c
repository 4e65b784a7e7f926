/* Put, get, delete, a transaction and a lease.
 *   example_basics tcp://127.0.0.1:2381 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <quoral.h>

/* Prints how a call ended; ends the program if it failed. */
static quoral_result_t *need(quoral_result_t *result, const char *what)
{
    if (!quoral_result_is_ok(result)) {
        printf("%s: %s%s\n", what, quoral_result_text(result),
               quoral_result_may_have_happened(result) ? " (it may have happened all the same)"
                                                       : "");
        exit(1);
    }
    printf("%s: done at revision %" PRId64 "\n", what, quoral_result_revision(result));
    return result;
}

static void print_kvs(const quoral_result_t *result)
{
    for (size_t i = 0; i < quoral_result_size(result); i++) {
        const quoral_kv_t *kv = quoral_result_kv(result, i);
        printf("    %.*s = %.*s (version %" PRId64 ")\n", (int)kv->key.len,
               (const char *)kv->key.data, (int)kv->value.len, (const char *)kv->value.data,
               kv->version);
    }
}

int main(int argc, char **argv)
{
    char *error = NULL;
    quoral_client_t *client = quoral_client_new(
        &(quoral_client_options_t){.endpoints = argc > 1 ? argv[1] : "tcp://127.0.0.1:2381"},
        &error);
    if (!client) {
        fprintf(stderr, "%s\n", error);
        free(error);
        return 2;
    }

    quoral_result_t *result =
        need(quoral_put(client, quoral_str("basics/a"), quoral_str("1"), NULL), "put");
    quoral_result_destroy(&result);
    result = need(quoral_put(client, quoral_str("basics/b"), quoral_str("2"), NULL), "put");
    quoral_result_destroy(&result);
    result = need(
        quoral_get(client, quoral_str("basics/"), &(quoral_get_options_t){.prefix = true}), "get");
    print_kvs(result);
    quoral_result_destroy(&result);

    /* Only if nobody has changed it since version 1. */
    quoral_txn_t *txn = quoral_txn_new();
    quoral_txn_if(txn, quoral_str("basics/a"), QUORAL_IF_VERSION, QUORAL_EQUAL, 1);
    quoral_txn_put(txn, QUORAL_THEN, quoral_str("basics/a"), quoral_str("changed"), NULL);
    quoral_txn_get(txn, QUORAL_ELSE, quoral_str("basics/a"), NULL);
    for (int i = 0; i < 2; i++) {
        result = need(quoral_commit(client, txn, 0), "txn");
        printf("    %s\n",
               quoral_result_succeeded(result) ? "the condition held" : "somebody was faster:");
        print_kvs(quoral_result_response(result, 0));
        quoral_result_destroy(&result);
    }
    quoral_txn_destroy(&txn);

    /* A key that lives as long as this program. */
    quoral_lease_t *lease = quoral_lease_new(client, 5, NULL);
    quoral_put_options_t with_lease = {.lease = quoral_lease_wait(lease, 5000)};
    result = need(quoral_put(client, quoral_str("basics/here"), quoral_str("now"), &with_lease),
                  "put with a lease");
    quoral_result_destroy(&result);

    result = need(quoral_delete(client, quoral_str("basics/"),
                                &(quoral_delete_options_t){.prefix = true, .previous = true}),
                  "delete");
    printf("    %" PRId64 " keys:\n", quoral_result_count(result));
    print_kvs(result);
    quoral_result_destroy(&result);
    /* Revoked in the background: with its key still there, it would delete that by itself. */
    quoral_lease_destroy(&lease);
    quoral_client_destroy(&client);
    return 0;
}
