#include "tests/support/names.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <string.h>

typedef int lookup_t(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool is_asked, is_released;

static int wait_for_release(void)
{
    pthread_mutex_lock(&mutex);
    is_asked = true;
    while (!is_released) {
        pthread_cond_wait(&changed, &mutex);
    }
    pthread_mutex_unlock(&mutex);
    return EAI_NONAME;
}

bool names_asked(void)
{
    pthread_mutex_lock(&mutex);
    bool asked = is_asked;
    pthread_mutex_unlock(&mutex);
    return asked;
}

void names_release(void)
{
    pthread_mutex_lock(&mutex);
    is_released = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

/* Replaces the C library's. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    if (node && strcmp(node, "stuck.test") == 0) {
        return wait_for_release();
    }
    if (node && strcmp(node, "nobody.test") == 0) {
        return EAI_NONAME;
    }
    if (node && strcmp(node, "four.test") == 0) {
        node = "127.0.0.1";
    } else if (node && strcmp(node, "six.test") == 0) {
        node = "::1";
    }
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    lookup_t *next = NULL;
    memcpy(&next, &symbol, sizeof next); /* ISO C knows no cast between the two */
    return next(node, service, hints, found);
}
