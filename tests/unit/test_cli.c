/* cli: whole command lines without a server, and answers in every output format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

typedef struct {
    int code;
    char *out;
    char *err;
} result_t;

/* Runs `quoralctl line`; words are separated by spaces. */
static result_t run(const char *line)
{
    result_t result = {0};
    size_t out_size = 0;
    size_t err_size = 0;
    char *env[] = {NULL};
    strings_t words = {0};
    char *copy = strdup(line);
    strings_add(&words, "quoralctl");
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        strings_add(&words, word);
    }
    free(copy);
    FILE *in = fopen("/dev/null", "r");
    FILE *out = open_memstream(&result.out, &out_size);
    FILE *err = open_memstream(&result.err, &err_size);
    result.code = cli_run(words.items, words.n, env, in, out, err);
    fclose(in);
    fclose(out);
    fclose(err);
    strings_deinit(&words);
    return result;
}

static void free_result(result_t *result)
{
    free(result->out);
    free(result->err);
}

static void errors_have_their_text_and_code(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int code;
        const char *err; /* the beginning */
    } cases[] = {
        {"put", 128, "Error: put command needs 1 argument and input from stdin or 2 arguments\n"},
        {"put a", 128, "Error: put command needs 1 argument and input from stdin or 2 arguments\n"},
        {"p a b --lease=zz", 128,
         "Error: bad lease ID (strconv.ParseInt: parsing \"zz\": invalid syntax), expecting ID in "
         "Hex\n"},
        {"get a --order=up", 4, "Error: bad sort order up\n"},
        {"get a -w xml", 4, "Error: unsupported output format\n"},
        {"get a --nosuch", 1, "Error: unknown flag: --nosuch\nUsage:\n"},
        {"get a --endpoints=", 2, "Error: etcdclient: no available endpoints\n"},
        {"get a --endpoints=https://a:1", 2,
         "Error: TLS is not supported yet (endpoint https://a:1)\n"},
        {"get a --user=root:x", 4, "Error: --user: authentication is not supported yet\n"},
        {"get a --cacert=x", 4, "Error: --cacert: TLS is not supported yet\n"},
        {"get a --cert=", 128, "Error: empty string is passed to --cert option\n"},
        {"get a -d example.org", 4, "Error: --discovery-srv: DNS discovery is not supported yet\n"},
        {"get a --insecure-transport=false", 4, "Error: --insecure-transport=false: TLS"},
        {"get a --insecure-skip-tls-verify", 4, "Error: --insecure-skip-tls-verify: TLS"},
        {"nosuch", 1,
         "Error: unknown command \"nosuch\" for \"quoralctl\"\nRun 'quoralctl --help' for "
         "usage.\n"},
        {"c", 1,
         "Error: unknown command \"c\" for \"quoralctl\"\n\nDid you mean this?\n\tcompaction\n"
         "\tcheck\n\tcompletion\n\nRun"},
        {"alarm list", 4, "Error: the command \"alarm\" is not supported yet\n"},
        {"member add x", 4, "Error: the command \"member add\" is not supported yet\n"},
        {"endpoint hashkv", 4, "Error: the command \"endpoint hashkv\" is not supported yet\n"},
        {"completion tcsh", 1, "Error: invalid argument \"tcsh\" for \"quoralctl completion\"\n"},
        {"watch --", 128, "Error: bad number of arguments (found separator --, but no commands)\n"},
        {"txn x", 128, "Error: txn command does not accept argument\n"},
        {"get a --endpoints=127.0.0.1:1 --command-timeout=50ms", 1,
         "Error: context deadline exceeded\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        result_t result = run(cases[i].line);
        assert_int_equal(result.code, cases[i].code);
        assert_true(strlen(result.err) >= strlen(cases[i].err));
        assert_memory_equal(result.err, cases[i].err, strlen(cases[i].err));
        assert_string_equal(result.out, "");
        free_result(&result);
    }
}

static void help_and_version_need_no_server(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *contains;
    } cases[] = {
        {"version", "API version: 3.7\n"},
        {"ver", "quoralctl version: "},
        {"", "Usage:\n  quoralctl <command>"},
        {"--help", "Keys and values:"},
        {"lease", "timetolive"},
        {"help get", "--print-value-only"},
        {"get -h", "Usage:\n  quoralctl get "},
        {"endpoint health --help", "--cluster"},
        {"options", "--command-timeout duration"},
        {"completion bash", "complete -o default -F _quoralctl quoralctl"},
        {"completion zsh", "#compdef quoralctl"},
        {"completion fish", "complete -c quoralctl"},
        {"completion powershell", "Register-ArgumentCompleter"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        result_t result = run(cases[i].line);
        assert_int_equal(result.code, 0);
        assert_string_equal(result.err, "");
        assert_non_null(strstr(result.out, cases[i].contains));
        free_result(&result);
    }
}

/* ---- printers ---- */

typedef void (*print_fn)(printer_t *printer);

static char *printed(const char *format, bool hex, print_fn print)
{
    char *text = NULL;
    size_t size = 0;
    printer_t printer;
    FILE *out = open_memstream(&text, &size);
    assert_true(printer_init(&printer, format, hex, out, stderr));
    print(&printer);
    fclose(out);
    return text;
}

static Etcdserverpb__ResponseHeader test_header(void)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    header.cluster_id = 0xabc;
    header.member_id = UINT64_MAX;
    header.revision = 7;
    header.raft_term = 2;
    return header;
}

static Mvccpb__KeyValue test_kv(void)
{
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    static uint8_t key[] = "k";
    static uint8_t value[] = "<v>";
    kv.key = (ProtobufCBinaryData){1, key};
    kv.value = (ProtobufCBinaryData){3, value};
    kv.create_revision = 5;
    kv.mod_revision = 6;
    kv.version = 2;
    kv.lease = 0x1f;
    return kv;
}

static void print_range(printer_t *printer)
{
    Etcdserverpb__ResponseHeader header = test_header();
    Mvccpb__KeyValue kv = test_kv();
    Mvccpb__KeyValue *kvs[] = {&kv};
    Etcdserverpb__RangeResponse answer = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    answer.header = &header;
    answer.kvs = kvs;
    answer.n_kvs = 1;
    answer.count = 3;
    answer.more = true;
    assert_int_equal(PRINT(printer, range, &answer), 0);
}

static void print_watch(printer_t *printer)
{
    Mvccpb__KeyValue kv = test_kv();
    Mvccpb__Event event = MVCCPB__EVENT__INIT;
    event.type = MVCCPB__EVENT__EVENT_TYPE__DELETE;
    event.kv = &kv;
    Mvccpb__Event *events[] = {&event};
    watch_view_t view = {.events = events, .events_n = 1, .cancel_reason = ""};
    assert_int_equal(PRINT(printer, watch, &view), 0);
}

static void print_lease(printer_t *printer)
{
    Etcdserverpb__ResponseHeader header = test_header();
    Etcdserverpb__LeaseTimeToLiveResponse answer;
    etcdserverpb__lease_time_to_live_response__init(&answer);
    ProtobufCBinaryData keys[] = {{1, (uint8_t *)(uintptr_t) "a"}, {1, (uint8_t *)(uintptr_t) "b"}};
    answer.header = &header;
    answer.id = 0x1f;
    answer.ttl = 8;
    answer.grantedttl = 10;
    answer.keys = keys;
    answer.n_keys = 2;
    assert_int_equal(PRINT(printer, lease_time_to_live, &answer, true), 0);
}

static void print_members(printer_t *printer)
{
    Etcdserverpb__ResponseHeader header = test_header();
    Etcdserverpb__Member member;
    etcdserverpb__member__init(&member);
    char name[] = "one";
    char url[] = "http://a:1";
    char *urls[] = {url, url};
    member.id = 0xf0;
    member.name = name;
    member.peerurls = urls;
    member.n_peerurls = 2;
    Etcdserverpb__Member *members[] = {&member};
    Etcdserverpb__MemberListResponse answer = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    answer.header = &header;
    answer.members = members;
    answer.n_members = 1;
    assert_int_equal(PRINT(printer, members, &answer), 0);
}

static void answers_look_as_in_etcdctl(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        bool hex;
        print_fn print;
        const char *text;
    } cases[] = {
        {"simple", false, print_range, "k\n<v>\n"},
        {"simple", true, print_range, "\\x6b\n\\x3c\\x76\\x3e\n"},
        {"json", false, print_range,
         "{\"header\":{\"cluster_id\":2748,\"member_id\":18446744073709551615,\"revision\":7,"
         "\"raft_term\":2},\"kvs\":[{\"key\":\"aw==\",\"create_revision\":5,\"mod_revision\":6,"
         "\"version\":2,\"value\":\"PHY+\",\"lease\":31}],\"more\":true,\"count\":3}\n"},
        {"fields", true, print_range,
         "\"ClusterID\" : abc\n\"MemberID\" : ffffffffffffffff\n\"Revision\" : 7\n\"RaftTerm\" : "
         "2\n"
         "\"Key\" : \"k\"\n\"CreateRevision\" : 5\n\"ModRevision\" : 6\n\"Version\" : 2\n"
         "\"Value\" : \"<v>\"\n\"Lease\" : 000000000000001f\n\"More\" : true\n\"Count\" : 3\n"},
        {"simple", false, print_watch, "DELETE\nk\n<v>\n"},
        {"json", false, print_watch,
         "{\"Header\":{},\"Events\":[{\"type\":1,\"kv\":{\"key\":\"aw==\",\"create_revision\":5,"
         "\"mod_revision\":6,\"version\":2,\"value\":\"PHY+\",\"lease\":31}}],\"CompactRevision\":"
         "0,"
         "\"Canceled\":false,\"Created\":false,\"CancelReason\":\"\"}\n"},
        {"simple", false, print_lease,
         "lease 000000000000001f granted with TTL(10s), remaining(8s), attached keys([a b])\n"},
        {"json", false, print_lease,
         "{\"cluster_id\":2748,\"member_id\":18446744073709551615,\"revision\":7,\"raft_term\":2,"
         "\"id\":31,\"ttl\":8,\"granted-ttl\":10,\"keys\":[\"YQ==\",\"Yg==\"]}\n"},
        {"simple", false, print_members, "f0, started, one, http://a:1,http://a:1, , false\n"},
        {"json", true, print_members,
         "{\"header\":{\"cluster_id\":\"abc\",\"member_id\":\"ffffffffffffffff\",\"revision\":7,"
         "\"raft_term\":2},\"members\":[{\"ID\":\"f0\",\"name\":\"one\",\"peerURLs\":[\"http://"
         "a:1\","
         "\"http://a:1\"]}]}\n"},
        {"table", false, print_members,
         "┌────┬─────────┬──────┬───────────────────────┬──────────────┬────────────┐\n"
         "│ ID │ STATUS  │ NAME │      PEER ADDRS       │ CLIENT ADDRS │ IS LEARNER │\n"
         "├────┼─────────┼──────┼───────────────────────┼──────────────┼────────────┤\n"
         "│ f0 │ started │  one │ http://a:1,http://a:1 │              │      false │\n"
         "└────┴─────────┴──────┴───────────────────────┴──────────────┴────────────┘\n"},
        {"protobuf", false, print_lease,
         "\x08\xbc\x15\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x18\x07 \x02"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *text = printed(cases[i].format, cases[i].hex, cases[i].print);
        assert_string_equal(text, cases[i].text);
        free(text);
    }
}

static void formats_that_cannot_say_it_refuse(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    printer_t printer;
    FILE *err = open_memstream(&text, &size);
    assert_true(printer_init(&printer, "table", false, stdout, err));
    Etcdserverpb__PutResponse answer = ETCDSERVERPB__PUT_RESPONSE__INIT;
    assert_int_equal(PRINT(&printer, put, &answer), 4);
    fclose(err);
    assert_string_equal(text, "Error: table not supported as output format\n");
    free(text);
    assert_false(printer_init(&printer, "xml", false, stdout, stderr));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_their_text_and_code),
        cmocka_unit_test(help_and_version_need_no_server),
        cmocka_unit_test(answers_look_as_in_etcdctl),
        cmocka_unit_test(formats_that_cannot_say_it_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
