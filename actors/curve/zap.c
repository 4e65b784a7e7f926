#include "actors/curve/zap.h"

enum {
    FRAME_VERSION,
    FRAME_REQUEST_ID,
    FRAME_DOMAIN,
    FRAME_ADDRESS,
    FRAME_IDENTITY,
    FRAME_MECHANISM,
    FRAME_KEY,
    FRAMES
};

static bool is(slice_t frame, const char *text)
{
    return slice_equal(frame, slice_str(text));
}

static zap_answer_t end(zap_answer_t answer, const char *status, const char *text)
{
    answer.status = status;
    answer.text = text;
    return answer;
}

zap_answer_t zap_decide(const slice_t *frames, size_t count, const zap_domain_t *domains,
                        size_t domain_count)
{
    zap_answer_t answer = {.domain = -1};
    if (count > FRAME_REQUEST_ID) {
        answer.request_id = frames[FRAME_REQUEST_ID];
    }
    if (count < FRAME_KEY) {
        return end(answer, "500", "malformed request");
    }
    answer.address = frames[FRAME_ADDRESS];
    if (!is(frames[FRAME_VERSION], "1.0")) {
        return end(answer, "500", "unknown version");
    }
    for (size_t i = 0; i < domain_count; i++) {
        if (domains[i].name && is(frames[FRAME_DOMAIN], domains[i].name)) {
            answer.domain = (int)i;
        }
    }
    if (answer.domain < 0) {
        return end(answer, "400", "unknown domain");
    }
    if (!is(frames[FRAME_MECHANISM], "CURVE")) {
        return end(answer, "400", "only CURVE is let in");
    }
    if (count != FRAMES || frames[FRAME_KEY].len != CURVE_KEY_BYTES) {
        return end(answer, "400", "malformed key");
    }
    answer.key = frames[FRAME_KEY].data;
    answer.holder = allowed_keys_find(domains[answer.domain].keys, answer.key);
    return answer.holder ? end(answer, "200", "OK") : end(answer, "400", "key is not allowed");
}
