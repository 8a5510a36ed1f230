//! What differs between operating systems, and nothing else: private files and folders, the browser, and processes for
//! `ckrv dev`.

#[cfg(unix)]
#[path = "unix.rs"]
mod system;
#[cfg(not(unix))]
#[path = "other.rs"]
mod system;

pub use system::{
    StopSignals, can_browse, create_private_folder, is_private, open_in_browser, open_private, own_process_group,
    program_of, signal, sync_folder, terminate,
};
