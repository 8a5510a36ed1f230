//! API keys, and the service accounts that they may belong to.

use ckrv_types::identity::{
    ApiKey, CreateKey, CreateServiceAccount, RotateKey, ServiceAccount, UpdateServiceAccount, WithToken,
};
use ckrv_types::{KeyId, Page, ServiceAccountId};

use crate::{Client, ClientError};

impl Client {
    pub async fn keys(&self) -> Result<Page<ApiKey>, ClientError> {
        self.transport.whole(["v1", "keys"], "a list of keys").await
    }

    /// A new API key, with the token that is shown this one time.
    pub async fn create_key(&self, key: &CreateKey) -> Result<WithToken<ApiKey>, ClientError> {
        self.transport.json(self.transport.create(["v1", "keys"]).json(key), "a key").await
    }

    /// A new key like the old one, with its token; the old one ends a while later.
    pub async fn rotate_key(&self, id: KeyId, rotate: &RotateKey) -> Result<WithToken<ApiKey>, ClientError> {
        let request = self.transport.create(["v1", "keys", &id.to_string(), "rotate"]).json(rotate);
        self.transport.json(request, "a key").await
    }

    pub async fn revoke_key(&self, id: KeyId) -> Result<(), ClientError> {
        self.transport.done(self.transport.delete(["v1", "keys", &id.to_string()])).await
    }

    pub async fn service_accounts(&self) -> Result<Page<ServiceAccount>, ClientError> {
        self.transport.whole(["v1", "service-accounts"], "a list of service accounts").await
    }

    pub async fn create_service_account(&self, new: &CreateServiceAccount) -> Result<ServiceAccount, ClientError> {
        let request = self.transport.create(["v1", "service-accounts"]).json(new);
        self.transport.json(request, "a service account").await
    }

    pub async fn update_service_account(
        &self,
        id: ServiceAccountId,
        update: &UpdateServiceAccount,
    ) -> Result<ServiceAccount, ClientError> {
        let request = self.transport.patch(["v1", "service-accounts", &id.to_string()]).json(update);
        self.transport.json(request, "a service account").await
    }

    /// Removes it, and its keys with it.
    pub async fn remove_service_account(&self, id: ServiceAccountId) -> Result<(), ClientError> {
        self.transport.done(self.transport.delete(["v1", "service-accounts", &id.to_string()])).await
    }
}
