#include "actors/grpc_gateway/http1_parse.h"

#include <stdlib.h>

#include "messages/limits.h"

/* ---- lines and words ---- */

/* Takes a line without its end; both CRLF and LF end one. False = there is no whole line. */
static bool take_line(slice_t *rest, slice_t *line)
{
    const uint8_t *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    if (!end) {
        return false;
    }
    size_t len = (size_t)(end - rest->data);
    *line = slice(rest->data, len > 0 && rest->data[len - 1] == '\r' ? len - 1 : len);
    *rest = slice(end + 1, rest->len - len - 1);
    return true;
}

static bool is_token_char(uint8_t c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(slice_t text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_token_char(text.data[i])) {
            return false;
        }
    }
    return text.len > 0;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* `word` is in lower case. */
static bool is_word(slice_t text, const char *word)
{
    if (text.len != strlen(word)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (lower(text.data[i]) != (uint8_t)word[i]) {
            return false;
        }
    }
    return true;
}

static slice_t trim(slice_t text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = slice(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

/* Takes the next item off a comma-separated list. False = there is none left. */
static bool take_item(slice_t *list, slice_t *item)
{
    if (list->len == 0) {
        return false;
    }
    const uint8_t *comma = memchr(list->data, ',', list->len);
    size_t len = comma ? (size_t)(comma - list->data) : list->len;
    *item = trim(slice(list->data, len));
    len += comma != NULL;
    *list = slice(list->data + len, list->len - len);
    return true;
}

/* Is `word` one of a comma-separated list? */
static bool list_has(slice_t list, const char *word)
{
    slice_t item;
    while (take_item(&list, &item)) {
        if (is_word(item, word)) {
            return true;
        }
    }
    return false;
}

/* ---- the request line ---- */

static int parse_request_line(slice_t line, http1_request_t *request)
{
    const uint8_t *first = line.len ? memchr(line.data, ' ', line.len) : NULL;
    if (!first) {
        return 400;
    }
    size_t method_len = (size_t)(first - line.data);
    slice_t rest = slice(first + 1, line.len - method_len - 1);
    const uint8_t *second = rest.len ? memchr(rest.data, ' ', rest.len) : NULL;
    if (!second) {
        return 400;
    }
    request->method = slice(line.data, method_len);
    request->target = slice(rest.data, (size_t)(second - rest.data));
    slice_t version = slice(second + 1, rest.len - request->target.len - 1);
    if (!is_token(request->method) || request->target.len == 0) {
        return 400;
    }
    for (size_t i = 0; i < request->target.len; i++) {
        if (request->target.data[i] <= ' ' || request->target.data[i] == 0x7f) {
            return 400;
        }
    }
    if (!slice_starts_with(version, slice_str("HTTP/"))) {
        return 400;
    }
    request->minor = slice_equal(version, slice_str("HTTP/1.1"));
    request->is_head = slice_equal(request->method, slice_str("HEAD"));
    return request->minor || slice_equal(version, slice_str("HTTP/1.0")) ? 0 : 505;
}

/* ---- header fields ---- */

typedef struct {
    bool host, close, keep_alive, length, coding;
    int gzip, identity; /* how much they are wanted, in thousandths; -1 = not mentioned */
} seen_t;

/* RFC 9110 section 12.4.2: "0" to "1" with up to three decimals, in thousandths; -1 = it is not. */
static int parse_quality(slice_t text)
{
    int value = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (i == 1 ? c != '.' : c < '0' || c > '9') {
            return -1;
        }
        value = i == 1 ? value : value * 10 + (c - '0');
    }
    if (text.len == 0 || text.len > 5) {
        return -1;
    }
    for (size_t i = text.len < 2 ? 2 : text.len; i < 5; i++) {
        value *= 10;
    }
    return value <= 1000 ? value : -1;
}

/* One coding of Accept-Encoding with its weight, "gzip;q=0.5". Malformed ones are passed over. */
static void accept_coding(slice_t item, seen_t *seen)
{
    int quality = 1000;
    const uint8_t *end = item.len ? memchr(item.data, ';', item.len) : NULL;
    if (end) {
        slice_t weight = trim(slice(end + 1, item.len - (size_t)(end + 1 - item.data)));
        item.len = (size_t)(end - item.data);
        bool is_weight = weight.len > 2 && lower(weight.data[0]) == 'q' && weight.data[1] == '=';
        quality = is_weight ? parse_quality(slice(weight.data + 2, weight.len - 2)) : -1;
    }
    slice_t coding = trim(item);
    bool any = slice_equal(coding, slice_str("*"));
    if ((any || is_word(coding, "gzip")) && quality > seen->gzip) {
        seen->gzip = quality;
    }
    if ((any || is_word(coding, "identity")) && quality > seen->identity) {
        seen->identity = quality;
    }
}

static void accept_codings(slice_t list, seen_t *seen)
{
    slice_t item;
    while (take_item(&list, &item)) {
        accept_coding(item, seen);
    }
}

static int parse_length(slice_t value, http1_request_t *request, seen_t *seen)
{
    uint64_t length = 0;
    if (value.len == 0 || value.len > 18) {
        return 400;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') {
            return 400;
        }
        length = length * 10 + (uint64_t)(value.data[i] - '0');
    }
    if (seen->length && length != request->body_bytes) {
        return 400;
    }
    seen->length = true;
    request->body_bytes = length;
    return 0;
}

static int on_field(slice_t name, slice_t value, http1_request_t *request, seen_t *seen)
{
    if (is_word(name, "host")) {
        bool again = seen->host;
        seen->host = true;
        return again ? 400 : 0;
    }
    if (is_word(name, "connection")) {
        seen->close = seen->close || list_has(value, "close");
        seen->keep_alive = seen->keep_alive || list_has(value, "keep-alive");
    } else if (is_word(name, "content-length")) {
        return parse_length(value, request, seen);
    } else if (is_word(name, "transfer-encoding")) {
        bool again = seen->coding;
        seen->coding = true;
        request->chunked = is_word(value, "chunked");
        return !again && request->chunked ? 0 : 501;
    } else if (is_word(name, "accept-encoding")) {
        accept_codings(value, seen);
    } else if (is_word(name, "expect")) {
        request->expect_continue = is_word(value, "100-continue");
    }
    return 0;
}

static int parse_field(slice_t line, http1_request_t *request, seen_t *seen)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (!colon) {
        return 400;
    }
    slice_t name = slice(line.data, (size_t)(colon - line.data));
    slice_t value = trim(slice(colon + 1, line.len - name.len - 1));
    if (!is_token(name)) {
        return 400;
    }
    for (size_t i = 0; i < value.len; i++) {
        if ((value.data[i] < ' ' && value.data[i] != '\t') || value.data[i] == 0x7f) {
            return 400;
        }
    }
    return on_field(name, value, request, seen);
}

/* HTTP1_MORE when the empty line has not come yet. */
static int parse_fields(slice_t *rest, http1_request_t *request, seen_t *seen)
{
    slice_t line;
    for (unsigned count = 0; take_line(rest, &line); count++) {
        if (line.len == 0) {
            return 0;
        }
        if (count == LIMIT_HEADERS) {
            return 431;
        }
        int status = parse_field(line, request, seen);
        if (status != 0) {
            return status;
        }
    }
    return HTTP1_MORE;
}

int http1_parse(slice_t input, http1_request_t *request, size_t *used)
{
    *request = (http1_request_t){0};
    seen_t seen = {.gzip = -1, .identity = -1};
    slice_t rest = input;
    slice_t line;
    int incomplete = input.len > LIMIT_HEADER_LIST_BYTES ? 431 : HTTP1_MORE;
    if (!take_line(&rest, &line)) {
        return incomplete;
    }
    if (line.len == 0 && !take_line(&rest, &line)) {
        return incomplete; /* one empty line before a request is forgiven (RFC 9112 section 2.2) */
    }
    int status = parse_request_line(line, request);
    if (status == 0) {
        status = parse_fields(&rest, request, &seen);
    }
    if (status != 0) {
        return status == HTTP1_MORE ? incomplete : status;
    }
    *used = input.len - rest.len;
    if (*used > LIMIT_HEADER_LIST_BYTES) {
        return 431;
    }
    if ((request->minor && !seen.host) || (seen.coding && (seen.length || !request->minor))) {
        return 400;
    }
    request->accepts_gzip = seen.gzip > 0 && seen.gzip > seen.identity;
    request->keep_alive = request->minor ? !seen.close : seen.keep_alive && !seen.close;
    return 0;
}

/* ---- targets ---- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(slice_t text, bool plus_is_blank, buf_t *out)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        buf_byte(out, c);
    }
    return true;
}

bool http1_target(slice_t target, buf_t *path, slice_t *query)
{
    slice_t scheme = slice_str("http://");
    buf_clear(path);
    *query = slice(NULL, 0);
    if (slice_starts_with(target, scheme)) {
        target = slice(target.data + scheme.len, target.len - scheme.len);
        const uint8_t *root = target.len ? memchr(target.data, '/', target.len) : NULL;
        target = root ? slice(root, target.len - (size_t)(root - target.data)) : slice_str("/");
    }
    const uint8_t *mark = target.len ? memchr(target.data, '?', target.len) : NULL;
    slice_t raw = mark ? slice(target.data, (size_t)(mark - target.data)) : target;
    if (mark) {
        *query = slice(mark + 1, target.len - raw.len - 1);
    }
    bool rooted = raw.len > 0 && (raw.data[0] == '/' || slice_equal(raw, slice_str("*")));
    return rooted && decode(raw, false, path);
}

bool http1_query_next(slice_t *rest, buf_t *key, buf_t *value)
{
    while (rest->len > 0) {
        const uint8_t *end = memchr(rest->data, '&', rest->len);
        size_t len = end ? (size_t)(end - rest->data) : rest->len;
        slice_t pair = slice(rest->data, len);
        len += end != NULL;
        *rest = slice(rest->data + len, rest->len - len);
        if (pair.len == 0 || memchr(pair.data, ';', pair.len)) {
            continue;
        }
        const uint8_t *equals = memchr(pair.data, '=', pair.len);
        size_t key_len = equals ? (size_t)(equals - pair.data) : pair.len;
        size_t skip = key_len + (equals != NULL);
        buf_clear(key);
        buf_clear(value);
        if (decode(slice(pair.data, key_len), true, key) &&
            decode(slice(pair.data + skip, pair.len - skip), true, value)) {
            return true;
        }
    }
    return false;
}
