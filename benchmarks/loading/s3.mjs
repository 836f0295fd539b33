// SPDX-License-Identifier: GPL-3.0-or-later
// One device of a load test of S3's architecture (docs/defects.md), in our own words: a process of its own, on the
// device SDK that S3 uses. A publisher sends a message a second to loadtest/<id>; a subscriber adds how long it took to
// each message that it hears and sends it on to loadtest. Subscribers listen to loadtest/+: S3's loadtest/# would also
// be what they send, on every broker but AWS IoT.
import path from 'node:path'
import { createRequire } from 'node:module'

const [modules, role, host, port, caPath, files] = process.argv.slice(2)
const { device } = createRequire(path.join(modules, 'package.json'))('aws-iot-device-sdk')
const clientId = path.basename(files)
const client = device({
  host, port: Number(port), clientId, caPath, certPath: `${files}.cert.pem`, keyPath: `${files}.key.pem`
})

client.on('error', (error) => console.error(clientId, error.message))

if (role === 'publisher') {
  client.on('connect', () => {
    process.stdout.write('c')
    setInterval(() => client.publish(`loadtest/${clientId}`, JSON.stringify({ id: clientId, sent: Date.now() })), 1000)
  })
} else {
  client.on('connect', () => client.subscribe('loadtest/+', () => process.stdout.write('c')))
  client.on('message', (topic, payload) => {
    const message = JSON.parse(payload)
    message.processing = Date.now() - message.sent
    client.publish('loadtest', JSON.stringify(message))
  })
}
