//! The kernel's own doors. What is not a file is in no directory that could be left out: other
//! processes, keys, mounts, devices, sockets without a network, settings of the machine.

use crate::stage::{Try, try_all};

const fn t(name: &'static str, script: &'static str) -> Try {
    Try::new(name, script)
}

pub const TRIES: &[Try] = &[
    // Other processes and what they hold.
    t("ptrace", "$T ptrace"),
    t("read-memory", "$T vm-read"),
    t("proc-mem", "$T proc-mem"),
    t("memory-of-init", "$T init-mem")
        .unproven("a machine's first process may have more rights than whoever runs the tests"),
    t("signal", "$T signal"),
    t("pidfd", "$T pidfd"),
    t("descriptor-of-another", "$T pidfd-getfd"),
    t("priority-of-another", "$T nice-of-others"),
    t("environment-of-another", "cat /proc/[0-9]*/environ | grep -aq SECRET=TREASURE"),
    t("supervisor", "cat /proc/[0-9]*/cmdline | grep -aqzx 'supervis[e]'"),
    t("enter-namespace", "$T setns").as_root(),
    t("system-v-memory", "$T shm"),
    t("system-v-message", "$T message"),
    // Keys are inherited, like descriptors.
    t("session-key", "$T session-key"),
    t("request-key", "$T request-key"),
    t("key-list", "grep -q treasure /proc/keys"),
    // Mounts: what covers something can be taken away, and what is read-only made writable.
    t("mount", "$T mount").as_root(),
    t("umount", "$T umount").as_root(),
    t("remount", "$T remount").as_root(),
    t("nested-remount", "$T nested-remount").seen(|s| s.mirror().join("nested-remount").exists()),
    t("nested-umount", "$T nested-umount"),
    t("nested-chroot", "$T nested-chroot"),
    t("handle", "$T handle").as_root(),
    t("nested-handle", "$T nested-handle")
        .unproven("a user namespace of one's own has no right to handles anywhere"),
    // Devices.
    t("device-node", "$T mknod").as_root(),
    t("nested-device-node", "$T nested-kmsg-node")
        .unproven("a user namespace of one's own makes no devices anywhere"),
    t("kernel-log", "$T opens-to-read /dev/kmsg"),
    t("terminal", "echo boo >$TTY").seen(|s| s.terminal_saw()),
    t("terminal-input", "$T push-input $TTY").as_root(),
    // More rights.
    t("setuid-program", "$T setuid $AGENTS/setuid-tries").as_root(),
    t("capabilities", "grep -q 'CapEff:.*[1-9a-f]' /proc/self/status").as_root(),
    // Settings of the machine.
    t("core-pattern", "$T opens-to-write /proc/sys/kernel/core_pattern").as_root(),
    t("system-settings", "$T opens-to-write /proc/sys/vm/overcommit_memory").as_root(),
    t("interrupts", "$T opens-to-write /proc/irq/default_smp_affinity").as_root(),
    t("magic-keys", "$T opens-to-write /proc/sysrq-trigger").unproven("not every kernel has them"),
    t("sys", "ls /sys/class /sys/fs"),
    t("control-groups", "ls /sys/fs/cgroup | grep -q ."),
    t("host-name", "$T hostname").as_root(),
    t("bpf", "$T bpf").as_root(),
    t("perf", "$T perf").as_root(),
    t("watch-all-files", "$T fanotify").as_root(),
    // Sockets that ask for no route. (With routes: see `tests/product/egress.rs`.)
    t("raw-socket", "$T raw").as_root(),
    t("packet-socket", "$T packet").as_root(),
    t("machine-socket", "$T vsock"),
];

#[test]
fn the_kernel_opens_no_door() {
    try_all(TRIES);
}
