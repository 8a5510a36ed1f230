//! What differs between operating systems, and nothing else: private folders, and processes for `ckrv dev`.

#[cfg(unix)]
#[path = "unix.rs"]
mod system;
#[cfg(not(unix))]
#[path = "other.rs"]
mod system;

pub use system::{
    StopSignals, create_private_folder, open_private_log, own_process_group, program_of, signal, terminate,
};
