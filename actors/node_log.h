/* node_log: the write-ahead log at a start: found, or made for a new cluster, or made for joining one; and cut off from
 * all other members if that is asked for. Files and sockets; blocks main for a bounded time. */
#pragma once

#include "actors/curve/curve_shell.h"
#include "actors/daemon/log_shell.h"
#include "actors/daemon/options.h"
#include "store/wal_recover.h"

/* NULL = *recovered is what the log in `dir` says; else why the member cannot start, yours. wal_recovered_deinit in any
 * case. `curve`: of peers; NULL = without CURVE. */
char *node_log_open(const options_t *options, log_t *log, curve_domain_t *curve, const char *dir,
                    wal_recovered_t *recovered) __attribute__((warn_unused_result));
