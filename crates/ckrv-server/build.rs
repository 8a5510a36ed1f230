//! Migrations are compiled in: one that is added, renamed or removed makes this crate anew, which no source file tells.

#![expect(clippy::print_stdout, reason = "so a build script speaks with cargo")]

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
