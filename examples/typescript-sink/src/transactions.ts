// The sink itself: one line of JSON for each transaction that ends, with its records
// by resource manager. Its position and all that it remembers of transactions that
// are still open change in one atomic write, together with the length of the file
// of lines that they go with: so there is each transaction once, whatever crashes.
import type { FileHandle } from 'node:fs/promises'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Block, type Entry, lsn, parseLSN, rmgr, rmgrName } from './block.js'
import { lock, makeDirectory, openAppend, replaceFile } from './files.js'
import { oldestRunning, parseEnd, precedes } from './xact.js'

/** Permanent marks what a restart does not mend: a person must act first. */
export class Permanent extends Error {}

const format = 1 // of position.json

/** How much is kept of a Transaction record in pieces, bytes. */
const maxEnd = 64 << 20

/** Lines leave memory when they have become so many bytes, a flush or not. */
const maxPending = 1 << 20

/** What is known of a transaction. */
interface Transaction {
  start: string // LSN of its first record
  records: Record<string, number> // by resource manager
  bytes: number
}

/** The file position.json. */
interface Saved {
  format: number
  systemId: string
  timeline: number
  lsn: string
  size: number // of transactions.jsonl, bytes
  open: [number, Transaction][]
}

export interface Position {
  systemId: string
  timeline: number
  lsn: bigint
}

export class Transactions {
  position: Position
  private saved = 0n
  private readonly open: Map<number, Transaction>
  private pending = ''
  private fragments: Buffer[] = []

  private constructor(
    private readonly directory: string,
    private readonly held: FileHandle,
    private readonly out: FileHandle,
    private size: number,
    saved: Saved,
  ) {
    this.position = { systemId: saved.systemId, timeline: saved.timeline, lsn: parseLSN(saved.lsn) }
    this.saved = this.position.lsn
    this.open = new Map(saved.open)
  }

  /** start opens a directory; of a new one the position's LSN is 0. */
  static async start(directory: string, systemId: string, timeline: number, waitMs: number): Promise<Transactions> {
    await makeDirectory(directory)
    const held = await lock(join(directory, 'lock'), waitMs)
    try {
      const saved = (await load(directory)) ?? { format, systemId, timeline, lsn: '0/0', size: 0, open: [] }
      const out = await openAppend(join(directory, 'transactions.jsonl'), saved.size)
      return new Transactions(directory, held, out, saved.size, saved)
    } catch (err) {
      await held.close()
      throw err
    }
  }

  /** write takes the records of a block from number first on. */
  async write(block: Block, first: number, position: bigint): Promise<void> {
    for (const e of block.entries(first)) this.take(e, block.version)
    this.position = { ...this.position, timeline: block.timeline, lsn: position }
    if (this.pending.length > maxPending) await this.spill()
  }

  private take(e: Entry, version: number): void {
    const main = this.mainData(e)
    if (main === undefined) return // of a large record, and not its end
    if (e.rmgr === rmgr.standby) {
      const oldest = oldestRunning(e.info, main)
      if (oldest !== undefined) this.forget(oldest)
    }
    const end = e.rmgr === rmgr.transaction ? parseEnd(e.info, main, version) : undefined
    const xid = end?.xid || e.xid
    if (xid === 0) return // of no transaction
    let t = this.open.get(xid)
    if (t === undefined) this.open.set(xid, (t = { start: lsn(e.start), records: {}, bytes: 0 }))
    add(t, rmgrName(e.rmgr), 1)
    t.bytes += e.totalLength
    if (end === undefined) return
    for (const sub of end.subxids) {
      const s = this.open.get(sub)
      if (s === undefined) continue // it has written nothing
      for (const [name, n] of Object.entries(s.records)) add(t, name, n)
      t.bytes += s.bytes
      this.open.delete(sub)
    }
    this.open.delete(xid)
    this.pending += JSON.stringify({ xid, status: end.status, start_lsn: t.start, end_lsn: lsn(e.end), time: end.time, records: t.records, bytes: t.bytes }) + '\n'
  }

  /**
   * mainData is a record's main data, which only records that end a transaction or list the
   * running ones need whole; undefined: there is more to come.
   */
  private mainData(e: Entry): Buffer | undefined {
    if (e.data.length === e.totalLength) return e.data.subarray(e.mainDataOffset)
    if (e.offset === 0) this.fragments = []
    if (e.rmgr === rmgr.transaction || e.rmgr === rmgr.standby) {
      if (e.totalLength > maxEnd) throw new Permanent(`the record at ${lsn(e.start)} has ${e.totalLength} bytes, more than ${maxEnd}`)
      this.fragments.push(Buffer.from(e.data)) // a copy: the block goes
    }
    if (e.offset + e.data.length < e.totalLength) return undefined
    const whole = Buffer.concat(this.fragments)
    this.fragments = []
    return whole.subarray(e.mainDataOffset)
  }

  /** forget drops what a crash of the server has ended: such transactions end in no record. */
  private forget(oldest: number): void {
    for (const xid of this.open.keys()) if (precedes(xid, oldest)) this.open.delete(xid)
  }

  /** flush makes everything written durable and answers up to where that is. */
  async flush(): Promise<bigint> {
    const { systemId, timeline, lsn: at } = this.position
    if (at === this.saved) return at
    await this.spill()
    await this.out.datasync()
    const saved: Saved = { format, systemId, timeline, lsn: lsn(at), size: this.size, open: [...this.open] }
    await replaceFile(join(this.directory, 'position.json'), JSON.stringify(saved) + '\n')
    this.saved = at
    return at
  }

  private async spill(): Promise<void> {
    const bytes = Buffer.from(this.pending)
    this.pending = ''
    await this.out.appendFile(bytes)
    this.size += bytes.length
  }

  async close(): Promise<void> {
    await this.out.close()
    await this.held.close()
  }
}

function add(t: Transaction, name: string, n: number): void {
  t.records[name] = (t.records[name] ?? 0) + n
}

async function load(directory: string): Promise<Saved | undefined> {
  const name = join(directory, 'position.json')
  let text: string
  try {
    text = await readFile(name, 'utf8')
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw err
  }
  let saved: Saved
  try {
    saved = JSON.parse(text) as Saved
  } catch (err) {
    throw new Permanent(`${name} cannot be read: ${(err as Error).message}; remove the directory to begin anew`)
  }
  if (saved.format > format) throw new Permanent(`${name} has format ${saved.format}, this sink knows up to ${format}: install a newer one`)
  return saved
}
