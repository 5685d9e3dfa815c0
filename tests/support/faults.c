/* What goes wrong under a process, for as long as a control block says so. Preloaded by the dynamic linker.
 *
 * TRIAL_FAULTS names the file of the control block; it is mapped, so that each change holds at once. Only files whose
 * path has TRIAL_FAULTS_PATH in it are struck.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct control {
    int64_t sync_ms;     /* what a sync takes */
    int64_t write_errno; /* what writes fail with; 0: they do not */
    int64_t sync_errno;  /* what syncs fail with; 0: they do not */
    int64_t clock_ms;    /* how far the wall clock is ahead */
    int64_t synced;      /* how many syncs were struck */
    int64_t scorer[2];   /* read by the scorer of paced.py */
};

static volatile struct control *control;
static const char *struck_path;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("TRIAL_FAULTS");
    struck_path = getenv("TRIAL_FAULTS_PATH");
    int file = name != NULL ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED)
        control = found;
}

static int is_struck(int file) {
    char link[64], path[4096];
    if (struck_path == NULL)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, struck_path) != NULL;
}

static int64_t monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whether the sync fails; waits first. A disk that is fast again lets go of what waits. */
static int sync_fails(int file) {
    if (control == NULL || (control->sync_ms == 0 && control->sync_errno == 0) || !is_struck(file))
        return 0;
    __atomic_add_fetch(&control->synced, 1, __ATOMIC_RELAXED);
    for (int64_t begun = monotonic_ms(); monotonic_ms() - begun < control->sync_ms;)
        usleep(5000);
    errno = (int)control->sync_errno;
    return errno != 0;
}

static int write_fails(int file) {
    if (control == NULL || control->write_errno == 0 || !is_struck(file))
        return 0;
    errno = (int)control->write_errno;
    return errno != 0;
}

#define REAL(name) static __typeof__(&name) real; if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int fsync(int file) {
    REAL(fsync);
    return sync_fails(file) ? -1 : real(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    return sync_fails(file) ? -1 : real(file);
}

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    return write_fails(file) ? -1 : real(file, data, size);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    return write_fails(file) ? -1 : real(file, data, size, at);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    return write_fails(file) ? -1 : real(file, data, size, at);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(clock, now);
    if (result == 0 && control != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_nsec + (control->clock_ms % 1000) * 1000000 + 1000000000;
        now->tv_sec += control->clock_ms / 1000 + ns / 1000000000 - 1;
        now->tv_nsec = ns % 1000000000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return result;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where != NULL)
        *where = now.tv_sec;
    return now.tv_sec;
}
