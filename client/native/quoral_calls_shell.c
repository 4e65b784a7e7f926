#include "client/native/client_shell.h"

enum { US_PER_MS = 1000 };

/* A call that a thread waits for. Lives on that thread's stack. */
typedef struct {
    client_call_t call;
    client_answer_t kind;
    quoral_client_t *client;
    quoral_result_t *result; /* NULL: not yet */
} waiter_t;

static void on_done(client_call_t *call, uint64_t now_us)
{
    (void)now_us;
    waiter_t *waiter = call->owner;
    if (call->code == GRPC_OK) {
        waiter->result = client_result_new(waiter->kind, call->answer);
    } else {
        waiter->result =
            client_result_failed((quoral_code_t)call->code, call->text, call->may_have_happened);
    }
    pthread_cond_broadcast(&waiter->client->changed);
}

static quoral_result_t *wait_for(quoral_client_t *client, waiter_t *waiter, bool is_read,
                                 uint32_t timeout_ms)
{
    if (client_is_own_thread(client)) {
        buf_deinit(&waiter->call.body);
        return client_result_failed(QUORAL_FAILED_PRECONDITION,
                                    slice_str("quoral: a callback cannot wait for an answer"),
                                    false);
    }
    waiter->client = client;
    waiter->call.owner = waiter;
    waiter->call.on_done = on_done;
    waiter->call.is_repeatable = is_read;
    pthread_mutex_lock(&client->lock);
    uint64_t now_us = client_now_us();
    waiter->call.deadline_us =
        now_us + (uint64_t)(timeout_ms ? timeout_ms : client->timeout_ms) * US_PER_MS;
    client_session_call(client->session, &waiter->call, now_us);
    client_wake(client);
    while (!waiter->result) {
        client_wait(client, UINT64_MAX); /* the session ends it in time */
    }
    pthread_mutex_unlock(&client->lock);
    buf_deinit(&waiter->call.body);
    return waiter->result;
}

quoral_result_t *quoral_put(quoral_client_t *client, quoral_bytes_t key, quoral_bytes_t value,
                            const quoral_put_options_t *options)
{
    waiter_t waiter = {.kind = CLIENT_ANSWER_PUT, .call.method = "etcdserverpb.KV/Put"};
    client_request_put(&waiter.call.body, key, value, options);
    return wait_for(client, &waiter, false, options ? options->timeout_ms : 0);
}

quoral_result_t *quoral_get(quoral_client_t *client, quoral_bytes_t key,
                            const quoral_get_options_t *options)
{
    waiter_t waiter = {.kind = CLIENT_ANSWER_RANGE, .call.method = "etcdserverpb.KV/Range"};
    client_request_get(&waiter.call.body, key, options);
    return wait_for(client, &waiter, true, options ? options->timeout_ms : 0);
}

quoral_result_t *quoral_delete(quoral_client_t *client, quoral_bytes_t key,
                               const quoral_delete_options_t *options)
{
    waiter_t waiter = {.kind = CLIENT_ANSWER_DELETE, .call.method = "etcdserverpb.KV/DeleteRange"};
    client_request_delete(&waiter.call.body, key, options);
    return wait_for(client, &waiter, false, options ? options->timeout_ms : 0);
}

quoral_result_t *quoral_commit(quoral_client_t *client, const quoral_txn_t *txn,
                               uint32_t timeout_ms)
{
    waiter_t waiter = {.kind = CLIENT_ANSWER_TXN, .call.method = "etcdserverpb.KV/Txn"};
    slice_t request = client_request_txn(txn);
    buf_append(&waiter.call.body, request.data, request.len);
    return wait_for(client, &waiter, false, timeout_ms);
}

quoral_result_t *quoral_call(quoral_client_t *client, const char *method, quoral_bytes_t body,
                             bool is_read, uint32_t timeout_ms)
{
    if (!method || strlen(method) == 0 || strlen(method) > NATIVE_METHOD_BYTES_MAX) {
        return client_result_failed(QUORAL_INVALID_ARGUMENT, slice_str("quoral: that is no method"),
                                    false);
    }
    waiter_t waiter = {.kind = CLIENT_ANSWER_OTHER, .call.method = method};
    buf_append(&waiter.call.body, body.data, body.len);
    return wait_for(client, &waiter, is_read, timeout_ms);
}
