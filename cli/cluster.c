#include "cli/cluster.h"

#include <stdlib.h>

int cluster_fetch_members(cli_t *cli, bool serializable,
                          Etcdserverpb__MemberListResponse **answer_p, char **error_p)
{
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    request.linearizable = !serializable;
    int rc = cli_call(cli->client, "/etcdserverpb.Cluster/MemberList", &request.base,
                      &etcdserverpb__member_list_response__descriptor, cli_command_timeout_ms(cli),
                      RETRY_REPEATABLE, &answer, error_p);
    *answer_p = (Etcdserverpb__MemberListResponse *)answer;
    return rc;
}

int cluster_endpoints(cli_t *cli, strings_t *list)
{
    const strings_t *given = flags_strings(&cli->flags, "endpoints");
    if (!flags_bool(&cli->flags, "cluster")) {
        for (size_t i = 0; i < given->n; i++) {
            strings_add(list, given->items[i]);
        }
        return 0;
    }
    int code = 0;
    cli->client = cli_new_client(cli, given->items, given->n, &code);
    if (cli->client == NULL) {
        return code;
    }
    Etcdserverpb__MemberListResponse *answer = NULL;
    char *error = NULL;
    if (cluster_fetch_members(cli, false, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_ERROR,
                        "failed to fetch endpoints from etcd cluster member list: %s", error);
        free(error);
        return code;
    }
    for (size_t i = 0; i < answer->n_members; i++) {
        for (size_t k = 0; k < answer->members[i]->n_clienturls; k++) {
            strings_add(list, answer->members[i]->clienturls[k]);
        }
    }
    etcdserverpb__member_list_response__free_unpacked(answer, NULL);
    return 0;
}
