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

static const struct {
    const char *line;
    int code;
    const char *err; /* the beginning */
} error_cases[] = {
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
    {"member add", 128, "Error: member name not provided\n"},
    {"member add x", 128, "Error: member peer urls not provided\n"},
    {"member add x --peer-urls=", 128, "Error: member peer urls not provided\n"},
    {"member add x y", 128, "Error: too many arguments\n"},
    {"member add x http://a:1 HTTPS://b:1", 128,
     "Error: too many arguments, did you mean --peer-urls=http://a:1, did you mean "
     "--peer-urls=HTTPS://b:1\n"},
    {"member add x --peer-urls=http://a:1,b", 1,
     "Error: URL scheme must be http, https, unix, or unixs: b\n"},
    {"member add x --peer-urls=b -w xml", 4, "Error: unsupported output format\n"},
    {"member remove", 128, "Error: member ID is not provided\n"},
    {"member rem 1 2", 128, "Error: member ID is not provided\n"},
    {"member promote -- -1", 128,
     "Error: bad member ID arg (strconv.ParseUint: parsing \"-1\": invalid syntax), "
     "expecting ID in Hex\n"},
    {"member update zz", 128,
     "Error: bad member ID arg (strconv.ParseUint: parsing \"zz\": invalid syntax), "
     "expecting ID in Hex\n"},
    {"member update 1", 128, "Error: member peer urls not provided\n"},
    {"member update 1 --peer-urls=http://a:x", 1,
     "Error: parse \"http://a:x\": invalid port \":x\" after host\n"},
    {"move-leader", 128, "Error: move-leader command needs 1 argument\n"},
    {"move-leader 10000000000000000", 128,
     "Error: strconv.ParseUint: parsing \"10000000000000000\": value out of range\n"},
    {"move-leader 1 --endpoints=", 2, "Error: etcdclient: no available endpoints\n"},
    {"service list a b", 128,
     "Error: service list command needs at most 1 argument: the service\n"},
    {"service list a/b", 128,
     "Error: service \"a/b\" is not 1 to 255 printable characters without a slash\n"},
    {"service watch", 128, "Error: service watch command needs 1 argument: the service\n"},
    {"service drain a", 128,
     "Error: service drain command needs 2 arguments: the service and its instance\n"},
    {"service deregister a", 128,
     "Error: service deregister command needs 2 arguments: the service and its instance\n"},
    {"service run --name=a --addr=b", 128, "Error: service run command needs a program\n"},
    {"service register --name=a --addr=b c", 128,
     "Error: service register command needs no arguments\n"},
    {"service run --addr=b -- true", 128,
     "Error: --name \"\" is not 1 to 255 printable characters without a slash\n"},
    {"service run --name=a -- true", 128, "Error: service run command needs --addr\n"},
    {"service run --name=a --addr=b --instance=a/b -- true", 128,
     "Error: --instance \"a/b\" is not 1 to 255 printable characters without a slash\n"},
    {"service run --name=a --addr=b --health-interval=0s -- true", 128, "Error: --health-interval"},
    {"service list a --native-endpoints=x", 128,
     "Error: endpoint \"x\": no host and port\n"},
    {"service list --native-curve-secret-key=a", 128,
     "Error: --native-curve-secret-key and --native-curve-server-key must be given together\n"},
    {"service drain a b --native-curve-server-key=a", 128,
     "Error: --native-curve-secret-key and --native-curve-server-key must be given together\n"},
    {"service list --native-curve-secret-key=/nowhere/a --native-curve-server-key=/nowhere/b", 128,
     "Error: --native-curve-secret-key: /nowhere/a: No such file or directory\n"},
    {"service watch a --native-curve-secret-key=/dev/null --native-curve-server-key=/nowhere/b",
     128, "Error: --native-curve-secret-key: /dev/null: it is no regular file\n"},
    {"keygen", 128, "Error: keygen command needs 1 argument: the file to write\n"},
    {"keygen a b", 128, "Error: keygen command needs 1 argument: the file to write\n"},
    {"keygen /nowhere/at/all/a", 1, "Error: /nowhere/at/all/a_secret: No such file or directory\n"},
    {"keygen a --peer-urls=http://a", 1, "Error: URL"},
    {"keygen a --name=it's", 1,
     "Error: names and URLs in a certificate are visible ASCII without quotes\n"},
    {"endpoint hashkv --rev=x", 1,
     "Error: invalid argument \"x\" for \"--rev\" flag: strconv.ParseInt: parsing \"x\": "
     "invalid syntax\nUsage:\n"},
    {"completion tcsh", 1, "Error: invalid argument \"tcsh\" for \"quoralctl completion\"\n"},
    {"watch --", 128, "Error: bad number of arguments (found separator --, but no commands)\n"},
    {"txn x", 128, "Error: txn command does not accept argument\n"},
    {"get a --endpoints=127.0.0.1:1 --command-timeout=50ms", 1,
     "Error: context deadline exceeded\n"},
    {"member remove 1 --endpoints=127.0.0.1:1 --command-timeout=50ms", 1,
     "Error: context deadline exceeded\n"},
    {"move-leader 1 --endpoints=127.0.0.1:1 --command-timeout=50ms", 1,
     "Error: context deadline exceeded\n"},
    {"endpoint hashkv --endpoints=127.0.0.1:1,127.0.0.1:2 --command-timeout=50ms", 1,
     "Failed to get the hash of endpoint 127.0.0.1:1 (context deadline exceeded)\n"
     "Failed to get the hash of endpoint 127.0.0.1:2 (context deadline exceeded)\n"
     "Error: context deadline exceeded\n"},
    {"endpoint hashkv --cluster --endpoints=127.0.0.1:1 --command-timeout=50ms", 1,
     "Error: failed to fetch endpoints from etcd cluster member list: context deadline "
     "exceeded\n"},
};

static void errors_have_their_text_and_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(error_cases); i++) {
        result_t result = run(error_cases[i].line);
        assert_int_equal(result.code, error_cases[i].code);
        assert_true(strlen(result.err) >= strlen(error_cases[i].err));
        assert_memory_equal(result.err, error_cases[i].err, strlen(error_cases[i].err));
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
        {"endpoint hashkv --help", "--rev int"},
        {"member add --help", "--learner"},
        {"help move-leader", "move-leader <transferee-member-id> [flags]"},
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

/* Two members, of which the second was added just now and has not started. */
static void with_members(void (*print)(printer_t *printer, Etcdserverpb__ResponseHeader *header,
                                       Etcdserverpb__Member **members),
                         printer_t *printer)
{
    Etcdserverpb__ResponseHeader header = test_header();
    Etcdserverpb__Member one;
    Etcdserverpb__Member two;
    char name[] = "one";
    char empty[] = "";
    char url[] = "http://a:1";
    char *urls[] = {url};
    header.revision = 0;
    etcdserverpb__member__init(&one);
    etcdserverpb__member__init(&two);
    one.id = 0xf0;
    one.name = name;
    one.peerurls = urls;
    one.n_peerurls = 1;
    two.id = 0xabcdef0123456789;
    two.name = empty;
    two.islearner = true;
    Etcdserverpb__Member *members[] = {&one, &two};
    print(printer, &header, members);
}

static void print_added_members(printer_t *printer, Etcdserverpb__ResponseHeader *header,
                                Etcdserverpb__Member **members)
{
    Etcdserverpb__MemberAddResponse answer = ETCDSERVERPB__MEMBER_ADD_RESPONSE__INIT;
    answer.header = header;
    answer.member = members[1];
    answer.members = members;
    answer.n_members = 2;
    assert_int_equal(PRINT(printer, member_add, &answer), 0);
}

static void print_member_add(printer_t *printer)
{
    with_members(print_added_members, printer);
}

static void print_changed_members(printer_t *printer, Etcdserverpb__ResponseHeader *header,
                                  Etcdserverpb__Member **members)
{
    Etcdserverpb__MemberListResponse answer = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    answer.header = header;
    answer.members = members;
    answer.n_members = 1;
    member_change_t change = {"removed from", members[1]->id, &answer};
    assert_int_equal(PRINT(printer, member_change, &change), 0);
}

static void print_member_change(printer_t *printer)
{
    with_members(print_changed_members, printer);
}

static void print_move_leader(printer_t *printer)
{
    Etcdserverpb__MoveLeaderResponse answer = ETCDSERVERPB__MOVE_LEADER_RESPONSE__INIT;
    assert_int_equal(PRINT(printer, move_leader, 0xf0, 0x1f, &answer), 0);
}

static void print_hashkv(printer_t *printer)
{
    Etcdserverpb__ResponseHeader header = test_header();
    Etcdserverpb__HashKVResponse hash = ETCDSERVERPB__HASH_KVRESPONSE__INIT;
    hash.header = &header;
    hash.hash = UINT32_MAX;
    hash.compact_revision = -1;
    hash.hash_revision = 7;
    endpoint_hashkv_t items[] = {{"a:1", &hash}, {"http://b:1", &hash}};
    assert_int_equal(PRINT(printer, hashkv, items, 2), 0);
}

static void print_no_hashkv(printer_t *printer)
{
    assert_int_equal(PRINT(printer, hashkv, NULL, 0), 0);
}

static const struct {
    const char *format;
    bool hex;
    print_fn print;
    const char *text;
} printed_cases[] = {
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
    {"simple", false, print_member_add,
     "Member abcdef0123456789 added as learner to cluster              abc\n"},
    {"json", false, print_member_add,
     "{\"header\":{\"cluster_id\":2748,\"member_id\":18446744073709551615,\"raft_term\":2},"
     "\"member\":{\"ID\":12379813738877118345,\"isLearner\":true},\"members\":[{\"ID\":240,"
     "\"name\":\"one\",\"peerURLs\":[\"http://a:1\"]},{\"ID\":12379813738877118345,"
     "\"isLearner\":true}]}\n"},
    {"json", true, print_member_add,
     "{\"header\":{\"cluster_id\":\"abc\",\"member_id\":\"ffffffffffffffff\",\"raft_term\":2},"
     "\"member\":{\"ID\":\"abcdef0123456789\",\"isLearner\":true},\"members\":[{\"ID\":\"f0\","
     "\"name\":\"one\",\"peerURLs\":[\"http://a:1\"]},{\"ID\":\"abcdef0123456789\","
     "\"isLearner\":true}]}\n"},
    {"simple", false, print_member_change,
     "Member abcdef0123456789 removed from cluster              abc\n"},
    {"json", false, print_member_change,
     "{\"header\":{\"cluster_id\":2748,\"member_id\":18446744073709551615,\"raft_term\":2},"
     "\"members\":[{\"ID\":240,\"name\":\"one\",\"peerURLs\":[\"http://a:1\"]}]}\n"},
    {"protobuf", false, print_member_change,
     "\x0a\x10\x08\xbc\x15\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01 \x02"
     "\x12\x14\x08\xf0\x01\x12\x03one\x1a\x0ahttp://a:1"},
    {"simple", false, print_move_leader, "Leadership transferred from f0 to 1f\n"},
    {"json", false, print_move_leader, "{}\n"},
    {"protobuf", false, print_move_leader, ""},
    {"simple", false, print_hashkv, "a:1, 4294967295, 7\nhttp://b:1, 4294967295, 7\n"},
    {"fields", false, print_no_hashkv, ""},
    {"json", false, print_no_hashkv, "null\n"},
    {"json", false, print_hashkv,
     "[{\"Endpoint\":\"a:1\",\"HashKV\":{\"header\":{\"cluster_id\":2748,\"member_id\":"
     "18446744073709551615,\"revision\":7,\"raft_term\":2},\"hash\":4294967295,"
     "\"compact_revision\":-1,\"hash_revision\":7}},{\"Endpoint\":\"http://b:1\",\"HashKV\":{"
     "\"header\":{\"cluster_id\":2748,\"member_id\":18446744073709551615,\"revision\":7,"
     "\"raft_term\":2},\"hash\":4294967295,\"compact_revision\":-1,\"hash_revision\":7}}]\n"},
    {"fields", true, print_hashkv,
     "\"ClusterID\" : abc\n\"MemberID\" : ffffffffffffffff\n\"Revision\" : 7\n\"RaftTerm\" : "
     "2\n\"Endpoint\" : \"a:1\"\n\"Hash\" : 4294967295\n\"HashRevision\" : 7\n\n"
     "\"ClusterID\" : abc\n\"MemberID\" : ffffffffffffffff\n\"Revision\" : 7\n\"RaftTerm\" : "
     "2\n\"Endpoint\" : \"http://b:1\"\n\"Hash\" : 4294967295\n\"HashRevision\" : 7\n\n"},
    {"table", false, print_hashkv,
     "┌────────────┬────────────┬───────────────┐\n"
     "│  ENDPOINT  │    HASH    │ HASH REVISION │\n"
     "├────────────┼────────────┼───────────────┤\n"
     "│        a:1 │ 4294967295 │             7 │\n"
     "│ http://b:1 │ 4294967295 │             7 │\n"
     "└────────────┴────────────┴───────────────┘\n"},
    {"protobuf", false, print_lease,
     "\x08\xbc\x15\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x18\x07 \x02"},
};

static void answers_look_as_in_etcdctl(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(printed_cases); i++) {
        char *text = printed(printed_cases[i].format, printed_cases[i].hex, printed_cases[i].print);
        assert_string_equal(text, printed_cases[i].text);
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
