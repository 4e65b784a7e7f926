/* A worker: registered as long as it runs, asked for nothing more once it drains.
 *   example_worker tcp://127.0.0.1:2381 resize tcp://10.0.0.7:5555
 * On SIGTERM or SIGINT it drains, finishes and goes. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <quoral.h>

static void on_state(void *arg, quoral_service_t *service, quoral_service_state_t state)
{
    static const char *const names[] = {"waiting",  "pending", "registered", "taken",
                                        "draining", "leaving", "gone"};
    (void)arg;
    printf("%s %s\n", quoral_service_instance(service), names[state]);
}

static void on_log(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s ENDPOINTS SERVICE ADDRESS\n", argv[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigaddset(&end, SIGINT);
    sigprocmask(SIG_BLOCK, &end, NULL); /* before the client's thread begins, which inherits it */

    char *error = NULL;
    quoral_client_t *client = quoral_client_new(
        &(quoral_client_options_t){.endpoints = argv[1], .on_log = on_log}, &error);
    if (!client) {
        fprintf(stderr, "%s\n", error);
        free(error);
        return 2;
    }
    quoral_service_options_t options = {
        .name = argv[2], .address = argv[3], .ttl_s = 10, .on_state = on_state};
    quoral_service_t *service = quoral_service_new(client, &options);
    if (!service) {
        fprintf(stderr, "service or address cannot be used\n");
        return 2;
    }
    int signal_number = 0;
    sigwait(&end, &signal_number); /* here it would work */
    quoral_service_drain(service, 5000);
    quoral_service_wait(service, QUORAL_SERVICE_GONE,
                        10000); /* and here finish what it had begun */
    quoral_service_destroy(&service);
    quoral_client_destroy(&client);
    return 0;
}
