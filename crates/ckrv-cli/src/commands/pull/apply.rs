//! `--apply`: the job's changes on the work tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::pulled::PulledBranch;
use crate::failure::{Failure, OrFail as _};
use crate::git::checkout::Checkout;

/// Puts the difference between the branch's base and head onto work tree and index. Both commits have been checked.
pub async fn apply(branch: &PulledBranch, checkout: &Checkout) -> Result<(), Failure> {
    let paths = diff(branch, checkout, &["--name-only", "-z"]).await?;
    let paths: BTreeSet<&str> = paths.split(|byte| *byte == 0).filter_map(|path| str::from_utf8(path).ok()).collect();
    if let Some(link) = link_in_the_way(checkout.root(), &paths) {
        let what = format!("the changes are not applied: {} is a link, and they lead through it", link.display());
        return Err(Failure::failed(what).hint(format!("look at them first: git diff {}", branch.range())));
    }
    let patch = diff(branch, checkout, &["-p", "--binary", "--full-index"]).await?;
    if patch.is_empty() {
        return Ok(());
    }
    let applied = checkout.git().run_with(&["apply", "--3way", "--whitespace=nowarn", "-"], &patch).await;
    applied.or_fail(|| "the changes do not go onto the work tree cleanly".into()).map_err(|failure| {
        failure.hint(format!(
            "commit or stash your own changes; the work is safe in the branch {0}: git merge {0}",
            branch.name
        ))
    })?;
    Ok(())
}

/// By plumbing, which no setting of the user changes, and without any program that settings name.
async fn diff(branch: &PulledBranch, checkout: &Checkout, form: &[&str]) -> Result<Vec<u8>, Failure> {
    let mut arguments = vec!["diff-tree", "-r", "--no-ext-diff", "--no-textconv", "--no-renames"];
    arguments.extend(form);
    arguments.extend([branch.base.as_str(), branch.head.as_str()]);
    checkout.git().bytes(&arguments).await.or_fail(|| "cannot read the job's changes".into())
}

/// A link above one of the paths. `git apply --index` looks for links among the files that it knows and would write through
/// one that lies there untracked. A link that the changes themselves replace is git's to handle.
fn link_in_the_way(root: &Path, paths: &BTreeSet<&str>) -> Option<PathBuf> {
    let above = paths.iter().flat_map(|path| Path::new(path).ancestors().skip(1));
    let above: BTreeSet<&Path> = above.filter(|folder| !folder.as_os_str().is_empty()).collect();
    let is_changed = |folder: &Path| folder.to_str().is_some_and(|folder| paths.contains(folder));
    let is_link = |folder: &Path| root.join(folder).symlink_metadata().is_ok_and(|found| found.is_symlink());
    above.into_iter().find(|folder| is_link(folder) && !is_changed(folder)).map(Path::to_owned)
}
