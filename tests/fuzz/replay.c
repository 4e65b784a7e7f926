/* Runs a fuzz target without libFuzzer: over the files named on the command line, or else over a
 * fixed set of pseudo-random inputs. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/core/prng.h"
#include "messages/xalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { INPUTS = 3000, INPUT_BYTES_MAX = 600, FILE_BYTES_MAX = 1 << 20 };

static void run(const uint8_t *data, size_t len)
{
    uint8_t *exact = xmalloc(len ? len : 1); /* so that a sanitizer sees reading beyond the end */
    memcpy(exact, data, len);
    int rc = LLVMFuzzerTestOneInput(exact, len);
    assert(rc == 0);
    (void)rc;
    free(exact);
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    uint8_t *data = xmalloc(FILE_BYTES_MAX);
    size_t len = fread(data, 1, FILE_BYTES_MAX, file);
    fclose(file);
    run(data, len);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (run_file(argv[i]) != 0) {
            return 1;
        }
    }
    prng_t prng = {.state = 1};
    for (int i = 0; argc == 1 && i < INPUTS; i++) {
        uint8_t data[INPUT_BYTES_MAX];
        size_t len = prng_below(&prng, sizeof data);
        /* Half of them of small bytes, which commands and lengths are made of. */
        uint64_t bound = i % 2 ? 256 : 12;
        for (size_t at = 0; at < len; at++) {
            data[at] = (uint8_t)prng_below(&prng, bound);
        }
        run(data, len);
    }
    return 0;
}
