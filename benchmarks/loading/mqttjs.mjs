// SPDX-License-Identifier: GPL-3.0-or-later
// mqtt.js in one process, asked through standard input (child.py): connect, subscribe, publish.
import fs from 'node:fs'
import path from 'node:path'
import readline from 'node:readline'
import { createRequire } from 'node:module'

const mqtt = createRequire(path.join(process.argv[2], 'package.json'))('mqtt')
const CHUNK = 10
const LAG = 4000
const payload = Buffer.alloc(64, 'x')
const open = []
let received = 0
let acknowledged = 0
let awaited = Infinity
let enough = () => {}
const soon = () => new Promise((resolve) => setImmediate(resolve))

// Without looking again and again, which would cost processor time.
async function untilReceived(count) {
  if (received >= count) return
  awaited = count
  await new Promise((resolve) => { enough = resolve })
}

function hear() {
  received += 1
  if (received === awaited) enough()
}

async function connect({ host, port, root, devices, names, parallel }) {
  const ca = fs.readFileSync(root)
  const waiting = [...names]
  const started = performance.now()
  const found = new Map()
  await Promise.all(Array.from({ length: parallel }, async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const client = await mqtt.connectAsync({
        host: '127.0.0.1', servername: host, port, protocol: 'mqtts', clientId: name, ca, keepalive: 600, reconnectPeriod: 0,
        cert: fs.readFileSync(path.join(devices, `${name}.cert.pem`)), key: fs.readFileSync(path.join(devices, `${name}.key.pem`))
      })
      client.on('message', hear)
      found.set(name, client)
    }
  }))
  open.push(...names.map((name) => found.get(name)))
  return { seconds: (performance.now() - started) / 1000 }
}

async function subscribe({ count }) {
  for (const client of open.slice(-count)) await client.subscribeAsync('bench/+', { qos: 1 })
  return {}
}

async function publish({ publishers, subscribers, messages, qos }) {
  received = acknowledged = 0
  let sent = 0
  const started = performance.now()
  for (let round = 0; round < messages; round += CHUNK) {
    for (let number = 0; number < publishers; number += 1) {
      for (let each = 0; each < CHUNK; each += 1) {
        open[number].publish(`bench/${number}`, payload, { qos }, () => { acknowledged += 1 })
      }
    }
    sent += CHUNK * publishers
    await soon()
    await untilReceived(sent * subscribers - LAG)
  }
  await untilReceived(sent * subscribers)
  while (acknowledged < sent) await soon()
  return { messages: sent * (1 + subscribers), seconds: (performance.now() - started) / 1000 }
}

const questions = { ready: async () => ({}), connect, subscribe, publish }
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { what, ...question } = JSON.parse(line)
  console.log(JSON.stringify(await questions[what](question)))
}
