//! Repository and branch by default: those of the checkout that the user stands in.

use std::path::Path;

use super::draft::Draft;
use crate::failure::{Failure, OrFail as _};
use crate::git::checkout::{Checkout, Origin};
use crate::printer::Printer;

/// Fills in repository and branch, and warns of what stands here and the job will not see. A repository given by flag or
/// file takes nothing from here. `local`: the control plane is this machine, and reads its paths.
pub async fn complete(draft: Draft, local: bool, printer: Printer) -> Result<Draft, Failure> {
    if let Some(repo) = &draft.repo {
        // A path is the user's, not the server's: make it mean the same there.
        let path = Path::new(repo);
        if local && !repo.contains(':') && path.is_dir() {
            let full = path.canonicalize().or_fail(|| format!("cannot use {repo}"))?;
            return Ok(Draft { repo: Some(full.to_string_lossy().into_owned()), ..draft });
        }
        return Ok(draft);
    }
    let here = std::env::current_dir().or_fail(|| "cannot tell where this is".into())?;
    let Some(checkout) = Checkout::around(&here).await.or_fail(|| "cannot look for a checkout".into())? else {
        return Err(Failure::usage("no repository is given, and this is no git checkout").hint("say --repo URL"));
    };
    let origin = checkout.origin().await;
    let pushed = origin != Origin::None;
    let repo = match origin {
        Origin::Remote(url) => url,
        Origin::Local(path) if local => path.to_string_lossy().into_owned(),
        Origin::None if local => checkout.root().to_string_lossy().into_owned(),
        Origin::Local(path) => {
            let what = format!("`origin` is {}, which the server cannot read", path.display());
            return Err(Failure::usage(what).hint("say --repo URL"));
        }
        Origin::None => return Err(Failure::usage("this checkout has no remote `origin`").hint("say --repo URL")),
    };
    let branch = match draft.branch.clone() {
        Some(branch) => Some(branch),
        None => current(&checkout, pushed, printer).await,
    };
    let branch_text = branch.as_deref().map(|branch| format!(", branch {branch}")).unwrap_or_default();
    printer.note(&format!("repository {repo}{branch_text}"));
    Ok(Draft { repo: Some(repo), branch, ..draft })
}

async fn current(checkout: &Checkout, pushed: bool, printer: Printer) -> Option<String> {
    let Some(branch) = checkout.branch().await else {
        printer.warning("HEAD is detached: the job starts from the remote's default branch (--branch says another)");
        return None;
    };
    for unseen in checkout.unseen(&branch, pushed).await {
        printer.warning(&unseen);
    }
    Some(branch)
}
