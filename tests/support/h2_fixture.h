/* h2_fixture: a connection, a recorder behind it and a client in front of it, for tests of h2_conn.
 * Contains definitions, as fake_api.h does. */
#pragma once

#include "actors/grpc_gateway/conn.h"
#include "messages/limits.h"
#include "tests/support/fake_api.h"
#include "tests/support/h2_peer.h"

enum { FIXTURE_MAX_MESSAGE = 100000, FIXTURE_MAX_STREAMS = 1000 };

typedef struct {
    api_t api;
    metrics_t metrics;
    conn_env_t env;
    conn_t *conn;
    h2_peer_t *peer;
} fixture_t;

static inline int set_up_window(void **state, uint32_t window)
{
    fixture_t *f = xcalloc(1, sizeof *f);
    f->env = (conn_env_t){.api = &f->api,
                          .calls = calls_new(),
                          .metrics = &f->metrics,
                          .max_message_bytes = FIXTURE_MAX_MESSAGE,
                          .max_concurrent_streams = FIXTURE_MAX_STREAMS,
                          .keepalive_min_us = 5000000,
                          .keepalive_interval_us = 7200000000,
                          .keepalive_timeout_us = 20000000};
    f->api.sink = calls_sink(f->env.calls);
    f->conn = h2_conn_new(&f->env, 1000000);
    f->peer = h2_peer_new(f->conn, window);
    h2_peer_pump(f->peer);
    *state = f;
    return 0;
}

static inline int set_up(void **state)
{
    return set_up_window(state, 1u << 30);
}

static inline int set_up_small_window(void **state)
{
    return set_up_window(state, 1000);
}

static inline int tear_down(void **state)
{
    fixture_t *f = *state;
    f->conn->ops->destroy(&f->conn);
    assert_int_equal(calls_count(f->env.calls), 0); /* every call has ended or been cancelled */
    assert_true(calls_charge(f->env.calls, LIMIT_RECEIVING_BYTES)); /* and given its bytes back */
    fake_clear(&f->api);
    h2_peer_destroy(&f->peer);
    calls_destroy(&f->env.calls);
    free(f);
    return 0;
}

static inline void assert_status(const peer_stream_t *stream, int code, const char *text)
{
    assert_int_equal(stream->grpc_status, code);
    assert_string_equal(stream->grpc_message ? stream->grpc_message : "", text);
    assert_true(stream->closed);
}

#define TEST(name, up) cmocka_unit_test_setup_teardown(name, up, tear_down)
