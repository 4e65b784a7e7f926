/* Spreads tasks over the workers of a service, over ZeroMQ, and gets each task done whatever happens to them:
 *   example_task_dispatcher tcp://10.0.0.1:2381,tcp://10.0.0.2:2381 tasks 100
 * makes 100 tasks per second for workers like example_task_worker, until SIGTERM or SIGINT; then it waits for the last
 * answers, and ends with 0 if every task was answered, and rightly.
 *
 * At least once: a task goes to one worker. If that vanishes, refuses it or does not answer in time, another one gets
 * it. So a task may be done twice; the answer that comes second is known by its id, and dropped.
 *
 * Never to one that drains: libquoral tells the worker that this program knows when `on_event` and `on_revision` have
 * returned. From then on the worker may go. So tasks are sent under the lock that `on_event` takes. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <quoral.h>
#include <zmq.h>

#define S_US 1000000u

enum {
    OPEN_MAX = 10000, /* tasks made and not done; no more are made then */
    ON_WAY_MAX = 4,   /* tasks at a worker: enough that it need not wait for the next one */
    ANSWER_US = 2000000,
    REST_US = 100000, /* between two tries to send to a worker that is not connected */
    FINISH_US = 8000000,
    WAIT_MS = 20,
    TEXT_MAX = 64
};

typedef struct worker {
    struct worker *next;
    char *name;
    char *address;
    quoral_instance_state_t state;
    bool is_gone;
    void *socket; /* NULL: not connected yet */
    size_t on_way;
    uint64_t sent;
    uint64_t rests_until_us; /* is given nothing before: it is late, or could not be reached */
} worker_t;

typedef struct {
    uint64_t id;
    worker_t *worker; /* who has it; NULL: nobody */
    uint64_t due_us;  /* then another one gets it */
} task_t;

typedef struct {
    pthread_mutex_t lock; /* over the workers, and whatever is sent */
    worker_t *workers;
    void *context;
    task_t tasks[OPEN_MAX]; /* in the order of their ids */
    size_t open;
    uint64_t period_us; /* between two tasks */
    uint64_t next_us;
    bool is_finishing;
    uint64_t made, done, repeated, duplicates, refused, wrong;
} dispatcher_t;

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * S_US + (uint64_t)now.tv_nsec / 1000;
}

/* ---- what the discovery tells; on the client's thread ---- */

static worker_t *find_worker(dispatcher_t *self, const char *name)
{
    worker_t *worker = self->workers;
    while (worker && (worker->is_gone || strcmp(worker->name, name) != 0)) {
        worker = worker->next;
    }
    return worker;
}

static worker_t *add_worker(dispatcher_t *self, const quoral_instance_t *instance)
{
    worker_t *worker = calloc(1, sizeof *worker);
    char *name = strdup(instance->name);
    char *address = strdup(instance->address);
    if (!worker || !name || !address) {
        abort();
    }
    *worker = (worker_t){
        .next = self->workers, .name = name, .address = address, .state = QUORAL_UNREADY};
    self->workers = worker;
    return worker;
}

static void on_event(void *arg, quoral_discovery_t *discovery, quoral_event_t event,
                     const quoral_instance_t *instance)
{
    static const char *const states[] = {"ready", "unready", "draining"};
    dispatcher_t *self = arg;
    (void)discovery;
    pthread_mutex_lock(&self->lock);
    worker_t *worker = find_worker(self, instance->name);
    if (worker && (event == QUORAL_REMOVED || strcmp(worker->address, instance->address) != 0)) {
        worker->is_gone = true;
        printf("%s gone, %" PRIu64 " sent\n", worker->name, worker->sent);
        worker = NULL;
    }
    if (event != QUORAL_REMOVED) {
        worker = worker ? worker : add_worker(self, instance);
        worker->state = instance->weight > 0 ? instance->state : QUORAL_UNREADY;
        printf("%s %s at %s, %" PRIu64 " sent\n", worker->name, states[worker->state],
               worker->address, worker->sent);
    }
    pthread_mutex_unlock(&self->lock);
}

static void on_stale(void *arg, quoral_discovery_t *discovery, bool stale)
{
    (void)arg;
    printf("%s revision %" PRId64 "\n", stale ? "stale, going on with" : "fresh at",
           quoral_discovery_revision(discovery));
}

/* ---- workers ---- */

static void connect_worker(dispatcher_t *self, worker_t *worker)
{
    int immediate = 1; /* nothing waits for a connection: another worker may be there */
    int linger_ms = 0;
    worker->socket = zmq_socket(self->context, ZMQ_DEALER);
    zmq_setsockopt(worker->socket, ZMQ_IMMEDIATE, &immediate, sizeof immediate);
    zmq_setsockopt(worker->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (zmq_connect(worker->socket, worker->address) != 0) {
        printf("%s: %s: %s\n", worker->name, worker->address, zmq_strerror(errno));
    }
}

/* Nobody has the task any more, and nobody has done it. */
static void release(dispatcher_t *self, task_t *task)
{
    task->worker->on_way--;
    task->worker = NULL;
    self->repeated++;
}

static void release_all(dispatcher_t *self, const worker_t *worker)
{
    for (size_t i = 0; i < self->open; i++) {
        if (self->tasks[i].worker == worker) {
            release(self, &self->tasks[i]);
        }
    }
}

static void remove_worker(worker_t **worker_p)
{
    worker_t *worker = *worker_p;
    *worker_p = worker->next;
    if (worker->socket) {
        zmq_close(worker->socket);
    }
    free(worker->name);
    free(worker->address);
    free(worker);
}

/* Connects those that have come. Of those that are gone, one that had drained still answers what it was given. */
static void tend_workers(dispatcher_t *self)
{
    for (worker_t **worker_p = &self->workers; *worker_p;) {
        worker_t *worker = *worker_p;
        if (!worker->socket) {
            connect_worker(self, worker);
        }
        if (worker->is_gone && worker->state != QUORAL_DRAINING) {
            release_all(self, worker);
        }
        if (worker->is_gone && worker->on_way == 0) {
            remove_worker(worker_p);
        } else {
            worker_p = &worker->next;
        }
    }
}

/* Who is given the next task: the one with the fewest. NULL: all have enough. */
static worker_t *choose(const dispatcher_t *self, uint64_t now)
{
    worker_t *chosen = NULL;
    for (worker_t *worker = self->workers; worker; worker = worker->next) {
        bool may_be = !worker->is_gone && worker->socket && worker->state == QUORAL_READY &&
                      worker->on_way < ON_WAY_MAX && now >= worker->rests_until_us;
        if (may_be && (!chosen || worker->on_way < chosen->on_way ||
                       (worker->on_way == chosen->on_way && worker->sent < chosen->sent))) {
            chosen = worker;
        }
    }
    return chosen;
}

/* ---- tasks ---- */

static void make_tasks(dispatcher_t *self, uint64_t now)
{
    for (; self->next_us <= now; self->next_us += self->period_us) {
        if (self->open < OPEN_MAX && !self->is_finishing) {
            self->tasks[self->open++] = (task_t){.id = ++self->made};
        }
    }
}

static void repeat_late(dispatcher_t *self, uint64_t now)
{
    for (size_t i = 0; i < self->open; i++) {
        task_t *task = &self->tasks[i];
        if (task->worker && now >= task->due_us) {
            task->worker->rests_until_us = now + ANSWER_US;
            release(self, task);
        }
    }
}

static void give(worker_t *worker, task_t *task, uint64_t now)
{
    char text[TEXT_MAX];
    int len = snprintf(text, sizeof text, "%" PRIu64, task->id);
    if (zmq_send(worker->socket, text, (size_t)len, ZMQ_DONTWAIT) < 0) {
        worker->rests_until_us = now + REST_US;
        return;
    }
    task->worker = worker;
    task->due_us = now + ANSWER_US;
    worker->on_way++;
    worker->sent++;
}

/* The oldest first. */
static void give_out(dispatcher_t *self, uint64_t now)
{
    worker_t *worker = choose(self, now);
    for (size_t i = 0; i < self->open && worker; i++) {
        while (!self->tasks[i].worker && worker) {
            give(worker, &self->tasks[i], now);
            worker = choose(self, now);
        }
    }
}

static int compare_ids(const void *id, const void *task)
{
    uint64_t a = *(const uint64_t *)id;
    uint64_t b = ((const task_t *)task)->id;
    return a < b ? -1 : a > b;
}

static void finish(dispatcher_t *self, task_t *task)
{
    if (task->worker) {
        task->worker->on_way--;
    }
    size_t at = (size_t)(task - self->tasks);
    memmove(task, task + 1, (self->open - at - 1) * sizeof *task);
    self->open--;
    self->done++;
}

/* `worker` may have been given up meanwhile, and another one have the task. */
static void on_answer(dispatcher_t *self, worker_t *worker, const char *text)
{
    uint64_t id = 0;
    uint64_t square = 0;
    char word[16] = "";
    int fields = sscanf(text, "%" SCNu64 " %15s %" SCNu64, &id, word, &square);
    task_t *task = bsearch(&id, self->tasks, self->open, sizeof *task, compare_ids);
    worker->rests_until_us = 0;
    if (fields == 3 && strcmp(word, "done") == 0 && square == id * id) {
        if (task) {
            finish(self, task);
        } else {
            self->duplicates++;
        }
    } else if (fields == 2 && strcmp(word, "refused") == 0) {
        self->refused++;
        if (task && task->worker == worker) {
            release(self, task);
        }
    } else {
        self->wrong++;
        printf("%s answers: %s\n", worker->name, text);
    }
}

static void take_answers(dispatcher_t *self)
{
    for (worker_t *worker = self->workers; worker; worker = worker->next) {
        char text[TEXT_MAX];
        int len = 0;
        while (worker->socket &&
               (len = zmq_recv(worker->socket, text, sizeof text - 1, ZMQ_DONTWAIT)) >= 0) {
            text[len < TEXT_MAX ? len : TEXT_MAX - 1] = '\0';
            on_answer(self, worker, text);
        }
    }
}

/* ---- the loop ---- */

static void report(dispatcher_t *self, quoral_discovery_t *discovery)
{
    printf("made %" PRIu64 ", done %" PRIu64 ", open %zu, repeated %" PRIu64 ", duplicates %" PRIu64
           ", refused %" PRIu64 ", wrong %" PRIu64 "; revision %" PRId64 ":",
           self->made, self->done, self->open, self->repeated, self->duplicates, self->refused,
           self->wrong, quoral_discovery_revision(discovery));
    for (const worker_t *worker = self->workers; worker; worker = worker->next) {
        printf(" %s %" PRIu64, worker->name, worker->sent);
    }
    printf("\n");
}

/* Until an answer or a signal comes, or the next task is due; true: it was a signal. */
static bool wait_for_something(dispatcher_t *self, int signals, long wait_ms)
{
    size_t n = 1;
    for (const worker_t *worker = self->workers; worker; worker = worker->next) {
        n++;
    }
    zmq_pollitem_t *items = calloc(n, sizeof *items);
    if (!items) {
        abort();
    }
    items[0] = (zmq_pollitem_t){.fd = signals, .events = ZMQ_POLLIN};
    n = 1;
    for (const worker_t *worker = self->workers; worker; worker = worker->next) {
        if (worker->socket) {
            items[n++] = (zmq_pollitem_t){.socket = worker->socket, .events = ZMQ_POLLIN};
        }
    }
    pthread_mutex_unlock(&self->lock);
    zmq_poll(items, (int)n, wait_ms);
    pthread_mutex_lock(&self->lock);
    free(items);
    struct signalfd_siginfo signal_info;
    return read(signals, &signal_info, sizeof signal_info) > 0;
}

/* With the lock held, but for waiting. */
static void run(dispatcher_t *self, quoral_discovery_t *discovery, int signals)
{
    uint64_t report_us = now_us() + S_US;
    uint64_t end_us = UINT64_MAX;
    self->next_us = now_us();
    for (uint64_t now = now_us(); !self->is_finishing || (self->open > 0 && now < end_us);
         now = now_us()) {
        tend_workers(self);
        make_tasks(self, now);
        repeat_late(self, now);
        give_out(self, now);
        if (now >= report_us) {
            report(self, discovery);
            report_us += S_US;
        }
        uint64_t pause_ms = (self->next_us - now) / 1000 + 1;
        long wait_ms = pause_ms < WAIT_MS ? (long)pause_ms : WAIT_MS;
        if (wait_for_something(self, signals, wait_ms)) {
            end_us = self->is_finishing ? now : now + FINISH_US; /* a second one does not wait */
            self->is_finishing = true;
        }
        take_answers(self);
    }
}

int main(int argc, char **argv)
{
    uint64_t rate = argc == 4 ? strtoull(argv[3], NULL, 10) : 100;
    if (argc < 3 || argc > 4 || rate < 1 || rate > S_US) {
        fprintf(stderr, "usage: %s ENDPOINTS SERVICE [TASKS-PER-SECOND]\n", argv[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* before there are threads, which inherit it */
    int signals = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
    char *error = NULL;
    quoral_client_t *client =
        quoral_client_new(&(quoral_client_options_t){.endpoints = argv[1]}, &error);
    if (!client) {
        fprintf(stderr, "%s\n", error);
        free(error);
        return 2;
    }
    static dispatcher_t self = {.lock = PTHREAD_MUTEX_INITIALIZER};
    self.period_us = S_US / rate;
    self.context = zmq_ctx_new();
    quoral_discovery_options_t options = {
        .on_event = on_event, .on_stale = on_stale, .arg = &self, .announce = true};
    quoral_discovery_t *discovery = quoral_discovery_new(client, argv[2], &options);
    if (!discovery) {
        fprintf(stderr, "that cannot be the name of a service\n");
        return 2;
    }
    pthread_mutex_lock(&self.lock);
    run(&self, discovery, signals);
    report(&self, discovery);
    printf("lost %zu\n", self.open);
    pthread_mutex_unlock(&self.lock);
    quoral_discovery_destroy(&discovery);
    quoral_client_destroy(&client);
    while (self.workers) {
        remove_worker(&self.workers);
    }
    zmq_ctx_term(self.context);
    return self.done == self.made && self.wrong == 0 ? 0 : 1;
}
