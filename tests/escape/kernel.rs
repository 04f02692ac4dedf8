//! The kernel's own doors. What is not a file is in no directory that could be left out: other
//! processes, keys, mounts, devices, sockets without a network, settings of the machine.

use crate::stage::{Stage, Try, try_all};

const fn t(name: &'static str, script: &'static str) -> Try {
    Try::new(name, script)
}

pub const TRIES: &[Try] = &[
    // Other processes and what they hold.
    t("ptrace", "$T ptrace"),
    t("read-memory", "$T vm-read"),
    t("proc-mem", "$T proc-mem"),
    t("ptrace-attach", "$T ptrace-attach"),
    t("memory-of-init", "$T init-mem")
        .unproven("a machine's first process may have more rights than whoever runs the tests"),
    t("signal", "$T signal"),
    t("pidfd", "$T pidfd"),
    t("descriptor-of-another", "$T pidfd-getfd"),
    t("priority-of-another", "$T nice-of-others"),
    t("environment-of-another", "cat /proc/[0-9]*/environ | grep -aq SECRET=TREASURE"),
    t("supervisor", "cat /proc/[0-9]*/cmdline | grep -aqzx 'supervis[e]'"),
    t("enter-namespace", "$T setns").needs_root(),
    t("system-v-memory", "$T shm"),
    t("system-v-message", "$T message"),
    // Keys are inherited, like descriptors.
    t("session-key", "$T session-key"),
    t("request-key", "$T request-key"),
    t("key-list", "grep -q treasure /proc/keys"),
    // Mounts: what covers something can be taken away, and what is read-only made writable.
    t("mount", "$T mount").needs_root(),
    t("umount", "$T umount").needs_root(),
    t("remount", "$T remount").needs_root(),
    t("nested-remount", "$T nested-remount").seen(|s| s.mirror().join("nested-remount").exists()),
    t("nested-umount", "$T nested-umount"),
    t("nested-chroot", "$T nested-chroot"),
    t("nested-bind", "$T nested-bind"),
    t("nested-umount-of-clones", "$T nested-umount-clones"),
    t("handle", "$T handle").needs_root(),
    t("nested-handle", "$T nested-handle")
        .unproven("a user namespace of one's own has no right to handles anywhere"),
    // Devices.
    t("device-node", "$T mknod").needs_root(),
    t("nested-device-node", "$T nested-kmsg-node")
        .unproven("a user namespace of one's own makes no devices anywhere"),
    t("kernel-log", "$T opens-to-read /dev/kmsg").needs_root(),
    t("terminal", "echo boo >$TTY").seen(Stage::terminal_saw),
    t("terminal-input", "$T push-input $TTY").needs_root(),
    // More rights.
    t("setuid-program", "$T setuid $AGENTS/setuid-tries").needs_root(),
    t("capabilities", "grep -q 'CapEff:.*[1-9a-f]' /proc/self/status").needs_root(),
    // Settings of the machine.
    t("core-pattern", "$T opens-to-write /proc/sys/kernel/core_pattern").needs_root(),
    t("system-settings", "$T opens-to-write /proc/sys/vm/overcommit_memory").needs_root(),
    t("interrupts", "$T opens-to-write /proc/irq/default_smp_affinity").needs_root(),
    t("magic-keys", "$T opens-to-write /proc/sysrq-trigger").unproven("not every kernel has them"),
    t("sys", "ls /sys/class /sys/fs"),
    t("control-groups", "ls /sys/fs/cgroup | grep -q ."),
    t("host-name", "$T hostname").needs_root(),
    t("ring", "$T ring").unproven("not every machine has rings"),
    t("ring-socket", "$T ring-socket").unproven("not every machine has rings"),
    t("bpf", "$T bpf").needs_root(),
    t("perf", "$T perf").needs_root(),
    t("watch-all-files", "$T fanotify").needs_root(),
    // Sockets that ask for no route. (With routes: see `tests/product/egress.rs`.)
    t("raw-socket", "$T raw").needs_root(),
    t("packet-socket", "$T packet").needs_root(),
    t("machine-socket", "$T vsock"),
    t("nameless-socket", "$T nameless $NAMELESS"),
    t("list-of-sockets", "grep -q $NAMELESS /proc/net/unix"),
];

#[test]
fn the_kernel_opens_no_door() {
    try_all(TRIES);
}
