//! OpenID Connect Core 1.0: the authorization code flow with PKCE and a nonce. What an ID token must be is the library's
//! business, but for what it leaves to its users: the algorithms, the authorized party, the answer's issuer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ckrv_types::Secret;
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreGrantType, CoreIdToken,
    CoreIdTokenClaims, CoreIdTokenVerifier, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType, CoreTokenResponse, CoreUserInfoClaims,
};
use openidconnect::{
    AdditionalProviderMetadata, AuthType, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, DiscoveryError, EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, LocalizedClaim,
    Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadata, RedirectUrl,
    RequestTokenError, Scope, SignatureVerificationError, TokenResponse as _,
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::http::{Http, HttpError};
use super::settings::is_private;
use super::{Answer, Begun, ProviderError, Vouched};

/// What a provider says of itself is believed for so long; keys that it signs with in the meantime are asked for when they
/// are met.
const FRESH: Duration = Duration::from_hours(1);
/// A provider that is away is asked again after so long, and what it said before goes on.
const AGAIN: Duration = Duration::from_secs(5);
const SCOPES: [&str; 2] = ["profile", "email"];

/// Public keys only: with a shared secret, whoever can check a token can make one.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// RFC 9207, section 3.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Further {
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Further {}

type Metadata = ProviderMetadata<
    Further,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// One provider, and us as its client.
#[derive(Debug)]
pub struct Oidc {
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Option<Secret>,
    http: Http,
    known: Mutex<Known>,
    /// Held by whoever asks the provider, so that only one does.
    asking: tokio::sync::Mutex<()>,
}

/// What the provider said of itself last, and until when it is not asked again.
#[derive(Debug, Default)]
struct Known {
    metadata: Option<Arc<Metadata>>,
    until: Option<Instant>,
}

impl Oidc {
    pub fn new(issuer: IssuerUrl, client_id: &str, client_secret: Option<Secret>, http: Http) -> Self {
        Self {
            issuer,
            client_id: ClientId::new(client_id.to_owned()),
            client_secret,
            http,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    pub fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    pub async fn try_out(&self) -> Result<(), ProviderError> {
        self.metadata().await.map(drop)
    }

    pub async fn authorize_url(&self, begun: &Begun) -> Result<Url, ProviderError> {
        let metadata = self.metadata().await?;
        let client = self.client(&metadata, begun);
        let (state, nonce) = (begun.state.expose().to_owned(), begun.nonce.expose().to_owned());
        let verifier = PkceCodeVerifier::new(begun.verifier.expose().to_owned());
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let request = client
            .authorize_url(flow, move || CsrfToken::new(state), move || Nonce::new(nonce))
            .add_scopes(SCOPES.map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        Ok(request.url().0)
    }

    pub async fn identify(&self, answer: &Answer, begun: &Begun) -> Result<Vouched, ProviderError> {
        let metadata = self.metadata().await?;
        self.check_issuer(&metadata, answer)?;
        let client = self.client(&metadata, begun);
        let tokens = self.exchange(&client, answer, begun).await?;
        let Some(id_token) = tokens.id_token() else { return Err(unsound("it gave no ID token")) };
        let nonce = Nonce::new(begun.nonce.expose().to_owned());
        let claims = match self.verify(&metadata, id_token, &nonce) {
            // It may sign with a key that it did not have when it was asked.
            Err(error) if is_unknown_key(&error) => {
                let metadata = self.ask().await?;
                self.verify(&metadata, id_token, &nonce)
            }
            checked => checked,
        };
        let claims = claims.map_err(|error| unsound(&describe(&error)))?;
        if claims.authorized_party().is_some_and(|party| *party != self.client_id) {
            return Err(unsound("its ID token is for another client"));
        }
        let mut vouched = self.vouched(claims);
        if vouched.name.is_none() {
            self.add_from_user_info(&mut vouched, &client, &tokens).await;
        }
        Ok(vouched)
    }

    /// RFC 9207, section 2.4: who sent the browser back is who it was sent to.
    fn check_issuer(&self, metadata: &Metadata, answer: &Answer) -> Result<(), ProviderError> {
        match &answer.iss {
            Some(iss) if iss == self.issuer.as_str() => Ok(()),
            Some(_) => Err(unsound("another provider sent the browser back")),
            None if metadata.additional_metadata().authorization_response_iss_parameter_supported => {
                Err(unsound("the browser's return does not name the provider"))
            }
            None => Ok(()),
        }
    }

    async fn exchange(
        &self,
        client: &Client,
        answer: &Answer,
        begun: &Begun,
    ) -> Result<CoreTokenResponse, ProviderError> {
        let code = AuthorizationCode::new(answer.code.expose().to_owned());
        let request = client.exchange_code(code).map_err(|_| unsound("it has no token endpoint"))?;
        let verifier = PkceCodeVerifier::new(begun.verifier.expose().to_owned());
        let tokens = request.set_pkce_verifier(verifier).request_async(&self.http).await;
        tokens.map_err(|error| match error {
            RequestTokenError::ServerResponse(refusal) => ProviderError::Refused(refusal.error().as_ref().to_owned()),
            RequestTokenError::Request(error) => ProviderError::Away(error.into()),
            // What it said may hold a token.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => unsound("its tokens cannot be read"),
        })
    }

    fn verify<'t>(
        &self,
        metadata: &Metadata,
        token: &'t CoreIdToken,
        nonce: &Nonce,
    ) -> Result<&'t CoreIdTokenClaims, ClaimsVerificationError> {
        let (client, issuer) = (self.client_id.clone(), self.issuer.clone());
        let verifier = CoreIdTokenVerifier::new_public_client(client, issuer, metadata.jwks().clone());
        token.claims(&verifier.set_allowed_algs(ALGORITHMS), nonce)
    }

    fn vouched(&self, claims: &CoreIdTokenClaims) -> Vouched {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.trim().is_empty());
        Vouched {
            issuer: self.issuer.as_str().to_owned(),
            subject: claims.subject().as_str().to_owned(),
            account: claims
                .preferred_username()
                .and_then(|name| text(name))
                .or_else(|| claims.email().and_then(|email| text(email))),
            name: claims.name().and_then(first).and_then(|name| text(name)),
            email: claims.email().and_then(|email| text(email)),
        }
    }

    /// Many tell names there alone. Names are for people to read: without them it goes on.
    async fn add_from_user_info(&self, vouched: &mut Vouched, client: &Client, tokens: &CoreTokenResponse) {
        let subject = openidconnect::SubjectIdentifier::new(vouched.subject.clone());
        let Ok(request) = client.user_info(tokens.access_token().clone(), Some(subject)) else { return };
        let info: CoreUserInfoClaims = match request.request_async(&self.http).await {
            Ok(info) => info,
            Err(_) => return tracing::warn!(issuer = self.issuer(), "the provider does not tell who somebody is"),
        };
        let text = |text: &String| Some(text.clone()).filter(|text| !text.trim().is_empty());
        vouched.name = info.name().and_then(first).and_then(|name| text(name));
        vouched.email = vouched.email.take().or_else(|| info.email().and_then(|email| text(email)));
        let account = info.preferred_username().and_then(|name| text(name));
        vouched.account = vouched.account.take().or(account).or_else(|| vouched.email.clone());
    }

    fn client(&self, metadata: &Metadata, begun: &Begun) -> Client {
        let secret = self.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()));
        // Where a provider says nothing it takes Basic (Discovery 1.0, section 3).
        let methods = metadata.token_endpoint_auth_methods_supported();
        let basic = methods.is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        CoreClient::from_provider_metadata(metadata.clone(), self.client_id.clone(), secret)
            .set_redirect_uri(RedirectUrl::from_url(begun.redirect_uri.clone()))
            .set_auth_type(if basic { AuthType::BasicAuth } else { AuthType::RequestBody })
    }

    /// What the provider says of itself, asked for when that is long ago.
    async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        if let Some(known) = self.known() {
            return known;
        }
        let _turn = self.asking.lock().await;
        // Somebody else may just have asked.
        if let Some(known) = self.known() {
            return known;
        }
        self.ask().await
    }

    /// What need not be asked for.
    fn known(&self) -> Option<Result<Arc<Metadata>, ProviderError>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.until.filter(|until| Instant::now() < *until)?;
        Some(known.metadata.clone().ok_or_else(|| ProviderError::Away("it was away a moment ago".into())))
    }

    async fn ask(&self) -> Result<Arc<Metadata>, ProviderError> {
        let asked = Metadata::discover_async(self.issuer.clone(), &self.http).await;
        let answer = asked.map_err(|error| discovery(&error)).and_then(Self::safe);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.until = Some(Instant::now() + if answer.is_ok() { FRESH } else { AGAIN });
        match (answer, &known.metadata) {
            (Ok(metadata), _) => {
                let metadata = Arc::new(metadata);
                known.metadata = Some(Arc::clone(&metadata));
                Ok(metadata)
            }
            (Err(error), Some(before)) => {
                tracing::warn!(issuer = self.issuer(), %error, "what the provider said before is believed");
                Ok(Arc::clone(before))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Where codes and secrets are sent is as private as the issuer is.
    fn safe(metadata: Metadata) -> Result<Metadata, ProviderError> {
        let urls = [
            Some(metadata.authorization_endpoint().url()),
            metadata.token_endpoint().map(openidconnect::TokenUrl::url),
            Some(metadata.jwks_uri().url()),
            metadata.userinfo_endpoint().map(openidconnect::UserInfoUrl::url),
        ];
        let safe = urls.into_iter().flatten().all(is_private);
        if safe { Ok(metadata) } else { Err(unsound("one of its endpoints is not encrypted")) }
    }
}

fn first<T>(claim: &LocalizedClaim<T>) -> Option<&T> {
    claim.get(None).or_else(|| claim.iter().next().map(|(_, value)| value))
}

fn unsound(what: &str) -> ProviderError {
    ProviderError::Unsound(what.to_owned())
}

fn is_unknown_key(error: &ClaimsVerificationError) -> bool {
    use SignatureVerificationError::{AmbiguousKeyId, CryptoError, NoMatchingKey};
    matches!(error, ClaimsVerificationError::SignatureVerification(NoMatchingKey | CryptoError(_) | AmbiguousKeyId(_)))
}

/// What is wrong with an ID token, without what is in it.
fn describe(error: &ClaimsVerificationError) -> String {
    let what = match error {
        ClaimsVerificationError::Expired(_) => "has expired",
        ClaimsVerificationError::InvalidAudience(_) => "is for another client",
        ClaimsVerificationError::InvalidIssuer(_) => "is another issuer's",
        ClaimsVerificationError::InvalidNonce(_) => "is of another sign-in",
        ClaimsVerificationError::SignatureVerification(_) => "is not signed by a key of its issuer",
        _ => "is not one",
    };
    format!("its ID token {what}")
}

fn discovery(error: &DiscoveryError<HttpError>) -> ProviderError {
    match error {
        DiscoveryError::Request(_) => ProviderError::Away(chain(error).into()),
        DiscoveryError::Response(status, ..) => unsound(&format!("its discovery document: {status}")),
        _ => unsound(&chain(error)),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
