//! Who may change what somebody may do, as pure rules: nobody gives away more than they have, and an organization never loses
//! its last owner.
//!
//! What they are asked about is read under the organization's lock ([`crate::db::members::lock`]), so that it still holds when
//! the change is made. That a credential is limited to some projects is for the routes to look at: none such manages anything.

use ckrv_types::identity::{Role, Scope};
use ckrv_types::{Problem, ProblemCode};
use serde_json::{Value, json};

use crate::error::ApiError;

/// Why a change is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It takes the scope `manage`.
    Unmanaging,
    /// It concerns somebody of a higher role, or would make one.
    Above(Role),
    /// It would give a scope away that who asks does not have.
    NotTheirs(Scope),
    /// A key would have a scope that its owner's role does not have.
    OwnerMayNot { role: Role, scope: Scope },
    /// A key would be good for nothing.
    NoScope,
    /// A person's key is rotated by that person alone: who else has its token acts in their name.
    OtherPersonsKey,
    /// Nobody would be left to own the organization.
    LastOwner,
}

/// Somebody who is about to change what others may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granter {
    pub role: Role,
    /// Of the credential, none that the role does not allow.
    pub scopes: Vec<Scope>,
    /// A person by a program of theirs, and not by a key.
    pub by_login: bool,
    /// By one that they have let do less than all.
    pub narrowed: bool,
}

/// Whose an API key is, as seen by who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOf {
    /// Theirs, or the owner's of the key that asks.
    Own,
    /// Another person's, of this role; none: they have left.
    Person(Option<Role>),
    ServiceAccount(Role),
}

/// How somebody stands in the organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub role: Role,
    pub suspended: bool,
}

impl Standing {
    /// The same with what is said.
    #[must_use]
    pub fn with(self, role: Option<Role>, suspended: Option<bool>) -> Self {
        Self { role: role.unwrap_or(self.role), suspended: suspended.unwrap_or(self.suspended) }
    }

    /// What the audit log calls the way from here to `after`, with what else is worth knowing; `changed`: another role.
    pub fn acts(self, noun: &str, changed: &str, after: Self) -> Vec<(String, Value)> {
        let mut acts = Vec::new();
        if self.role != after.role {
            acts.push((format!("{noun}.{changed}"), json!({ "from": self.role, "to": after.role })));
        }
        if self.suspended != after.suspended {
            let verb = if after.suspended { "suspended" } else { "resumed" };
            acts.push((format!("{noun}.{verb}"), json!({})));
        }
        acts
    }

    fn owns(self) -> bool {
        self.role == Role::Owner && !self.suspended
    }
}

impl Granter {
    /// To manage what concerns somebody of this role: members, service accounts, their keys.
    pub fn manages(&self, role: Role) -> Result<(), Refused> {
        if !self.scopes.contains(&Scope::Manage) {
            return Err(Refused::Unmanaging);
        }
        if is_above(role, self.role) { Err(Refused::Above(role)) } else { Ok(()) }
    }

    /// To have somebody become this who is nothing yet: by an invitation, or as a service account.
    pub fn grants_role(&self, role: Role) -> Result<(), Refused> {
        self.manages(role)?;
        let missing = Scope::ALL.into_iter().find(|scope| role.allows(*scope) && !self.scopes.contains(scope));
        missing.map_or(Ok(()), |scope| Err(Refused::NotTheirs(scope)))
    }

    pub fn changes_role(&self, from: Role, to: Role) -> Result<(), Refused> {
        self.manages(from)?;
        if is_above(to, from) { self.grants_role(to) } else { Ok(()) }
    }

    /// The role that a key's owner has; another person's is for nobody to use.
    pub fn owners_role(&self, of: KeyOf) -> Role {
        if let KeyOf::ServiceAccount(role) = of { role } else { self.role }
    }

    /// The most that a key of this owner can be given.
    pub fn all_for(&self, of: KeyOf) -> Vec<Scope> {
        let role = self.owners_role(of);
        self.scopes.iter().copied().filter(|scope| role.allows(*scope)).collect()
    }

    /// To be shown a key with these scopes: a new one, or the next in the place of one.
    pub fn makes_key(&self, of: KeyOf, scopes: &[Scope]) -> Result<(), Refused> {
        match of {
            KeyOf::Own if self.by_login => {}
            KeyOf::Own | KeyOf::ServiceAccount(_) => self.manages(self.owners_role(of))?,
            KeyOf::Person(_) => return Err(Refused::OtherPersonsKey),
        }
        let role = self.owners_role(of);
        if scopes.is_empty() {
            return Err(Refused::NoScope);
        }
        if let Some(more) = scopes.iter().find(|scope| !self.scopes.contains(scope)) {
            return Err(Refused::NotTheirs(*more));
        }
        let never = scopes.iter().find(|scope| !role.allows(**scope));
        never.map_or(Ok(()), |scope| Err(Refused::OwnerMayNot { role, scope: *scope }))
    }

    pub fn revokes_key(&self, of: KeyOf) -> Result<(), Refused> {
        match of {
            KeyOf::Own if self.by_login && !self.narrowed => Ok(()),
            KeyOf::Own => self.manages(self.role),
            KeyOf::Person(role) => self.manages(role.unwrap_or(Role::Viewer)),
            KeyOf::ServiceAccount(role) => self.manages(role),
        }
    }
}

/// Whether an invitation is still worth something: who made it may still have somebody become this. `by`: their role now; none:
/// they have left, or are suspended.
pub fn stands_behind(by: Option<Role>, role: Role) -> bool {
    by.is_some_and(|by| by.allows(Scope::Manage) && !is_above(role, by))
}

/// Whether somebody's standing may change like this; `after`: none for who goes. `others`: the other owners who are not
/// suspended.
pub fn keeps_an_owner(before: Standing, after: Option<Standing>, others: i64) -> Result<(), Refused> {
    let loses_one = before.owns() && !after.is_some_and(Standing::owns);
    if loses_one && others == 0 { Err(Refused::LastOwner) } else { Ok(()) }
}

const fn rank(role: Role) -> u8 {
    match role {
        Role::Owner => 3,
        Role::Admin => 2,
        Role::Editor => 1,
        Role::Viewer => 0,
    }
}

const fn is_above(role: Role, other: Role) -> bool {
    rank(role) > rank(other)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let forbidden = |detail: String| Self::new(ProblemCode::Forbidden).detail(detail);
        match refused {
            Refused::Unmanaging => {
                forbidden("The credential may not be used for this; the scope `manage` is needed.".into())
                    .hint("Ask an owner or an admin of the organization.")
            }
            Refused::Above(role) => {
                forbidden(format!("What concerns an {role} takes an {role}.")).hint("Ask an owner of the organization.")
            }
            Refused::NotTheirs(scope) => {
                forbidden(format!("The credential does not have the scope `{scope}`, so it cannot give it to others."))
                    .hint("Use a credential with that scope.")
            }
            Refused::OwnerMayNot { role, scope } => Self::new(ProblemCode::Invalid)
                .detail(format!("scopes: the key's owner has the role `{role}`, which has no scope `{scope}`"))
                .hint("Leave the scope out, or give the owner another role."),
            Refused::NoScope => Self::new(ProblemCode::Invalid).detail("scopes: a key needs at least one"),
            Refused::OtherPersonsKey => forbidden("A person's key can be had by that person alone.".into())
                .hint("Revoke it, or use a service account for what several people use."),
            Refused::LastOwner => Self::new(ProblemCode::Conflict)
                .detail("This is the organization's last owner.")
                .hint("Make somebody else an owner first."),
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Problem::from(refused).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granter(role: Role) -> Granter {
        let scopes = Scope::ALL.into_iter().filter(|scope| role.allows(*scope)).collect();
        Granter { role, scopes, by_login: true, narrowed: false }
    }

    fn key(role: Role, scopes: &[Scope]) -> Granter {
        Granter { role, scopes: scopes.into(), by_login: false, narrowed: false }
    }

    #[test]
    fn owners_and_admins_manage_up_to_their_own_role_and_others_nobody() {
        for role in Role::ALL {
            assert_eq!(granter(Role::Owner).manages(role), Ok(()));
            let by_admin = granter(Role::Admin).manages(role);
            assert_eq!(by_admin, if role == Role::Owner { Err(Refused::Above(role)) } else { Ok(()) });
            for lower in [Role::Editor, Role::Viewer] {
                assert_eq!(granter(lower).manages(role), Err(Refused::Unmanaging));
            }
        }
    }

    #[test]
    fn who_has_not_a_scope_makes_nobody_who_has_it() {
        let manager = key(Role::Owner, &[Scope::Manage, Scope::Read]);
        assert_eq!(manager.grants_role(Role::Viewer), Ok(()));
        for role in [Role::Editor, Role::Admin, Role::Owner] {
            assert_eq!(manager.grants_role(role), Err(Refused::NotTheirs(Scope::Run)));
            assert_eq!(manager.changes_role(Role::Viewer, role), Err(Refused::NotTheirs(Scope::Run)));
            assert_eq!(manager.changes_role(role, Role::Viewer), Ok(()), "to take away takes no more");
        }
    }

    #[test]
    fn an_admin_neither_makes_nor_unmakes_an_owner() {
        let admin = granter(Role::Admin);
        assert_eq!(admin.grants_role(Role::Owner), Err(Refused::Above(Role::Owner)));
        assert_eq!(admin.changes_role(Role::Admin, Role::Owner), Err(Refused::Above(Role::Owner)));
        assert_eq!(admin.changes_role(Role::Owner, Role::Viewer), Err(Refused::Above(Role::Owner)));
        assert_eq!(admin.changes_role(Role::Admin, Role::Viewer), Ok(()));
    }

    #[test]
    fn anybody_makes_keys_of_their_own_by_a_login_and_a_key_only_by_managing() {
        let (run, all) = ([Scope::Run], Scope::ALL);
        let editor = granter(Role::Editor);
        assert_eq!(editor.makes_key(KeyOf::Own, &run), Ok(()));
        assert_eq!(editor.makes_key(KeyOf::Own, &all), Err(Refused::NotTheirs(Scope::Manage)));
        assert_eq!(editor.makes_key(KeyOf::Own, &[]), Err(Refused::NoScope));
        assert_eq!(key(Role::Owner, &run).makes_key(KeyOf::Own, &run), Err(Refused::Unmanaging));
        assert_eq!(key(Role::Owner, &all).makes_key(KeyOf::Own, &all), Ok(()));
    }

    #[test]
    fn a_key_of_a_service_account_has_no_more_than_who_makes_it_nor_than_the_account() {
        let (read, all) = ([Scope::Read], Scope::ALL);
        let admin = granter(Role::Admin);
        let of = |role| KeyOf::ServiceAccount(role);
        assert_eq!(admin.makes_key(of(Role::Owner), &read), Err(Refused::Above(Role::Owner)));
        assert_eq!(admin.makes_key(of(Role::Admin), &all), Ok(()));
        let refused = Refused::OwnerMayNot { role: Role::Viewer, scope: Scope::Run };
        assert_eq!(admin.makes_key(of(Role::Viewer), &all), Err(refused));
        let narrow = key(Role::Owner, &[Scope::Manage]);
        assert_eq!(narrow.makes_key(of(Role::Viewer), &read), Err(Refused::NotTheirs(Scope::Read)));
        assert_eq!(granter(Role::Editor).makes_key(of(Role::Viewer), &read), Err(Refused::Unmanaging));
    }

    #[test]
    fn another_persons_key_may_be_ended_and_never_had() {
        let owner = granter(Role::Owner);
        assert_eq!(owner.makes_key(KeyOf::Person(Some(Role::Viewer)), &[Scope::Read]), Err(Refused::OtherPersonsKey));
        assert_eq!(owner.revokes_key(KeyOf::Person(Some(Role::Viewer))), Ok(()));
        let admin = granter(Role::Admin);
        assert_eq!(admin.revokes_key(KeyOf::Person(Some(Role::Owner))), Err(Refused::Above(Role::Owner)));
        assert_eq!(admin.revokes_key(KeyOf::Person(None)), Ok(()));
        assert_eq!(granter(Role::Viewer).revokes_key(KeyOf::Own), Ok(()));
        assert_eq!(key(Role::Viewer, &[Scope::Read]).revokes_key(KeyOf::Own), Err(Refused::Unmanaging));
        let narrow = Granter { scopes: vec![Scope::Read], narrowed: true, ..granter(Role::Owner) };
        assert_eq!(narrow.revokes_key(KeyOf::Own), Err(Refused::Unmanaging), "not even its person's own");
        let narrow = Granter { scopes: vec![Scope::Manage], ..narrow };
        assert_eq!(narrow.revokes_key(KeyOf::Own), Ok(()));
    }

    #[test]
    fn the_last_owner_stays_one() {
        let of = |role, suspended| Standing { role, suspended };
        let owner = of(Role::Owner, false);
        for after in [None, Some(of(Role::Admin, false)), Some(of(Role::Owner, true))] {
            assert_eq!(keeps_an_owner(owner, after, 0), Err(Refused::LastOwner));
            assert_eq!(keeps_an_owner(owner, after, 1), Ok(()));
        }
        assert_eq!(keeps_an_owner(owner, Some(owner), 0), Ok(()));
        assert_eq!(keeps_an_owner(of(Role::Owner, true), None, 0), Ok(()), "a suspended one is none");
        assert_eq!(keeps_an_owner(of(Role::Viewer, false), None, 0), Ok(()));
    }

    #[test]
    fn an_invitation_is_worth_what_who_made_it_may_still_give() {
        assert!(stands_behind(Some(Role::Owner), Role::Owner));
        assert!(stands_behind(Some(Role::Admin), Role::Admin));
        for (by, role) in [
            (None, Role::Viewer),
            (Some(Role::Admin), Role::Owner),
            (Some(Role::Editor), Role::Viewer),
            (Some(Role::Viewer), Role::Viewer),
        ] {
            assert!(!stands_behind(by, role), "{by:?} {role}");
        }
    }
}
