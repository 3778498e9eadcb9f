package xlogreader

// BufferCap is the size of the buffer in which records are put together, bytes.
func (r *Reader) BufferCap() int { return cap(r.cur.buf) }
