/* curve: who may speak to this process over ZeroMQ. One per process: a thread that answers ZeroMQ's question for
 * each new connection (ZAP) and looks at the directories of allowed keys once a second; and, per domain, what the
 * thread that owns the sockets needs. Sockets, files, the clock.
 *
 * A key that is not allowed any more still has its connections, which ZeroMQ gives nobody a way to close. So
 * whoever serves a domain asks curve_take_change before it takes messages, and when keys were revoked closes its
 * sockets and binds new ones: everybody comes through ZAP again. Messages that an old socket still holds are lost
 * with it.
 *
 * Owned by main: started before the first socket of a domain, stopped after the last. Each domain has one user. */
#pragma once

#include <czmq.h>

#include "actors/core/metrics.h"
#include "actors/core/outbox.h"
#include "messages/curve_certificate.h"

typedef enum { CURVE_PEER, CURVE_NATIVE, CURVE_DOMAINS } curve_domain_id_t;

typedef struct curve curve_t;
typedef struct curve_domain curve_domain_t;

typedef struct {
    /* Per domain both or neither. */
    const char
        *secret_key[CURVE_DOMAINS]; /* a certificate file; NULL = the domain is without CURVE */
    const char *allowed_keys[CURVE_DOMAINS]; /* a directory */
    metrics_t *metrics;                      /* the thread is the only writer */
    void (*log)(void *context, log_level_t level, const char *text, const char *fields);
    void *log_context;
} curve_cfg_t;

/* NULL = *curve_p runs; NULL too when no domain has CURVE: there is no thread then. Else why not, yours. */
char *curve_start(const curve_cfg_t *cfg, curve_t **curve_p) __attribute__((warn_unused_result));
/* Accepts NULL; nulls the pointer. */
void curve_stop(curve_t **self_p);
/* NULL = the domain is without CURVE; also of NULL. */
curve_domain_t *curve_domain(curve_t *self, curve_domain_id_t id);

/* ---- for the domain's user ---- */

/* Makes a socket one that lets in only allowed keys. Before it is bound. */
void curve_serve(const curve_domain_t *self, zsock_t *socket);
/* Makes a socket one that connects to the member that listens at `url`, in its `turn` if its certificates hold
 * several keys. True = *server_key is what it must show. False = no certificate names the URL: do not connect.
 * Before it is connected. */
bool curve_connect(curve_domain_t *self, zsock_t *socket, const char *url, size_t turn,
                   uint8_t server_key[CURVE_KEY_BYTES]);
/* Is that key still one of who listens there? */
bool curve_is_key_of(curve_domain_t *self, const char *url,
                     const uint8_t server_key[CURVE_KEY_BYTES]);

typedef enum {
    CURVE_SAME,
    CURVE_CHANGED, /* keys were added, or their certificates changed */
    CURVE_REVOKED  /* a key is not allowed any more: close, and bind again */
} curve_change_t;
/* What has happened since the last call; cheap when nothing has. */
curve_change_t curve_take_change(curve_domain_t *self);
/* Readable when something has happened, or is about to within a moment. */
int curve_change_fd(const curve_domain_t *self);
