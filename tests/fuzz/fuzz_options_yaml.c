/* Any bytes as a configuration file: accepted or refused with a reason, never a crash or a leak. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "actors/daemon/options.h"
#include "messages/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static slice_t input;

static char *read_input(const char *path, buf_t *content)
{
    (void)path;
    buf_append(content, input.data, input.len);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > LIMIT_CONFIG_FILE_BYTES) {
        return 0;
    }
    input = slice(data, len);
    char program[] = "quorald";
    char flag[] = "--config-file=input";
    char *argv[] = {program, flag, NULL};
    char *environment[] = {NULL};
    options_t options = {0};
    char *message = NULL;
    int code = options_parse(2, argv, environment, read_input, &options, &message);
    assert(code == 0 || code == 1);
    assert(!message);
    if (code == 0) {
        assert(options.name && options.data_dir && options.heartbeat_ms > 0);
        assert(options.listen_client.count > 0);
        bootstrap_t bootstrap;
        char *error = options_bootstrap(&options, &bootstrap);
        if (!error) {
            bytes_t *configuration = bootstrap_configuration(&bootstrap);
            assert(bytes_len(configuration) <= LIMIT_WAL_CONFIGURATION_BYTES);
            bytes_unref(&configuration);
        }
        bootstrap_deinit(&bootstrap);
        free(error);
    } else {
        assert(options.note_count > 0);
    }
    options_deinit(&options);
    return 0;
}
