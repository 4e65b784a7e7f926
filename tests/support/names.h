/* names: what host names stand for, for the whole test program: its getaddrinfo takes the place of the C library's,
 * in ZeroMQ too. No name server is asked about these, so nothing depends on one:
 *   four.test, six.test   127.0.0.1, ::1
 *   nobody.test           nothing, at once
 *   stuck.test            no answer before names_release */
#pragma once

#include <stdbool.h>

/* Somebody waits for stuck.test, or has waited. */
bool names_asked(void);
/* stuck.test stands for nothing from now on. Before ZeroMQ is ended. */
void names_release(void);
