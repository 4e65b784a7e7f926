#include "actors/runtime/mailbox.h"

#include <assert.h>
#include <czmq.h>

#include "messages/xalloc.h"

/* ThreadSanitizer does not see libzmq's lock-free hand-over; these two calls tell it. With them no
 * suppression is needed, and a real use after sending is still reported (style.md section 5). */
#if defined(__SANITIZE_THREAD__)
#define HAND_OVER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAND_OVER_TSAN 1
#endif
#endif
#ifdef HAND_OVER_TSAN
#include <sanitizer/tsan_interface.h>
#define hand_over_release(msg) __tsan_release(msg)
#define hand_over_acquire(msg) __tsan_acquire(msg)
#else
#define hand_over_release(msg) ((void)(msg))
#define hand_over_acquire(msg) ((void)(msg))
#endif

struct mailbox {
    zsock_t *socket;
    void *handle;
    int fd;
    zmq_msg_t frame;
    bool holding;
};

struct mailslot {
    zsock_t *socket;
    void *handle;
};

static zsock_t *unbounded(int type)
{
    zsock_t *socket = zsock_new(type);
    assert(socket);
    zsock_set_sndhwm(socket, 0);
    zsock_set_rcvhwm(socket, 0);
    zsock_set_linger(socket, 0);
    return socket;
}

mailbox_t *mailbox_new(const char *address)
{
    mailbox_t *self = xcalloc(1, sizeof *self);
    self->socket = unbounded(ZMQ_PULL);
    int rc = zsock_bind(self->socket, "%s", address);
    assert(rc == 0);
    (void)rc;
    self->handle = zsock_resolve(self->socket);
    self->fd = (int)zsock_fd(self->socket);
    return self;
}

void mailbox_destroy(mailbox_t **self_p)
{
    mailbox_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        mailbox_release(self);
        /* The close is libzmq's to finish; the address is free at once. */
        zsock_unbind(self->socket, "%s", zsock_endpoint(self->socket));
        zsock_destroy(&self->socket);
        free(self);
    }
}

mailslot_t *mailslot_new(const char *address)
{
    mailslot_t *self = xcalloc(1, sizeof *self);
    self->socket = unbounded(ZMQ_PUSH);
    int rc = zsock_connect(self->socket, "%s", address);
    assert(rc == 0);
    (void)rc;
    self->handle = zsock_resolve(self->socket);
    return self;
}

void mailslot_destroy(mailslot_t **self_p)
{
    mailslot_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        zsock_destroy(&self->socket);
        free(self);
    }
}

/* Runs on whichever thread drops the last hold; it may only free. */
static void free_message(void *data, void *hint)
{
    (void)hint;
    msg_t *msg = data;
    hand_over_acquire(msg);
    msg_free(&msg);
}

void mailslot_send(mailslot_t *self, msg_t **msg_p)
{
    msg_t *msg = *msg_p;
    *msg_p = NULL;
    zmq_msg_t frame;
    int rc = zmq_msg_init_data(&frame, msg, sizeof *msg, free_message, NULL);
    assert(rc == 0);
    hand_over_release(msg); /* last before the send: covers what libzmq has just allocated, too */
    rc = zmq_msg_send(&frame, self->handle, ZMQ_DONTWAIT);
    if (rc < 0) {
        zmq_msg_close(&frame); /* only while the context ends; frees the message */
    }
}

msg_t *mailbox_receive(mailbox_t *self)
{
    mailbox_release(self);
    zmq_msg_init(&self->frame);
    if (zmq_msg_recv(&self->frame, self->handle, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&self->frame);
        return NULL;
    }
    self->holding = true;
    msg_t *msg = zmq_msg_data(&self->frame);
    hand_over_acquire(msg);
    return msg;
}

void mailbox_release(mailbox_t *self)
{
    if (self->holding) {
        hand_over_release(zmq_msg_data(&self->frame));
        zmq_msg_close(&self->frame);
        self->holding = false;
    }
}

int mailbox_fd(const mailbox_t *self)
{
    return self->fd;
}
