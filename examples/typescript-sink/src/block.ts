// Reads a block: sdk/wire/PROTOCOL.md draws it.

const magic = 0x31425057 // "WPB1"
const layoutVersion = 1
const headerSize = 96
const entrySize = 48
const noEnd = -0x80000000

/** One record, or a fragment of one that is larger than 1 MiB. Its data is borrowed from the block. */
export interface Entry {
  start: bigint // LSN
  end: bigint // LSN; 0 for all but the last fragment
  rmgr: number
  info: number
  xid: number
  totalLength: number // of the record, bytes
  offset: number // of data in the record: 0 but in later fragments
  mainDataOffset: number // in the record
  data: Buffer // the record's bytes, from its header on
}

export class Block {
  readonly timeline: number
  readonly version: number // PostgreSQL's major, 0 unknown
  readonly walStart: bigint
  readonly walEnd: bigint
  readonly recordsEnd: bigint
  readonly length: number // entries

  constructor(private readonly b: Buffer) {
    if (b.length < headerSize || b.readUInt32LE(0) !== magic) {
      throw new Error(`not a block of WAL: ${b.length} bytes without its magic number`)
    }
    if (b.readUInt16LE(4) !== layoutVersion) {
      throw new Error(`block layout version ${b.readUInt16LE(4)}, this sink knows ${layoutVersion}`)
    }
    this.version = majors.get(b.readUInt16LE(6)) ?? 0
    this.timeline = b.readUInt32LE(8)
    this.walStart = b.readBigUInt64LE(16)
    this.walEnd = b.readBigUInt64LE(24)
    this.recordsEnd = b.readBigUInt64LE(32)
    this.length = b.readUInt32LE(68)
    if (b.readUInt32LE(64) + this.length * entrySize > b.length) {
      throw new Error(`${this}: its index of ${this.length} records does not fit`)
    }
  }

  toString(): string {
    return `block of WAL from ${lsn(this.walStart)} to ${lsn(this.walEnd)}`
  }

  /** entries yields the records from number first on. */
  *entries(first: number): Generator<Entry> {
    const index = this.b.readUInt32LE(64)
    for (let i = first; i < this.length; i++) {
      const e = index + i * entrySize
      const at = this.b.readUInt32LE(e + 8)
      const length = this.b.readUInt32LE(e + 12)
      const end = this.b.readInt32LE(e + 4)
      if (at + length > this.b.length) throw new Error(`${this}: entry ${i} points outside of it`)
      yield {
        start: this.walStart + BigInt(this.b.readInt32LE(e)),
        end: end === noEnd ? 0n : this.walStart + BigInt(end),
        data: this.b.subarray(at, at + length),
        totalLength: this.b.readUInt32LE(e + 16),
        offset: this.b.readUInt32LE(e + 20),
        mainDataOffset: this.b.readUInt32LE(e + 24),
        rmgr: this.b[e + 33]!,
        info: this.b[e + 34]!,
        xid: this.b.readUInt32LE(e + 36),
      }
    }
  }
}

/** lsn formats an LSN as PostgreSQL does. */
export function lsn(n: bigint): string {
  return `${(n >> 32n).toString(16).toUpperCase()}/${(n & 0xffffffffn).toString(16).toUpperCase()}`
}

export function parseLSN(s: string): bigint {
  const [high, low] = s.split('/')
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`)
}

/** Magic numbers of WAL pages: XLOG_PAGE_MAGIC in access/xlog_internal.h. */
const majors = new Map([
  [0xd10d, 14],
  [0xd110, 15],
  [0xd113, 16],
  [0xd116, 17],
  [0xd118, 18],
])

const names = [
  'XLOG', 'Transaction', 'Storage', 'CLOG', 'Database', 'Tablespace', 'MultiXact', 'RelMap',
  'Standby', 'Heap2', 'Heap', 'Btree', 'Hash', 'Gin', 'Gist', 'Sequence',
  'SPGist', 'BRIN', 'CommitTs', 'ReplicationOrigin', 'Generic', 'LogicalMessage',
] as const

/** rmgrName is the resource manager's name, as pg_waldump has it. */
export function rmgrName(id: number): string {
  return names[id] ?? (id >= 128 ? `custom${String(id).padStart(3, '0')}` : `UNKNOWN${id}`)
}

export const rmgr = { transaction: names.indexOf('Transaction'), standby: names.indexOf('Standby') }
