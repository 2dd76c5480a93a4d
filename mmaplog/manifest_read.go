package mmaplog

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/leatbus/leat/core"
)

// manifestReader decodes the content of a manifest as it comes in.
type manifestReader struct {
	image *manifestImage
	n     int32     // edits looked at
	at    logKey    // of the last one
	log   *knownLog // and what is known of that log
	id    uint64    // of the segment of its last edit
	ord   uint64    // ordinal of that
	holes bool      // some are all zero
}

// decodeManifest reads the content of a manifest, which it keeps. Edits that are all zero were never
// synced: a power cut took them and may have left later ones, which count. The same is true of a last edit
// that is not whole. Anything else that does not check is damage of the whole, and CodeCorrupt.
func decodeManifest(raw []byte) (*manifestImage, error) {
	var r manifestReader
	for len(raw) > 0 {
		n := min(manifestChunk, len(raw))
		if err := r.more(raw[:n]); err != nil {
			return nil, err
		}
		raw = raw[n:]
	}
	return r.end()
}

// more looks at the next manifestChunk bytes, or at the rest.
func (r *manifestReader) more(chunk []byte) error {
	m := r.image
	if m == nil {
		if err := checkManifestHead(chunk); err != nil {
			return err
		}
		m = &manifestImage{logs: map[logKey]*knownLog{}, end: editSize}
		r.image = m
	}
	m.chunks = append(m.chunks, chunk)
	r.holes = r.holes || len(chunk)%editSize != 0
	for at := 0; at+editSize <= len(chunk); at += editSize {
		if len(m.chunks) == 1 && at == 0 {
			continue // the head
		}
		if err := r.edit(rawEdit(chunk[at : at+editSize : at+editSize])); err != nil {
			return err
		}
		r.n++
	}
	return nil
}

// edit looks at edit number n.
func (r *manifestReader) edit(e rawEdit) error {
	m := r.image
	if binary.LittleEndian.Uint32(e) != editCRC(e) {
		if !allZero(e) {
			return core.Errorf(core.CodeCorrupt, readManifestOp, "edit %d does not match its checksum", r.n)
		}
		r.holes = true
		return nil
	}
	m.end = int64(r.n+2) * editSize
	m.edits++
	m.closed = e.kind() == editClosed
	if r.continues(e) {
		return nil
	}
	if key := e.key(); r.log == nil || key != r.at {
		r.at, r.log = key, m.logs[key]
	}
	if r.log = m.apply(r.log, e, r.n); e.kind() < editCreated || e.kind() > editClosed {
		return core.Errorf(core.CodeCorrupt, readManifestOp, "edit %d is of kind %d", r.n, e.kind())
	}
	r.id, r.ord = e.id(), e.ordinal()
	return nil
}

// end is called when nothing more comes.
func (r *manifestReader) end() (*manifestImage, error) {
	if r.image == nil {
		return nil, checkManifestHead(nil)
	}
	r.image.closed = r.image.closed && !r.holes
	return r.image, nil
}

// continues takes an edit the short way, if it is as almost all edits of a large manifest are: the only one
// of a sealed segment that continues the one before, as all of the log do up to it.
func (r *manifestReader) continues(e rawEdit) bool {
	l := r.log
	if l == nil || e.kind() != editSealed || e[5]&editFirst == 0 || e.key() != r.at || !l.plain ||
		l.sealed != len(l.edits) || e.previousID() != r.id || e.ordinal() <= r.ord {
		return false
	}
	r.id, r.ord = e.id(), e.ordinal()
	l.edits = append(l.edits, r.n)
	l.sealed++
	l.bytes += e.size()
	r.image.live++
	return true
}

const readManifestOp = "read manifest"

func checkManifestHead(raw []byte) error {
	le := binary.LittleEndian
	if len(raw) < editSize || string(raw[:8]) != manifestMagic || le.Uint32(raw[12:]) != manifestHeadCRC(raw) {
		return core.Errorf(core.CodeCorrupt, readManifestOp, "%d bytes that are no manifest", len(raw))
	}
	if v := le.Uint32(raw[8:]); v > manifestVersion {
		return core.Errorf(core.CodeVersionTooNew, readManifestOp, "version %d, this build reads %d", v,
			manifestVersion)
	}
	return nil
}

// manifestChunk is read at once: it is still in the processor's cache when it is decoded.
const manifestChunk = 256 << 10

// readManifest reads and checks a manifest. Half of the time goes into memory that the kernel has to find and
// fill, so one goroutine reads on while another decodes.
func readManifest(fs FS, path string) (*manifestImage, error) {
	f, err := fs.Open(path, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	var r manifestReader
	var damage error
	var decoder sync.WaitGroup
	chunks := make(chan []byte, 4) // who reads waits while it is full
	decoder.Go(func() {
		for chunk := range chunks {
			if damage == nil {
				damage = r.more(chunk)
			}
		}
	})
	for at := int64(0); at < size && err == nil; at += manifestChunk {
		chunk := make([]byte, min(manifestChunk, size-at))
		var n int
		n, err = f.ReadAt(chunk, at)
		if n > 0 {
			chunks <- chunk[:n]
		}
	}
	close(chunks)
	decoder.Wait()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if damage != nil {
		return nil, damage
	}
	return r.end()
}
