//! Migrations are compiled in: one that is added, renamed or removed makes this crate anew, which no source file tells.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
