// A self-signed certificate for one life of the process. go-plugin's host trusts
// exactly the certificate that the handshake line names, under the name "localhost".
import { createSign, generateKeyPairSync, randomBytes } from 'node:crypto'

export interface Certificate {
  der: Buffer
  certPem: Buffer
  keyPem: Buffer
}

/** One DER element: tag, length, contents. */
function der(tag: number, ...contents: Buffer[]): Buffer {
  const body = Buffer.concat(contents)
  if (body.length < 0x80) {
    return Buffer.concat([Buffer.from([tag, body.length]), body])
  }
  let length = body.length.toString(16)
  if (length.length % 2 === 1) length = '0' + length
  const bytes = Buffer.from(length, 'hex')
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length]), bytes, body])
}

const sequence = (...c: Buffer[]) => der(0x30, ...c)
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'))
const utcTime = (d: Date) => der(0x17, Buffer.from(d.toISOString().replace(/^..|[-:T]|\.\d+/g, '')))
const extension = (id: string, value: Buffer) => sequence(oid(id), der(0x04, value))

const commonName = '550403'
const subjectAltName = '551d11'
const extKeyUsage = '551d25'
const serverAuth = '2b06010505070301'
const ecdsaWithSHA256 = '2a8648ce3d040302'

const dayMs = 24 * 3600 * 1000

export function selfSigned(): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = sequence(oid(ecdsaWithSHA256))
  const name = sequence(der(0x31, sequence(oid(commonName), der(0x0c, Buffer.from('localhost')))))
  const serial = randomBytes(16)
  serial[0] = (serial[0]! & 0x7f) | 0x40 // positive, and no leading zero
  const now = Date.now()
  const tbs = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, serial),
    algorithm,
    name,
    sequence(utcTime(new Date(now - dayMs)), utcTime(new Date(now + 3650 * dayMs))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(
      0xa3,
      sequence(
        extension(subjectAltName, sequence(der(0x82, Buffer.from('localhost')))),
        extension(extKeyUsage, sequence(oid(serverAuth))),
      ),
    ),
  )
  const signature = createSign('sha256').update(tbs).sign(privateKey)
  const certificate = sequence(tbs, algorithm, der(0x03, Buffer.from([0]), signature))
  const lines = certificate.toString('base64').match(/.{1,64}/g)!.join('\n')
  return {
    der: certificate,
    certPem: Buffer.from(`-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`),
    keyPem: Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })),
  }
}
