//! How strictly git's objects are judged wherever ckrv takes some over: in a clone, in the agent's bundle, in the result, in
//! `ckrv pull`. One judgement for all of them, so that no worker hands out a branch that `ckrv pull` refuses.

/// Old faults that honest repositories carry in their history and that harm nobody: told, not refused. Every other fault
/// that git-fsck(1) knows is refused, also those that git itself only warns of.
pub const TOLERATED_FAULTS: &[&str] = &[
    "zeroPaddedFilemode",
    "badTimezone",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingNameBeforeEmail",
];

/// The argument of git-index-pack(1), which goes by no setting.
pub fn index_pack_argument() -> String {
    let tolerated: Vec<String> = TOLERATED_FAULTS.iter().map(|fault| format!("{fault}=warn")).collect();
    format!("--strict={}", tolerated.join(","))
}

/// The settings of git-fetch(1) and git-clone(1), as keys and values.
pub fn fetch_settings() -> impl Iterator<Item = (String, &'static str)> {
    let tolerated = TOLERATED_FAULTS.iter().map(|fault| (format!("fetch.fsck.{fault}"), "warn"));
    std::iter::once(("fetch.fsckObjects".to_owned(), "true")).chain(tolerated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_tolerate_the_same_faults() {
        let argument = index_pack_argument();
        let settings: Vec<(String, &str)> = fetch_settings().collect();
        assert_eq!(settings.len(), TOLERATED_FAULTS.len() + 1);
        for fault in TOLERATED_FAULTS {
            assert!(argument.contains(&format!("{fault}=warn")), "{argument}");
            assert!(settings.contains(&(format!("fetch.fsck.{fault}"), "warn")), "{settings:?}");
        }
    }
}
