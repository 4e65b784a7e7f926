/* sessions: the clients of the native protocol and their calls (docs/protocol.md): greeting, heartbeats, calls over
 * the request core, windows. Messages in, messages out. Pure; one per native gateway, owned by its thread.
 *
 * Each turn: what the socket has goes to sessions_input; sessions_tick looks at the time; the request core
 * is stepped; then sessions_output is asked until there is nothing more to send. */
#pragma once

#include "actors/api/api.h"
#include "messages/native_frame.h"

typedef struct sessions sessions_t;

typedef struct {
    uint64_t cluster_id, member_id;
    uint64_t heartbeat_us;  /* for clients that wish no other interval */
    uint64_t window_octets; /* of one client, unacknowledged, above which its requests wait */
    uint32_t calls_max;     /* of one client */
    size_t clients_max;
    size_t message_bytes_max;        /* --max-request-bytes + 512 KiB */
    uint32_t progress_ms;            /* --native-progress-interval, told to clients */
    const char *const *publish_urls; /* borrowed until sessions_new returns */
    size_t publish_url_count;
    uint32_t publish_port; /* 0 = no events here, or only below publish_urls */
} sessions_cfg_t;

sessions_t *sessions_new(const sessions_cfg_t *cfg, metrics_t *metrics);
/* Before the first input. Borrowed. */
void sessions_attach(sessions_t *self, api_t *api);
/* Before the publish port is known, clients cannot come. */
void sessions_set_publish_port(sessions_t *self, uint32_t port);
/* When the request core is gone, or its calls do not matter any more. Nulls the pointer. */
void sessions_destroy(sessions_t **self_p);

/* One message of a client, without its route. Everything is borrowed. */
void sessions_input(sessions_t *self, slice_t route, const slice_t *frames, size_t count,
                    uint64_t now_us);
/* The socket is another one: no route leads to anybody any more. All clients go, and may come again. */
void sessions_reset(sessions_t *self);
/* Heartbeats that are due, clients that are gone. */
void sessions_tick(sessions_t *self, uint64_t now_us);
/* When to tick again; DEADLINE_NONE without clients, 0 = at once: the request core has been given something since. */
uint64_t sessions_deadline(const sessions_t *self);
/* Is anybody there for whom the request core has to know where the store is? */
bool sessions_present(const sessions_t *self);
/* It knows, or does not any more. Only in between clients are welcomed and served. */
void sessions_set_ready(sessions_t *self, bool is_ready, uint64_t now_us);

/* The next message to send. `route` is valid until the next call into sessions; the body, NULL = no such frame, is the
 * caller's. False = nothing now. */
typedef struct {
    slice_t route;
    uint8_t header[NATIVE_HEADER_BYTES];
    bytes_t *body;
} native_output_t;
bool sessions_output(sessions_t *self, native_output_t *out);
/* The message taken last cannot be sent: nobody is there, or nobody reads. Its session ends. */
void sessions_undelivered(sessions_t *self);

/* The request core's answers to the calls that sessions have begun; for its sink. */
void sessions_message(sessions_t *self, uint64_t call, bytes_t **message_p);
void sessions_finish(sessions_t *self, uint64_t call, grpc_code_t code, const char *text);
