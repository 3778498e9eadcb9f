// What go-plugin's host expects of any plugin: the magic cookie, a server on a Unix
// socket, mutual TLS with certificates made for this one start, the handshake line
// on standard output, health, shutdown; and what Walplex's host adds to it: the
// liveness pipe, and log lines as JSON on standard error.
import { mkdtempSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { selfSigned } from './certificate.js'

const coreProtocol = 1
const sinkProtocol = 1
const cookie = { key: 'WALPLEX_SINK', value: '8c1f1f0e5bd14bb5a2f6d0c8d3a1c9b7' }

/** Blocks are up to 4.4 MB, and gRPC's limit is 4 MiB. */
const maxMessage = 8 << 20

type Level = 'DEBUG' | 'INFO' | 'WARN' | 'ERROR'

/** log writes a line that arrives in the host's log, at its level, with its attributes. */
export function log(level: Level, msg: string, attributes: Record<string, unknown> = {}): void {
  process.stderr.write(JSON.stringify({ time: new Date().toISOString(), level, msg, ...attributes }) + '\n')
}

function load(...protos: string[]): grpc.GrpcObject {
  const dir = fileURLToPath(new URL('../proto', import.meta.url))
  return grpc.loadPackageDefinition(
    loadSync(protos, { includeDirs: [dir], keepCase: true, longs: String, enums: String, defaults: true, oneofs: true }),
  )
}

/** dig finds a service by its full name. */
function dig(root: grpc.GrpcObject, name: string): grpc.ServiceDefinition {
  let at: unknown = root
  for (const part of name.split('.')) at = (at as Record<string, unknown>)[part]
  return (at as grpc.ServiceClientConstructor).service
}

/** watchHost ends the process when the host is gone: it alone holds the pipe's other end. */
function watchHost(): void {
  const fd = Number(process.env['WALPLEX_LIVENESS_FD'])
  if (!Number.isInteger(fd) || fd < 3) return // a host of another kind
  // Signals to the whole service are the host's to act on.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
  const pipe = new Socket({ fd, readable: true, writable: false })
  const gone = () => {
    log('WARN', 'the host is gone; ending')
    process.exit(1)
  }
  pipe.on('end', gone).on('error', gone).resume()
}

/** serve runs the sink until the host ends it. */
export function serve(type: string, sink: grpc.UntypedServiceImplementation): void {
  if (process.env[cookie.key] !== cookie.value) {
    process.stderr.write(
      `This program is the walplex sink "${type}". It is started by walplex:\n` +
        `name it in a plugin block (plugin "${type}" { path = … }), then use sink "${type}" in a stream.\n`,
    )
    process.exit(1)
  }
  watchHost()
  const root = load('sink.proto', 'health.proto', 'go-plugin.proto')
  const server = new grpc.Server({
    'grpc.max_receive_message_length': maxMessage,
    'grpc.max_send_message_length': maxMessage,
  })
  server.addService(dig(root, 'walplex.sink.v1.Sink'), sink)
  server.addService(dig(root, 'grpc.health.v1.Health'), {
    Check: (_call: unknown, answer: grpc.sendUnaryData<unknown>) => answer(null, { status: 'SERVING' }),
  })
  server.addService(dig(root, 'plugin.GRPCController'), {
    Shutdown: (_call: unknown, answer: grpc.sendUnaryData<unknown>) => {
      answer(null, {})
      server.tryShutdown(() => process.exit(0))
    },
  })
  const { credentials, certificate } = security()
  const path = join(process.env['PLUGIN_UNIX_SOCKET_DIR'] || mkdtempSync(join(tmpdir(), 'walplex-')), 'sink.sock')
  server.bindAsync(`unix:${path}`, credentials, (err) => {
    if (err) {
      process.stderr.write(`sink ${type}: cannot listen on ${path}: ${err.message}\n`)
      process.exit(1)
    }
    // The only line that ever goes to standard output.
    process.stdout.write(`${coreProtocol}|${sinkProtocol}|unix|${path}|grpc|${certificate}\n`)
  })
}

/** security is mutual TLS where the host asks for it (auto_mtls, its default). */
function security(): { credentials: grpc.ServerCredentials; certificate: string } {
  const host = process.env['PLUGIN_CLIENT_CERT']
  if (!host) return { credentials: grpc.ServerCredentials.createInsecure(), certificate: '' }
  const own = selfSigned()
  const pair = { private_key: own.keyPem, cert_chain: own.certPem }
  return {
    credentials: grpc.ServerCredentials.createSsl(Buffer.from(host), [pair], true),
    certificate: own.der.toString('base64').replace(/=+$/, ''),
  }
}
