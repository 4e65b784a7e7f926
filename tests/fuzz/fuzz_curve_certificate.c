/* Any bytes as a certificate file: a key or a reason, never a crash; what was read can be written and is read again as
 * the same. Half of the inputs stand inside a file that is nearly right. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "actors/curve/allowed_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(slice_t content)
{
    curve_certificate_t it;
    char *error = curve_certificate_parse(content, &it);
    if (!error && curve_value_is_writable(it.name) && curve_value_is_writable(it.peer_urls)) {
        buf_t out = {0};
        curve_certificate_t back;
        curve_certificate_print(&it, it.has_secret, &out);
        char *again = curve_certificate_parse(buf_slice(&out), &back);
        assert(!again);
        assert(memcmp(back.public_key, it.public_key, CURVE_KEY_BYTES) == 0);
        assert(memcmp(back.secret_key, it.secret_key, CURVE_KEY_BYTES) == 0);
        assert(strcmp(back.name, it.name) == 0 && strcmp(back.peer_urls, it.peer_urls) == 0);
        curve_certificate_deinit(&back);
        buf_deinit(&out);
    }
    free(error);
    curve_certificate_deinit(&it);
    allowed_keys_t keys = {0};
    error = allowed_keys_add(&keys, "file", content);
    assert(error || keys.count == 1);
    free(error);
    (void)allowed_keys_of_url(&keys, "http://a:1", 3);
    allowed_keys_deinit(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char head[] = "metadata\n    peer-urls = \"";
    static const char tail[] =
        "\"\ncurve\n    public-key = \"HelloWorldHelloWorldHelloWorldHelloWorld\"\n";
    check(slice(data, len));
    buf_t inside = {0};
    buf_append(&inside, head, sizeof head - 1);
    buf_append(&inside, data, len);
    buf_append(&inside, tail, sizeof tail - 1);
    check(buf_slice(&inside));
    buf_deinit(&inside);
    return 0;
}
