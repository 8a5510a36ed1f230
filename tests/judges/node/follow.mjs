// Follows a job's log by the unmodified npm package `eventsource`, and prints the id and text of each `log` event.
//   node follow.mjs URL TOKEN
import { EventSource } from 'eventsource'

const [url, token] = process.argv.slice(2)
const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } }),
})
let lines = []
const flush = () => { if (lines.length) { process.stdout.write(lines.join('')); lines = [] } }
source.addEventListener('log', (event) => {
  lines.push(`${event.lastEventId} ${JSON.parse(event.data).text}\n`)
  if (lines.length >= 1000) flush()
})
source.addEventListener('end', () => { flush(); source.close() })
source.addEventListener('error', (event) => {
  // 204 at the end of a log closes the source for good; everything else it retries by itself.
  if (source.readyState === EventSource.CLOSED) { flush(); if (event.code !== 204) { console.error(event); process.exitCode = 1 } }
})
