//! The credentials that an organization's jobs may use. They go in, and never come out here.

use ckrv_types::credential::{CreateCredential, Credential, ReplaceSecret};
use ckrv_types::{CredentialId, Page};

use crate::{Client, ClientError};

impl Client {
    /// Without their secrets.
    pub async fn credentials(&self) -> Result<Page<Credential>, ClientError> {
        self.transport.whole(["v1", "credentials"], "a list of credentials").await
    }

    pub async fn create_credential(&self, new: &CreateCredential) -> Result<Credential, ClientError> {
        self.transport.json(self.transport.create(["v1", "credentials"]).json(new), "a credential").await
    }

    /// A new secret in the place of the old one; jobs that begin from now on get it.
    pub async fn replace_secret(&self, id: CredentialId, secret: &ReplaceSecret) -> Result<Credential, ClientError> {
        let request = self.transport.put(["v1", "credentials", &id.to_string(), "secret"]).json(secret);
        self.transport.json(request, "a credential").await
    }

    pub async fn remove_credential(&self, id: CredentialId) -> Result<(), ClientError> {
        self.transport.done(self.transport.delete(["v1", "credentials", &id.to_string()])).await
    }
}
