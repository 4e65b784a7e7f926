/* quoral.h: libquoral, the client library of Quoral over ZeroMQ (docs/libquoral.md).
 *
 * Calls with an answer, caches that equal the store at a revision, leases that keep themselves alive, services that
 * stay registered and are discovered.
 *
 * THREADS. A client has one background thread of its own. Every function may be called from any thread, except that a
 * `_destroy` must not run beside other uses of the same object. Callbacks run on the background thread, one at a time
 * and in order, without a lock held: they may use any function but those that wait for the background thread itself
 * (quoral_put … quoral_call, quoral_…_wait, quoral_client_destroy), which then fail at once with
 * QUORAL_FAILED_PRECONDITION (or false); and while one runs, nothing else of this client goes on, so they should be
 * short. The first may come before the object's `_new` has returned: callbacks are given the object. After a fork only
 * the parent may go on using a client.
 *
 * OWNERSHIP. What a function returns as a pointer without const is the caller's, to be given to the `_destroy` of its
 * type, which takes the address of the pointer, sets it to NULL and accepts NULL. Arguments are copied, and borrowed
 * only for the call. Objects made from a client are destroyed before it.
 *
 * ERRORS. Whatever can fail by itself says so in a quoral_result_t, with the codes of gRPC and the server's text. Wrong
 * arguments (NULL, names with a slash) are errors as well. When memory is exhausted, the program is aborted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QUORAL_API      __attribute__((visibility("default")))
#define QUORAL_MUST_USE __attribute__((warn_unused_result))

typedef struct quoral_client quoral_client_t;
typedef struct quoral_result quoral_result_t;
typedef struct quoral_txn quoral_txn_t;
typedef struct quoral_cache quoral_cache_t;
typedef struct quoral_lease quoral_lease_t;
typedef struct quoral_service quoral_service_t;
typedef struct quoral_discovery quoral_discovery_t;

/* Octets somewhere, not owned, not ended by a zero. */
typedef struct {
    const void *data;
    size_t len;
} quoral_bytes_t;

static inline quoral_bytes_t quoral_str(const char *text)
{
    quoral_bytes_t bytes = {text, text ? strlen(text) : 0};
    return bytes;
}

/* As gRPC has them. */
typedef enum {
    QUORAL_OK = 0,
    QUORAL_CANCELLED = 1,
    QUORAL_UNKNOWN = 2,
    QUORAL_INVALID_ARGUMENT = 3,
    QUORAL_DEADLINE_EXCEEDED = 4,
    QUORAL_NOT_FOUND = 5,
    QUORAL_ALREADY_EXISTS = 6,
    QUORAL_PERMISSION_DENIED = 7,
    QUORAL_RESOURCE_EXHAUSTED = 8,
    QUORAL_FAILED_PRECONDITION = 9,
    QUORAL_ABORTED = 10,
    QUORAL_OUT_OF_RANGE = 11,
    QUORAL_UNIMPLEMENTED = 12,
    QUORAL_INTERNAL = 13,
    QUORAL_UNAVAILABLE = 14,
    QUORAL_DATA_LOSS = 15,
    QUORAL_UNAUTHENTICATED = 16
} quoral_code_t;

/* One key-value of the store. */
typedef struct {
    quoral_bytes_t key;
    quoral_bytes_t value;
    int64_t create_revision;
    int64_t mod_revision;
    int64_t version;
    int64_t lease; /* 0: none */
} quoral_kv_t;

QUORAL_API const char *quoral_version(void);

/* ---- client: one connection at a time to the members of one cluster ---- */

typedef struct {
    /* Request sockets of members, with commas between them: "tcp://10.0.0.1:2381,10.0.0.2:2381,ipc:///run/q". They
     * are tried in this order, beginning with one chosen at random. */
    const char *endpoints;
    uint32_t timeout_ms;      /* of calls that do not say one; 0: 5000 */
    uint32_t dial_timeout_ms; /* for a member's first word; 0: 1000 */
    uint32_t heartbeat_ms;    /* after three of silence a member is left; 0: the server's (1000) */
    /* CURVE: the members' public key and an own key pair, 40 characters of Z85 each; all three or none. */
    const char *server_key;
    const char *public_key;
    const char *secret_key;
    /* What happens to connections, and why there is none, one line each; for people. NULL: nobody hears of it. */
    void (*on_log)(void *arg, const char *line);
    void *log_arg;
} quoral_client_options_t;

/* Returns at once; the connection comes by itself, and again whenever it breaks. NULL: the options cannot be used, and
 * *error_p, unless error_p is NULL, is a text to be freed with free(). */
QUORAL_API QUORAL_MUST_USE quoral_client_t *
quoral_client_new(const quoral_client_options_t *options, char **error_p);
/* Ends calls of other threads as cancelled. Objects made from it must be gone. Takes no time worth mentioning. */
QUORAL_API void quoral_client_destroy(quoral_client_t **self_p);
/* Whether a member has welcomed this client, now. */
QUORAL_API bool quoral_client_is_connected(quoral_client_t *self);

/* ---- results ---- */

QUORAL_API void quoral_result_destroy(quoral_result_t **self_p);
QUORAL_API bool quoral_result_is_ok(const quoral_result_t *self);
QUORAL_API quoral_code_t quoral_result_code(const quoral_result_t *self);
/* "" when it is ok; belongs to the result. */
QUORAL_API const char *quoral_result_text(const quoral_result_t *self);
/* It failed, and yet the store may have been changed: the connection broke, or time ran out, before the answer came.
 * The library never writes a second time by itself; whether that is right only the program knows. */
QUORAL_API bool quoral_result_may_have_happened(const quoral_result_t *self);
/* The store's revision when the request was carried out; of a cache: the map's. */
QUORAL_API int64_t quoral_result_revision(const quoral_result_t *self);
/* Key-values in it: what was found; for put and delete with `previous`: what was there. NULL past the last. */
QUORAL_API size_t quoral_result_size(const quoral_result_t *self);
QUORAL_API const quoral_kv_t *quoral_result_kv(const quoral_result_t *self, size_t i);
/* get: how many keys there are, whatever the limit; delete: how many were deleted. */
QUORAL_API int64_t quoral_result_count(const quoral_result_t *self);
/* txn: whether all conditions held; what its operations answered, NULL past the last. Belongs to the result. */
QUORAL_API bool quoral_result_succeeded(const quoral_result_t *self);
QUORAL_API const quoral_result_t *quoral_result_response(const quoral_result_t *self, size_t i);
/* The answer as it came: the protobuf message of the method. */
QUORAL_API quoral_bytes_t quoral_result_body(const quoral_result_t *self);

/* ---- calls: they wait for their answer; the result is never NULL ---- */

typedef struct {
    int64_t lease;       /* 0: none */
    bool previous;       /* the answer has what was there */
    uint32_t timeout_ms; /* 0: the client's */
} quoral_put_options_t;

typedef struct {
    bool prefix; /* all keys that begin so; an empty key then means all */
    int64_t limit;
    int64_t revision;  /* as of then; 0: the newest */
    bool serializable; /* of the member alone: fast, and possibly old */
    bool keys_only;
    bool count_only;
    uint32_t timeout_ms;
} quoral_get_options_t;

typedef struct {
    bool prefix;
    bool previous;
    uint32_t timeout_ms;
} quoral_delete_options_t;

/* Options may be NULL: all zero. */
QUORAL_API QUORAL_MUST_USE quoral_result_t *quoral_put(quoral_client_t *client, quoral_bytes_t key,
                                                       quoral_bytes_t value,
                                                       const quoral_put_options_t *options);
QUORAL_API QUORAL_MUST_USE quoral_result_t *quoral_get(quoral_client_t *client, quoral_bytes_t key,
                                                       const quoral_get_options_t *options);
QUORAL_API QUORAL_MUST_USE quoral_result_t *
quoral_delete(quoral_client_t *client, quoral_bytes_t key, const quoral_delete_options_t *options);

/* Any method that answers with one message, by its gRPC path without the slash in front. With `is_read` it may be sent
 * more than once. */
QUORAL_API QUORAL_MUST_USE quoral_result_t *quoral_call(quoral_client_t *client, const char *method,
                                                        quoral_bytes_t body, bool is_read,
                                                        uint32_t timeout_ms);

/* ---- transactions: if all conditions hold, then the one list of operations, else the other ---- */

typedef enum {
    QUORAL_IF_VERSION = 0,
    QUORAL_IF_CREATED = 1,
    QUORAL_IF_MODIFIED = 2,
    QUORAL_IF_LEASE = 4
} quoral_target_t;
typedef enum {
    QUORAL_EQUAL = 0,
    QUORAL_GREATER = 1,
    QUORAL_LESS = 2,
    QUORAL_NOT_EQUAL = 3
} quoral_relation_t;
typedef enum { QUORAL_THEN = 2, QUORAL_ELSE = 3 } quoral_branch_t;

QUORAL_API quoral_txn_t *quoral_txn_new(void);
QUORAL_API void quoral_txn_destroy(quoral_txn_t **self_p);
/* A key that does not exist has version 0. */
QUORAL_API void quoral_txn_if(quoral_txn_t *self, quoral_bytes_t key, quoral_target_t target,
                              quoral_relation_t relation, int64_t number);
QUORAL_API void quoral_txn_if_value(quoral_txn_t *self, quoral_bytes_t key,
                                    quoral_relation_t relation, quoral_bytes_t value);
QUORAL_API void quoral_txn_put(quoral_txn_t *self, quoral_branch_t branch, quoral_bytes_t key,
                               quoral_bytes_t value, const quoral_put_options_t *options);
QUORAL_API void quoral_txn_get(quoral_txn_t *self, quoral_branch_t branch, quoral_bytes_t key,
                               const quoral_get_options_t *options);
QUORAL_API void quoral_txn_delete(quoral_txn_t *self, quoral_branch_t branch, quoral_bytes_t key,
                                  const quoral_delete_options_t *options);
/* May be committed again: it stays as it is. */
QUORAL_API QUORAL_MUST_USE quoral_result_t *
quoral_commit(quoral_client_t *client, const quoral_txn_t *txn, uint32_t timeout_ms);

/* ---- caches: a prefix, or one key, as a local map that equals the store at a revision ---- */

typedef struct {
    bool deleted;
    quoral_kv_t kv;    /* of a deletion: the key, and its revision as mod_revision */
    bool has_previous; /* the map had the key before */
    quoral_kv_t previous;
    int64_t revision; /* of the map, with all changes of that revision */
    bool
        reset; /* from a snapshot of another history: the first one, another cluster, a restored backup */
} quoral_change_t;

typedef struct {
    bool exact; /* that key alone */
    /* Each change, in order; what it points to is valid during the call. The map may be further on already. */
    void (*on_change)(void *arg, quoral_cache_t *cache, const quoral_change_t *change);
    /* The map equals the store at this revision: after the changes of a revision, and when marks confirm that nothing
     * changed. */
    void (*on_revision)(void *arg, quoral_cache_t *cache, int64_t revision);
    void (*on_stale)(void *arg, quoral_cache_t *cache, bool stale);
    void *arg;
} quoral_cache_options_t;

/* Fills itself. NULL: the key is longer than 2,000 octets. Options may be NULL. */
QUORAL_API QUORAL_MUST_USE quoral_cache_t *quoral_cache_new(quoral_client_t *client,
                                                            quoral_bytes_t key,
                                                            const quoral_cache_options_t *options);
/* Afterwards no callback runs any more, nor begins; from within one: none begins after this one. */
QUORAL_API void quoral_cache_destroy(quoral_cache_t **self_p);
/* Until the map is there and at `revision` or a later one; true: it is. */
QUORAL_API bool quoral_cache_wait(quoral_cache_t *self, int64_t revision, uint32_t timeout_ms);
/* 0: nothing is there yet. It never goes back, unless the cluster's history did (`reset`). */
QUORAL_API int64_t quoral_cache_revision(quoral_cache_t *self);
/* Nothing has confirmed the map for three intervals (the member, or all of them, are away; or it waits for a
 * snapshot). It still is what the store was at its revision. */
QUORAL_API bool quoral_cache_is_stale(quoral_cache_t *self);
/* The key, or all that begin with `prefix`, in their order; all of one revision. Ok also when there is none. */
QUORAL_API QUORAL_MUST_USE quoral_result_t *quoral_cache_get(quoral_cache_t *self,
                                                             quoral_bytes_t key);
QUORAL_API QUORAL_MUST_USE quoral_result_t *quoral_cache_range(quoral_cache_t *self,
                                                               quoral_bytes_t prefix);

typedef struct {
    uint64_t snapshots; /* taken */
    uint64_t resets;    /* among them, of another history */
    uint64_t repairs;   /* events that had got lost, fetched from the history */
    uint64_t events;    /* that changed the map */
    uint64_t
        unanswered; /* questions that a member did not answer in time, and that were asked again */
} quoral_cache_counts_t;
QUORAL_API quoral_cache_counts_t quoral_cache_counts(quoral_cache_t *self);

/* ---- leases that keep themselves alive ---- */

typedef enum {
    QUORAL_LEASE_PENDING, /* not granted yet */
    QUORAL_LEASE_ALIVE,
    QUORAL_LEASE_UNSURE, /* could not be renewed in time: may have expired, keys and all */
    QUORAL_LEASE_LOST,   /* the server does not have it any more. It does not come back */
} quoral_lease_state_t;

typedef struct {
    void (*on_state)(void *arg, quoral_lease_t *lease, quoral_lease_state_t state);
    void *arg;
} quoral_lease_options_t;

/* Renewed three times per TTL until it is destroyed. NULL: ttl_s is not between 1 and 9,000,000. */
QUORAL_API QUORAL_MUST_USE quoral_lease_t *quoral_lease_new(quoral_client_t *client, int64_t ttl_s,
                                                            const quoral_lease_options_t *options);
/* Revokes it: its keys go. Does not wait for that. */
QUORAL_API void quoral_lease_destroy(quoral_lease_t **self_p);
/* Its id as soon as it is granted; 0: it is not, in that time. */
QUORAL_API int64_t quoral_lease_wait(quoral_lease_t *self, uint32_t timeout_ms);
QUORAL_API int64_t quoral_lease_id(quoral_lease_t *self);
QUORAL_API quoral_lease_state_t quoral_lease_state(quoral_lease_t *self);

/* ---- services: /services/<name>/<instance>, see docs/libquoral.md ---- */

typedef struct {
    const char *name;
    const char *value;
} quoral_metadata_t;

typedef enum {
    QUORAL_SERVICE_WAITING, /* not ready yet, so not registered */
    QUORAL_SERVICE_PENDING, /* being registered, or again after it was lost */
    QUORAL_SERVICE_REGISTERED,
    QUORAL_SERVICE_TAKEN, /* another process holds the same instance's key; when that lets go, it is ours again */
    QUORAL_SERVICE_DRAINING,
    QUORAL_SERVICE_LEAVING,
    QUORAL_SERVICE_GONE,
} quoral_service_state_t;

typedef struct {
    const char *name;     /* of the service: printable, no slash, at most 255 octets */
    const char *instance; /* unique in the service; NULL: a random one */
    const char *address;  /* where it is reached, in whatever form its users expect */
    const quoral_metadata_t *metadata;
    size_t metadata_n; /* at most 64 */
    int weight;        /* 0: 1; negative: gets nothing; at most 1,000,000 */
    int64_t ttl_s;     /* who dies without a word is gone after that; 0: 10 */
    /* Asked every health_ms whether it can work; registered once it can, and not chosen while it cannot. NULL: it
     * can. */
    bool (*is_ready)(void *arg);
    uint32_t health_ms; /* 0: 1000 */
    uint32_t
        drain_ms; /* the window when an operator makes it drain (quoralctl service drain); 0: 10000 */
    void (*on_state)(void *arg, quoral_service_t *service, quoral_service_state_t state);
    void *arg;
} quoral_service_options_t;

/* Registers it, and keeps it registered whatever happens to lease, key or cluster. NULL: the options cannot be used. */
QUORAL_API QUORAL_MUST_USE quoral_service_t *
quoral_service_new(quoral_client_t *client, const quoral_service_options_t *options);
/* Says that it is draining, so that nobody chooses it any more. It leaves after window_ms, or as soon as all
 * discoveries that announce themselves have seen it, if there are any. Returns at once. */
QUORAL_API void quoral_service_drain(quoral_service_t *self, uint32_t window_ms);
/* Until the state is reached, or one behind it; true: it is. */
QUORAL_API bool quoral_service_wait(quoral_service_t *self, quoral_service_state_t state,
                                    uint32_t timeout_ms);
QUORAL_API quoral_service_state_t quoral_service_state(quoral_service_t *self);
QUORAL_API const char *quoral_service_instance(const quoral_service_t *self);
/* How often it had been lost and was registered again. */
QUORAL_API uint64_t quoral_service_again(quoral_service_t *self);
/* Deregisters it if it is not gone yet, and waits for that up to a second. */
QUORAL_API void quoral_service_destroy(quoral_service_t **self_p);

/* ---- discovery ---- */

typedef enum { QUORAL_READY = 0, QUORAL_UNREADY = 1, QUORAL_DRAINING = 2 } quoral_instance_state_t;

typedef struct {
    const char *name; /* of the instance */
    const char *address;
    const quoral_metadata_t *metadata;
    size_t metadata_n;
    uint32_t weight;
    quoral_instance_state_t state;
    int64_t revision; /* of its last change */
} quoral_instance_t;

typedef enum { QUORAL_ADDED, QUORAL_CHANGED, QUORAL_REMOVED } quoral_event_t;

typedef struct {
    /* Each change, in order; valid during the call. Of a removal: what it was. */
    void (*on_event)(void *arg, quoral_discovery_t *discovery, quoral_event_t event,
                     const quoral_instance_t *instance);
    /* Those of a revision are over: instances chosen from now on are of this revision. */
    void (*on_revision)(void *arg, quoral_discovery_t *discovery, int64_t revision);
    void (*on_stale)(void *arg, quoral_discovery_t *discovery, bool stale);
    void *arg;
    /* Announces itself (/subscribers/<name>/…), so that instances that drain wait for this one, and no longer. */
    bool announce;
} quoral_discovery_options_t;

/* NULL: the name cannot be used. Options may be NULL. */
QUORAL_API QUORAL_MUST_USE quoral_discovery_t *
quoral_discovery_new(quoral_client_t *client, const char *name,
                     const quoral_discovery_options_t *options);
QUORAL_API void quoral_discovery_destroy(quoral_discovery_t **self_p);
QUORAL_API bool quoral_discovery_wait(quoral_discovery_t *self, int64_t revision,
                                      uint32_t timeout_ms);
QUORAL_API int64_t quoral_discovery_revision(quoral_discovery_t *self);
QUORAL_API bool quoral_discovery_is_stale(quoral_discovery_t *self);

typedef struct quoral_instances quoral_instances_t;
/* All of them at one revision, in the order of their names; those whose value cannot be read are left out. */
QUORAL_API QUORAL_MUST_USE quoral_instances_t *quoral_discovery_instances(quoral_discovery_t *self);
/* One that is ready, at random by weight; an empty list when there is none. */
QUORAL_API QUORAL_MUST_USE quoral_instances_t *quoral_discovery_choose(quoral_discovery_t *self);
QUORAL_API void quoral_instances_destroy(quoral_instances_t **self_p);
QUORAL_API size_t quoral_instances_size(const quoral_instances_t *self);
/* NULL past the last. Belongs to the list. */
QUORAL_API const quoral_instance_t *quoral_instances_at(const quoral_instances_t *self, size_t i);
QUORAL_API int64_t quoral_instances_revision(const quoral_instances_t *self);

#ifdef __cplusplus
}
#endif
