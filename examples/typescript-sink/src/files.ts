// Durable files: what these functions return from survives power loss.
import { spawn } from 'node:child_process'
import { type FileHandle, mkdir, open, rename } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

async function syncDirectory(name: string): Promise<void> {
  const d = await open(name, 'r')
  try {
    await d.sync()
  } finally {
    await d.close()
  }
}

/** makeDirectory makes a directory, and its parents, when missing. */
export async function makeDirectory(name: string): Promise<void> {
  const first = await mkdir(name, { recursive: true })
  if (first === undefined) return
  for (let d = resolve(name); d.length >= resolve(first).length; d = dirname(d)) await syncDirectory(dirname(d))
}

/** replaceFile replaces a file: whoever reads it finds all of the old bytes or all of the new ones. */
export async function replaceFile(name: string, text: string): Promise<void> {
  const f = await open(name + '.tmp', 'w')
  try {
    await f.writeFile(text)
    await f.sync()
  } finally {
    await f.close()
  }
  await rename(name + '.tmp', name)
  await syncDirectory(dirname(resolve(name)))
}

/** openAppend opens a file for writing, makes it when missing, and cuts it to size. */
export async function openAppend(name: string, size: number): Promise<FileHandle> {
  const f = await open(name, 'a')
  try {
    await f.truncate(size)
    await f.sync()
    await syncDirectory(dirname(resolve(name)))
  } catch (err) {
    await f.close()
    throw err
  }
  return f
}

/**
 * lock takes an exclusive lock that ends with this process. Node has no flock(2), but the
 * lock belongs to the open file, which flock(1) shares with us.
 */
export async function lock(name: string, waitMs: number): Promise<FileHandle> {
  const f = await open(name, 'w')
  try {
    const status = await new Promise<number | null>((done, failed) => {
      spawn('flock', ['-x', '-w', String(waitMs / 1000), '3'], { stdio: ['ignore', 'ignore', 'ignore', f.fd] })
        .on('error', failed)
        .on('exit', done)
    })
    if (status !== 0) throw new Error(`${name} is locked: another process has the directory`)
  } catch (err) {
    await f.close()
    throw err
  }
  return f
}
