// Is let in by the unmodified npm package `openid-client`: device flow, authorization code with PKCE, refresh, revocation.
//   node login.mjs ISSUER
// Prints `approve CODE`, `deny CODE` and `open URL` for somebody with a browser to do it.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

const issuer = process.argv[2]
const insecure = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }
const config = await client.discovery(new URL(issuer), 'ckrv-cli', undefined, client.None(), insecure)
const fails = (promise, error) => assert.rejects(promise, (reason) => reason.error === error || assert.fail(reason))

async function byDevice(decision) {
  const asked = await client.initiateDeviceAuthorization(config, { scope: 'read run', host: 'openid-client' })
  console.log(decision, asked.user_code)
  return client.pollDeviceAuthorizationGrant(config, asked)
}

async function byCode() {
  const verifier = client.randomPKCECodeVerifier()
  const state = client.randomState()
  const listener = createServer()
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const redirect_uri = `http://127.0.0.1:${listener.address().port}/callback`
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri,
    scope: 'read run',
    state,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  })
  const returned = new Promise((resolve) => {
    listener.on('request', (request, response) => { response.end('done'); resolve(new URL(request.url, redirect_uri)) })
  })
  console.log('open', url.href)
  const back = await returned
  listener.close()
  // Among others it checks `iss` and `state`.
  return client.authorizationCodeGrant(config, back, { pkceCodeVerifier: verifier, expectedState: state })
}

// As an API would that trusts this server (RFC 9068, section 4), and by the API itself.
async function judgeAccessToken(token) {
  const whoami = await client.fetchProtectedResource(config, token, new URL('/v1/whoami', issuer), 'GET')
  assert.equal(whoami.status, 200, await whoami.text())
  const request = new Request(issuer, { headers: { authorization: `Bearer ${token}` } })
  const options = { [oauth.allowInsecureRequests]: true }
  const claims = await oauth.validateJwtAccessToken(config.serverMetadata(), request, issuer, options)
  assert.equal(claims.scope, 'read run')
}

async function judge(first) {
  assert.equal(first.scope, 'read run')
  await judgeAccessToken(first.access_token)
  const second = await client.refreshTokenGrant(config, first.refresh_token)
  assert.notEqual(second.refresh_token, first.refresh_token)
  await judgeAccessToken(second.access_token)
  await client.tokenRevocation(config, second.refresh_token)
  await fails(client.refreshTokenGrant(config, second.refresh_token), 'invalid_grant')
}

await judge(await byDevice('approve'))
await judge(await byCode())
await fails(byDevice('deny'), 'access_denied')
