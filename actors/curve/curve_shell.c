#include "actors/curve/curve_shell.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "actors/curve/keys_dir_shell.h"
#include "actors/curve/noted.h"
#include "actors/curve/zap.h"
#include "actors/runtime/clock.h"
#include "messages/json.h"
#include "messages/shared.h"
#include "messages/xalloc.h"

enum { LOOK_MS = 1000 };

static const char zap_address[] = "inproc://zeromq.zap.01";

static const struct {
    const char *name;
    metric_t allowed, refused, keys, skipped, revoked;
} domain_infos[CURVE_DOMAINS] = {
    [CURVE_PEER] = {"peer", METRIC_CURVE_PEER_ALLOWED, METRIC_CURVE_PEER_REFUSED,
                    METRIC_CURVE_PEER_KEYS, METRIC_CURVE_PEER_SKIPPED, METRIC_CURVE_PEER_REVOKED},
    [CURVE_NATIVE] = {"native", METRIC_CURVE_NATIVE_ALLOWED, METRIC_CURVE_NATIVE_REFUSED,
                      METRIC_CURVE_NATIVE_KEYS, METRIC_CURVE_NATIVE_SKIPPED,
                      METRIC_CURVE_NATIVE_REVOKED},
};

struct curve_domain {
    const char *name;
    uint8_t public_key[CURVE_KEY_BYTES], secret_key[CURVE_KEY_BYTES];
    int change_fd; /* an eventfd */

    pthread_mutex_t lock; /* of `keys` */
    shared_t *keys;       /* the allowed_keys_t in force; never NULL */
    _Atomic uint64_t changes, revocations;
    uint64_t seen_changes, seen_revocations; /* by the user */

    /* The thread's alone. */
    keys_dir_t *dir;
    bool cannot_look; /* it has said so */
};

struct curve {
    curve_cfg_t cfg;
    curve_domain_t *domains[CURVE_DOMAINS]; /* NULL = without CURVE */
    zsock_t *zap;
    zactor_t *actor;
    noted_t noted;
};

static void say(const curve_t *self, log_level_t level, const char *text, buf_t *fields)
{
    buf_byte(fields, '\0');
    self->cfg.log(self->cfg.log_context, level, text, (const char *)fields->data);
    buf_deinit(fields);
}

static void field(buf_t *out, const char *name, slice_t value)
{
    if (out->len > 0) {
        buf_byte(out, ',');
    }
    buf_json_string(out, slice_str(name));
    buf_byte(out, ':');
    buf_json_string(out, value);
}

static void number(buf_t *out, const char *name, uint64_t value)
{
    char *text = xasprintf(",\"%s\":%" PRIu64, name, value);
    buf_append(out, text, strlen(text));
    free(text);
}

/* ---- the keys in force ---- */

static void destroy_keys(void *object)
{
    allowed_keys_deinit(object);
    free(object);
}

/* Takes what is in `keys`. */
static shared_t *share(allowed_keys_t *keys)
{
    allowed_keys_t *object = xmemdup(keys, sizeof *keys);
    *keys = (allowed_keys_t){0};
    return shared_new(object, destroy_keys);
}

/* A reference, yours. */
static shared_t *keys_of(curve_domain_t *self)
{
    pthread_mutex_lock(&self->lock);
    shared_t *keys = shared_ref(self->keys);
    pthread_mutex_unlock(&self->lock);
    return keys;
}

/* Puts the new keys in force, and then tells the user: whoever is asked from now on answers by them. */
static void replace_keys(curve_domain_t *self, shared_t *keys, bool revoked)
{
    pthread_mutex_lock(&self->lock);
    shared_t *before = self->keys;
    self->keys = keys;
    pthread_mutex_unlock(&self->lock);
    shared_unref(&before);
    /* The descriptor first: who has taken a change finds it empty, and sleeps. */
    ssize_t rc = write(self->change_fd, &(uint64_t){1}, sizeof(uint64_t));
    (void)rc; /* full only when it is readable anyway */
    if (revoked) {
        atomic_fetch_add_explicit(&self->revocations, 1, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&self->changes, 1, memory_order_release);
}

/* ---- looking at the directories ---- */

static void say_complaints(const curve_t *self, const curve_domain_t *domain)
{
    size_t count = 0;
    const complaint_t *complaints = keys_dir_complaints(domain->dir, &count);
    for (size_t i = 0; i < count; i++) {
        if (complaints[i].is_new) {
            buf_t fields = {0};
            field(&fields, "domain", slice_str(domain->name));
            field(&fields, "file", slice_str(complaints[i].file));
            field(&fields, "error", slice_str(complaints[i].why));
            say(self, LEVEL_WARN, "skipped a certificate file", &fields);
        }
    }
}

static void say_keys(const curve_t *self, const curve_domain_t *domain, size_t count, size_t lost)
{
    buf_t fields = {0};
    field(&fields, "domain", slice_str(domain->name));
    number(&fields, "keys", count);
    number(&fields, "skipped-files", keys_dir_skipped(domain->dir));
    number(&fields, "revoked", lost);
    say(self, lost ? LEVEL_WARN : LEVEL_INFO,
        lost ? "loaded allowed keys; some are revoked: everybody has to connect again"
             : "loaded allowed keys",
        &fields);
}

static void adopt(const curve_t *self, curve_domain_id_t id, allowed_keys_t *keys, bool is_first)
{
    curve_domain_t *domain = self->domains[id];
    const allowed_keys_t *before = shared_object(domain->keys); /* only this thread replaces it */
    size_t lost = allowed_keys_lost(keys, before);
    metrics_set(self->cfg.metrics, domain_infos[id].skipped, keys_dir_skipped(domain->dir));
    say_complaints(self, domain);
    if (!is_first && allowed_keys_equal(keys, before)) {
        allowed_keys_deinit(keys);
        return;
    }
    metrics_set(self->cfg.metrics, domain_infos[id].keys, keys->count);
    metrics_add(self->cfg.metrics, domain_infos[id].revoked, lost);
    say_keys(self, domain, keys->count, lost);
    replace_keys(domain, share(keys), lost > 0);
}

/* A directory that cannot be read says nothing of who is allowed: what it said before holds. */
static void look(const curve_t *self, curve_domain_id_t id)
{
    curve_domain_t *domain = self->domains[id];
    allowed_keys_t keys = {0};
    char *error = NULL;
    int rc = keys_dir_look(domain->dir, &keys, &error);
    if (rc == KEYS_DIR_CHANGED) {
        adopt(self, id, &keys, false);
    }
    if (rc < 0 && !domain->cannot_look) {
        buf_t fields = {0};
        field(&fields, "domain", slice_str(domain->name));
        field(&fields, "error", slice_str(error));
        say(self, LEVEL_ERROR, "cannot read the allowed keys: those read before stay in force",
            &fields);
    }
    domain->cannot_look = rc < 0;
    free(error);
}

/* ---- ZAP ---- */

enum { ZAP_PARTS = 2 + ZAP_FRAMES_MAX }; /* who asks, the delimiter, the request */

typedef struct {
    zmq_msg_t parts[ZAP_PARTS];
    size_t count;
    bool is_whole; /* no part was left out */
} question_t;

/* False = nobody asks. */
static bool receive(void *socket, question_t *out)
{
    *out = (question_t){.is_whole = true};
    bool more = true;
    while (more) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&part);
            return out->count > 0;
        }
        more = zmq_msg_more(&part);
        if (out->count == ZAP_PARTS) {
            out->is_whole = false;
            zmq_msg_close(&part);
            continue;
        }
        zmq_msg_t *place = &out->parts[out->count++];
        zmq_msg_init(place);
        zmq_msg_move(place, &part);
    }
    return true;
}

static slice_t part_of(question_t *question, size_t place)
{
    zmq_msg_t *part = &question->parts[place];
    return slice(zmq_msg_data(part), zmq_msg_size(part));
}

static void send_part(void *socket, slice_t part, int flags)
{
    (void)zmq_send(socket, part.data, part.len, ZMQ_DONTWAIT | flags);
}

/* The user id goes with each message of the connection, as "User-Id": the key. */
static void reply(void *socket, slice_t asker, const zap_answer_t *answer)
{
    char user[CURVE_KEY_TEXT + 1] = "";
    if (answer->holder) {
        curve_key_encode(answer->key, user);
    }
    send_part(socket, asker, ZMQ_SNDMORE);
    send_part(socket, slice_str(""), ZMQ_SNDMORE);
    send_part(socket, slice_str("1.0"), ZMQ_SNDMORE);
    send_part(socket, answer->request_id, ZMQ_SNDMORE);
    send_part(socket, slice_str(answer->status), ZMQ_SNDMORE);
    send_part(socket, slice_str(answer->text), ZMQ_SNDMORE);
    send_part(socket, slice_str(user), ZMQ_SNDMORE);
    send_part(socket, slice_str(""), 0);
}

static void say_refused(curve_t *self, const zap_answer_t *answer)
{
    char key[CURVE_KEY_TEXT + 1] = "";
    char *what = NULL;
    uint64_t held_back = 0;
    if (answer->key) {
        curve_key_encode(answer->key, key);
    }
    what = xasprintf("%.*s %s", (int)answer->address.len, (const char *)answer->address.data, key);
    if (noted_admit(&self->noted, 0, slice_str(what), clock_monotonic_us(), &held_back)) {
        buf_t fields = {0};
        field(&fields, "domain",
              slice_str(answer->domain < 0 ? "" : domain_infos[answer->domain].name));
        field(&fields, "address", answer->address);
        field(&fields, "public-key", slice_str(key));
        field(&fields, "error", slice_str(answer->text));
        number(&fields, "held-back", held_back);
        say(self, LEVEL_WARN, "refused a connection", &fields);
    }
    free(what);
}

static void answer(curve_t *self, question_t *question)
{
    slice_t frames[ZAP_PARTS];
    zap_domain_t domains[CURVE_DOMAINS] = {{0}};
    for (int id = 0; id < CURVE_DOMAINS; id++) {
        if (self->domains[id]) {
            domains[id] = (zap_domain_t){.name = self->domains[id]->name,
                                         .keys = shared_object(self->domains[id]->keys)};
        }
    }
    size_t count = 0;
    for (size_t i = 2; i < question->count && question->is_whole; i++) {
        frames[count++] = part_of(question, i);
    }
    zap_answer_t answer = zap_decide(frames, count, domains, CURVE_DOMAINS);
    if (answer.domain >= 0) {
        metrics_add(self->cfg.metrics,
                    answer.holder ? domain_infos[answer.domain].allowed
                                  : domain_infos[answer.domain].refused,
                    1);
    }
    if (!answer.holder) {
        say_refused(self, &answer);
    }
    reply(zsock_resolve(self->zap), part_of(question, 0), &answer);
}

static void answer_all(curve_t *self)
{
    question_t question;
    while (receive(zsock_resolve(self->zap), &question)) {
        answer(self, &question);
        for (size_t i = 0; i < question.count; i++) {
            zmq_msg_close(&question.parts[i]);
        }
    }
}

static void look_at_all(const curve_t *self)
{
    for (int id = 0; id < CURVE_DOMAINS; id++) {
        if (self->domains[id]) {
            look(self, (curve_domain_id_t)id);
        }
    }
}

static void thread_main(zsock_t *pipe, void *argument)
{
    curve_t *self = argument;
    uint64_t look_due_us = clock_monotonic_us() + LOOK_MS * 1000;
    zsock_signal(pipe, 0);
    for (;;) {
        zmq_pollitem_t items[] = {{.socket = zsock_resolve(pipe), .events = ZMQ_POLLIN},
                                  {.socket = zsock_resolve(self->zap), .events = ZMQ_POLLIN}};
        uint64_t now_us = clock_monotonic_us();
        long wait_ms = now_us < look_due_us ? (long)((look_due_us - now_us + 999) / 1000) : 0;
        (void)zmq_poll(items, 2, wait_ms);
        if (items[0].revents) {
            return; /* main says nothing but "end" */
        }
        if (clock_monotonic_us() >= look_due_us) {
            look_at_all(self);
            look_due_us = clock_monotonic_us() + LOOK_MS * 1000;
        }
        answer_all(self);
    }
}

/* ---- life ---- */

static void domain_destroy(curve_domain_t **self_p)
{
    curve_domain_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        keys_dir_destroy(&self->dir);
        shared_unref(&self->keys);
        pthread_mutex_destroy(&self->lock);
        if (self->change_fd >= 0) {
            close(self->change_fd);
        }
        explicit_bzero(self, sizeof *self);
        free(self);
    }
}

/* The key pair must be one: with another public key nobody would get through, and nobody would know why. */
static char *check_pair(const curve_certificate_t *own)
{
    char secret[CURVE_KEY_TEXT + 1];
    char derived[CURVE_KEY_TEXT + 1] = "";
    char stated[CURVE_KEY_TEXT + 1];
    if (!own->has_secret) {
        return xstrdup("it holds no secret key");
    }
    curve_key_encode(own->secret_key, secret);
    curve_key_encode(own->public_key, stated);
    int rc = zmq_curve_public(derived, secret);
    explicit_bzero(secret, sizeof secret);
    return rc == 0 && strcmp(derived, stated) == 0
               ? NULL
               : xstrdup("its public key does not belong to its secret key");
}

static char *load_own(const curve_t *self, curve_domain_t *domain, const char *path)
{
    curve_certificate_t own;
    unsigned mode = 0;
    char *error = keys_dir_read_certificate(path, &own, &mode);
    if (!error) {
        error = check_pair(&own);
    }
    memcpy(domain->public_key, own.public_key, CURVE_KEY_BYTES);
    memcpy(domain->secret_key, own.secret_key, CURVE_KEY_BYTES);
    curve_certificate_deinit(&own);
    if (!error && (mode & 077)) {
        buf_t fields = {0};
        field(&fields, "file", slice_str(path));
        say(self, LEVEL_WARN, "others than its owner may read or write a secret key", &fields);
    }
    if (error) {
        char *text = xasprintf("the CURVE secret key in %s: %s", path, error);
        free(error);
        return text;
    }
    return NULL;
}

static char *load_first(const curve_t *self, curve_domain_id_t id)
{
    allowed_keys_t keys = {0};
    char *error = NULL;
    if (keys_dir_look(self->domains[id]->dir, &keys, &error) < 0) {
        char *text = xasprintf("the allowed CURVE keys: %s", error);
        free(error);
        return text;
    }
    adopt(self, id, &keys, true);
    return NULL;
}

static char *add_domain(curve_t *self, curve_domain_id_t id)
{
    curve_domain_t *domain = xcalloc(1, sizeof *domain);
    allowed_keys_t nobody = {0};
    self->domains[id] = domain;
    domain->name = domain_infos[id].name;
    domain->keys = share(&nobody);
    domain->dir = keys_dir_new(self->cfg.allowed_keys[id]);
    pthread_mutex_init(&domain->lock, NULL);
    domain->change_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (domain->change_fd < 0) {
        return xasprintf("CURVE: %s", strerror(errno));
    }
    char *error = load_own(self, domain, self->cfg.secret_key[id]);
    if (!error) {
        error = load_first(self, id);
    }
    (void)curve_take_change(domain); /* the first keys are no change */
    return error;
}

static char *start_thread(curve_t *self)
{
    self->zap = zsock_new(ZMQ_ROUTER);
    if (!self->zap || zmq_bind(zsock_resolve(self->zap), zap_address) != 0) {
        return xasprintf("CURVE: cannot answer ZAP: %s", zmq_strerror(zmq_errno()));
    }
    self->actor = zactor_new(thread_main, self);
    assert(self->actor);
    return NULL;
}

char *curve_start(const curve_cfg_t *cfg, curve_t **curve_p)
{
    bool is_wanted = false;
    char *error = NULL;
    *curve_p = NULL;
    for (int id = 0; id < CURVE_DOMAINS; id++) {
        assert(!cfg->secret_key[id] == !cfg->allowed_keys[id]);
        is_wanted |= cfg->secret_key[id] != NULL;
    }
    if (!is_wanted) {
        return NULL;
    }
    if (!zmq_has("curve")) {
        return xstrdup("this machine's libzmq is built without CURVE");
    }
    curve_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    for (int id = 0; id < CURVE_DOMAINS && !error; id++) {
        error = cfg->secret_key[id] ? add_domain(self, (curve_domain_id_t)id) : NULL;
    }
    if (!error) {
        error = start_thread(self);
    }
    if (error) {
        curve_stop(&self);
        return error;
    }
    *curve_p = self;
    return NULL;
}

void curve_stop(curve_t **self_p)
{
    curve_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    zactor_destroy(&self->actor);
    zsock_destroy(&self->zap);
    for (int id = 0; id < CURVE_DOMAINS; id++) {
        domain_destroy(&self->domains[id]);
    }
    free(self);
}

curve_domain_t *curve_domain(curve_t *self, curve_domain_id_t id)
{
    return self ? self->domains[id] : NULL;
}

/* ---- the user's side ---- */

static void set(zsock_t *socket, int option, const void *value, size_t len)
{
    int rc = zmq_setsockopt(zsock_resolve(socket), option, value, len);
    assert(rc == 0);
    (void)rc;
}

/* If nobody answered ZAP, ZeroMQ would let everybody in (the option that forbids it is not in its stable
 * interface): so the thread that does is there before any socket of a domain, and until after the last. */
void curve_serve(const curve_domain_t *self, zsock_t *socket)
{
    int yes = 1;
    set(socket, ZMQ_CURVE_SERVER, &yes, sizeof yes);
    set(socket, ZMQ_CURVE_SECRETKEY, self->secret_key, CURVE_KEY_BYTES);
    set(socket, ZMQ_ZAP_DOMAIN, self->name, strlen(self->name));
}

bool curve_connect(curve_domain_t *self, zsock_t *socket, const char *url, size_t turn,
                   uint8_t server_key[CURVE_KEY_BYTES])
{
    shared_t *keys = keys_of(self);
    const allowed_key_t *server = allowed_keys_of_url(shared_object(keys), url, turn);
    if (server) {
        memcpy(server_key, server->key, CURVE_KEY_BYTES);
        set(socket, ZMQ_CURVE_SERVERKEY, server_key, CURVE_KEY_BYTES);
        set(socket, ZMQ_CURVE_PUBLICKEY, self->public_key, CURVE_KEY_BYTES);
        set(socket, ZMQ_CURVE_SECRETKEY, self->secret_key, CURVE_KEY_BYTES);
    }
    bool is_known = server != NULL;
    shared_unref(&keys);
    return is_known;
}

bool curve_is_key_of(curve_domain_t *self, const char *url,
                     const uint8_t server_key[CURVE_KEY_BYTES])
{
    shared_t *keys = keys_of(self);
    const allowed_key_t *server = allowed_keys_find(shared_object(keys), server_key);
    bool is = server && allowed_key_is_of_url(server, url);
    shared_unref(&keys);
    return is;
}

curve_change_t curve_take_change(curve_domain_t *self)
{
    if (atomic_load_explicit(&self->changes, memory_order_acquire) == self->seen_changes) {
        return CURVE_SAME;
    }
    /* First this, so that what comes after it wakes again. */
    uint64_t count = 0;
    ssize_t rc = read(self->change_fd, &count, sizeof count);
    (void)rc;
    uint64_t changes = atomic_load_explicit(&self->changes, memory_order_acquire);
    uint64_t revocations = atomic_load_explicit(&self->revocations, memory_order_relaxed);
    bool revoked = revocations != self->seen_revocations;
    self->seen_changes = changes;
    self->seen_revocations = revocations;
    return revoked ? CURVE_REVOKED : CURVE_CHANGED;
}

int curve_change_fd(const curve_domain_t *self)
{
    return self->change_fd;
}
