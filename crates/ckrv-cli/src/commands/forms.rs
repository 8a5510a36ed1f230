//! Results as they are shown: a change here is a change of what people and scripts read.
//!
//! Everything was made in the year 2100, so that its age is 0s whenever this is run.

use serde::de::DeserializeOwned;
use serde_json::json;

use ckrv_types::Page;
use ckrv_types::audit::AuditEntry;
use ckrv_types::credential::Credential;
use ckrv_types::identity::{Invitation, Member, Membership, Org, Project, ServiceAccount, WithToken};
use ckrv_types::quota::{Quota, UsageReport};

use crate::format::{One, Show, View};

const AT: &str = "2100-01-02T03:04:05Z";
const ID: &str = "01k9zj3m5r8w2t6y4x0v7q1n5d";

fn read<T: DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// As a table, by name, and as the JSON that it has to be.
fn forms(shown: &impl Show) -> String {
    let json = serde_json::to_string(shown).unwrap();
    format!("{}\n---\n{}\n---\n{json}", shown.table(View::PLAIN), shown.names().join("\n"))
}

fn member(email: Option<&str>, suspended: bool) -> serde_json::Value {
    let mut member =
        json!({"user": format!("usr-{ID}"), "name": "Ada\u{1b}[2J Lovelace", "role": "admin", "joined_at": AT});
    if let Some(email) = email {
        member["email"] = email.into();
    }
    if suspended {
        member["suspended_at"] = AT.into();
    }
    member
}

#[test]
fn an_organization() {
    let org: Org = read(
        json!({"id": format!("org-{ID}"), "name": "acme", "tier": "pro", "members": 3, "projects": 2, "created_at": AT}),
    );
    insta::assert_snapshot!(forms(&org));
}

#[test]
fn members() {
    let page: Page<Member> = read(json!({"items": [member(Some("ada@example.com"), false), member(None, true)]}));
    insta::assert_snapshot!(forms(&page));
    let one: Member = read(member(None, false));
    insta::assert_snapshot!("one_member", forms(&One(one)));
}

#[test]
fn invitations() {
    let invitation = json!({"id": format!("inv-{ID}"), "role": "editor", "note": "for Grace", "invited_by": "Ada", "created_at": AT, "expires_at": AT});
    let page: Page<Invitation> = read(json!({"items": [invitation]}));
    insta::assert_snapshot!(forms(&page));
    let mut made = invitation;
    made["token"] = "https://ckrv.example.com/invitations/x".into();
    insta::assert_snapshot!("made_invitation", forms(&read::<WithToken<Invitation>>(made)));
}

#[test]
fn a_membership() {
    let membership: Membership = read(json!({"org": format!("org-{ID}"), "org_name": "acme", "role": "viewer"}));
    insta::assert_snapshot!(forms(&membership));
}

#[test]
fn projects() {
    let plain =
        json!({"id": format!("prj-{ID}"), "name": "default", "settings": {}, "is_default": true, "created_at": AT});
    let strict = json!({"id": format!("prj-{ID}"), "name": "website", "is_default": false, "created_at": AT, "archived_at": AT,
        "settings": {"concurrency": 4, "class": "small", "classes": ["small", "large"], "max_run_seconds": 5400,
            "repositories": ["https://a.example/*", "https://b.example/c"]}});
    let page: Page<Project> = read(json!({"items": [plain, strict]}));
    insta::assert_snapshot!(forms(&page));
    insta::assert_snapshot!("one_project", forms(&read::<Project>(strict)));
}

#[test]
fn service_accounts() {
    let account = json!({"id": format!("svc-{ID}"), "name": "ci", "role": "editor", "created_at": AT, "keys": 2});
    let page: Page<ServiceAccount> = read(json!({"items": [account]}));
    insta::assert_snapshot!(forms(&page));
}

#[test]
fn a_credential() {
    let credential: Credential = read(
        json!({"id": format!("crd-{ID}"), "name": "deploy", "kind": "deploy_key", "host": "git.example.com:22",
        "version": 2, "fingerprint": "SHA256:abc", "created_at": AT, "updated_at": AT, "project": format!("prj-{ID}")}),
    );
    insta::assert_snapshot!(forms(&credential));
}

#[test]
fn quotas() {
    let limit = |quota: &str, used: u32, limit: Option<u32>| json!({"quota": quota, "used": used, "limit": limit});
    let mut jobs = limit("jobs_per_month", 100, Some(100));
    jobs["resets_at"] = AT.into();
    let quota: Quota = read(json!({"tier": "free", "weight": 1, "retention_days": 7, "classes": ["small"],
        "limits": [limit("concurrent_jobs", 1, Some(5)), jobs, limit("members", 3, None)]}));
    insta::assert_snapshot!(forms(&quota));
}

#[test]
fn usage() {
    let used = |jobs: u32| json!({"jobs": jobs, "seconds": 7500, "input_tokens": 1000, "output_tokens": 20, "cost_usd": 1.239});
    let row = |name: Option<&str>, project: bool| {
        let mut row = used(3);
        if let Some(name) = name {
            row["name"] = name.into();
        }
        if project {
            row["project"] = format!("prj-{ID}").into();
        }
        row
    };
    let rows = [row(Some("website"), true), row(None, true), row(None, false)];
    let report: UsageReport = read(json!({"month": "2026-11", "by": "project", "total": used(9), "rows": rows}));
    insta::assert_snapshot!(forms(&report));
}

#[test]
fn audit_entries() {
    let entry = |actor: serde_json::Value, detail: serde_json::Value| {
        json!({"id": format!("aud-{ID}"), "at": AT, "actor": actor, "action": "key.created",
            "subject": format!("key-{ID}"), "address": "192.0.2.1", "detail": detail})
    };
    let page: Page<AuditEntry> = read(json!({"items": [
        entry(json!({"kind": "user", "id": format!("usr-{ID}"), "name": "Ada"}), json!({"name": "ci"})),
        entry(json!({"kind": "key", "id": format!("key-{ID}")}), json!({})),
        entry(json!({"kind": "system"}), json!(null)),
    ]}));
    insta::assert_snapshot!(forms(&page));
}
