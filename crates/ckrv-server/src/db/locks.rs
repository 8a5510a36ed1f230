//! The advisory locks that have a number of their own. What is locked by a name is locked by that name's hash instead.

/// Each keeps one thing from being done by two at once.
#[derive(Debug, Clone, Copy)]
#[repr(i64)]
pub enum Lock {
    /// Making the database's roles.
    Roles = 0x636b_7276_0001,
    /// The loops of which one replica runs those of all.
    Leader = 0x636b_7276_0002,
    /// Giving out attempts.
    Admission = 0x636b_7276_0003,
    /// Sealing the vault anew.
    VaultRotation = 0x636b_7276_0004,
}

impl Lock {
    /// As `pg_advisory_lock` and its like take it.
    pub const fn key(self) -> i64 {
        self as i64
    }
}
