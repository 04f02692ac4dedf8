/* What a shell cannot try. Each word exits with 0 if it got what must be out of reach, and with
 * anything else if not. `victim` is the other side: a process of the host that holds a secret in
 * every place where a process can hold one, until its standard input ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/vm_sockets.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *words;
static int is(const char *word) { return strcmp(words, word) == 0; }
static const char *need(const char *name) {
    const char *value = getenv(name);
    if (!value) exit(99);
    return value;
}
static int number(const char *name) { return atoi(need(name)); }

/* Whether a file can be read and holds the secret. */
static int holds(const char *path) {
    char text[64] = {0};
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    return fd >= 0 && read(fd, text, sizeof text - 1) > 0 && strstr(text, "TREASURE");
}
static int opens(const char *path, int how) { return open(path, how | O_NONBLOCK) >= 0; }
static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd >= 0) { (void)!write(fd, text, strlen(text)); close(fd); }
}
/* Mounts of its own, which change nobody else's. */
static int own_mounts(void) {
    return unshare(CLONE_NEWNS) == 0 && mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) == 0;
}
/* The same with a user namespace of its own, in which it is root. */
static void be_root(void) {
    char map[64];
    int uid = getuid(), gid = getgid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) return;
    put("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %d 1", uid);
    put("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %d 1", gid);
    put("/proc/self/gid_map", map);
    mount(0, "/", 0, MS_REC | MS_PRIVATE, 0);
}
static int writes(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", need("MIRROR"), name);
    return open(path, O_CREAT | O_WRONLY, 0600) >= 0;
}
static int victims(char *path, const char *what) {
    return sprintf(path, "/proc/%d/%s", number("VICTIM"), what);
}

static char treasure[64];

static int victim(char **argv) {
    /* argv: the secret, a file with it, a key of shared memory */
    strcpy(treasure, argv[2]);
    key_t key = strtol(argv[4], 0, 10);
    int shm = shmget(key, 64, IPC_CREAT | 0600), msg = msgget(key, IPC_CREAT | 0600);
    if (shm < 0 || msg < 0) return 1;
    strcpy(shmat(shm, 0, 0), treasure);
    struct { long kind; char text[64]; } letter = {1, ""};
    strcpy(letter.text, treasure);
    msgsnd(msg, &letter, 64, 0);
    dup2(open(argv[3], O_RDONLY), 77);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    signal(SIGUSR1, SIG_IGN);
    printf("%p\n", (void *)treasure);
    fflush(stdout);
    char end;
    while (read(0, &end, 1) > 0) {}
    shmctl(shm, IPC_RMID, 0);
    msgctl(msg, IPC_RMID, 0);
    return 0;
}

static int try(int argc, char **argv) {
    char path[4096], text[64] = {0};
    if (is("victim")) return argc == 5 ? victim(argv) : 2;
    if (is("with-key")) { /* COMMAND...: with the secret in the session's keyring */
        syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
        syscall(SYS_add_key, "user", "treasure", "TREASURE", 8, KEY_SPEC_SESSION_KEYRING);
        execv(argv[2], argv + 2);
        return 1;
    }

    /* other processes */
    if (is("ptrace")) return !(ptrace(PTRACE_SEIZE, number("VICTIM"), 0, 0) == 0);
    if (is("ptrace-attach")) {
        int pid = number("VICTIM");
        if (ptrace(PTRACE_ATTACH, pid, 0, 0) || waitpid(pid, 0, __WALL) != pid) return 1;
        long word = ptrace(PTRACE_PEEKDATA, pid, strtoul(need("VICTIM_AT"), 0, 16), 0);
        ptrace(PTRACE_DETACH, pid, 0, 0);
        return memcmp(&word, "TREASURE", sizeof word) != 0;
    }
    if (is("vm-read")) {
        struct iovec to = {text, 32};
        struct iovec from = {(void *)strtoul(need("VICTIM_AT"), 0, 16), 32};
        return !(process_vm_readv(number("VICTIM"), &to, 1, &from, 1, 0) > 0 &&
                 strstr(text, "TREASURE"));
    }
    if (is("proc-mem")) {
        victims(path, "mem");
        int fd = open(path, O_RDONLY);
        off_t at = strtoul(need("VICTIM_AT"), 0, 16);
        return !(fd >= 0 && pread(fd, text, 32, at) > 0 && strstr(text, "TREASURE"));
    }
    if (is("init-mem")) { /* a jail has a first process of its own, which may be looked into */
        int fd = open("/proc/1/comm", O_RDONLY);
        return fd < 0 || read(fd, text, 32) <= 0 || !strncmp(text, "bwrap", 5) ||
               !opens("/proc/1/mem", O_RDONLY);
    }
    if (is("signal")) return kill(number("VICTIM"), SIGUSR1);
    if (is("pidfd")) return !(syscall(SYS_pidfd_open, number("VICTIM"), 0) >= 0);
    if (is("pidfd-getfd")) {
        int pid = syscall(SYS_pidfd_open, number("VICTIM"), 0);
        int fd = syscall(SYS_pidfd_getfd, pid, 77, 0);
        return !(fd >= 0 && pread(fd, text, 32, 0) > 0 && strstr(text, "TREASURE"));
    }
    if (is("nice-of-others")) return setpriority(PRIO_PROCESS, number("VICTIM"), 1);
    if (is("setns")) {
        victims(path, "ns/mnt");
        return setns(open(path, O_RDONLY), CLONE_NEWNS);
    }
    if (is("shm")) {
        int id = shmget(number("VICTIM_KEY"), 64, 0);
        char *at = id < 0 ? (void *)-1 : shmat(id, 0, SHM_RDONLY);
        return !(at != (void *)-1 && strstr(at, "TREASURE"));
    }
    if (is("message")) {
        struct { long kind; char text[64]; } letter = {0, ""};
        int id = msgget(number("VICTIM_KEY"), 0);
        return !(id >= 0 && msgrcv(id, &letter, 64, 0, IPC_NOWAIT) > 0 &&
                 strstr(letter.text, "TREASURE"));
    }
    if (is("session-key")) {
        long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user",
                           "treasure", 0);
        return !(key > 0 && syscall(SYS_keyctl, KEYCTL_READ, key, text, 32) > 0 &&
                 strstr(text, "TREASURE"));
    }
    if (is("request-key")) {
        long key = syscall(SYS_request_key, "user", "treasure", 0, 0);
        return !(key > 0 && syscall(SYS_keyctl, KEYCTL_READ, key, text, 32) > 0 &&
                 strstr(text, "TREASURE"));
    }

    /* mounts */
    if (is("mount")) {
        own_mounts();
        return mount("none", need("HOME"), "tmpfs", 0, 0);
    }
    if (is("umount")) { own_mounts(); return umount2("/proc", MNT_DETACH); }
    if (is("remount")) {
        own_mounts();
        mount(need("MIRROR"), need("MIRROR"), 0, MS_BIND, 0);
        return mount(0, need("MIRROR"), 0, MS_REMOUNT | MS_BIND, 0) || !writes("remounted");
    }
    if (is("nested-remount")) {
        be_root();
        mount(0, need("MIRROR"), 0, MS_REMOUNT | MS_BIND, 0);
        return !writes("nested-remount");
    }
    if (is("nested-umount")) { /* perhaps something is below */
        be_root();
        umount2(need("ROOT"), MNT_DETACH);
        umount2("/tmp", MNT_DETACH);
        umount2("/", MNT_DETACH);
        return !holds(need("TREASURE_FILE"));
    }
    if (is("nested-bind")) { /* what is below a cover, without the cover */
        char home[4096];
        be_root();
        mkdir("/tmp/bound", 0700);
        mount(need("HOME"), "/tmp/bound", 0, MS_BIND, 0);
        snprintf(home, sizeof home, "/tmp/bound/github/octo/vault/notes");
        return !holds(home);
    }
    if (is("nested-umount-clones")) {
        be_root();
        snprintf(path, sizeof path, "%s/github", need("HOME"));
        umount2(path, MNT_DETACH);
        strcat(path, "/octo/vault/notes");
        return !holds(path);
    }
    if (is("nested-chroot")) {
        be_root();
        int out = open(".", O_RDONLY | O_DIRECTORY);
        mkdir("jail-in-jail", 0700);
        if (chroot("jail-in-jail") || fchdir(out)) return 1;
        for (int i = 0; i < 64; i++) (void)!chdir("..");
        (void)!chroot(".");
        return !holds(need("TREASURE_FILE"));
    }
    if (is("nested-kmsg-node")) {
        be_root();
        return mknod("kmsg-nested", S_IFCHR | 0600, makedev(1, 11)) ||
               !opens("kmsg-nested", O_RDONLY);
    }
    if (is("nested-handle") || is("handle")) {
        struct { struct file_handle of; char id[8]; } handle;
        memset(&handle, 0, sizeof handle);
        handle.of.handle_bytes = 8;
        handle.of.handle_type = 1;
        handle.id[0] = 2; /* the top of the file system */
        if (is("nested-handle")) be_root();
        errno = 0;
        int fd = open_by_handle_at(open(need("HOME"), O_RDONLY), &handle.of, O_RDONLY);
        return fd < 0 && errno != ESTALE;
    }
    if (is("mknod")) {
        return mknod("kmsg", S_IFCHR | 0600, makedev(1, 11)) || !opens("kmsg", O_RDONLY);
    }

    /* the kernel */
    if (is("opens-to-write")) return !opens(argv[2], O_WRONLY);
    if (is("opens-to-read")) return !opens(argv[2], O_RDONLY);
    if (is("hostname")) {
        return gethostname(text, 63) || sethostname(text, strlen(text));
    }
    if (is("ring") || is("ring-socket")) { /* what a ring does, no filter of calls sees */
        struct io_uring_params how = {0};
        int ring = syscall(SYS_io_uring_setup, 4, &how);
        if (ring < 0) return 1;
        unsigned char *queue = mmap(0, how.sq_off.array + how.sq_entries * sizeof(unsigned),
                                    PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
        struct io_uring_sqe *jobs = mmap(0, how.sq_entries * sizeof *jobs, PROT_READ | PROT_WRITE,
                                         MAP_SHARED, ring, IORING_OFF_SQES);
        unsigned char *done = mmap(0, how.cq_off.cqes + how.cq_entries * sizeof(struct io_uring_cqe),
                                   PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
        if (queue == MAP_FAILED || jobs == MAP_FAILED || done == MAP_FAILED) return 1;
        memset(jobs, 0, sizeof *jobs);
        if (is("ring")) {
            jobs->opcode = IORING_OP_OPENAT;
            jobs->fd = AT_FDCWD;
            jobs->addr = (uintptr_t)need("TREASURE_FILE");
        } else {
            jobs->opcode = IORING_OP_SOCKET;
            jobs->fd = AF_VSOCK;
            jobs->off = SOCK_STREAM;
        }
        *(unsigned *)(queue + how.sq_off.array) = 0;
        *(unsigned *)(queue + how.sq_off.tail) = 1;
        if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) != 1) return 1;
        return ((struct io_uring_cqe *)(done + how.cq_off.cqes))->res < 0;
    }
    if (is("bpf")) {
        struct bpf_insn code[] = {{.code = 0xb7}, {.code = 0x95}}; /* r0 = 0; exit */
        union bpf_attr attr = {0};
        attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
        attr.insns = (uintptr_t)code;
        attr.insn_cnt = 2;
        attr.license = (uintptr_t) "GPL";
        return !(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr) >= 0);
    }
    if (is("perf")) {
        struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr,
                                       .config = PERF_COUNT_SW_CPU_CLOCK};
        return !(syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0) >= 0);
    }
    if (is("fanotify")) return !(syscall(SYS_fanotify_init, 4, O_RDONLY) >= 0);
    if (is("raw")) return !(socket(AF_INET, SOCK_RAW, 1) >= 0);
    if (is("packet")) return !(socket(AF_PACKET, SOCK_RAW, 0) >= 0);
    if (is("vsock")) return !(socket(AF_VSOCK, SOCK_STREAM, 0) >= 0);
    if (is("unix") || is("nameless")) { /* a path, or a name that is in no directory */
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        int first = is("nameless");
        snprintf(at.sun_path + first, sizeof at.sun_path - first, "%s", argv[2]);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        size_t len = first ? sizeof at.sun_family + 1 + strlen(argv[2]) : sizeof at;
        return connect(fd, (void *)&at, len) || read(fd, text, 32) <= 0 ||
               !strstr(text, "TREASURE");
    }
    if (is("euid")) return geteuid() != 0;
    if (is("setuid")) { /* PROGRAM: as somebody who is not root, a program that belongs to root */
        int fd = open(argv[2], O_PATH);
        if (geteuid() == 0 && (setgid(65534) || setuid(65534))) return 1;
        char *args[] = {"tries", "euid", 0}, *env[] = {0};
        fexecve(fd, args, env);
        return 1;
    }
    if (is("push-input")) { /* TERMINAL: as if somebody had typed it there */
        int fd = open(argv[2], O_RDWR | O_NOCTTY);
        char key = '!';
        return fd < 0 || ioctl(fd, TIOCSTI, &key);
    }

    /* files that are no files */
    if (is("socket-file")) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        snprintf(at.sun_path, sizeof at.sun_path, "%s", argv[2]);
        return bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&at, sizeof at);
    }
    return 98;
}

int main(int argc, char **argv) {
    words = argc > 1 ? argv[1] : "";
    return try(argc, argv);
}
