// What the ends of transactions say: access/xact.h, storage/standbydefs.h.

/** The end of a transaction. */
export interface End {
  status: 'commit' | 'abort'
  time: Date
  subxids: number[]
  xid: number // of a prepared transaction, else 0: the record's own counts
}

const hasInfo = 0x80 // XLOG_XACT_HAS_INFO
const operations: Record<number, { status: End['status'] }> = {
  0x00: { status: 'commit' }, // XLOG_XACT_COMMIT
  0x20: { status: 'abort' }, // XLOG_XACT_ABORT
  0x30: { status: 'commit' }, // XLOG_XACT_COMMIT_PREPARED
  0x40: { status: 'abort' }, // XLOG_XACT_ABORT_PREPARED
}

// Bits of xinfo, in the order in which their parts follow each other but for the
// last two (xactdesc.c, ParseCommitRecord).
const hasDBInfo = 1 << 0
const hasSubxacts = 1 << 1
const hasRelfiles = 1 << 2
const hasInvals = 1 << 3
const hasTwoPhase = 1 << 4
const hasDroppedStats = 1 << 8

const postgresEpoch = 946684800000n // 2000-01-01, milliseconds since 1970

/** parseEnd reads a record of resource manager Transaction; undefined: it ends nothing. */
export function parseEnd(info: number, main: Buffer, version: number): End | undefined {
  const operation = operations[info & 0x70]
  if (!operation) return undefined
  const end: End = { ...operation, time: new Date(Number(postgresEpoch + main.readBigInt64LE(0) / 1000n)), subxids: [], xid: 0 }
  if ((info & hasInfo) === 0) return end
  const xinfo = main.readUInt32LE(8)
  let at = 12
  const skip = (bit: number, size: number) => {
    if (xinfo & bit) at += 4 + main.readInt32LE(at) * size
  }
  if (xinfo & hasDBInfo) at += 8
  if (xinfo & hasSubxacts) {
    for (let i = 0; i < main.readInt32LE(at); i++) end.subxids.push(main.readUInt32LE(at + 4 + 4 * i))
  }
  skip(hasSubxacts, 4)
  skip(hasRelfiles, 12)
  skip(hasDroppedStats, version >= 18 ? 16 : 12)
  skip(hasInvals, 16)
  if (xinfo & hasTwoPhase) end.xid = main.readUInt32LE(at)
  return end
}

/** oldestRunning is oldestRunningXid of a Standby RUNNING_XACTS record; undefined: it is another one. */
export function oldestRunning(info: number, main: Buffer): number | undefined {
  return (info & 0xf0) === 0x10 ? main.readUInt32LE(16) : undefined
}

/** precedes compares transaction IDs, which wrap around. */
export function precedes(a: number, b: number): boolean {
  return ((a - b) | 0) < 0
}
