/* scale: how much of a random test runs in this build. What has one thread alone shows ThreadSanitizer
 * nothing, and costs ten times as much there: an eighth keeps it compiled and running. */
#pragma once

#if defined(__SANITIZE_THREAD__)
#define SCALED(count) ((count) / 8)
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SCALED(count) ((count) / 8)
#endif
#endif
#ifndef SCALED
#define SCALED(count) (count)
#endif
