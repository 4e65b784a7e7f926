/* Scenarios: commands and the trace they must give, in files that read like a story.
 *
 *   # what this shows
 *   put key=a value=1
 *   ----
 *   [     0] grpc_gateway PROPOSE requests=1 … -> replicator
 *   ...
 *
 * usage: scenario FILE…            run and compare; prints the first difference
 *        scenario --rewrite FILE…  put the traces that come out into the files; review the diff
 *
 * Commands, one a line: start | crash [process|lose|torn] [pick] | advance MS | disk hold|release|full|free |
 * show [all|KIND …] (which messages are traced from here on, or LOG, or STOPS; answers always are) |
 * put key= value= [lease=] (size=: of so many zeros) | get key= [rev=] | del key= | compact rev= | grant id= ttl= |
 * revoke id= | keepalive id= | ttl id= | watch key= [rev=] */
#include <assert.h>
#include <stdarg.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etcd/rpc.pb-c.h"
#include "messages/buf.h"
#include "messages/xalloc.h"
#include "tests/support/virtual_node.h"

enum { CALLS_MAX = 1000, SHOWN_MAX = 16 };

typedef struct {
    virtual_node_t *node;
    buf_t trace;
    method_t methods[CALLS_MAX]; /* by call */
    method_t next_method;
    bool show_all;
    char shown[SHOWN_MAX][32];
    size_t shown_count;
} story_t;

/* ---- trace ---- */

static void tell(story_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(story_t *self, const char *format, ...)
{
    char line[600];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    buf_append(&self->trace, line, strlen(line));
    buf_byte(&self->trace, '\n');
}

static void on_trace(void *context, const char *line)
{
    story_t *self = context;
    char kind[32] = "";
    bool wanted = false;
    if (sscanf(line, "[%*d] %*s %31s", kind) == 1) {
        wanted = self->show_all && strcmp(kind, "LOG") != 0;
        for (size_t i = 0; i < self->shown_count; i++) {
            wanted |= strcmp(kind, self->shown[i]) == 0;
        }
    }
    if (wanted) {
        tell(self, "%s", line);
    }
}

static method_t method_of(const story_t *self, uint64_t call)
{
    return self->methods[call] != METHOD_UNKNOWN ? self->methods[call] : self->next_method;
}

static void describe_kv(const Mvccpb__KeyValue *kv, char *text, size_t size)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, " %.*s=%.*s@%" PRId64, (int)kv->key.len,
             (const char *)kv->key.data, (int)kv->value.len, (const char *)kv->value.data,
             kv->mod_revision);
}

static void describe_range(slice_t bytes, char *text, size_t size)
{
    Etcdserverpb__RangeResponse *answer =
        etcdserverpb__range_response__unpack(NULL, bytes.len, bytes.data);
    assert(answer);
    snprintf(text, size, "revision=%" PRId64 " count=%" PRId64, answer->header->revision,
             answer->count);
    for (size_t i = 0; i < answer->n_kvs; i++) {
        describe_kv(answer->kvs[i], text, size);
    }
    etcdserverpb__range_response__free_unpacked(answer, NULL);
}

static void describe_watch(slice_t bytes, char *text, size_t size)
{
    Etcdserverpb__WatchResponse *answer =
        etcdserverpb__watch_response__unpack(NULL, bytes.len, bytes.data);
    assert(answer);
    snprintf(text, size, "revision=%" PRId64 "%s%s", answer->header->revision,
             answer->created ? " created" : "", answer->canceled ? " canceled" : "");
    for (size_t i = 0; i < answer->n_events; i++) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, " %s", answer->events[i]->type ? "DELETE" : "PUT");
        describe_kv(answer->events[i]->kv, text, size);
    }
    etcdserverpb__watch_response__free_unpacked(answer, NULL);
}

static void describe_ttl(slice_t bytes, char *text, size_t size)
{
    /* KeepAlive and TimeToLive agree on these fields. */
    Etcdserverpb__LeaseTimeToLiveResponse *answer =
        etcdserverpb__lease_time_to_live_response__unpack(NULL, bytes.len, bytes.data);
    assert(answer);
    snprintf(text, size, "lease=%" PRId64 " ttl=%" PRId64, answer->id, answer->ttl);
    etcdserverpb__lease_time_to_live_response__free_unpacked(answer, NULL);
}

static void describe_other(slice_t bytes, char *text, size_t size)
{
    /* Every answer begins with the header; this one has nothing else. */
    Etcdserverpb__CompactionResponse *answer =
        etcdserverpb__compaction_response__unpack(NULL, bytes.len, bytes.data);
    assert(answer);
    snprintf(text, size, "revision=%" PRId64, answer->header->revision);
    etcdserverpb__compaction_response__free_unpacked(answer, NULL);
}

static void on_answer(void *context, uint64_t call, slice_t message)
{
    story_t *self = context;
    char text[400] = "";
    method_t method = method_of(self, call);
    switch (method) {
    case METHOD_RANGE: describe_range(message, text, sizeof text); break;
    case METHOD_WATCH: describe_watch(message, text, sizeof text); break;
    case METHOD_LEASE_KEEP_ALIVE:
    case METHOD_LEASE_TIME_TO_LIVE: describe_ttl(message, text, sizeof text); break;
    default: describe_other(message, text, sizeof text);
    }
    tell(self, "[%6" PRIu64 "] client       <- %s: %s", virtual_node_now_us(self->node) / 1000,
         method_info(method)->name, text);
}

static void on_end(void *context, uint64_t call, grpc_code_t code, const char *text)
{
    story_t *self = context;
    if (code != GRPC_OK) {
        tell(self, "[%6" PRIu64 "] client       <- %s: %s", virtual_node_now_us(self->node) / 1000,
             method_info(method_of(self, call))->name, text);
    }
}

/* ---- commands ---- */

static const char *argument(const char *line, const char *name, char *value, size_t size)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, " %s=", name);
    const char *at = strstr(line, wanted);
    if (!at) {
        return NULL;
    }
    snprintf(value, size, "%.*s", (int)strcspn(at + strlen(wanted), " "), at + strlen(wanted));
    return value;
}

static uint64_t number(const char *line, const char *name)
{
    char value[32];
    return argument(line, name, value, sizeof value) ? strtoull(value, NULL, 10) : 0;
}

static void add_text(buf_t *out, uint32_t field, const char *line, const char *name)
{
    char value[200];
    if (argument(line, name, value, sizeof value)) {
        buf_field_bytes(out, field, slice_str(value));
    }
}

static void add_bytes(buf_t *out, uint32_t field, size_t size)
{
    if (size) {
        uint8_t *bytes = xcalloc(size, 1);
        buf_field_bytes(out, field, slice(bytes, size));
        free(bytes);
    }
}

static void call(story_t *self, method_t method, buf_t *message, bool more)
{
    if (!virtual_node_is_up(self->node)) {
        tell(self, "[%6" PRIu64 "] client       nobody answers",
             virtual_node_now_us(self->node) / 1000);
        buf_deinit(message);
        return;
    }
    self->next_method = method;
    uint64_t id = virtual_node_call(self->node, method, buf_slice(message), more);
    assert(id < CALLS_MAX);
    self->methods[id] = method;
    buf_deinit(message);
}

static void watch(story_t *self, const char *line)
{
    buf_t create = {0};
    buf_t request = {0};
    add_text(&create, 1, line, "key");
    buf_field_u64(&create, 3, number(line, "rev"));
    buf_field_bytes(&request, 1, buf_slice(&create));
    buf_deinit(&create);
    call(self, METHOD_WATCH, &request, true);
}

/* A request whose first field is a text or a number. 0 = not one of these. */
static bool request(story_t *self, const char *line, const char *verb)
{
    buf_t message = {0};
    if (strcmp(verb, "put") == 0) {
        add_text(&message, 1, line, "key");
        add_text(&message, 2, line, "value");
        add_bytes(&message, 2, number(line, "size"));
        buf_field_u64(&message, 3, number(line, "lease"));
        call(self, METHOD_PUT, &message, false);
    } else if (strcmp(verb, "get") == 0) {
        add_text(&message, 1, line, "key");
        buf_field_u64(&message, 4, number(line, "rev"));
        call(self, METHOD_RANGE, &message, false);
    } else if (strcmp(verb, "del") == 0) {
        add_text(&message, 1, line, "key");
        call(self, METHOD_DELETE_RANGE, &message, false);
    } else if (strcmp(verb, "compact") == 0) {
        buf_field_u64(&message, 1, number(line, "rev"));
        call(self, METHOD_COMPACT, &message, false);
    } else if (strcmp(verb, "grant") == 0) {
        buf_field_u64(&message, 1, number(line, "ttl"));
        buf_field_u64(&message, 2, number(line, "id"));
        call(self, METHOD_LEASE_GRANT, &message, false);
    } else {
        return false;
    }
    return true;
}

static bool lease_request(story_t *self, const char *line, const char *verb)
{
    buf_t message = {0};
    buf_field_u64(&message, 1, number(line, "id"));
    if (strcmp(verb, "revoke") == 0) {
        call(self, METHOD_LEASE_REVOKE, &message, false);
    } else if (strcmp(verb, "keepalive") == 0) {
        call(self, METHOD_LEASE_KEEP_ALIVE, &message, true);
    } else if (strcmp(verb, "ttl") == 0) {
        call(self, METHOD_LEASE_TIME_TO_LIVE, &message, false);
    } else {
        buf_deinit(&message);
        return false;
    }
    return true;
}

static void show(story_t *self, const char *line)
{
    self->show_all = false;
    self->shown_count = 0;
    char words[200];
    snprintf(words, sizeof words, "%s", line + strlen("show"));
    char *rest = NULL;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (strcmp(word, "all") == 0) {
            self->show_all = true;
        } else if (self->shown_count < SHOWN_MAX) {
            snprintf(self->shown[self->shown_count++], sizeof self->shown[0], "%s", word);
        }
    }
}

static void crash(story_t *self, const char *line)
{
    char how[16] = "process";
    unsigned long pick = 0;
    sscanf(line, "crash %15s %lu", how, &pick);
    crash_t kind = strcmp(how, "lose") == 0   ? CRASH_LOSE
                   : strcmp(how, "torn") == 0 ? CRASH_TORN_PREFIX
                                              : CRASH_PROCESS;
    virtual_node_crash(self->node, kind, pick);
    tell(self, "[%6" PRIu64 "] node         crashed", virtual_node_now_us(self->node) / 1000);
}

static void disk(story_t *self, const char *word)
{
    if (strcmp(word, "full") == 0 || strcmp(word, "free") == 0) {
        virtual_node_fill_disk(self->node, strcmp(word, "full") == 0);
    } else {
        virtual_node_hold_disk(self->node, strcmp(word, "hold") == 0);
    }
}

/* False when the command is none. */
static bool execute(story_t *self, const char *line)
{
    char verb[32] = "";
    char word[32] = "";
    int words = sscanf(line, "%31s %31s", verb, word);
    if (words < 1 || verb[0] == '#') {
        return true;
    }
    if (strcmp(verb, "show") == 0) {
        show(self, line);
    } else if (strcmp(verb, "start") == 0) {
        virtual_node_start(self->node);
        api_status_t status = virtual_node_status(self->node);
        tell(self, "[%6" PRIu64 "] node         up: %s, term %" PRIu64 ", revision %" PRId64,
             virtual_node_now_us(self->node) / 1000, status.serving ? "serving" : "not serving",
             status.term, status.revision);
    } else if (strcmp(verb, "crash") == 0) {
        crash(self, line);
    } else if (strcmp(verb, "advance") == 0) {
        virtual_node_advance(self->node, strtoull(word, NULL, 10) * 1000);
    } else if (strcmp(verb, "disk") == 0) {
        disk(self, word);
    } else if (strcmp(verb, "watch") == 0) {
        watch(self, line);
    } else {
        return request(self, line, verb) || lease_request(self, line, verb);
    }
    return true;
}

/* ---- files: blocks of commands, "----", the trace, an empty line ---- */

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(2);
    }
    buf_t text = {0};
    char chunk[4096];
    size_t got = 0;
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        buf_append(&text, chunk, got);
    }
    fclose(file);
    buf_byte(&text, '\0');
    return (char *)text.data;
}

/* Takes the next line off *text; NULL at the end. */
static char *next_line(char **text)
{
    if (**text == '\0') {
        return NULL;
    }
    char *line = *text;
    char *end = strchr(line, '\n');
    if (end) {
        *end = '\0';
        *text = end + 1;
    } else {
        *text += strlen(line);
    }
    return line;
}

static void run_commands(story_t *story, const char *path, char **text, buf_t *out)
{
    char *line = NULL;
    while ((line = next_line(text)) && strcmp(line, "----") != 0) {
        buf_append(out, line, strlen(line));
        buf_byte(out, '\n');
        if (!execute(story, line)) {
            fprintf(stderr, "%s: unknown command: %s\n", path, line);
            exit(2);
        }
    }
    if (line) {
        buf_append(out, "----\n", 5);
        buf_append(out, story->trace.data, story->trace.len);
        buf_clear(&story->trace);
        buf_byte(out, '\n');
    }
}

static void skip_expected(char **text)
{
    char *line = NULL;
    while ((line = next_line(text)) && line[0] != '\0') {
    }
}

/* What the file should be. */
static char *tell_again(const char *path, const char *content)
{
    story_t *story = xcalloc(1, sizeof *story);
    for (size_t i = 0; i < CALLS_MAX; i++) {
        story->methods[i] = METHOD_UNKNOWN;
    }
    virtual_node_hooks_t hooks = {
        .context = story, .trace = on_trace, .answer = on_answer, .end = on_end};
    story->node = virtual_node_new(&hooks, 1);
    char *copy = xstrdup(content);
    char *text = copy;
    buf_t out = {0};
    while (*text) {
        run_commands(story, path, &text, &out);
        skip_expected(&text);
    }
    buf_byte(&out, '\0');
    virtual_node_destroy(&story->node);
    buf_deinit(&story->trace);
    free(story);
    free(copy);
    return (char *)out.data;
}

static bool compare(const char *path, char *wanted, char *got)
{
    for (unsigned number = 1;; number++) {
        char *left = next_line(&wanted);
        char *right = next_line(&got);
        if (!left && !right) {
            return true;
        }
        if (!left || !right || strcmp(left, right) != 0) {
            fprintf(stderr, "%s:%u\n  expected: %s\n  got:      %s\n", path, number,
                    left ? left : "(end)", right ? right : "(end)");
            return false;
        }
    }
}

int main(int argc, char **argv)
{
    bool rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
    int failed = 0;
    for (int i = rewrite ? 2 : 1; i < argc; i++) {
        char *content = read_file(argv[i]);
        char *told = tell_again(argv[i], content);
        if (rewrite) {
            FILE *file = fopen(argv[i], "w");
            if (!file || fputs(told, file) < 0 || fclose(file)) {
                perror(argv[i]);
                return 2;
            }
        } else {
            failed += !compare(argv[i], content, told);
        }
        free(told);
        free(content);
    }
    printf("%d scenarios, %d failed\n", argc - 1 - rewrite, failed);
    return failed ? 1 : 0;
}
