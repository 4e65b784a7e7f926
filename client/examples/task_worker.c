/* A worker that speaks plain ZeroMQ and knows nothing of Quoral. What it takes to be found is around it:
 *   quoralctl service run --name tasks --addr tcp://10.0.0.7:5555 -- example_task_worker tcp://10.0.0.7:5555
 * A task is a frame with a number, "17"; its answer is "17 done 289", the square. A task takes 10 ms, or as many as the
 * second argument says.
 *
 * The signal to end comes when nobody chooses this worker any more. It finishes what it has been given. Whatever
 * arrives later should not have been sent: it is refused, "17 refused", and counted. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>

#include <zmq.h>

enum { TASKS_MAX = 1000, WORK_MS = 10, REFUSE_MS = 500, LINGER_MS = 1000, TEXT_MAX = 64 };

typedef struct {
    char peer[256]; /* whom to answer: the first frame, added by the ROUTER */
    size_t peer_len;
    uint64_t number;
} task_t;

typedef struct {
    void *socket;
    task_t tasks[TASKS_MAX]; /* taken and not answered yet; a ring */
    size_t first;
    size_t n;
    uint64_t work_ms;
    bool is_leaving;
    uint64_t end_ms; /* then it ends, once it is leaving */
    uint64_t done;
    uint64_t refused;
} worker_t;

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void answer(worker_t *self, const task_t *task, const char *text)
{
    if (zmq_send(self->socket, task->peer, task->peer_len, ZMQ_SNDMORE) >= 0) {
        zmq_send(self->socket, text, strlen(text), 0);
    }
}

static bool has_more(void *socket)
{
    int more = 0;
    size_t size = sizeof more;
    return zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) == 0 && more;
}

/* The next message, if one is there: 0, 1: it is no task, -1: there is none. */
static int receive(void *socket, task_t *task)
{
    char text[TEXT_MAX];
    int peer_len = zmq_recv(socket, task->peer, sizeof task->peer, ZMQ_DONTWAIT);
    if (peer_len < 0) {
        return -1;
    }
    task->peer_len = (size_t)peer_len;
    bool is_task = false;
    for (int frame = 0; has_more(socket); frame++) {
        int len = zmq_recv(socket, text, sizeof text - 1, 0);
        char *end = text;
        if (len > 0 && len < TEXT_MAX) {
            text[len] = '\0';
            task->number = strtoull(text, &end, 10);
        }
        is_task = frame == 0 && end > text && *end == '\0';
    }
    return is_task ? 0 : 1;
}

/* Everything that has arrived. */
static void take(worker_t *self)
{
    task_t task;
    int rc = 0;
    while (self->n < TASKS_MAX && (rc = receive(self->socket, &task)) >= 0) {
        if (rc == 0 && self->is_leaving) {
            char text[TEXT_MAX];
            snprintf(text, sizeof text, "%" PRIu64 " refused", task.number);
            answer(self, &task, text);
            self->refused++;
        } else if (rc == 0) {
            self->tasks[(self->first + self->n++) % TASKS_MAX] = task;
        }
    }
}

static void work(worker_t *self)
{
    const task_t *task = &self->tasks[self->first];
    struct timespec pause = {.tv_sec = (time_t)(self->work_ms / 1000),
                             .tv_nsec = (long)(self->work_ms % 1000 * 1000000)};
    nanosleep(&pause, NULL);
    char text[TEXT_MAX];
    snprintf(text, sizeof text, "%" PRIu64 " done %" PRIu64, task->number,
             task->number * task->number);
    answer(self, task, text);
    self->first = (self->first + 1) % TASKS_MAX;
    self->n--;
    self->done++;
}

static void run(worker_t *self, int signals)
{
    while (self->n > 0 || !self->is_leaving || now_ms() < self->end_ms) {
        zmq_pollitem_t items[] = {{.socket = self->socket, .events = ZMQ_POLLIN},
                                  {.fd = signals, .events = ZMQ_POLLIN}};
        long wait_ms = self->n > 0 ? 0 : self->is_leaving ? REFUSE_MS / 10 : -1;
        zmq_poll(items, self->is_leaving ? 1 : 2, wait_ms);
        take(self); /* before the signal: what has arrived by now was sent in good time */
        if (!self->is_leaving && (items[1].revents & ZMQ_POLLIN)) {
            self->is_leaving = true;
            self->end_ms = now_ms() + REFUSE_MS;
        }
        if (self->n > 0) {
            work(self);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s ADDRESS [MILLISECONDS]\n", argv[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* before ZeroMQ's threads begin, which inherit it */
    int signals = signalfd(-1, &ends, SFD_CLOEXEC);

    static worker_t self = {.work_ms = WORK_MS};
    self.work_ms = argc == 3 ? strtoull(argv[2], NULL, 10) : WORK_MS;
    void *context = zmq_ctx_new();
    self.socket = zmq_socket(context, ZMQ_ROUTER);
    int linger_ms = LINGER_MS; /* for the last answers */
    zmq_setsockopt(self.socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (zmq_bind(self.socket, argv[1]) != 0) {
        fprintf(stderr, "%s: %s\n", argv[1], zmq_strerror(errno));
        return 1;
    }
    run(&self, signals);
    zmq_close(self.socket);
    zmq_ctx_term(context);
    printf("worker: %" PRIu64 " done, %" PRIu64 " refused\n", self.done, self.refused);
    return 0;
}
