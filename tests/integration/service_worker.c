/* An instance of a service as a careful program writes it: answers requests over TCP, one per connection, and leaves on
 * SIGTERM without failing any. For services.py.
 *
 *   service_worker INSTANCE PORT [ENDPOINTS SERVICE]   registers itself and drains; or leaves that to
 *                                                      `quoralctl service run`, and SIGTERM says that it is drained
 *   service_worker check PORT                          ends with 0 if one listens there: a health check
 *
 * A request is a line "NUMBER MILLISECONDS"; the answer, after that time, is "INSTANCE NUMBER". Once nobody chooses
 * this instance any more, every request that there will be has a connection, if only in the queue of the kernel: those
 * are answered, then it ends. */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <quoral.h>

enum { CONNECTIONS_MAX = 512, LINE_MAX_BYTES = 64, DRAIN_MS = 60000, MS_PER_S = 1000 };

typedef struct {
    int fd;
    char line[LINE_MAX_BYTES];
    size_t len;
    bool is_asked; /* the whole request is there */
    bool is_answered;
    int64_t due_ms;
} connection_t;

typedef struct {
    const char *instance;
    int listener; /* -1: nobody may come any more */
    int gone_fd;  /* readable: nobody chooses this instance any more */
    connection_t connections[CONNECTIONS_MAX];
    size_t n;
    unsigned long answered;
} worker_t;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * MS_PER_S + now.tv_nsec / 1000000;
}

static struct sockaddr_in address_of(const char *port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int check(const char *port)
{
    struct sockaddr_in address = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof address) != 0;
}

static int listen_on(const char *port)
{
    struct sockaddr_in address = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, SOMAXCONN) != 0) {
        perror("service_worker: listen");
        exit(2);
    }
    return fd;
}

/* ---- requests ---- */

static void accept_all(worker_t *self)
{
    int fd = -1;
    while (self->n < CONNECTIONS_MAX &&
           (fd = accept4(self->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        self->connections[self->n++] = (connection_t){.fd = fd};
    }
}

/* False: the other side has closed it. */
static bool receive(connection_t *connection)
{
    char *end = connection->line + connection->len;
    ssize_t got = recv(connection->fd, end, LINE_MAX_BYTES - 1 - connection->len, 0);
    if (got <= 0) {
        return false;
    }
    connection->len += (size_t)got;
    unsigned long number = 0;
    unsigned work_ms = 0;
    if (!connection->is_asked && memchr(connection->line, '\n', connection->len)) {
        if (sscanf(connection->line, "%lu %u", &number, &work_ms) != 2) {
            return false;
        }
        connection->is_asked = true;
        connection->due_ms = now_ms() + work_ms;
    }
    return true;
}

static void answer_due(worker_t *self)
{
    for (size_t i = 0; i < self->n; i++) {
        connection_t *connection = &self->connections[i];
        if (connection->is_asked && !connection->is_answered && now_ms() >= connection->due_ms) {
            connection->is_answered = true;
            dprintf(connection->fd, "%s %lu\n", self->instance,
                    strtoul(connection->line, NULL, 10));
            self->answered++;
        }
    }
}

/* ---- the loop ---- */

static int wait_ms(const worker_t *self)
{
    int64_t wait = MS_PER_S;
    for (size_t i = 0; i < self->n; i++) {
        const connection_t *connection = &self->connections[i];
        int64_t left = connection->due_ms - now_ms();
        if (connection->is_asked && !connection->is_answered && left < wait) {
            wait = left > 0 ? left : 0;
        }
    }
    return (int)wait;
}

/* One wait, and what came of it. Returns whether it is gone, as gone_fd says. */
static bool turn(worker_t *self)
{
    struct pollfd items[2 + CONNECTIONS_MAX] = {{.fd = self->listener, .events = POLLIN},
                                                {.fd = self->gone_fd, .events = POLLIN}};
    size_t n = self->n;
    for (size_t i = 0; i < n; i++) {
        items[2 + i] = (struct pollfd){.fd = self->connections[i].fd, .events = POLLIN};
    }
    poll(items, 2 + n, wait_ms(self));
    for (size_t i = n; i-- > 0;) {
        if (items[2 + i].revents && !receive(&self->connections[i])) {
            close(self->connections[i].fd);
            self->connections[i] = self->connections[--self->n];
        }
    }
    if (items[0].revents) {
        accept_all(self);
    }
    answer_due(self);
    return items[1].revents != 0;
}

static void serve(worker_t *self)
{
    while (!turn(self)) {
    }
    accept_all(self); /* what is in the queue has been chosen before */
    close(self->listener);
    self->listener = -1;
    self->gone_fd = -1;
    while (self->n > 0) {
        turn(self);
    }
}

/* ---- the service ---- */

static void on_state(void *arg, quoral_service_t *service, quoral_service_state_t state)
{
    (void)service;
    if (state == QUORAL_SERVICE_GONE) {
        eventfd_write(*(int *)arg, 1);
    }
}

/* Drains when SIGTERM comes; the loop goes on meanwhile. */
static void *drain_on_signal(void *arg)
{
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    int number = 0;
    sigwait(&term, &number);
    quoral_service_drain(arg, DRAIN_MS);
    return NULL;
}

static void serve_registered(worker_t *self, const char *port, char *const *names)
{
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%s", port);
    int gone_fd = eventfd(0, EFD_CLOEXEC);
    self->gone_fd = gone_fd;
    quoral_client_t *client =
        quoral_client_new(&(quoral_client_options_t){.endpoints = names[0]}, NULL);
    quoral_service_options_t options = {.name = names[1],
                                        .instance = self->instance,
                                        .address = address,
                                        .ttl_s = 5,
                                        .on_state = on_state,
                                        .arg = &gone_fd};
    quoral_service_t *service = client ? quoral_service_new(client, &options) : NULL;
    if (!service) {
        fprintf(stderr, "service_worker: no such service\n");
        exit(2);
    }
    pthread_t drainer;
    pthread_create(&drainer, NULL, drain_on_signal, service);
    serve(self);
    pthread_join(drainer, NULL);
    quoral_service_destroy(&service);
    quoral_client_destroy(&client);
    close(gone_fd);
}

int main(int argc, char **argv)
{
    static worker_t worker;
    if (argc == 3 && strcmp(argv[1], "check") == 0) {
        return check(argv[2]);
    }
    if (argc != 3 && argc != 5) {
        fprintf(stderr, "usage: %s INSTANCE PORT [ENDPOINTS SERVICE]\n", argv[0]);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves none behind */
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL); /* before there is a thread */
    signal(SIGPIPE, SIG_IGN);
    worker.instance = argv[1];
    worker.listener = listen_on(argv[2]);
    if (argc == 5) {
        serve_registered(&worker, argv[2], argv + 3);
    } else {
        worker.gone_fd = signalfd(-1, &term, SFD_CLOEXEC);
        serve(&worker);
    }
    printf("answered %lu\n", worker.answered);
    return 0;
}
