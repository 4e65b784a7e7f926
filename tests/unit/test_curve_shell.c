/* The thread that answers ZAP, with real sockets and files: allowed keys get in, others do not, changes of the
 * directory come through, nonsense gets an answer; and what a look at a directory finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/curve/curve_shell.h"
#include "actors/curve/handshakes_shell.h"
#include "actors/curve/keys_dir_shell.h"
#include "messages/xalloc.h"
#include "tests/support/tmpdir.h"

enum { WAIT_MS = 10000 };

/* ---- keys and files ---- */

typedef struct {
    uint8_t open_key[CURVE_KEY_BYTES], secret_key[CURVE_KEY_BYTES];
} pair_t;

static pair_t new_pair(void)
{
    char open_text[CURVE_KEY_TEXT + 1];
    char secret_text[CURVE_KEY_TEXT + 1];
    pair_t pair;
    assert_int_equal(zmq_curve_keypair(open_text, secret_text), 0);
    assert_true(curve_key_decode(slice_str(open_text), pair.open_key));
    assert_true(curve_key_decode(slice_str(secret_text), pair.secret_key));
    return pair;
}

static void write_text(const char *dir, const char *name, slice_t text)
{
    char *path = xasprintf("%s/%s", dir, name);
    char *new = xasprintf("%s/.%s", dir, name);
    FILE *file = fopen(new, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(new, 0600), 0);
    assert_int_equal(rename(new, path), 0);
    free(new);
    free(path);
}

static void write_certificate(const char *dir, const char *name, const pair_t *pair,
                              const char *urls, bool with_secret)
{
    curve_certificate_t it = {
        .has_secret = true, .name = xstrdup(name), .peer_urls = xstrdup(urls)};
    buf_t out = {0};
    memcpy(it.public_key, pair->open_key, CURVE_KEY_BYTES);
    memcpy(it.secret_key, pair->secret_key, CURVE_KEY_BYTES);
    curve_certificate_print(&it, with_secret, &out);
    write_text(dir, name, buf_slice(&out));
    buf_deinit(&out);
    curve_certificate_deinit(&it);
}

static void remove_file(const char *dir, const char *name)
{
    char *path = xasprintf("%s/%s", dir, name);
    assert_int_equal(unlink(path), 0);
    free(path);
}

/* ---- a directory ---- */

static void a_look_finds_what_is_new_and_names_what_is_skipped(void **state)
{
    (void)state;
    char *path = tmpdir_new();
    pair_t a = new_pair();
    pair_t b = new_pair();
    keys_dir_t *dir = keys_dir_new(path);
    allowed_keys_t keys = {0};
    char *error = NULL;
    size_t count = 0;
    write_certificate(path, "a", &a, "", false);
    write_certificate(path, "twice", &a, "", false);
    write_certificate(path, "b_secret", &b, "", true);
    write_text(path, "broken", slice_str("curve\n    public-key = \"x\"\n"));
    assert_int_equal(keys_dir_look(dir, &keys, &error), KEYS_DIR_CHANGED);
    assert_int_equal(keys.count, 1);
    assert_int_equal(keys_dir_skipped(dir), 3);
    const complaint_t *complaints = keys_dir_complaints(dir, &count);
    assert_int_equal(count, 3);
    assert_string_equal(complaints[0].file, "b_secret");
    assert_string_equal(complaints[1].file, "broken");
    assert_string_equal(complaints[1].why, "line 2: the public key is not 40 characters of Z85");
    assert_string_equal(complaints[2].file, "twice");
    assert_true(complaints[0].is_new && complaints[1].is_new && complaints[2].is_new);
    allowed_keys_deinit(&keys);
    /* So young that it is read again, with the same complaints. */
    write_certificate(path, "b", &b, "", false);
    assert_int_equal(keys_dir_look(dir, &keys, &error), KEYS_DIR_CHANGED);
    assert_int_equal(keys.count, 2);
    complaints = keys_dir_complaints(dir, &count);
    assert_int_equal(count, 3);
    assert_false(complaints[0].is_new || complaints[1].is_new || complaints[2].is_new);
    allowed_keys_deinit(&keys);
    keys_dir_destroy(&dir);
    tmpdir_destroy(&path);
}

static void without_a_directory_there_is_no_look(void **state)
{
    (void)state;
    keys_dir_t *dir = keys_dir_new("/nowhere/at/all");
    allowed_keys_t keys = {0};
    char *error = NULL;
    assert_true(keys_dir_look(dir, &keys, &error) < 0);
    assert_string_equal(error, "open /nowhere/at/all: No such file or directory");
    free(error);
    keys_dir_destroy(&dir);
}

static void more_broken_files_than_lines_are_counted(void **state)
{
    (void)state;
    char *path = tmpdir_new();
    for (int i = 0; i < LIMIT_CURVE_COMPLAINTS + 10; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%d", i);
        write_text(path, name, slice_str("nothing"));
    }
    keys_dir_t *dir = keys_dir_new(path);
    allowed_keys_t keys = {0};
    char *error = NULL;
    size_t count = 0;
    assert_int_equal(keys_dir_look(dir, &keys, &error), KEYS_DIR_CHANGED);
    (void)keys_dir_complaints(dir, &count);
    assert_int_equal(count, LIMIT_CURVE_COMPLAINTS);
    assert_int_equal(keys_dir_skipped(dir), LIMIT_CURVE_COMPLAINTS + 10);
    keys_dir_destroy(&dir);
    tmpdir_destroy(&path);
}

/* ---- the thread ---- */

typedef struct {
    char *own, *allowed; /* directories */
    pair_t server, client;
    metrics_t metrics;
    curve_t *curve;
    curve_domain_t *domain;
    zsock_t *router;
    int port;
} rig_t;

static void no_log(void *context, log_level_t level, const char *text, const char *fields)
{
    (void)context;
    (void)level;
    (void)text;
    (void)fields;
}

static void open_router(rig_t *rig)
{
    rig->router = zsock_new(ZMQ_ROUTER);
    zsock_set_rcvtimeo(rig->router, WAIT_MS);
    curve_serve(rig->domain, rig->router);
    rig->port = zsock_bind(rig->router, "tcp://127.0.0.1:*");
    assert_true(rig->port > 0);
}

/* The server's own certificate says a URL; the client's is not there yet. Each test has its rig, as ThreadSanitizer
 * does not see that the thread of the test before has ended. */
static rig_t *start(void)
{
    static rig_t rigs[8];
    static size_t used;
    rig_t *rig = &rigs[used++];
    assert_true(used <= sizeof rigs / sizeof *rigs);
    rig->own = tmpdir_new();
    rig->allowed = tmpdir_new();
    rig->server = new_pair();
    rig->client = new_pair();
    write_certificate(rig->own, "s_secret", &rig->server, "", true);
    write_certificate(rig->allowed, "s", &rig->server, "http://server:1", false);
    char *secret = xasprintf("%s/s_secret", rig->own);
    curve_cfg_t cfg = {.secret_key = {[CURVE_PEER] = secret},
                       .allowed_keys = {[CURVE_PEER] = rig->allowed},
                       .metrics = &rig->metrics,
                       .log = no_log};
    char *error = curve_start(&cfg, &rig->curve);
    assert_null(error);
    free(secret);
    rig->domain = curve_domain(rig->curve, CURVE_PEER);
    assert_non_null(rig->domain);
    assert_int_equal(curve_take_change(rig->domain), CURVE_SAME);
    open_router(rig);
    return rig;
}

static void end(rig_t *rig)
{
    zsock_destroy(&rig->router);
    curve_stop(&rig->curve);
    tmpdir_destroy(&rig->own);
    tmpdir_destroy(&rig->allowed);
}

static zsock_t *client(const rig_t *rig, zsock_t **monitor)
{
    zsock_t *dealer = zsock_new(ZMQ_DEALER);
    void *handle = zsock_resolve(dealer);
    zmq_setsockopt(handle, ZMQ_CURVE_SERVERKEY, rig->server.open_key, CURVE_KEY_BYTES);
    zmq_setsockopt(handle, ZMQ_CURVE_PUBLICKEY, rig->client.open_key, CURVE_KEY_BYTES);
    zmq_setsockopt(handle, ZMQ_CURVE_SECRETKEY, rig->client.secret_key, CURVE_KEY_BYTES);
    zsock_set_linger(dealer, 0);
    *monitor = handshakes_watch(dealer, HANDSHAKES_EVENTS);
    assert_non_null(*monitor);
    assert_int_equal(zsock_connect(dealer, "tcp://127.0.0.1:%d", rig->port), 0);
    return dealer;
}

static void expect_refused(const rig_t *rig)
{
    zsock_t *monitor = NULL;
    zsock_t *dealer = client(rig, &monitor);
    zmq_pollitem_t item = {.socket = zsock_resolve(monitor), .events = ZMQ_POLLIN};
    unsigned event = 0;
    unsigned value = 0;
    char address[64];
    const char *text = NULL;
    assert_int_equal(zmq_poll(&item, 1, WAIT_MS), 1);
    assert_true(handshakes_next(monitor, &event, &value, address, sizeof address));
    assert_int_equal(event, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
    assert_int_equal(value, 400);
    assert_true(handshakes_explain(event, value, HANDSHAKES_CLIENT, true, &text));
    assert_string_equal(text, "the other side does not allow this key");
    handshakes_unwatch(dealer, &monitor);
    zsock_destroy(&dealer);
}

/* What it says arrives, and with it who says it. */
static void expect_let_in(const rig_t *rig)
{
    zsock_t *monitor = NULL;
    zsock_t *dealer = client(rig, &monitor);
    char key[CURVE_KEY_TEXT + 1];
    zstr_send(dealer, "hello");
    zmq_msg_t part;
    zmq_msg_init(&part);
    assert_true(zmq_msg_recv(&part, zsock_resolve(rig->router), 0) >= 0);
    assert_true(zmq_msg_recv(&part, zsock_resolve(rig->router), 0) == 5);
    curve_key_encode(rig->client.open_key, key);
    assert_string_equal(zmq_msg_gets(&part, "User-Id"), key);
    zmq_msg_close(&part);
    handshakes_unwatch(dealer, &monitor);
    zsock_destroy(&dealer);
}

static curve_change_t wait_for_change(const rig_t *rig)
{
    struct pollfd fd = {.fd = curve_change_fd(rig->domain), .events = POLLIN};
    curve_change_t change = CURVE_SAME;
    while (change == CURVE_SAME) { /* the descriptor may be a moment ahead */
        assert_int_equal(poll(&fd, 1, WAIT_MS), 1);
        change = curve_take_change(rig->domain);
    }
    assert_int_equal(poll(&fd, 1, 0), 0);
    assert_int_equal(curve_take_change(rig->domain), CURVE_SAME);
    return change;
}

static void keys_come_and_go(void **state)
{
    (void)state;
    rig_t *rig = start();
    expect_refused(rig);
    write_certificate(rig->allowed, "c", &rig->client, "", false);
    assert_int_equal(wait_for_change(rig), CURVE_CHANGED);
    expect_let_in(rig);
    remove_file(rig->allowed, "c");
    assert_int_equal(wait_for_change(rig), CURVE_REVOKED);
    expect_refused(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_CURVE_PEER_ALLOWED), 1);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_CURVE_PEER_REFUSED), 2);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_CURVE_PEER_KEYS), 1);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_CURVE_PEER_REVOKED), 1);
    end(rig);
}

static void a_server_is_known_by_its_certificate(void **state)
{
    (void)state;
    rig_t *rig = start();
    uint8_t key[CURVE_KEY_BYTES] = {0};
    zsock_t *dealer = zsock_new(ZMQ_DEALER);
    assert_false(curve_connect(rig->domain, dealer, "http://other:1", 0, key));
    assert_true(curve_connect(rig->domain, dealer, "http://server:1", 0, key));
    assert_memory_equal(key, rig->server.open_key, CURVE_KEY_BYTES);
    assert_true(curve_is_key_of(rig->domain, "http://server:1", key));
    assert_false(curve_is_key_of(rig->domain, "http://other:1", key));
    assert_false(curve_is_key_of(rig->domain, "http://server:1", rig->client.open_key));
    write_certificate(rig->allowed, "s", &rig->server, "http://other:1", false);
    assert_int_equal(wait_for_change(rig), CURVE_CHANGED);
    assert_false(curve_is_key_of(rig->domain, "http://server:1", key));
    assert_true(curve_is_key_of(rig->domain, "http://other:1", key));
    zsock_destroy(&dealer);
    end(rig);
}

/* ---- nonsense ---- */

/* The status that a request gets. */
static void ask(const char *const *frames, size_t count, char status[8])
{
    zsock_t *asker = zsock_new(ZMQ_DEALER);
    zsock_set_rcvtimeo(asker, WAIT_MS);
    assert_int_equal(zsock_connect(asker, "inproc://zeromq.zap.01"), 0);
    for (size_t i = 0; i < count; i++) {
        assert_true(zmq_send(zsock_resolve(asker), frames[i], strlen(frames[i]),
                             i + 1 < count ? ZMQ_SNDMORE : 0) >= 0);
    }
    zmsg_t *answer = zmsg_recv(asker);
    assert_non_null(answer);
    assert_int_equal(zmsg_size(answer), 7);
    zframe_t *frame = zmsg_first(answer);
    for (int i = 0; i < 3; i++) {
        frame = zmsg_next(answer);
    }
    (void)snprintf(status, 8, "%.*s", (int)zframe_size(frame), (const char *)zframe_data(frame));
    zmsg_destroy(&answer);
    zsock_destroy(&asker);
}

static void nonsense_gets_an_answer(void **state)
{
    (void)state;
    rig_t *rig = start();
    const char *frames[40];
    char status[8];
    for (size_t i = 0; i < 40; i++) {
        frames[i] = "";
    }
    for (size_t count = 1; count <= 40; count++) {
        ask(frames, count, status);
        assert_string_equal(status, "500");
    }
    const char *const plain[] = {"", "1.0", "1", "peer", "::1", "", "PLAIN", "user", "word"};
    const char *const short_key[] = {"", "1.0", "1", "peer", "::1", "", "CURVE", "key"};
    const char *const other[] = {"", "1.0", "1", "global", "::1", "", "CURVE", "key"};
    ask(plain, 9, status);
    assert_string_equal(status, "400");
    ask(short_key, 8, status);
    assert_string_equal(status, "400");
    ask(other, 8, status);
    assert_string_equal(status, "400");
    write_certificate(rig->allowed, "c", &rig->client, "", false);
    assert_int_equal(wait_for_change(rig), CURVE_CHANGED);
    expect_let_in(rig);
    end(rig);
}

static void without_keys_there_is_no_thread(void **state)
{
    (void)state;
    curve_cfg_t cfg = {.log = no_log};
    curve_t *curve = (curve_t *)state;
    assert_null(curve_start(&cfg, &curve));
    assert_null(curve);
    assert_null(curve_domain(curve, CURVE_PEER));
    curve_stop(&curve);
}

int main(void)
{
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_look_finds_what_is_new_and_names_what_is_skipped),
        cmocka_unit_test(without_a_directory_there_is_no_look),
        cmocka_unit_test(more_broken_files_than_lines_are_counted),
        cmocka_unit_test(keys_come_and_go),
        cmocka_unit_test(a_server_is_known_by_its_certificate),
        cmocka_unit_test(nonsense_gets_an_answer),
        cmocka_unit_test(without_keys_there_is_no_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
