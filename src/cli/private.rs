//! Keeps the process to itself: what it makes is its user's alone, and its memory is written nowhere.
//!
//! It holds credentials of AWS, webhooks' secrets and databases' passwords. Called once, before anything is read.

use std::io;

use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, setrlimit, umask},
};

/// Lets new files be 0600 and folders 0700 whatever the caller's umask says, and no crash leave a core dump. Programs that
/// it starts, such as a credential process, get the same.
///
/// # Errors
/// What the operating system says; nothing secret may be read then.
pub fn keep() -> io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // The limit does not hold where dumps are piped to a program (core(5)). This does, and lets no other process of the
    // same user read memory or environment.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
