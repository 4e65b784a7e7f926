/* http1_private: the parts of an HTTP/1.1 connection. Pure.
 *   http1_conn.c    bytes in and out, one request after the other, time-outs
 *   http1_pages.c   which page answers which path, response heads
 *   http1_health.c  the pages that ask the request core: /health, /livez, /readyz
 *
 * Invariants:
 *   1. One request at a time: while `busy`, later ones wait in `in`.
 *   2. A check's call is not 0 exactly while the request core knows it. Its answer is only noted when
 *      it comes (the core must not be called back from there); output() goes on from it. */
#pragma once

#include "actors/grpc_gateway/conn.h"
#include "actors/grpc_gateway/http1_parse.h"

typedef enum {
    CHECK_DATA_CORRUPTION,
    CHECK_SERIALIZABLE_READ,
    CHECK_LINEARIZABLE_READ,
    CHECK_NON_LEARNER,
    CHECK_COUNT
} http1_check_id_t;

typedef struct {
    bool wanted;
    uint64_t call; /* 0 = not in the request core */
    char *error;   /* NULL = passed */
} http1_check_t;

typedef enum { PROBE_HEALTH, PROBE_LIVEZ, PROBE_READYZ } http1_probe_t;

typedef struct {
    conn_t conn;
    const conn_env_t *env;
    const http_pages_t *pages;
    uint64_t now_us;

    buf_t in; /* not yet parsed, from in_taken on */
    size_t in_taken, in_scanned;
    uint64_t skip_bytes;    /* of the last request's body */
    uint64_t head_since_us; /* when the head being received began; 0 = none */
    uint64_t idle_since_us;

    buf_t out;
    size_t out_sent;
    uint64_t out_since_us; /* when the socket last took something */

    /* The request being answered. */
    bool busy;
    bool is_head, minor, keep_alive;
    http1_probe_t probe;
    bool verbose;
    http1_check_t checks[CHECK_COUNT];

    bool closing;           /* nothing more is read */
    bool draining;          /* closes after the request in progress */
    buf_t path, key, value; /* scratch */
} http1_conn_t;

/* http1_pages.c: starts to answer; done when busy is false. */
void http1_answer(http1_conn_t *self, const http1_request_t *request);
/* A response. content_type NULL = none; extra = whole header lines or "". */
void http1_respond(http1_conn_t *self, int status, const char *content_type, const char *extra,
                   slice_t body);
/* A short text as etcd's server gives it: text/plain, nosniff, with a line end. */
void http1_respond_text(http1_conn_t *self, int status, const char *extra, const char *text);

/* http1_health.c. `only` = one check, CHECK_COUNT = all of the probe's but the excluded. */
void http1_health_begin(http1_conn_t *self, http1_probe_t probe, http1_check_id_t only,
                        slice_t query);
/* The check of that name among those of the probe; CHECK_COUNT when there is none. */
http1_check_id_t http1_check_find(http1_probe_t probe, slice_t name);
/* Answers once all checks are done. */
void http1_health_continue(http1_conn_t *self);
void http1_health_finish(http1_conn_t *self, int32_t stream, grpc_code_t code, const char *text);
void http1_health_cancel(http1_conn_t *self);
