/* process: what the kernel knows about this process, for the metrics page. */
#pragma once

#include "messages/buf.h"

/* process_* and os_fd_* as Prometheus text. A figure that /proc does not give is left out. */
void process_text(buf_t *out);
