// The service walplex.sink.v1.Sink (proto/sink.proto) around a Transactions.
import * as grpc from '@grpc/grpc-js'
import { Block, lsn } from './block.js'
import { log } from './plugin.js'
import { Permanent, Transactions } from './transactions.js'

export const type = 'transactions'
const version = '0.1.0'

interface Config {
  directory: string
}

// Messages as proto-loader makes them: 64-bit numbers are decimal strings.
interface OpenRequest {
  system: { system_id: string; timeline: number }
  config_json: Buffer
  lock_wait_ms: number
}
interface HostMessage {
  message: 'start' | 'block' | 'flush' | 'epoch' | 'heartbeat' | string
  start?: { from_lsn: string }
  block?: { data: Buffer; record_from: number }
  flush?: { number: string }
  epoch?: { old_timeline: number; switch_lsn: string; new_timeline: number }
  heartbeat?: { number: string }
}
type Call<T> = grpc.ServerUnaryCall<T, unknown>
type Answer = grpc.sendUnaryData<unknown>
type StreamCall = grpc.ServerDuplexStream<HostMessage, unknown>

/** What the sink asks of a config block: an attribute that may be left out. */
const schema = {
  attributes: [
    {
      name: 'directory',
      type_json: Buffer.from('"string"'),
      default_json: Buffer.from('"transactions"'),
      format: 'path',
      description: 'where transactions.jsonl and position.json are kept; made when missing',
    },
  ],
}

let sink: Transactions | undefined
let failed: unknown // why the sink can only be closed: what it holds in memory is not to be trusted
let tail: Promise<void> = Promise.resolve() // what is under way: a Stream's messages, one after the other

/** fail carries the error's kind: FAILED_PRECONDITION is permanent, UNAVAILABLE is worth another try. */
function fail(answer: Answer, err: unknown): void {
  const code = err instanceof Permanent ? grpc.status.FAILED_PRECONDITION : grpc.status.UNAVAILABLE
  answer({ code, details: (err as Error).message })
}

/** problem says what is wrong with a configuration beyond what the schema can say. */
function problem(config: Config): object | undefined {
  if (config.directory !== '') return undefined
  return { severity: 'ERROR', summary: 'No directory', detail: 'name one, or leave the attribute out', path: [{ name: 'directory' }] }
}

function parseConfig(json: Buffer): Config {
  return JSON.parse(json.toString()) as Config
}

async function open(req: OpenRequest): Promise<object> {
  if (sink) throw new Permanent('the sink is open already')
  const { directory } = parseConfig(req.config_json)
  sink = await Transactions.start(directory, req.system.system_id, req.system.timeline, req.lock_wait_ms)
  const at = sink.position
  return {
    is_new: at.lsn === 0n,
    system_id: at.systemId,
    timeline: at.timeline,
    lsn: String(at.lsn),
    subscription: { records: true },
    transport: 'grpc', // Node does not map the shared ring
  }
}

async function drain(): Promise<object> {
  if (!sink) throw new Permanent('the sink is not open')
  const last = sink
  sink = undefined
  await tail
  const flushed = failed ? 0n : await last.flush()
  await last.close()
  if (failed) throw failed
  return { timeline: last.position.timeline, flushed_lsn: String(flushed) }
}

/** One Stream call: messages are handled one after the other, heartbeats at once. */
class Session {
  private position = 0n
  private walEnd = 0n
  private released = 0
  private progress = { written_lsn: '0', flushed_lsn: '0', flush_number: '0' }

  constructor(
    private readonly call: StreamCall,
    private readonly to: Transactions,
  ) {
    call.on('data', (m: HostMessage) => {
      if (m.message === 'heartbeat') call.write({ heartbeat: m.heartbeat })
      else this.then(() => this.handle(m))
    })
    call.on('end', () => this.then(async () => void call.end()))
    call.on('error', (err: Error) => log('DEBUG', 'the stream has ended', { reason: err.message }))
  }

  /** then queues work. A failure ends the stream with a fault, and nothing follows it. */
  private then(work: () => Promise<void>): void {
    tail = tail.then(async () => {
      if (failed || this.call.cancelled) return
      try {
        await work()
      } catch (err) {
        failed = err
        this.call.write({ fault: { kind: err instanceof Permanent ? 'PERMANENT' : 'RETRYABLE', reason: (err as Error).message } })
        this.call.end()
      }
    })
  }

  private async handle(m: HostMessage): Promise<void> {
    switch (m.message) {
      case 'start':
        this.position = BigInt(m.start!.from_lsn)
        return
      case 'block':
        await this.write(m.block!.data, m.block!.record_from)
        break
      case 'flush':
        this.progress.flushed_lsn = String(await this.to.flush())
        this.progress.flush_number = m.flush!.number
        break
      case 'epoch': {
        const { old_timeline, switch_lsn, new_timeline } = m.epoch!
        throw new Permanent(
          `timeline ${old_timeline} ended at ${lsn(BigInt(switch_lsn))} and timeline ${new_timeline} begins: ` +
            'this sink does not follow a switch of timelines; give it a new directory to begin on the new one',
        )
      }
      default:
        return // of no concern to this sink, or of a newer host
    }
    this.call.write({ progress: { ...this.progress, released_blocks: String(this.released) } })
  }

  private async write(data: Buffer, first: number): Promise<void> {
    const block = new Block(data)
    // A record that was incomplete may come again from its start, but nothing may be missing.
    if (this.walEnd !== 0n && block.walStart > this.walEnd) throw new Error(`gap: ${block} follows ${lsn(this.walEnd)}`)
    this.walEnd = block.walEnd
    // A new sink may begin inside a record, which is not its own.
    if (block.recordsEnd > this.position) this.position = block.recordsEnd
    await this.to.write(block, first, this.position)
    this.released++
    this.progress.written_lsn = String(this.position)
  }
}

export const service: grpc.UntypedServiceImplementation = {
  Describe: (_call: Call<unknown>, answer: Answer) => answer(null, { type, version, capabilities: ['records', 'drain'], schema }),
  Validate: (call: Call<{ config_json: Buffer }>, answer: Answer) => {
    const found = problem(parseConfig(call.request.config_json))
    answer(null, { diagnostics: found ? [found] : [] })
  },
  Open: (call: Call<OpenRequest>, answer: Answer) => {
    open(call.request).then((r) => answer(null, r), (err: unknown) => fail(answer, err))
  },
  Stream: (call: StreamCall) => {
    if (sink && !failed) new Session(call, sink)
    else call.emit('error', { code: grpc.status.FAILED_PRECONDITION, details: 'the sink is not open' })
  },
  Drain: (_call: Call<unknown>, answer: Answer) => {
    drain().then((r) => answer(null, r), (err: unknown) => fail(answer, err))
  },
}
