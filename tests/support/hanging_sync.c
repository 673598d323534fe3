/* Preloaded into a server by tests/support/hanging_sync.rs: a disk whose syncs hang or fail as long as a
   test wishes. HERD_TEST_DISK is a path; PATH.hang makes a sync wait, PATH.fail makes it fail, and each
   that succeeds adds a byte to PATH.synced. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int is_there(const char *path, const char *ending)
{
    char name[4096];
    snprintf(name, sizeof name, "%s%s", path, ending);
    return access(name, F_OK) == 0;
}

int fdatasync(int fd)
{
    const char *path = getenv("HERD_TEST_DISK");
    char name[4096];
    (void)fd; /* nothing here has to survive a power failure */
    while (is_there(path, ".hang"))
        usleep(2000);
    if (is_there(path, ".fail")) {
        errno = EIO;
        return -1;
    }
    snprintf(name, sizeof name, "%s.synced", path);
    int synced = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (synced >= 0) {
        if (write(synced, "s", 1) != 1)
            abort();
        close(synced);
    }
    return 0;
}

int fsync(int fd)
{
    return fdatasync(fd);
}
