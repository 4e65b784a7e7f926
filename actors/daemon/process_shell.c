#include "actors/daemon/process_shell.h"

#include <dirent.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "actors/core/metrics_text.h"
#include "messages/json.h"

typedef struct {
    uint64_t cpu_us;
    uint64_t start_us; /* since the epoch */
    uint64_t virtual_bytes, resident_bytes;
} process_t;

/* The boot's time, which process start times count from. */
static bool read_boot_time(uint64_t *seconds)
{
    FILE *file = fopen("/proc/stat", "re");
    if (!file) {
        return false;
    }
    char line[4096];
    bool found = false;
    while (!found && fgets(line, sizeof line, file)) {
        found = sscanf(line, "btime %" SCNu64, seconds) == 1;
    }
    fclose(file);
    return found;
}

/* proc(5): fields 14, 15 (user and system time), 22 (start), 23 and 24 (memory), counted behind the
 * name, which may hold anything. */
static bool read_process(process_t *out)
{
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file) {
        return false;
    }
    char text[1024];
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = '\0';
    const char *rest = strrchr(text, ')');
    uint64_t user = 0;
    uint64_t system = 0;
    uint64_t start = 0;
    uint64_t size = 0;
    uint64_t pages = 0;
    uint64_t boot = 0;
    if (!rest ||
        sscanf(rest + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
               " %*d %*d %*d %*d %*d %*d %" SCNu64 " %" SCNu64 " %" SCNu64,
               &user, &system, &start, &size, &pages) != 5 ||
        !read_boot_time(&boot)) {
        return false;
    }
    uint64_t tick_us = 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
    *out = (process_t){.cpu_us = (user + system) * tick_us,
                       .start_us = boot * 1000000 + start * tick_us,
                       .virtual_bytes = size,
                       .resident_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE)};
    return true;
}

uint64_t process_file_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

static bool count_files(uint64_t *count)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) {
        return false;
    }
    *count = 0;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        *count += entry->d_name[0] != '.';
    }
    closedir(dir);
    (*count)--; /* the directory itself */
    return true;
}

static void say_value(buf_t *out, const char *name, const char *type, const char *help,
                      uint64_t value)
{
    metrics_text_head(out, name, type, help);
    metrics_text_value(out, name, "", value);
}

static void say_seconds(buf_t *out, const char *name, const char *type, const char *help,
                        uint64_t micros)
{
    metrics_text_head(out, name, type, help);
    buf_append(out, name, strlen(name));
    buf_byte(out, ' ');
    metrics_text_micros(out, micros);
    buf_byte(out, '\n');
}

void process_text(buf_t *out)
{
    process_t process;
    uint64_t files = 0;
    struct rlimit space;
    uint64_t limit = process_file_limit();
    if (read_process(&process)) {
        say_seconds(out, "process_cpu_seconds_total", "counter",
                    "Total user and system CPU time spent in seconds.", process.cpu_us);
        say_seconds(out, "process_start_time_seconds", "gauge",
                    "Start time of the process since unix epoch in seconds.", process.start_us);
        say_value(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
                  process.virtual_bytes);
        say_value(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
                  process.resident_bytes);
    }
    if (getrlimit(RLIMIT_AS, &space) == 0) {
        say_value(out, "process_virtual_memory_max_bytes", "gauge",
                  "Maximum amount of virtual memory available in bytes.", space.rlim_cur);
    }
    if (count_files(&files)) {
        say_value(out, "process_open_fds", "gauge", "Number of open file descriptors.", files);
        say_value(out, "os_fd_used", "gauge", "The number of used file descriptors.", files);
    }
    if (limit > 0) {
        say_value(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
                  limit);
        say_value(out, "os_fd_limit", "gauge", "The file descriptor limit.", limit);
    }
}

void process_command_json(buf_t *out)
{
    char text[16384]; /* longer ones are cut */
    FILE *file = fopen("/proc/self/cmdline", "re");
    size_t len = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) {
        fclose(file);
    }
    text[len] = '\0';
    buf_byte(out, '[');
    for (size_t at = 0; at < len; at += strlen(text + at) + 1) {
        if (at > 0) {
            buf_byte(out, ',');
        }
        buf_json_string(out, slice_str(text + at));
    }
    buf_byte(out, ']');
}

/* ---- pages ---- */

static bool is_traced(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    if (!file) {
        return true;
    }
    char line[256];
    unsigned long tracer = 1;
    while (fgets(line, sizeof line, file) && sscanf(line, "TracerPid: %lu", &tracer) != 1) {
    }
    fclose(file);
    return tracer != 0;
}

/* Segments without PF_W are the file's bytes, never written to by the loader (no text relocations on
 * Debian's amd64 and arm64): they can be dropped at any time, by any thread. */
static int forget_segments(struct dl_phdr_info *object, size_t size, void *context)
{
    (void)size;
    (void)context;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W)) {
            uintptr_t begin = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
            uintptr_t end = object->dlpi_addr + segment->p_vaddr + segment->p_memsz;
            madvise((void *)begin, end - begin, MADV_DONTNEED); /* advice: failing costs nothing */
        }
    }
    return 0;
}

void process_forget_start(void)
{
    if (!is_traced()) {
        dl_iterate_phdr(forget_segments, NULL);
    }
}
