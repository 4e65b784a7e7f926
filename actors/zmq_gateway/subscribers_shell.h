/* subscribers_shell: the connections of the publish socket without keys: listening sockets, epoll, what sockets give
 * and take. What is said is `subscribers`' business. Owned by the native gateway's shell, on its thread.
 *
 * Its turns are short: so many reads, so many writes, then the gateway's other work has its turn. */
#pragma once

#include "actors/curve/handshakes_shell.h"
#include "actors/zmq_gateway/subscribers.h"

typedef struct subscribers_shell subscribers_shell_t;

/* `handshakes` (borrowed) is told of who comes with CURVE. Aborts without descriptors, as at every start. */
subscribers_shell_t *subscribers_shell_new(const subscribers_sink_t *sink, metrics_t *metrics,
                                           handshakes_t *handshakes);
/* Gives the connections what they take at once, and closes them. Nulls the pointer; accepts NULL. */
void subscribers_shell_destroy(subscribers_shell_t **self_p);

/* Takes a listening stream socket: a socket file, or TCP. */
void subscribers_shell_listen(subscribers_shell_t *self, int fd);
void subscribers_shell_publish(subscribers_shell_t *self, const slice_t *frames, size_t count);

/* Takes what is there, new connections too; never waits. */
void subscribers_shell_receive(subscribers_shell_t *self, uint64_t now_us);
/* Sends a part of what there is; true = there is more. */
bool subscribers_shell_send(subscribers_shell_t *self);
/* Readable when there is something to receive, or a connection takes more. */
int subscribers_shell_fd(const subscribers_shell_t *self);
uint64_t subscribers_shell_deadline(const subscribers_shell_t *self);
