package wal

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// BlockSize is BLCKSZ, the size of a relation's page in a stock build, in bytes.
const BlockSize = 8192

// Images restores pages from the images in records. The zero value is ready;
// it keeps what decompression needs from one call to the next, and so serves
// one goroutine at a time. It allocates only while its Zstandard decoder, made
// for the first image that needs it, grows its tables.
type Images struct {
	zstd *zstd.Decoder
}

// Restore makes page, of [BlockSize] bytes, the page whose image the record
// carries for its block reference b (RestoreBlockImage in xlogreader.c): the
// image decompressed and the hole filled with zeros. pd_lsn and pd_checksum are
// as they were when the image was taken, before the record had an LSN.
//
// An error is an [*Error] at the record's StartLSN; what page holds then means
// nothing. Beyond what PostgreSQL refuses, Restore refuses an image that
// decompresses to less than the page, LZ4 and Zstandard with faults that the C
// libraries overlook, and a hole that is not inside the page.
func (im *Images) Restore(page []byte, r *Record, b *BlockRef) error {
	if len(page) != BlockSize {
		return Errorf(r.StartLSN, "could not restore image at %s into %d bytes, want %d, block %d", r.StartLSN, len(page), BlockSize, b.ID)
	}
	if !b.HasImage() {
		return Errorf(r.StartLSN, "could not restore image at %s with invalid state, block %d", r.StartLSN, b.ID)
	}
	stored := r.ImageData(b)
	if len(stored) != int(b.ImageLen) {
		return Errorf(r.StartLSN, "could not restore image at %s of which only %d of %d bytes are given, block %d",
			r.StartLSN, len(stored), b.ImageLen, b.ID)
	}
	hole, holeEnd := int(b.HoleOffset), int(b.HoleOffset)+int(b.HoleLen)
	if holeEnd > BlockSize {
		return Errorf(r.StartLSN, "could not restore image at %s with hole offset %d length %d, block %d",
			r.StartLSN, b.HoleOffset, b.HoleLen, b.ID)
	}
	// The image goes to the start of the page first; then the part after the
	// hole moves to its place.
	packed := page[: BlockSize-int(b.HoleLen) : BlockSize-int(b.HoleLen)]
	if err := im.unpack(packed, stored, r, b); err != nil {
		return err
	}
	copy(page[holeEnd:], packed[hole:])
	clear(page[hole:holeEnd])
	return nil
}

// unpack fills packed from the image as it is stored.
func (im *Images) unpack(packed, stored []byte, r *Record, b *BlockRef) error {
	ok := false
	switch {
	case b.Flags&BlockImagePGLZ != 0:
		ok = decompressPGLZ(packed, stored)
	case b.Flags&BlockImageLZ4 != 0:
		n, err := lz4.UncompressBlock(stored, packed)
		ok = err == nil && n == len(packed)
	case b.Flags&BlockImageZSTD != 0:
		if err := im.openZstd(); err != nil {
			return err
		}
		out, err := im.zstd.DecodeAll(stored, packed[:0])
		ok = err == nil && len(out) == len(packed)
	default:
		ok = copy(packed, stored) == len(packed) && len(stored) == len(packed)
	}
	if !ok {
		return Errorf(r.StartLSN, "could not decompress image at %s, block %d", r.StartLSN, b.ID)
	}
	return nil
}

// openZstd makes the decoder, once. It never decodes to more than it is given
// room for, whatever size a frame claims.
func (im *Images) openZstd() error {
	if im.zstd != nil {
		return nil
	}
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(BlockSize),
		zstd.WithDecodeAllCapLimit(true),
	)
	if err != nil {
		return fmt.Errorf("start the Zstandard decoder: %w", err)
	}
	im.zstd = d
	return nil
}
