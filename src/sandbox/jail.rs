//! The jail, as a bubblewrap command line.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Something of the host that is visible inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Where it is on the host. `None`: nothing of the host, but an empty directory in memory.
    pub from: Option<PathBuf>,
    /// Where it is inside.
    pub to: PathBuf,
    /// Whether the jail may write it.
    pub writable: bool,
}

impl Bind {
    /// Readable at the same place.
    #[must_use]
    pub fn read(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::read_at(path.clone(), path)
    }

    /// Readable at another place.
    #[must_use]
    pub fn read_at(from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Self {
        Self { from: Some(from.into()), to: to.into(), writable: false }
    }

    /// Nothing of what is there.
    #[must_use]
    pub fn nothing(at: impl Into<PathBuf>) -> Self {
        Self { from: None, to: at.into(), writable: true }
    }

    /// Writable at the same place.
    #[must_use]
    pub fn write(path: impl Into<PathBuf>) -> Self {
        Self { writable: true, ..Self::read(path) }
    }
}

/// A jail to be. Its environment is that of the bubblewrap process: an argument list can be read by
/// everybody on the machine, an environment cannot.
#[derive(Debug, Clone)]
pub struct Jail {
    /// The bubblewrap program.
    pub bwrap: PathBuf,
    /// What of the host is visible, beside the system. Later ones cover earlier ones.
    pub binds: Vec<Bind>,
    /// Whether the host's network is there.
    pub network: bool,
    /// Whether it is furnished for programs that are not ours: devices, the files of `/etc` that
    /// programs look for. Every mount takes time, and git alone needs none of these.
    pub furnished: bool,
    /// The working directory inside.
    pub cwd: PathBuf,
    /// Whether we are root: then the jail gets another user id and loses all capabilities.
    pub as_root: bool,
    /// Bytes that each directory in memory may hold, and so of the machine's memory. `None`: as much as
    /// the kernel thinks fit, because bubblewrap [cannot tell it](bounds_memory).
    pub tmp_size: Option<u64>,
}

/// What hides something is to be empty, not to be used.
const NOTHING_SIZE: u64 = 1 << 20;

/// Whether a bubblewrap can bound what is kept in memory: since version 0.7 it can. Its option stands in
/// the program; asking would take longer than all else.
#[must_use]
pub fn bounds_memory(bwrap: &Path) -> bool {
    let option = b"--size\0";
    std::fs::read(bwrap).is_ok_and(|program| program.windows(option.len()).any(|w| w == option))
}

/// Files of `/etc` that programs need to look up libraries, names, users and certificates.
const ETC: &[&str] = &[
    "passwd",
    "group",
    "nsswitch.conf",
    // Certificates as the families of distributions keep them; not the keys beside them.
    "ssl/certs",
    "ssl/cert.pem",
    "ssl/ca-bundle.pem",
    "ssl/openssl.cnf",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "pki/tls/openssl.cnf",
    "pki/ca-trust",
    "ca-certificates",
    "crypto-policies",
    "alternatives",
    "localtime",
    "timezone",
    "mime.types",
    "services",
    "protocols",
];

/// And what the host's network needs.
const ETC_NETWORK: &[&str] = &["resolv.conf", "hosts", "host.conf", "gai.conf"];

/// What the kernel tells and lets be set in `/proc` for the whole machine: to be read at most.
/// Ownership is what protects it, and where we are root the jail's processes own it.
const SETTINGS: &[&str] = &["sys", "irq", "bus", "fs", "driver", "acpi", "scsi"];

/// What only root may read there.
const ROOTS: &[&str] = &[
    "kcore",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "pagetypeinfo",
    "sched_debug",
    "slabinfo",
    "timer_list",
    "vmallocinfo",
];

/// What covers the parts of a furnished jail's `/proc` that no namespace makes private.
#[must_use]
pub fn covers(as_root: bool) -> Vec<Bind> {
    let (settings, roots) = if as_root { (SETTINGS, ROOTS) } else { (&[][..], &[][..]) };
    let at = |name: &&str| Path::new("/proc").join(name);
    let hidden = ["keys", "key-users"]
        .iter()
        .chain(roots)
        .map(at)
        .map(|path| Bind::read_at("/dev/null", path));
    let all = settings.iter().map(at).map(Bind::read).chain(hidden);
    all.filter(|bind| bind.to.exists()).collect()
}

impl Jail {
    /// Program and arguments that run `argv` inside.
    #[must_use]
    pub fn command(&self, argv: &[OsString]) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.bwrap.clone().into()];
        let mut add = |more: &[&OsStr]| words.extend(more.iter().map(|w| (*w).to_owned()));
        let flag = OsStr::new;
        for word in [
            "--unshare-user",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--die-with-parent",
            "--new-session",
        ] {
            add(&[flag(word)]);
        }
        if !self.network {
            add(&[flag("--unshare-net")]);
        }
        if self.as_root {
            add(&[flag("--uid"), flag("1000"), flag("--gid"), flag("1000")]);
            add(&[flag("--cap-drop"), flag("ALL")]);
        }
        add(&[flag("--hostname"), flag("worker")]);
        add(&[flag("--ro-bind"), flag("/usr"), flag("/usr")]);
        for (target, link) in [
            ("usr/bin", "/bin"),
            ("usr/sbin", "/sbin"),
            ("usr/lib", "/lib"),
            ("usr/lib64", "/lib64"),
        ] {
            add(&[flag("--symlink"), flag(target), flag(link)]);
        }
        let in_memory = |add: &mut dyn FnMut(&[&OsStr]), at: &OsStr, most: u64| {
            if let Some(size) = self.tmp_size {
                add(&[flag("--size"), flag(&size.min(most).to_string())]);
            }
            add(&[flag("--tmpfs"), at]);
        };
        in_memory(&mut add, flag("/tmp"), u64::MAX);
        add(&[flag("--dir"), flag("/run"), flag("--symlink"), flag("../tmp"), flag("/var/tmp")]);
        if self.furnished {
            add(&[flag("--dev"), flag("/dev"), flag("--proc"), flag("/proc")]);
            in_memory(&mut add, flag("/dev/shm"), u64::MAX);
            add(&[flag("--remount-ro"), flag("/dev")]);
        } else {
            for device in ["/dev/null", "/dev/urandom"] {
                add(&[flag("--dev-bind"), flag(device), flag(device)]);
            }
        }
        let furniture = if self.furnished { ETC } else { &[] };
        let network = if self.network { ETC_NETWORK } else { &[] };
        for name in ["ld.so.cache"].iter().chain(furniture).chain(network) {
            let path = Path::new("/etc").join(name);
            add(&[flag("--ro-bind-try"), path.as_os_str(), path.as_os_str()]);
        }
        for bind in &self.binds {
            let how = if bind.writable { "--bind" } else { "--ro-bind" };
            match &bind.from {
                Some(from) => add(&[flag(how), from.as_os_str(), bind.to.as_os_str()]),
                None => in_memory(&mut add, bind.to.as_os_str(), NOTHING_SIZE),
            }
        }
        // What everything is mounted on is in memory, too.
        add(&[flag("--remount-ro"), flag("/")]);
        add(&[flag("--chdir"), self.cwd.as_os_str(), flag("--")]);
        words.extend(argv.iter().cloned());
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_as_documented() {
        let jail = Jail {
            bwrap: "/usr/bin/bwrap".into(),
            binds: vec![Bind::write("/w/01"), Bind::nothing("/w/01/x"), Bind::read("/m.git")],
            network: false,
            furnished: true,
            cwd: "/w/01".into(),
            as_root: true,
            tmp_size: Some(1 << 30),
        };
        let line = jail.command(&["/usr/bin/true".into(), "--x".into()]);
        let line: Vec<_> = line.iter().map(|w| w.to_str().unwrap()).collect();
        let line = line.join(" ").replace(" --", "\n--");
        insta::assert_snapshot!(line, @r"
        /usr/bin/bwrap
        --unshare-user
        --unshare-pid
        --unshare-ipc
        --unshare-uts
        --unshare-cgroup-try
        --die-with-parent
        --new-session
        --unshare-net
        --uid 1000
        --gid 1000
        --cap-drop ALL
        --hostname worker
        --ro-bind /usr /usr
        --symlink usr/bin /bin
        --symlink usr/sbin /sbin
        --symlink usr/lib /lib
        --symlink usr/lib64 /lib64
        --size 1073741824
        --tmpfs /tmp
        --dir /run
        --symlink ../tmp /var/tmp
        --dev /dev
        --proc /proc
        --size 1073741824
        --tmpfs /dev/shm
        --remount-ro /dev
        --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache
        --ro-bind-try /etc/passwd /etc/passwd
        --ro-bind-try /etc/group /etc/group
        --ro-bind-try /etc/nsswitch.conf /etc/nsswitch.conf
        --ro-bind-try /etc/ssl/certs /etc/ssl/certs
        --ro-bind-try /etc/ssl/cert.pem /etc/ssl/cert.pem
        --ro-bind-try /etc/ssl/ca-bundle.pem /etc/ssl/ca-bundle.pem
        --ro-bind-try /etc/ssl/openssl.cnf /etc/ssl/openssl.cnf
        --ro-bind-try /etc/pki/tls/certs /etc/pki/tls/certs
        --ro-bind-try /etc/pki/tls/cert.pem /etc/pki/tls/cert.pem
        --ro-bind-try /etc/pki/tls/openssl.cnf /etc/pki/tls/openssl.cnf
        --ro-bind-try /etc/pki/ca-trust /etc/pki/ca-trust
        --ro-bind-try /etc/ca-certificates /etc/ca-certificates
        --ro-bind-try /etc/crypto-policies /etc/crypto-policies
        --ro-bind-try /etc/alternatives /etc/alternatives
        --ro-bind-try /etc/localtime /etc/localtime
        --ro-bind-try /etc/timezone /etc/timezone
        --ro-bind-try /etc/mime.types /etc/mime.types
        --ro-bind-try /etc/services /etc/services
        --ro-bind-try /etc/protocols /etc/protocols
        --bind /w/01 /w/01
        --size 1048576
        --tmpfs /w/01/x
        --ro-bind /m.git /m.git
        --remount-ro /
        --chdir /w/01
        -- /usr/bin/true
        --x
        ");
    }
}
