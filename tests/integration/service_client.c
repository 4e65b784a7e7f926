/* Users of a service: threads that choose an instance, ask it something over TCP (service_worker.c) and wait for the
 * answer, without a pause. For services.py.
 *
 *   service_client ENDPOINTS SERVICE THREADS
 *
 * For each line of its standard input, and at the end of it, prints a JSON object of what there was so far. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <quoral.h>

enum { THREADS_MAX = 64, INSTANCES_MAX = 256, NAME_BYTES = 64, WORK_MAX_MS = 20, ANSWER_S = 10 };

typedef enum {
    ANSWERED,
    NOBODY,    /* there was none to choose */
    LEFT,      /* chosen, although this client had been told that it drains or is gone */
    REFUSED,   /* nobody listened */
    NO_ANSWER, /* the connection ended, or time did */
    WRONG,     /* another answer than the chosen one's to this request */
    OUTCOMES,
} outcome_t;

static const char *const outcome_names[OUTCOMES] = {"answered", "nobody",    "left",
                                                    "refused",  "no_answer", "wrong"};

/* What an instance was when this client was last told of it. */
typedef struct {
    char name[NAME_BYTES];
    int64_t revision;
    bool has_left;
} told_t;

static quoral_discovery_t *discovery;
static atomic_bool is_over;
static atomic_ulong outcomes[OUTCOMES];
static atomic_ulong numbers;

/* Held from choosing until the request is sent: when the discovery has told of an instance that drains, no request for
 * it is on its way to be sent any more. That is what the instance waits for. */
static pthread_mutex_t choosing = PTHREAD_MUTEX_INITIALIZER;
static told_t told[INSTANCES_MAX];
static size_t told_n;

static told_t *told_of(const char *name)
{
    for (size_t i = 0; i < told_n; i++) {
        if (strcmp(told[i].name, name) == 0) {
            return &told[i];
        }
    }
    if (told_n == INSTANCES_MAX) {
        abort();
    }
    snprintf(told[told_n].name, NAME_BYTES, "%s", name);
    return &told[told_n++];
}

static void on_event(void *arg, quoral_discovery_t *self, quoral_event_t event,
                     const quoral_instance_t *instance)
{
    (void)arg;
    (void)self;
    pthread_mutex_lock(&choosing);
    told_t *one = told_of(instance->name);
    one->revision = instance->revision;
    one->has_left = event == QUORAL_REMOVED || instance->state != QUORAL_READY;
    pthread_mutex_unlock(&choosing);
}

/* ---- one request ---- */

typedef struct {
    int fd;
    char expected[2 * NAME_BYTES]; /* the answer */
} request_t;

static bool send_to(const quoral_instance_t *instance, request_t *request)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)strtoul(strchr(instance->address, ':') + 1, NULL, 10)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned long number = ++numbers;
    snprintf(request->expected, sizeof request->expected, "%s %lu\n", instance->name, number);
    request->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = ANSWER_S};
    setsockopt(request->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return connect(request->fd, (struct sockaddr *)&address, sizeof address) == 0 &&
           dprintf(request->fd, "%lu %lu\n", number, number * 7919 % WORK_MAX_MS) > 0;
}

/* ANSWERED: it is sent, and the answer may be waited for. */
static outcome_t choose_and_send(request_t *request)
{
    pthread_mutex_lock(&choosing);
    quoral_instances_t *chosen = quoral_discovery_choose(discovery);
    const quoral_instance_t *instance = quoral_instances_at(chosen, 0);
    outcome_t outcome = ANSWERED;
    if (!instance) {
        outcome = NOBODY;
    } else {
        const told_t *one = told_of(instance->name);
        bool has_left = one->has_left && instance->revision <= one->revision;
        outcome = has_left ? LEFT : send_to(instance, request) ? ANSWERED : REFUSED;
    }
    quoral_instances_destroy(&chosen);
    pthread_mutex_unlock(&choosing);
    return outcome;
}

static outcome_t receive(const request_t *request)
{
    char text[2 * NAME_BYTES] = "";
    size_t len = 0;
    ssize_t got = 0;
    while (!memchr(text, '\n', len)) {
        do {
            got = recv(request->fd, text + len, sizeof text - 1 - len, 0);
        } while (got < 0 && errno == EINTR); /* stopped and continued, with a limit of time */
        if (got <= 0) {
            return NO_ANSWER;
        }
        len += (size_t)got;
    }
    return strcmp(text, request->expected) == 0 ? ANSWERED : WRONG;
}

static void *ask(void *arg)
{
    (void)arg;
    while (!is_over) {
        request_t request = {.fd = -1};
        outcome_t outcome = choose_and_send(&request);
        if (outcome == ANSWERED) {
            outcome = receive(&request);
        }
        if (request.fd >= 0) {
            close(request.fd);
        }
        outcomes[outcome]++;
    }
    return NULL;
}

/* ---- all of them ---- */

static void print_counts(void)
{
    for (size_t i = 0; i < OUTCOMES; i++) {
        printf("%s\"%s\":%lu", i ? "," : "{", outcome_names[i], outcomes[i]);
    }
    printf("}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS_MAX];
    size_t threads_n = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    if (threads_n < 1 || threads_n > THREADS_MAX) {
        fprintf(stderr, "usage: %s ENDPOINTS SERVICE THREADS\n", argv[0]);
        return 2;
    }
    quoral_client_t *client =
        quoral_client_new(&(quoral_client_options_t){.endpoints = argv[1]}, NULL);
    quoral_discovery_options_t options = {.on_event = on_event, .announce = true};
    discovery = client ? quoral_discovery_new(client, argv[2], &options) : NULL;
    if (!discovery || !quoral_discovery_wait(discovery, 1, ANSWER_S * 1000)) {
        fprintf(stderr, "service_client: no discovery\n");
        return 2;
    }
    for (size_t i = 0; i < threads_n; i++) {
        pthread_create(&threads[i], NULL, ask, NULL);
    }
    for (int c = getchar(); c != EOF; c = getchar()) {
        if (c == '\n') {
            print_counts();
        }
    }
    is_over = true;
    for (size_t i = 0; i < threads_n; i++) {
        pthread_join(threads[i], NULL);
    }
    print_counts();
    quoral_discovery_destroy(&discovery);
    quoral_client_destroy(&client);
    return 0;
}
