//! Installs the judges below target/, once a machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the installed npm packages and the scripts that use them.
pub fn node() -> PathBuf {
    let folder = folder().join("node");
    exclusively(|| {
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        for name in ["package.json", "follow.mjs", "login.mjs", "provider.mjs"] {
            std::fs::copy(source("node").join(name), folder.join(name)).expect("the file can be copied");
        }
        unless_done(&folder, &source("node/package.json"), || {
            run(Command::new("npm")
                .args(["install", "--no-audit", "--no-fund", "--no-package-lock"])
                .current_dir(&folder));
        });
    });
    folder
}

/// A program of the Python packages listed in `python/LIST.txt`, in an environment of their own.
pub fn python(list: &str, program: &str) -> PathBuf {
    let list = source("python").join(format!("{list}.txt"));
    let environment = folder().join(list.file_stem().expect("it has a name"));
    exclusively(|| {
        unless_done(&environment, &list, || {
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
            run(Command::new(environment.join("bin/pip")).args(["install", "--quiet", "--requirement"]).arg(&list));
        });
    });
    environment.join("bin").join(program)
}

/// The Go program in `go/`.
pub fn go() -> PathBuf {
    let program = folder().join("go-judge");
    exclusively(|| run(Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(source("go"))));
    program
}

/// A file or folder beside this one.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("judges").join(name)
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("judges");
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

/// Installs into `folder` what `list` says, unless the same was installed before.
fn unless_done(folder: &Path, list: &Path, install: impl FnOnce()) {
    let wanted = std::fs::read(list).expect("the list can be read");
    let installed = folder.join("installed.txt");
    if std::fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return;
    }
    install();
    std::fs::write(&installed, &wanted).expect("the list can be written");
}

/// Tests run side by side, and so do test binaries.
fn exclusively(install: impl FnOnce()) {
    let lock = File::create(folder().join("lock")).expect("the lock can be made");
    lock.lock().expect("the lock can be had");
    install();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
