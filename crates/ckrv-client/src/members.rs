//! Organizations, who belongs to them, and who is asked to join.

use ckrv_types::identity::{
    AcceptInvitation, CreateInvitation, CreateOrg, Invitation, Member, Membership, Org, UpdateMember, UpdateOrg,
    WithToken,
};
use ckrv_types::{InvitationId, Page, UserId};

use crate::{Client, ClientError};

impl Client {
    /// The organization that requests are about.
    pub async fn org(&self) -> Result<Org, ClientError> {
        self.transport.json(self.transport.get(["v1", "org"]), "an organization").await
    }

    /// A new organization, of which the person who asks is the owner.
    pub async fn create_org(&self, org: &CreateOrg) -> Result<Org, ClientError> {
        self.transport.json(self.transport.create(["v1", "orgs"]).json(org), "an organization").await
    }

    pub async fn update_org(&self, update: &UpdateOrg) -> Result<Org, ClientError> {
        self.transport.json(self.transport.patch(["v1", "org"]).json(update), "an organization").await
    }

    pub async fn members(&self) -> Result<Page<Member>, ClientError> {
        self.transport.whole(["v1", "members"], "a list of members").await
    }

    pub async fn update_member(&self, user: UserId, update: &UpdateMember) -> Result<Member, ClientError> {
        self.transport.json(self.transport.patch(["v1", "members", &user.to_string()]).json(update), "a member").await
    }

    /// Also for those who leave by themselves.
    pub async fn remove_member(&self, user: UserId) -> Result<(), ClientError> {
        self.transport.done(self.transport.delete(["v1", "members", &user.to_string()])).await
    }

    /// Those that nobody has taken yet.
    pub async fn invitations(&self) -> Result<Page<Invitation>, ClientError> {
        self.transport.whole(["v1", "invitations"], "a list of invitations").await
    }

    /// A new invitation. Its token is a link, which is shown this one time.
    pub async fn invite(&self, invitation: &CreateInvitation) -> Result<WithToken<Invitation>, ClientError> {
        self.transport.json(self.transport.create(["v1", "invitations"]).json(invitation), "an invitation").await
    }

    pub async fn revoke_invitation(&self, id: InvitationId) -> Result<(), ClientError> {
        self.transport.done(self.transport.delete(["v1", "invitations", &id.to_string()])).await
    }

    /// Makes the person who asks a member.
    pub async fn accept_invitation(&self, accept: &AcceptInvitation) -> Result<Membership, ClientError> {
        let request = self.transport.create(["v1", "invitations", "accept"]).json(accept);
        self.transport.json(request, "a membership").await
    }
}
