/* cluster: what the commands about members and endpoints share. One per command line, as cli. */
#pragma once

#include "cli/cli.h"

/* The member list as the servers of cli->client know it. 0: *answer_p is the caller's;
 * 1: *error_p is a fresh text. */
int cluster_fetch_members(cli_t *cli, bool serializable,
                          Etcdserverpb__MemberListResponse **answer_p, char **error_p)
    __attribute__((warn_unused_result));

/* The endpoints that a command of the group `endpoint` asks one by one: those of --endpoints, or with
 * --cluster the client URLs of all members. 0 or an exit code; the error is printed. */
int cluster_endpoints(cli_t *cli, strings_t *list) __attribute__((warn_unused_result));

extern const command_t endpoint_health; /* a file of its own */
