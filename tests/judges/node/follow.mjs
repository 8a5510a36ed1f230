// Follows a job's log by the unmodified npm package `eventsource`, and prints the id and text of each `log` event.
//   node follow.mjs URL TOKEN
import { EventSource } from 'eventsource'

const [url, token] = process.argv.slice(2)
const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } }),
})
// While it waits to reconnect, the package alone does not keep the process alive.
const alive = setInterval(() => {}, 1000)
let lines = []
const flush = () => { process.stdout.write(lines.join('')); lines = [] }
const done = (code) => { flush(); source.close(); clearInterval(alive); process.exitCode = code }

source.addEventListener('log', (event) => {
  lines.push(`${event.lastEventId} ${JSON.parse(event.data).text}\n`)
  if (lines.length >= 1000) flush()
})
source.addEventListener('end', () => done(0))
source.addEventListener('error', (event) => {
  // It reconnects by itself, unless the server has told it not to.
  if (source.readyState === EventSource.CLOSED) { console.error(event); done(1) }
})
