// The unmodified npm package `oidc-provider`, with its own pages to sign in and to consent at.
//   node provider.mjs
// Prints its issuer, reads the client's redirect URI, prints `ready`. For each further line `rotate` it signs with a new key
// from then on, and prints `rotated`.
import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import Provider from 'oidc-provider'

// Its notices go where nobody reads answers.
console.info = console.error
const server = createServer()
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const issuer = `http://127.0.0.1:${server.address().port}`
console.log(issuer)

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const redirect_uri = (await lines.next()).value

function serve() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'ckrv', client_secret: 'of nobody else', redirect_uris: [redirect_uri] }],
    pkce: { required: () => true },
    claims: { openid: ['sub'], email: ['email'], profile: ['name', 'preferred_username'] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, name: `${id} Lovelace`, preferred_username: `${id}.lovelace`, email: `${id}@example.com` }),
    }),
    cookies: { keys: ['of these tests alone'] },
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
  })
  server.removeAllListeners('request')
  server.on('request', provider.callback())
}

serve()
console.log('ready')
for await (const line of { [Symbol.asyncIterator]: () => lines }) {
  if (line !== 'rotate') throw new Error(line)
  serve()
  console.log('rotated')
}
process.exit(0)
