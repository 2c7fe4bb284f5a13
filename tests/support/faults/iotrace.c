/* Records every change to files under a folder, and makes chosen ones fail.  Preload it:
 *
 *     cc -O2 -shared -fPIC -o iotrace.so iotrace.c -ldl
 *     LD_PRELOAD=./iotrace.so python ...      and in Python, through ctypes.CDLL(None):
 *
 *     iotrace_start(root, trace)   from here on, until the next start or iotrace_stop()
 *     iotrace_mark(text)           a line of the program's own in the trace
 *     iotrace_fail(kind, nth, times)   the nth write ('w': ENOSPC, after half of it got through) or
 *                                  sync ('s': EIO) from now fails, and times - 1 more after it
 *     iotrace_count(kind)          writes or syncs since then
 *
 * A record: u8 op, 3 bytes 0, i32 handle, i64 position, u32 length of the path, u64 length of the data,
 * then path and data.  A handle stands for one opening of a file, descriptors copied from it included.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE, TRUNCATE, ALLOCATE, SYNC, RENAME, UNLINK, LINK, MKDIR, MARK };
enum { CREATED = 1, TRUNCATED = 2, FOLDER = 4 };
enum { MOST_FDS = 4096 };

typedef struct {
    uint8_t op, zero[3];
    int32_t handle;
    int64_t position;
    uint32_t path_length;
    uint64_t data_length;
} __attribute__((packed)) Record;

typedef struct { char kind; int at, times, seen; } Fault;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static int trace = -1, next_handle = 1;
static int handles[MOST_FDS];       /* 0: not ours */
static Fault faults[2] = {{'w', 0, 0, 0}, {'s', 0, 0, 0}};

#define REAL(name) static __typeof__(name) *real; if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

static void put(const void *p, size_t n)
{
    while (n) {
        const ssize_t done = syscall(SYS_write, trace, p, n);
        if (done <= 0) abort();
        p = (const char *)p + done;
        n -= (size_t)done;
    }
}

static void record(int op, int handle, int64_t position, const char *path, const struct iovec *data, int pieces, size_t length)
{
    const Record r = {(uint8_t)op, {0}, handle, position, path ? (uint32_t)strlen(path) : 0, length};
    put(&r, sizeof r);
    if (path) put(path, r.path_length);
    for (int i = 0; i < pieces && length; i++) {
        const size_t n = data[i].iov_len < length ? data[i].iov_len : length;
        put(data[i].iov_base, n);
        length -= n;
    }
}

static void record_locked(int op, int handle, int64_t position, const char *path)
{
    pthread_mutex_lock(&lock);
    if (trace >= 0) record(op, handle, position, path, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
}

void iotrace_start(const char *folder, const char *file)
{
    pthread_mutex_lock(&lock);
    if (trace >= 0) syscall(SYS_close, trace);
    memset(handles, 0, sizeof handles);
    snprintf(root, sizeof root, "%s", folder);
    trace = (int)syscall(SYS_openat, AT_FDCWD, file, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    for (int i = 0; i < 2; i++) faults[i].seen = faults[i].times = 0;
    pthread_mutex_unlock(&lock);
}

void iotrace_stop(void)
{
    pthread_mutex_lock(&lock);
    if (trace >= 0) syscall(SYS_close, trace);
    trace = -1;
    pthread_mutex_unlock(&lock);
}

void iotrace_mark(const char *text) { record_locked(MARK, 0, 0, text); }

static Fault *fault_of(char kind) { return &faults[kind == 's']; }

void iotrace_fail(char kind, int nth, int times)
{
    Fault *f = fault_of(kind);
    f->at = nth;
    f->times = times;
    f->seen = 0;
}

int iotrace_count(char kind) { return fault_of(kind)->seen; }

static int strikes(char kind)
{
    Fault *f = fault_of(kind);
    const int n = ++f->seen;
    return f->times && n >= f->at && n < f->at + f->times;
}

static int handle_of(int fd) { return trace >= 0 && fd >= 0 && fd < MOST_FDS ? handles[fd] : 0; }

/* The absolute path if it is under the root, else NULL. */
static const char *ours(int folder, const char *path, char *out)
{
    char base[PATH_MAX] = "", link[64];
    if (trace < 0) return NULL;
    if (path[0] != '/') {
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
        const ssize_t n = readlink(link, base, sizeof base - 2);
        if (n < 0) return NULL;
        base[n] = '/';
        base[n + 1] = 0;
    }
    if (strlen(base) + strlen(path) >= PATH_MAX) return NULL;
    strcpy(out, base);
    strcat(out, path);
    const size_t n = strlen(root);
    return strncmp(out, root, n) == 0 && (out[n] == '/' || out[n] == 0) ? out : NULL;
}

static int opened(int fd, const char *path, int flags, int existed)
{
    struct stat s;
    if (fd < 0 || fd >= MOST_FDS) return fd;
    handles[fd] = 0;
    if (!path || fstat(fd, &s)) return fd;
    handles[fd] = next_handle++;
    record_locked(OPEN, handles[fd], (existed ? 0 : CREATED) | (flags & O_TRUNC ? TRUNCATED : 0) | (S_ISDIR(s.st_mode) ? FOLDER : 0), path);
    return fd;
}

#define OPEN_BODY(call, folder) \
    char buffer[PATH_MAX]; \
    const char *mine = ours(folder, path, buffer); \
    const int existed = mine && access(mine, F_OK) == 0; \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list a; va_start(a, flags); mode = va_arg(a, mode_t); va_end(a); } \
    return opened(call, mine, flags, existed)

int open(const char *path, int flags, ...) { REAL(open); OPEN_BODY(real(path, flags, mode), AT_FDCWD); }
int open64(const char *path, int flags, ...) { REAL(open64); OPEN_BODY(real(path, flags, mode), AT_FDCWD); }
int openat(int dir, const char *path, int flags, ...) { REAL(openat); OPEN_BODY(real(dir, path, flags, mode), dir); }
int openat64(int dir, const char *path, int flags, ...) { REAL(openat64); OPEN_BODY(real(dir, path, flags, mode), dir); }

int close(int fd)
{
    REAL(close);
    if (fd >= 0 && fd < MOST_FDS) handles[fd] = 0;
    return real(fd);
}

static int copied(int from, int to)
{
    if (to >= 0 && to < MOST_FDS) handles[to] = from >= 0 && from < MOST_FDS ? handles[from] : 0;
    return to;
}

int dup(int fd) { REAL(dup); return copied(fd, real(fd)); }
int dup2(int fd, int to) { REAL(dup2); return copied(fd, real(fd, to)); }
int dup3(int fd, int to, int flags) { REAL(dup3); return copied(fd, real(fd, to, flags)); }

/* Half of a write that is to fail gets through first, as on a disk that fills up. */
static ssize_t traced_write(int handle, int fd, const struct iovec *data, int pieces, int64_t position)
{
    size_t total = 0;
    ssize_t done;
    for (int i = 0; i < pieces; i++) total += data[i].iov_len;
    pthread_mutex_lock(&lock);
    const int fails = strikes('w');
    if (position < 0) position = lseek(fd, 0, SEEK_CUR);
    if (fails && pieces && data[0].iov_len > 1) {
        done = syscall(SYS_pwrite64, fd, data[0].iov_base, data[0].iov_len / 2, position);
    } else {
        done = fails ? -1 : syscall(SYS_pwritev, fd, data, (long)pieces, (long)position, 0L);
    }
    if (done > 0) record(WRITE, handle, position, NULL, data, pieces, (size_t)done);
    pthread_mutex_unlock(&lock);
    if (fails) errno = ENOSPC;
    return fails ? -1 : done;
}

static ssize_t advanced(int fd, ssize_t done)
{
    if (done > 0) lseek(fd, done, SEEK_CUR);
    return done;
}

ssize_t write(int fd, const void *p, size_t n)
{
    REAL(write);
    const int handle = handle_of(fd);
    const struct iovec data = {(void *)p, n};
    return handle ? advanced(fd, traced_write(handle, fd, &data, 1, -1)) : real(fd, p, n);
}

ssize_t writev(int fd, const struct iovec *data, int pieces)
{
    REAL(writev);
    const int handle = handle_of(fd);
    return handle ? advanced(fd, traced_write(handle, fd, data, pieces, -1)) : real(fd, data, pieces);
}

#define PWRITE(name, off) \
ssize_t name(int fd, const void *p, size_t n, off at) \
{ \
    REAL(name); \
    const int handle = handle_of(fd); \
    const struct iovec data = {(void *)p, n}; \
    return handle ? traced_write(handle, fd, &data, 1, at) : real(fd, p, n, at); \
}
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define PWRITEV(name, off) \
ssize_t name(int fd, const struct iovec *data, int pieces, off at) \
{ \
    REAL(name); \
    const int handle = handle_of(fd); \
    return handle ? traced_write(handle, fd, data, pieces, at) : real(fd, data, pieces, at); \
}
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define PWRITEV2(name, off) \
ssize_t name(int fd, const struct iovec *data, int pieces, off at, int flags) \
{ \
    REAL(name); \
    const int handle = handle_of(fd); \
    return handle ? traced_write(handle, fd, data, pieces, at) : real(fd, data, pieces, at, flags); \
}
PWRITEV2(pwritev2, off_t)
PWRITEV2(pwritev64v2, off64_t)

#define TRUNCATE_BODY(name, off) \
int name(int fd, off size) \
{ \
    REAL(name); \
    const int handle = handle_of(fd), answer = real(fd, size); \
    if (handle && !answer) record_locked(TRUNCATE, handle, size, NULL); \
    return answer; \
}
TRUNCATE_BODY(ftruncate, off_t)
TRUNCATE_BODY(ftruncate64, off64_t)

static int denied(int handle)
{
    pthread_mutex_lock(&lock);
    const int fails = handle && strikes('w');
    pthread_mutex_unlock(&lock);
    return fails;
}

#define ALLOCATE_BODY(name, off) \
int name(int fd, off at, off length) \
{ \
    REAL(name); \
    const int handle = handle_of(fd); \
    if (denied(handle)) return ENOSPC; \
    const int answer = real(fd, at, length); \
    if (handle && !answer) record_locked(ALLOCATE, handle, at + length, NULL); \
    return answer; \
}
ALLOCATE_BODY(posix_fallocate, off_t)
ALLOCATE_BODY(posix_fallocate64, off64_t)

#define SYNC_BODY(name) \
int name(int fd) \
{ \
    REAL(name); \
    const int handle = handle_of(fd); \
    pthread_mutex_lock(&lock); \
    const int fails = handle && strikes('s'); \
    pthread_mutex_unlock(&lock); \
    if (fails) { errno = EIO; return -1; } \
    const int answer = real(fd); \
    if (handle && !answer) record_locked(SYNC, handle, 0, NULL); \
    return answer; \
}
SYNC_BODY(fsync)
SYNC_BODY(fdatasync)

static int two_names(int op, int answer, int from_dir, const char *from, int to_dir, const char *to)
{
    char a[PATH_MAX], b[PATH_MAX], both[2 * PATH_MAX + 2];
    if (answer == 0 && ours(from_dir, from, a) && ours(to_dir, to, b)) {
        snprintf(both, sizeof both, "%s\n%s", a, b);
        record_locked(op, 0, 0, both);
    }
    return answer;
}

int rename(const char *from, const char *to) { REAL(rename); return two_names(RENAME, real(from, to), AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int a, const char *from, int b, const char *to) { REAL(renameat); return two_names(RENAME, real(a, from, b, to), a, from, b, to); }
int link(const char *from, const char *to) { REAL(link); return two_names(LINK, real(from, to), AT_FDCWD, from, AT_FDCWD, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) { REAL(linkat); return two_names(LINK, real(a, from, b, to, flags), a, from, b, to); }

static int one_name(int op, int answer, int dir, const char *path)
{
    char a[PATH_MAX];
    if (answer == 0 && ours(dir, path, a)) record_locked(op, 0, 0, a);
    return answer;
}

int unlink(const char *path) { REAL(unlink); return one_name(UNLINK, real(path), AT_FDCWD, path); }
int unlinkat(int dir, const char *path, int flags) { REAL(unlinkat); return one_name(UNLINK, real(dir, path, flags), dir, path); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return one_name(MKDIR, real(path, mode), AT_FDCWD, path); }
