"""Is let in by the unmodified PyPI package `authlib`: device flow, refresh, revocation.

    python login.py ISSUER

Prints `approve CODE` for somebody to do it.
"""

import sys
import time

import requests
from authlib.integrations.requests_client import OAuth2Session, OAuthError
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from authlib.oauth2.rfc9068.claims import JWTAccessTokenClaims
from joserfc import jwt
from joserfc.jwk import KeySet

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

issuer = sys.argv[1]
metadata = AuthorizationServerMetadata(requests.get(get_well_known_url(issuer, external=True)).json())
metadata.validate()
assert metadata["issuer"] == issuer, metadata
session = OAuth2Session("ckrv-cli", scope="read run", token_endpoint=metadata["token_endpoint"])


def ask():
    """Begins the device flow, which authlib has no helper for."""
    form = {"client_id": "ckrv-cli", "scope": "read run", "host": "authlib"}
    answer = session.post(metadata["device_authorization_endpoint"], data=form, withhold_token=True)
    answer.raise_for_status()
    return answer.json()


def poll(asked):
    interval = asked["interval"]
    while True:
        time.sleep(interval)
        try:
            return session.fetch_token(grant_type=DEVICE_GRANT, device_code=asked["device_code"])
        except OAuthError as error:
            if error.error == "slow_down":
                interval += 5
            elif error.error != "authorization_pending":
                raise


def judge_access_token(token):
    answer = session.get(issuer + "/v1/whoami")
    assert answer.status_code == 200, answer.text
    keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"]).json())
    decoded = jwt.decode(token["access_token"], keys, algorithms=["EdDSA"])
    expected = {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": issuer}}
    required = {name: {"essential": True} for name in ["exp", "sub", "client_id", "iat", "jti"]}
    JWTAccessTokenClaims(decoded.claims, decoded.header, {**expected, **required}).validate()


asked = ask()
print("approve", asked["user_code"], flush=True)
first = dict(poll(asked))
judge_access_token(first)

second = dict(session.refresh_token(metadata["token_endpoint"]))
assert second["refresh_token"] != first["refresh_token"], "it is not rotated"
judge_access_token(second)

answer = session.revoke_token(metadata["revocation_endpoint"], token_type_hint="refresh_token")
assert answer.status_code == 200, answer.text
try:
    session.refresh_token(metadata["token_endpoint"], refresh_token=second["refresh_token"])
    raise AssertionError("it is good after it was revoked")
except OAuthError as error:
    assert error.error == "invalid_grant", error
