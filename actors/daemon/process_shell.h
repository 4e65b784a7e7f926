/* process: what the kernel knows about this process, for the metrics page. */
#pragma once

#include "messages/buf.h"

/* process_* and os_fd_* as Prometheus text. A figure that /proc does not give is left out. */
void process_text(buf_t *out);
/* This process's command line as a JSON array of strings; empty if /proc does not give it. */
void process_command_json(buf_t *out);
/* How many files it may have open. */
uint64_t process_file_limit(void);
/* Gives the kernel back the pages of code and constants that only the start needed: most of what a node
 * that waits has mapped. What is still wanted is mapped again when it is touched, from the page cache.
 * Does nothing under a debugger, whose breakpoints live in such pages. */
void process_forget_start(void);
