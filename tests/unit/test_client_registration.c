/* client_registration over a session: a small server at the other end keeps keys and leases, and answers what is asked.
 * client_instance: what instances look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/native/client_instance.h"
#include "client/native/client_registration.h"
#include "etcd/rpc.pb-c.h"
#include "messages/xalloc.h"
#include "native.pb-c.h"

enum { TTL_S = 9, SUBSCRIBERS_MAX = 4 };
#define KEY "/services/s/one"

typedef struct {
    client_session_t *session;
    client_registration_t *registration;
    uint64_t now_us;
    uint64_t sent;
    int64_t revision;
    int64_t lease; /* the one there is; 0: none */
    int64_t leases;
    char value[64]; /* of the key; empty: it is not there */
    int64_t key_lease;
    size_t subscribers_n;
    char subscribers[SUBSCRIBERS_MAX][16];
    unsigned puts;
} rig_t;

static void say(rig_t *rig, native_command_t command, uint64_t call, uint32_t code, slice_t body)
{
    uint8_t header[NATIVE_HEADER_BYTES];
    native_header_write(
        header, &(native_header_t){
                    .command = command, .call = call, .argument = code, .octets = rig->sent});
    slice_t frames[2] = {slice(header, sizeof header), body};
    rig->sent += command == NATIVE_WELCOME ? 0 : native_octets(body.len);
    client_session_message(rig->session, client_session_link(rig->session).number, frames, 2,
                           rig->now_us);
}

static void say_message(rig_t *rig, native_command_t command, uint64_t call,
                        const ProtobufCMessage *message)
{
    uint8_t bytes[1024];
    assert_true(protobuf_c_message_get_packed_size(message) <= sizeof bytes);
    say(rig, command, call, 0, slice(bytes, protobuf_c_message_pack(message, bytes)));
}

static void welcome(rig_t *rig, uint64_t hello)
{
    Quoral__Welcome message = QUORAL__WELCOME__INIT;
    message.heartbeat_ms = 60000;
    message.calls_max = 10;
    message.window_bytes = 1 << 20;
    say_message(rig, NATIVE_WELCOME, hello, &message.base);
}

static void grant(rig_t *rig, uint64_t call)
{
    Etcdserverpb__LeaseGrantResponse answer = ETCDSERVERPB__LEASE_GRANT_RESPONSE__INIT;
    rig->lease = ++rig->leases;
    answer.id = rig->lease;
    answer.ttl = TTL_S;
    say_message(rig, NATIVE_DONE, call, &answer.base);
}

static void keep_alive(rig_t *rig, uint64_t call, slice_t body)
{
    Etcdserverpb__LeaseKeepAliveRequest *request =
        etcdserverpb__lease_keep_alive_request__unpack(NULL, body.len, body.data);
    Etcdserverpb__LeaseKeepAliveResponse answer = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    answer.id = request->id;
    answer.ttl = request->id == rig->lease ? TTL_S : 0;
    say_message(rig, NATIVE_REPLY, call, &answer.base);
    uint8_t none = 0;
    say(rig, NATIVE_DONE, call, 0, slice(&none, 0));
    etcdserverpb__lease_keep_alive_request__free_unpacked(request, NULL);
}

static void revoke(rig_t *rig, uint64_t call)
{
    Etcdserverpb__LeaseRevokeResponse answer = ETCDSERVERPB__LEASE_REVOKE_RESPONSE__INIT;
    rig->value[0] = rig->key_lease == rig->lease ? '\0' : rig->value[0];
    rig->lease = 0;
    say_message(rig, NATIVE_DONE, call, &answer.base);
}

static void put(rig_t *rig, uint64_t call, slice_t body)
{
    Etcdserverpb__PutRequest *request =
        etcdserverpb__put_request__unpack(NULL, body.len, body.data);
    assert_int_equal(request->key.len, strlen(KEY));
    if (request->lease != rig->lease) {
        say(rig, NATIVE_DONE, call, GRPC_NOT_FOUND,
            slice_str("etcdserver: requested lease not found"));
    } else {
        Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
        Etcdserverpb__PutResponse answer = ETCDSERVERPB__PUT_RESPONSE__INIT;
        header.revision = ++rig->revision;
        answer.header = &header;
        snprintf(rig->value, sizeof rig->value, "%.*s", (int)request->value.len,
                 (const char *)request->value.data);
        rig->key_lease = request->lease;
        rig->puts++;
        say_message(rig, NATIVE_DONE, call, &answer.base);
    }
    etcdserverpb__put_request__free_unpacked(request, NULL);
}

static void range(rig_t *rig, uint64_t call, slice_t body)
{
    Etcdserverpb__RangeRequest *request =
        etcdserverpb__range_request__unpack(NULL, body.len, body.data);
    Etcdserverpb__RangeResponse answer = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Mvccpb__KeyValue kvs[SUBSCRIBERS_MAX];
    Mvccpb__KeyValue *pointers[SUBSCRIBERS_MAX];
    bool is_of_subscribers = request->range_end.len > 0;
    size_t n = is_of_subscribers ? rig->subscribers_n : rig->value[0] != '\0';
    for (size_t i = 0; i < n; i++) {
        kvs[i] = (Mvccpb__KeyValue)MVCCPB__KEY_VALUE__INIT;
        char *value = is_of_subscribers ? rig->subscribers[i] : rig->value;
        kvs[i].value = (ProtobufCBinaryData){strlen(value), (uint8_t *)value};
        kvs[i].lease = is_of_subscribers ? 0 : rig->key_lease;
        pointers[i] = &kvs[i];
    }
    answer.n_kvs = n;
    answer.kvs = pointers;
    say_message(rig, NATIVE_DONE, call, &answer.base);
    etcdserverpb__range_request__free_unpacked(request, NULL);
}

static void serve(rig_t *rig, const native_message_t *got, slice_t body)
{
    slice_t method = got->method;
    uint64_t call = got->header.call;
    if (got->header.command == NATIVE_HELLO) {
        welcome(rig, call);
    } else if (slice_equal(method, slice_str("etcdserverpb.Lease/LeaseGrant"))) {
        grant(rig, call);
    } else if (slice_equal(method, slice_str("etcdserverpb.Lease/LeaseKeepAlive"))) {
        keep_alive(rig, call, body);
    } else if (slice_equal(method, slice_str("etcdserverpb.Lease/LeaseRevoke"))) {
        revoke(rig, call);
    } else if (slice_equal(method, slice_str("etcdserverpb.KV/Put"))) {
        put(rig, call, body);
    } else if (slice_equal(method, slice_str("etcdserverpb.KV/Range"))) {
        range(rig, call, body);
    }
}

/* Until nobody has anything to say. */
static void settle(rig_t *rig)
{
    slice_t frames[NATIVE_FRAMES_MAX];
    size_t count = 0;
    for (bool is_quiet = false; !is_quiet;) {
        is_quiet = true;
        client_session_step(rig->session, rig->now_us);
        client_registration_step(rig->registration, rig->session, rig->now_us);
        while (client_session_output(rig->session, rig->now_us, frames, &count)) {
            native_message_t got;
            assert_int_equal(native_decode(NATIVE_FROM_CLIENT, frames, count, &got), NATIVE_OK);
            buf_t body = {0}; /* the frames are gone with the next call of the session */
            buf_append(&body, got.body.data, got.body.len);
            serve(rig, &got, buf_slice(&body));
            buf_deinit(&body);
            is_quiet = false;
        }
    }
}

/* Time goes on, from one deadline to the next. */
static void run(rig_t *rig, uint64_t us)
{
    uint64_t until_us = rig->now_us + us;
    settle(rig);
    while (rig->now_us < until_us) {
        uint64_t next_us = client_registration_deadline(rig->registration, rig->now_us);
        uint64_t session_us = client_session_deadline(rig->session);
        next_us = session_us < next_us ? session_us : next_us;
        assert_true(next_us > rig->now_us);
        rig->now_us = next_us < until_us ? next_us : until_us;
        settle(rig);
    }
}

static rig_t new_rig(void)
{
    client_session_cfg_t session = {.endpoints_n = 1,
                                    .dial_timeout_us = 1000000,
                                    .waiting_max = 10,
                                    .waiting_bytes_max = 10000};
    client_registration_cfg_t registration = {.key = slice_str(KEY),
                                              .subscribers = slice_str("/subscribers/s/"),
                                              .ttl_s = TTL_S,
                                              .drain_us = 7000000};
    return (rig_t){.session = client_session_new(&session),
                   .registration = client_registration_new(&registration),
                   .now_us = 1000000,
                   .revision = 10};
}

static void end(rig_t *rig)
{
    client_registration_destroy(&rig->registration, rig->session, rig->now_us);
    client_session_close(rig->session, rig->now_us);
    client_session_destroy(&rig->session);
}

static rig_t registered_rig(void)
{
    rig_t rig = new_rig();
    settle(&rig);
    assert_int_equal(rig.lease, 0); /* nothing to register yet */
    client_registration_set(rig.registration, slice_str("ready"));
    settle(&rig);
    assert_int_equal(client_registration_state(rig.registration), CLIENT_REGISTRATION_PRESENT);
    assert_string_equal(rig.value, "ready");
    return rig;
}

static void it_stays_registered(void **state)
{
    (void)state;
    rig_t rig = registered_rig();
    run(&rig, 100 * 1000000);
    assert_int_equal(rig.puts, 1);
    rig.value[0] = '\0'; /* deleted by hand */
    run(&rig, TTL_S * 1000000 / 3);
    assert_string_equal(rig.value, "ready");
    rig.lease = 0; /* the lease is gone, and the key with it */
    rig.value[0] = '\0';
    run(&rig, TTL_S * 1000000 / 3);
    assert_string_equal(rig.value, "ready");
    assert_int_equal(rig.key_lease, rig.lease);
    assert_int_equal(client_registration_again(rig.registration), 2);
    client_registration_set(rig.registration, slice_str("unready"));
    settle(&rig);
    assert_string_equal(rig.value, "unready");
    end(&rig);
}

static void who_finds_another_in_its_place_waits(void **state)
{
    (void)state;
    rig_t rig = registered_rig();
    snprintf(rig.value, sizeof rig.value, "another's");
    rig.key_lease = 4711;
    run(&rig, 50 * 1000000);
    assert_int_equal(client_registration_state(rig.registration), CLIENT_REGISTRATION_TAKEN);
    assert_string_equal(rig.value, "another's");
    rig.value[0] = '\0';
    run(&rig, TTL_S * 1000000 / 3);
    assert_int_equal(client_registration_state(rig.registration), CLIENT_REGISTRATION_PRESENT);
    end(&rig);
}

static void without_known_subscribers_the_window_is_waited(void **state)
{
    (void)state;
    rig_t rig = registered_rig();
    client_registration_drain(rig.registration, slice_str("draining"), 5000000, rig.now_us);
    run(&rig, 4999999);
    assert_string_equal(rig.value, "draining");
    assert_int_equal(client_registration_state(rig.registration), CLIENT_REGISTRATION_DRAINING);
    run(&rig, 1);
    assert_string_equal(rig.value, "");
    assert_int_equal(rig.lease, 0);
    assert_int_equal(client_registration_state(rig.registration), CLIENT_REGISTRATION_LEFT);
    client_registration_set(rig.registration, slice_str("ready"));
    run(&rig, 50 * 1000000);
    assert_string_equal(rig.value, ""); /* it does not come back */
    end(&rig);
}

static void nobody_waits_when_all_known_subscribers_have_seen_it(void **state)
{
    (void)state;
    rig_t rig = registered_rig();
    rig.subscribers_n = 2;
    snprintf(rig.subscribers[0], sizeof rig.subscribers[0], "%d", 1000);
    snprintf(rig.subscribers[1], sizeof rig.subscribers[1], "%d", (int)rig.revision);
    client_registration_drain(rig.registration, slice_str("draining"), 60000000, rig.now_us);
    run(&rig, 5000000);
    assert_string_equal(rig.value, "draining"); /* the second has seen the revision before */
    snprintf(rig.subscribers[1], sizeof rig.subscribers[1], "nonsense");
    run(&rig, 5000000);
    assert_string_equal(rig.value, "draining");
    snprintf(rig.subscribers[1], sizeof rig.subscribers[1], "%d", (int)rig.revision);
    run(&rig, 500000);
    assert_int_equal(client_registration_state(rig.registration), CLIENT_REGISTRATION_LEFT);
    assert_string_equal(rig.value, "");
    end(&rig);
}

static void who_was_never_registered_has_nothing_to_drain(void **state)
{
    (void)state;
    rig_t rig = new_rig();
    settle(&rig);
    client_registration_drain(rig.registration, slice_str("draining"), 60000000, rig.now_us);
    settle(&rig);
    assert_int_equal(client_registration_state(rig.registration), CLIENT_REGISTRATION_LEFT);
    assert_int_equal(rig.puts, 0);
    end(&rig);
}

static void it_drains_when_an_operator_says_so(void **state)
{
    (void)state;
    static const char order[] = "{\"address\":\"a\",\"state\":\"draining\"}";
    rig_t rig = registered_rig();
    snprintf(rig.value, sizeof rig.value, "%s", order);
    rig.key_lease = 4711; /* of somebody else's lease: not said to this one */
    run(&rig, TTL_S * 1000000);
    assert_int_equal(client_registration_state(rig.registration), CLIENT_REGISTRATION_TAKEN);
    rig.value[0] = '\0';
    run(&rig, TTL_S * 1000000);
    assert_string_equal(rig.value, "ready");
    snprintf(rig.value, sizeof rig.value, "%s", order);
    run(&rig, TTL_S * 1000000 / 3);
    assert_int_equal(client_registration_state(rig.registration), CLIENT_REGISTRATION_DRAINING);
    assert_string_equal(rig.value, order);
    run(&rig, 7000000);
    assert_int_equal(client_registration_state(rig.registration), CLIENT_REGISTRATION_LEFT);
    end(&rig);
}

/* ---- instances ---- */

static void instances_are_read_as_they_were_written(void **state)
{
    (void)state;
    client_instance_t instance = {
        .address = xstrdup("tcp://h:1 \"\n"),
        .weight = 7,
        .state = CLIENT_INSTANCE_DRAINING,
        .metadata_n = 2,
        .metadata = {{xstrdup("zone"), xstrdup("\xc3\xa4")}, {xstrdup(""), xstrdup("")}}};
    buf_t text = {0};
    client_instance_write(&text, &instance);
    client_instance_t read;
    assert_int_equal(client_instance_read(buf_slice(&text), &read), 0);
    assert_string_equal(read.address, instance.address);
    assert_int_equal(read.weight, 7);
    assert_int_equal(read.state, CLIENT_INSTANCE_DRAINING);
    assert_int_equal(read.metadata_n, 2);
    assert_string_equal(read.metadata[0].value, "\xc3\xa4");
    buf_deinit(&text);
    client_instance_deinit(&read);
    client_instance_deinit(&instance);
}

static void what_is_no_instance_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool is_one;
    } cases[] = {
        {"{\"address\":\"a\"}", true},
        {"{\"address\":\"a\",\"later\":[1,{}],\"metadata\":{\"x\":1}}", true},
        {"{\"address\":\"a\",\"metadata\":7}", true},
        {"{\"address\":\"a\",\"weight\":1000000}", true},
        {"", false},
        {"a", false},
        {"[]", false},
        {"{}", false},
        {"{\"address\":\"\"}", false},
        {"{\"address\":7}", false},
        {"{\"address\":\"a\"} x", false},
        {"{\"address\":\"a\",\"address\":\"b\"}", false},
        {"{\"address\":\"a\",\"weight\":-1}", false},
        {"{\"address\":\"a\",\"weight\":1000001}", false},
        {"{\"address\":\"a\",\"weight\":\"1\"}", false},
        {"{\"address\":\"a\",\"state\":\"dead\"}", false},
        {"{\"address\":\"a\",\"state\":null}", false},
        {"{\"address\":\"\xff\"}", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        client_instance_t read;
        assert_int_equal(client_instance_read(slice_str(cases[i].value), &read) == 0,
                         cases[i].is_one);
        client_instance_deinit(&read);
    }
}

static void another_state_leaves_the_rest_as_it_is(void **state)
{
    (void)state;
    buf_t out = {0};
    const char *value = "{\"later\":[1,{\"x\":null}],\"address\":\"a\"}";
    assert_int_equal(client_instance_rewrite(&out, slice_str(value), CLIENT_INSTANCE_DRAINING), 0);
    buf_byte(&out, '\0');
    assert_string_equal((char *)out.data,
                        "{\"later\":[1,{\"x\":null}],\"address\":\"a\",\"state\":\"draining\"}");
    assert_int_equal(client_instance_rewrite(&out, slice_str("{}"), CLIENT_INSTANCE_DRAINING), 1);
    buf_deinit(&out);
}

static void names_are_printable_and_without_slashes(void **state)
{
    (void)state;
    char longest[257];
    memset(longest, 'x', 256);
    longest[256] = '\0';
    assert_false(client_instance_is_name(longest));
    longest[255] = '\0';
    assert_true(client_instance_is_name(longest));
    assert_true(client_instance_is_name("a.b-C_1"));
    static const char *const others[] = {"", "a/b", "a b", "\xc3\xa4", "a\n"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_false(client_instance_is_name(others[i]));
    }
    assert_false(client_instance_is_name(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_stays_registered),
        cmocka_unit_test(who_finds_another_in_its_place_waits),
        cmocka_unit_test(without_known_subscribers_the_window_is_waited),
        cmocka_unit_test(nobody_waits_when_all_known_subscribers_have_seen_it),
        cmocka_unit_test(who_was_never_registered_has_nothing_to_drain),
        cmocka_unit_test(it_drains_when_an_operator_says_so),
        cmocka_unit_test(instances_are_read_as_they_were_written),
        cmocka_unit_test(what_is_no_instance_is_refused),
        cmocka_unit_test(another_state_leaves_the_rest_as_it_is),
        cmocka_unit_test(names_are_printable_and_without_slashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
