/* Many services in one process, as a test of what keeps them registered. For services.py.
 *
 *   service_holder ENDPOINTS SERVICE NAME COUNT TTL_S     instances NAME-0, NAME-1, …, until its standard input ends */
#include <stdio.h>
#include <stdlib.h>

#include <quoral.h>

enum { SERVICES_MAX = 256, WAIT_MS = 20000 };

int main(int argc, char **argv)
{
    static quoral_service_t *services[SERVICES_MAX];
    size_t count = argc == 6 ? strtoul(argv[4], NULL, 10) : 0;
    if (count < 1 || count > SERVICES_MAX) {
        fprintf(stderr, "usage: %s ENDPOINTS SERVICE NAME COUNT TTL_S\n", argv[0]);
        return 2;
    }
    quoral_client_t *client =
        quoral_client_new(&(quoral_client_options_t){.endpoints = argv[1]}, NULL);
    for (size_t i = 0; client && i < count; i++) {
        char instance[64];
        snprintf(instance, sizeof instance, "%s-%zu", argv[3], i);
        services[i] = quoral_service_new(
            client, &(quoral_service_options_t){.name = argv[2],
                                                .instance = instance,
                                                .address = instance,
                                                .ttl_s = strtol(argv[5], NULL, 10)});
    }
    for (size_t i = 0; i < count; i++) {
        if (!services[i] || !quoral_service_wait(services[i], QUORAL_SERVICE_REGISTERED, WAIT_MS)) {
            fprintf(stderr, "service_holder: not registered\n");
            return 1;
        }
    }
    printf("registered\n");
    fflush(stdout);
    while (getchar() != EOF) {
    }
    unsigned long long again = 0;
    for (size_t i = 0; i < count; i++) {
        again += quoral_service_again(services[i]);
        quoral_service_destroy(&services[i]);
    }
    quoral_client_destroy(&client);
    printf("again %llu\n", again);
    return 0;
}
