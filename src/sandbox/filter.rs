//! System calls that no namespace covers, refused in a jail.
//!
//! Keyrings are inherited from whoever started us, like descriptors, and may hold what opens the
//! user's disks and tickets. Sockets to the machine below a virtual one belong to no network that
//! could be left out. Both could also be had through a queue of the kernel's that no filter sees.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

/// Refused whatever the arguments.
const REFUSED: &[libc::c_long] =
    &[libc::SYS_add_key, libc::SYS_keyctl, libc::SYS_request_key, libc::SYS_io_uring_setup];

/// The second way to call everything on `x86_64`, which has other numbers.
const X32: libc::c_long = 0x4000_0000;

fn program() -> Result<BpfProgram, BackendError> {
    let machine = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        libc::AF_VSOCK.unsigned_abs().into(),
    )?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let of_x32 = if cfg!(target_arch = "x86_64") { &[0, X32][..] } else { &[0] };
    for way in of_x32 {
        rules.extend(REFUSED.iter().map(|call| (call | way, Vec::new())));
        rules.insert(libc::SYS_socket | way, vec![SeccompRule::new(vec![machine.clone()])?]);
    }
    // Calls of another architecture, which have other numbers too, are the end of the process.
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
}

/// Refuses them from now on, to this thread and to all that come from it.
///
/// # Errors
/// When the kernel does not do that: in words.
pub fn refuse_calls() -> Result<(), String> {
    let filter = program().map_err(|e| format!("no filter of system calls: {e}"))?;
    seccompiler::apply_filter(&filter).map_err(|e| format!("no filter of system calls: {e}"))
}
