//! Things by the name that people call them by, wherever an id is taken.
//!
//! An id stands for itself and is not looked up. A name that several things have is an error that lists them: none is guessed.

use std::fmt::Display;
use std::str::FromStr;

use ckrv_client::{Client, ClientError};
use ckrv_types::credential::Credential;
use ckrv_types::identity::{ApiKey, Invitation, Member, Project, RunnerInfo, ServiceAccount};
use ckrv_types::{CredentialId, InvitationId, KeyId, Page, ProjectId, RunnerId, ServiceAccountId, UserId};

use crate::duration::moment;
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// A thing with an id and a name.
pub trait Named {
    type Id: FromStr + Display + Copy + PartialEq;

    /// What it is.
    const KIND: &'static str;
    /// The command that shows them all.
    const SHOWN_BY: &'static str;

    fn id(&self) -> Self::Id;

    /// Whether somebody who says `text` may mean this one.
    fn is_called(&self, text: &str) -> bool;

    /// By what it can be told from others of its name, besides its id.
    fn told_apart_by(&self) -> String;
}

/// The id that `text` is, or that the one thing of `all` has which is called so.
pub async fn id_of<T: Named>(
    text: &str,
    all: impl Future<Output = Result<Page<T>, ClientError>>,
) -> Result<T::Id, Failure> {
    match text.parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(one(all.await?.items, text)?.id()),
    }
}

/// The one thing that has `text` for its id, or is called so.
pub fn find<T: Named>(all: Vec<T>, text: &str) -> Result<T, Failure> {
    match text.parse::<T::Id>() {
        Ok(id) => all.into_iter().find(|thing| thing.id() == id).ok_or_else(|| none::<T>(text)),
        Err(_) => one(all, text),
    }
}

/// The one thing that is called `text`.
pub fn one<T: Named>(all: Vec<T>, text: &str) -> Result<T, Failure> {
    let mut called: Vec<T> = all.into_iter().filter(|thing| thing.is_called(text)).collect();
    match called.len() {
        1 => Ok(called.remove(0)),
        0 => Err(none::<T>(text)),
        many => {
            let failure = Failure::usage(format!("`{text}` may be any of {many}; say which by its id"));
            Err(called
                .iter()
                .fold(failure, |failure, thing| failure.cause(format!("{} ({})", thing.id(), thing.told_apart_by()))))
        }
    }
}

fn none<T: Named>(text: &str) -> Failure {
    let failure = Failure::new(ExitStatus::NotFound, format!("there is no {} `{text}`", T::KIND));
    failure.hint(format!("`{}` shows them", T::SHOWN_BY))
}

/// The project of this name or id.
pub async fn project(client: &Client, text: &str) -> Result<ProjectId, Failure> {
    id_of(text, client.projects()).await
}

/// The projects of these names or ids; they are looked up once.
pub async fn projects(client: &Client, texts: &[String]) -> Result<Vec<ProjectId>, Failure> {
    let ids: Vec<ProjectId> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    if ids.len() == texts.len() {
        return Ok(ids);
    }
    let all = client.projects().await?.items;
    texts.iter().map(|text| text.parse().or_else(|_| one(all.clone(), text).map(|project| project.id))).collect()
}

impl Named for Member {
    type Id = UserId;

    const KIND: &'static str = "member";
    const SHOWN_BY: &'static str = "ckrv org members";

    fn id(&self) -> UserId {
        self.user
    }

    /// By name or e-mail, both at once: who takes another's address for a name makes it ambiguous, and nothing more.
    fn is_called(&self, text: &str) -> bool {
        let same = |other: &str| other.to_lowercase() == text.to_lowercase();
        same(&self.name) || self.email.as_deref().is_some_and(same)
    }

    fn told_apart_by(&self) -> String {
        let email = self.email.as_deref().map(|email| format!(" <{email}>")).unwrap_or_default();
        format!("{}{email}, {}", self.name, self.role)
    }
}

impl Named for Invitation {
    type Id = InvitationId;

    const KIND: &'static str = "open invitation";
    const SHOWN_BY: &'static str = "ckrv org invitations";

    fn id(&self) -> InvitationId {
        self.id
    }

    fn is_called(&self, text: &str) -> bool {
        self.note.as_deref() == Some(text)
    }

    fn told_apart_by(&self) -> String {
        format!("{}, made {}", self.role, moment(self.created_at))
    }
}

impl Named for Project {
    type Id = ProjectId;

    const KIND: &'static str = "project";
    const SHOWN_BY: &'static str = "ckrv project list";

    fn id(&self) -> ProjectId {
        self.id
    }

    fn is_called(&self, text: &str) -> bool {
        self.name == text
    }

    fn told_apart_by(&self) -> String {
        format!("made {}", moment(self.created_at))
    }
}

impl Named for ApiKey {
    type Id = KeyId;

    const KIND: &'static str = "API key";
    const SHOWN_BY: &'static str = "ckrv key list";

    fn id(&self) -> KeyId {
        self.id
    }

    /// Names are used again, above all by rotation: of one that is revoked nothing can be wanted.
    fn is_called(&self, text: &str) -> bool {
        self.name == text && self.revoked_at.is_none()
    }

    fn told_apart_by(&self) -> String {
        let used = self.last_used_at.map_or("never used".to_owned(), |at| format!("used {}", moment(at)));
        let ends = self.expires_at.map(|at| format!(", ends {}", moment(at))).unwrap_or_default();
        format!("made {}, {used}{ends}", moment(self.created_at))
    }
}

impl Named for ServiceAccount {
    type Id = ServiceAccountId;

    const KIND: &'static str = "service account";
    const SHOWN_BY: &'static str = "ckrv service-account list";

    fn id(&self) -> ServiceAccountId {
        self.id
    }

    fn is_called(&self, text: &str) -> bool {
        self.name == text
    }

    fn told_apart_by(&self) -> String {
        format!("{}, made {}", self.role, moment(self.created_at))
    }
}

impl Named for Credential {
    type Id = CredentialId;

    const KIND: &'static str = "credential";
    const SHOWN_BY: &'static str = "ckrv cloud credentials list";

    fn id(&self) -> CredentialId {
        self.id
    }

    fn is_called(&self, text: &str) -> bool {
        self.name == text
    }

    fn told_apart_by(&self) -> String {
        format!("for {}", self.host)
    }
}

impl Named for RunnerInfo {
    type Id = RunnerId;

    const KIND: &'static str = "runner";
    const SHOWN_BY: &'static str = "ckrv runner list";

    fn id(&self) -> RunnerId {
        self.id
    }

    fn is_called(&self, text: &str) -> bool {
        self.name == text && self.revoked_at.is_none()
    }

    fn told_apart_by(&self) -> String {
        format!("made {}", moment(self.created_at))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use ckrv_types::identity::Role;
    use time::OffsetDateTime;

    use super::*;

    fn member(name: &str, email: &str) -> Member {
        Member {
            user: UserId::new(),
            name: name.into(),
            email: Some(email.into()),
            role: Role::Editor,
            joined_at: OffsetDateTime::UNIX_EPOCH,
            suspended_at: None,
        }
    }

    #[track_caller]
    fn fails(outcome: Result<Member, Failure>) -> crate::failure::Report {
        match outcome {
            Err(Failure::Told(report)) => *report,
            Err(Failure::Unread) | Ok(_) => panic!("it does not fail"),
        }
    }

    #[test]
    fn a_member_goes_by_name_and_by_e_mail_in_any_case() {
        let ada = member("Ada Lovelace", "ada@example.com");
        let all = vec![ada.clone(), member("Grace", "grace@example.com")];
        for text in ["ada lovelace", "Ada Lovelace", "ADA@example.com"] {
            assert_eq!(one(all.clone(), text).unwrap(), ada, "{text}");
        }
    }

    #[test]
    fn nobody_is_guessed_from_a_part_of_a_name() {
        let report = fails(one(vec![member("Ada Lovelace", "ada@example.com")], "Ada"));
        assert_eq!(report.status, ExitStatus::NotFound);
        assert_eq!(report.what, "there is no member `Ada`");
        assert_eq!(report.hint.as_deref(), Some("`ckrv org members` shows them"));
    }

    #[test]
    fn a_name_that_several_have_is_refused_with_all_of_them() {
        let all = vec![member("Ada", "a@example.com"), member("ada", "b@example.com"), member("Bob", "c@example.com")];
        let report = fails(one(all.clone(), "Ada"));
        assert_eq!(report.status, ExitStatus::Usage);
        assert_eq!(
            report.causes,
            [
                format!("{} (Ada <a@example.com>, editor)", all[0].user),
                format!("{} (ada <b@example.com>, editor)", all[1].user)
            ]
        );
    }

    #[test]
    fn who_calls_themself_by_anothers_address_is_not_taken_for_them() {
        let all = vec![member("boss@example.com", "eve@example.com"), member("Boss", "boss@example.com")];
        assert_eq!(fails(one(all, "boss@example.com")).causes.len(), 2);
    }

    #[tokio::test]
    async fn an_id_is_taken_as_it_is_and_a_name_is_looked_up() {
        let ada = member("Ada", "ada@example.com");
        assert_eq!(id_of::<Member>(&ada.user.to_string(), pending()).await.unwrap(), ada.user);
        let page = Page { items: vec![ada.clone()], next: None };
        assert_eq!(id_of("Ada", ready(Ok(page))).await.unwrap(), ada.user);
    }

    #[test]
    fn a_key_that_is_revoked_does_not_hold_its_name() {
        let key = |revoked_at| ApiKey {
            id: KeyId::new(),
            name: "ci".into(),
            user: None,
            service_account: None,
            scopes: Vec::new(),
            projects: Vec::new(),
            created_at: OffsetDateTime::UNIX_EPOCH,
            expires_at: None,
            last_used_at: None,
            revoked_at,
            rotated_from: None,
        };
        let (old, new) = (key(Some(OffsetDateTime::UNIX_EPOCH)), key(None));
        assert_eq!(one(vec![old, new.clone()], "ci").unwrap(), new);
    }
}
