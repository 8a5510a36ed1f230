//! Where the programs of the embedded control plane are: beside this one, then on PATH.

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The two programs: without the worker no job could run.
#[derive(Debug)]
pub struct Programs {
    pub dev: PathBuf,
    pub worker: PathBuf,
}

pub fn find() -> Result<Programs, Failure> {
    let own = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let beside = own.as_deref().and_then(Path::parent);
    let search_path = std::env::var_os("PATH");
    let find = |name| find_in(name, beside, search_path.as_deref()).ok_or_else(|| missing(name));
    Ok(Programs { dev: find("ckrv-dev")?, worker: find("ckrv-worker")? })
}

fn find_in(name: &str, beside: Option<&Path>, search_path: Option<&OsStr>) -> Option<PathBuf> {
    let file = format!("{name}{EXE_SUFFIX}");
    let on_path = search_path.into_iter().flat_map(std::env::split_paths);
    beside.map(Path::to_owned).into_iter().chain(on_path).map(|folder| folder.join(&file)).find(|path| path.is_file())
}

fn missing(name: &str) -> Failure {
    Failure::failed(format!("the program {name} is neither beside ckrv nor on PATH"))
        .hint("`ckrv dev` needs ckrv-dev and ckrv-worker, which are built and installed together with ckrv")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_beside_goes_before_the_one_on_the_path() {
        let (beside, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let name = |folder: &Path| folder.join(format!("x{EXE_SUFFIX}"));
        assert_eq!(find_in("x", Some(beside.path()), Some(path.path().as_os_str())), None);
        std::fs::write(name(path.path()), "").unwrap();
        assert_eq!(find_in("x", Some(beside.path()), Some(path.path().as_os_str())), Some(name(path.path())));
        std::fs::write(name(beside.path()), "").unwrap();
        assert_eq!(find_in("x", Some(beside.path()), Some(path.path().as_os_str())), Some(name(beside.path())));
    }
}
