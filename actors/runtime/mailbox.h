/* mailbox: the only place where messages change hands between threads, by reference over ZeroMQ
 * inproc sockets. High-water marks are off: the credits of the wiring table are the bound. */
#pragma once

#include "messages/msg.h"

typedef struct mailbox mailbox_t;   /* a bound PULL socket; one reader */
typedef struct mailslot mailslot_t; /* a connected PUSH socket; one writer */

/* Both are made by main before the threads start, then used by one thread each. Aborts if the
 * address is taken (a bug). */
mailbox_t *mailbox_new(const char *address);
void mailbox_destroy(mailbox_t **self_p); /* its address may be bound again when it returns */
mailslot_t *mailslot_new(const char *address);
void mailslot_destroy(mailslot_t **self_p);

/* Takes the message and nulls the pointer; never blocks. */
void mailslot_send(mailslot_t *self, msg_t **msg_p);
/* The next message, or NULL. Borrowed until mailbox_release, which frees what was not moved out. */
msg_t *mailbox_receive(mailbox_t *self);
void mailbox_release(mailbox_t *self);

/* Readable when there may be a message, but only after mailbox_receive has returned NULL: libzmq wakes
 * a reader that has seen its mailbox empty, and no other. */
int mailbox_fd(const mailbox_t *self);
