/* client_call: one call on its way through a client's session. Pure. */
#pragma once

#include "messages/buf.h"
#include "messages/errors.h"

typedef struct client_call client_call_t;

/* The owner fills the first part, gives the call to client_session_call and leaves it in place until
 * on_done; the second part belongs to the session. One request, then messages and an end, or just an end. */
struct client_call {
    const char *method; /* "etcdserverpb.KV/Put"; the text outlives the call */
    buf_t body;         /* the request; the owner deinits it */
    /* It changes nothing on the server: said again when an answer got lost or a member cannot serve it. */
    bool is_repeatable;
    uint64_t deadline_us; /* UINT64_MAX: none */
    bool
        moves_deadline; /* the owner may put it off while messages come, so the server is not told of it */
    /* Each message before the end; borrowed. NULL: they are ignored. Never of a repeatable call. */
    void (*on_message)(client_call_t *self, slice_t body, uint64_t now_us);
    /* Once, last: `code`, `text`, `answer`, `may_have_happened` are set. The owner may free the call, and may give the
     * session others. */
    void (*on_done)(client_call_t *self, uint64_t now_us);
    void *owner;

    grpc_code_t code;
    slice_t text;   /* with a code other than GRPC_OK; borrowed */
    slice_t answer; /* of a call with one answer; borrowed */
    /* It failed, was no read, and the server may have carried it out. */
    bool may_have_happened;

    uint64_t id; /* 0: not sent, or not any more */
    unsigned refusals;
    uint64_t not_before_us;
    client_call_t *previous;
    client_call_t *next;
};
