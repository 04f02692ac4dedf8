//! The one way out of a jail: a proxy outside of it, with a list of hosts.
//!
//! A jail has a network of its own with nothing in it but a loopback. A unix socket is bound into
//! it; on the other side of that, outside, [`serve`] runs as a process of its own for each run. It
//! takes `CONNECT` and plain requests, asks [`crate::plan::egress`] whether the host may be reached,
//! looks the name up, checks every address, connects to the very address that was checked, and
//! compares the name in the TLS greeting with the one that was asked for. Each decision is in the
//! run's [`log`] before a byte goes out.
//!
//! Inside, [`forward`] makes a port of the socket, and shows there the services on this machine that
//! the configuration allows.

mod dial;
pub mod forward;
mod hello;
pub mod log;
mod proxy;
mod request;
#[cfg(test)]
mod tests;
mod tunnel;

pub use log::Secrets;
pub use proxy::{CANARY, Task, serve};
