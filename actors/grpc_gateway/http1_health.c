/* Probes: is this member well enough to be sent clients? A read check is a one-key Range through the
 * request core, as a client's would be; both reads of /readyz run at the same time. There are no
 * alarms yet, so the check for them passes. */
#include <assert.h>
#include <stdlib.h>

#include "actors/grpc_gateway/http1_private.h"
#include "messages/json.h"
#include "messages/xalloc.h"

/* Of one check in one probe; METRIC_COUNT = the probe does not have it. */
typedef struct {
    metric_t result, passed, failed;
} check_metrics_t;
#define CHECK_METRICS(id)                                                                          \
    {                                                                                              \
        METRIC_##id, METRIC_##id##_OK, METRIC_##id##_FAILED                                        \
    }
#define NOT_IN_PROBE                                                                               \
    {                                                                                              \
        METRIC_COUNT, METRIC_COUNT, METRIC_COUNT                                                   \
    }

static const struct {
    const char *name;
    check_metrics_t livez, readyz;
} table[CHECK_COUNT] = {
    [CHECK_DATA_CORRUPTION] = {"data_corruption", NOT_IN_PROBE, CHECK_METRICS(READYZ_CORRUPTION)},
    [CHECK_SERIALIZABLE_READ] = {"serializable_read", CHECK_METRICS(LIVEZ_SERIALIZABLE),
                                 CHECK_METRICS(READYZ_SERIALIZABLE)},
    [CHECK_LINEARIZABLE_READ] = {"linearizable_read", NOT_IN_PROBE,
                                 CHECK_METRICS(READYZ_LINEARIZABLE)},
    [CHECK_NON_LEARNER] = {"non_learner", NOT_IN_PROBE, CHECK_METRICS(READYZ_LEARNER)},
};

static bool is_in_probe(http1_probe_t probe, unsigned id)
{
    return probe == PROBE_READYZ ||
           (probe == PROBE_LIVEZ && table[id].livez.passed != METRIC_COUNT);
}

static void count_check(http1_conn_t *self, unsigned id, bool passed)
{
    const check_metrics_t *of = self->probe == PROBE_LIVEZ ? &table[id].livez : &table[id].readyz;
    metrics_add(self->env->metrics, passed ? of->passed : of->failed, 1);
    metrics_set(self->env->metrics, of->result, passed ? METRIC_PASSED : METRIC_FAILED);
}

http1_check_id_t http1_check_find(http1_probe_t probe, slice_t name)
{
    for (unsigned i = 0; i < CHECK_COUNT; i++) {
        if (slice_equal(name, slice_str(table[i].name)) && is_in_probe(probe, i)) {
            return (http1_check_id_t)i;
        }
    }
    return CHECK_COUNT;
}

/* A range over one key, of which only the existence would come back. */
static bytes_t *range_request(bool serializable)
{
    buf_t text = {0};
    buf_field_bytes(&text, 1, slice("", 1)); /* key: one zero byte */
    buf_field_u64(&text, 3, 1);              /* limit */
    buf_field_u64(&text, 7, serializable);
    buf_field_u64(&text, 8, 1); /* keys_only */
    bytes_t *request = buf_bytes(&text);
    buf_deinit(&text);
    return request;
}

static void begin_read(http1_conn_t *self, http1_check_id_t id)
{
    http1_check_t *check = &self->checks[id];
    const conn_env_t *env = self->env;
    check->call = calls_open(env->calls, &self->conn, (int32_t)id);
    if (check->call == 0) {
        check->error = xstrdup(api_error_text(API_TOO_MANY_REQUESTS));
        return;
    }
    /* The answer may come at any of these steps; then check->call is 0 again. */
    const api_call_t info = {
        .method = METHOD_RANGE, .deadline_us = DEADLINE_NONE, .flags = CALL_UNCOUNTED};
    uint64_t call = check->call;
    api_call_begin(env->api, call, &info, self->now_us);
    if (check->call) {
        bytes_t *request = range_request(id == CHECK_SERIALIZABLE_READ);
        api_call_message(env->api, call, &request, self->now_us);
    }
    if (check->call) {
        api_call_half_close(env->api, call, self->now_us);
    }
}

typedef struct {
    bool serializable, verbose;
    bool excluded[CHECK_COUNT];
} probe_query_t;

static void read_query(http1_conn_t *self, slice_t query, probe_query_t *out)
{
    bool seen_serializable = false;
    while (http1_query_next(&query, &self->key, &self->value)) {
        slice_t key = buf_slice(&self->key);
        slice_t value = buf_slice(&self->value);
        if (slice_equal(key, slice_str("verbose"))) {
            out->verbose = true;
        } else if (slice_equal(key, slice_str("serializable")) && !seen_serializable) {
            seen_serializable = true; /* the first one counts */
            out->serializable = slice_equal(value, slice_str("true"));
        } else if (slice_equal(key, slice_str("exclude"))) {
            http1_check_id_t id = http1_check_find(PROBE_READYZ, value);
            if (id != CHECK_COUNT) {
                out->excluded[id] = true;
            }
        }
    }
}

/* /health wants one read, and a leader unless the read is local. */
static void want_health(http1_conn_t *self, bool serializable)
{
    http1_check_id_t read = serializable ? CHECK_SERIALIZABLE_READ : CHECK_LINEARIZABLE_READ;
    http1_check_t *check = &self->checks[read];
    check->wanted = true;
    if (!serializable && api_status(self->env->api).leader == 0) {
        check->error = xstrdup("RAFT NO LEADER");
        return;
    }
    begin_read(self, read);
}

void http1_health_begin(http1_conn_t *self, http1_probe_t probe, http1_check_id_t only,
                        slice_t query)
{
    probe_query_t asked = {0};
    read_query(self, query, &asked);
    memset(self->checks, 0, sizeof self->checks);
    self->probe = probe;
    self->verbose = asked.verbose;
    if (probe == PROBE_HEALTH) {
        want_health(self, asked.serializable);
    }
    for (unsigned i = 0; i < CHECK_COUNT; i++) {
        bool chosen = only == CHECK_COUNT ? !asked.excluded[i] : only == i;
        if (!is_in_probe(probe, i) || !chosen) {
            continue;
        }
        self->checks[i].wanted = true;
        if (i == CHECK_SERIALIZABLE_READ || i == CHECK_LINEARIZABLE_READ) {
            begin_read(self, (http1_check_id_t)i);
        } else if (i == CHECK_NON_LEARNER && api_status(self->env->api).is_learner) {
            self->checks[i].error = xstrdup("not supported for learner");
        }
    }
    http1_health_continue(self);
}

void http1_health_finish(http1_conn_t *self, int32_t stream, grpc_code_t code, const char *text)
{
    assert(stream >= 0 && stream < CHECK_COUNT);
    http1_check_t *check = &self->checks[stream];
    calls_close(self->env->calls, check->call);
    check->call = 0;
    if (code != GRPC_OK) {
        check->error = xstrdup(text);
    }
}

static void forget(http1_conn_t *self)
{
    for (unsigned i = 0; i < CHECK_COUNT; i++) {
        free(self->checks[i].error);
        self->checks[i].error = NULL;
    }
}

void http1_health_cancel(http1_conn_t *self)
{
    for (unsigned i = 0; i < CHECK_COUNT; i++) {
        http1_check_t *check = &self->checks[i];
        if (check->call) {
            api_call_cancel(self->env->api, check->call);
            calls_close(self->env->calls, check->call);
            check->call = 0;
        }
    }
    forget(self);
}

/* {"health":"true","reason":""} */
static void respond_health(http1_conn_t *self)
{
    const char *error = NULL;
    for (unsigned i = 0; i < CHECK_COUNT; i++) {
        error = self->checks[i].error ? self->checks[i].error : error;
    }
    if (!error) {
        metrics_add(self->env->metrics, METRIC_HEALTH_SUCCESS, 1);
        http1_respond(self, 200, "text/plain; charset=utf-8", "",
                      slice_str("{\"health\":\"true\",\"reason\":\"\"}"));
        return;
    }
    metrics_add(self->env->metrics, METRIC_HEALTH_FAILURES, 1);
    bool no_leader = strcmp(error, "RAFT NO LEADER") == 0;
    char *reason = no_leader ? xstrdup(error) : xasprintf("RANGE ERROR:%s", error);
    buf_t body = {0};
    const char start[] = "{\"health\":\"false\",\"reason\":";
    buf_append(&body, start, strlen(start));
    buf_json_string(&body, slice_str(reason));
    buf_append(&body, "}", 2); /* with its terminator */
    http1_respond_text(self, 503, "", (const char *)body.data);
    buf_deinit(&body);
    free(reason);
}

/* One line per check; the whole only when asked for or when something failed. */
static void respond_checks(http1_conn_t *self)
{
    buf_t lines = {0};
    bool failed = false;
    for (unsigned i = 0; i < CHECK_COUNT; i++) {
        const http1_check_t *check = &self->checks[i];
        if (!check->wanted) {
            continue;
        }
        char *line = check->error ? xasprintf("[-]%s failed: %s\n", table[i].name, check->error)
                                  : xasprintf("[+]%s ok\n", table[i].name);
        buf_append(&lines, line, strlen(line));
        free(line);
        failed = failed || check->error;
        count_check(self, i, !check->error);
    }
    if (failed) {
        buf_byte(&lines, '\0');
        http1_respond_text(self, 503, "", (const char *)lines.data);
    } else {
        if (!self->verbose) {
            buf_clear(&lines);
        }
        buf_append(&lines, "ok\n", 3);
        http1_respond(self, 200, "text/plain; charset=utf-8", "X-Content-Type-Options: nosniff\r\n",
                      buf_slice(&lines));
    }
    buf_deinit(&lines);
}

void http1_health_continue(http1_conn_t *self)
{
    for (unsigned i = 0; i < CHECK_COUNT; i++) {
        if (self->checks[i].call) {
            return;
        }
    }
    if (self->probe == PROBE_HEALTH) {
        respond_health(self);
    } else {
        respond_checks(self);
    }
    forget(self);
}
