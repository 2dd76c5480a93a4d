package log

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leatbus/leat/internal/benchkit"
)

// store is an open log of one kind. Only append of a durable setting may be called by several goroutines.
type store interface {
	// append appends a record. In a durable setting it returns when the record is durable.
	append(record []byte) error
	// appendAll appends some records, with one call where the log has one.
	appendAll(records [][]byte) error
	// sync makes everything appended durable.
	sync() error
	// read shows the records from the first on, as often as it is called; visit ends it with an error.
	read(visit func(record []byte) error) error
	close() error
}

// settler is a store that appends behind the caller's back: settle waits until all of it is done.
type settler interface{ settle() error }

// setting says how a store is opened.
type setting struct {
	durable bool // an append returns when it is durable
	alone   bool // and only one goroutine appends
	batched bool // somebody else calls sync: append and appendAll leave that
	small   bool // one of hundreds: small segments
	round   bool // little is kept, and the files go round
	kept    bool // nothing is ever dropped, whatever it takes
}

// kind is a log that can be opened.
type kind struct {
	name string
	role benchkit.Role
	// level is what an append means that is not durable: page, the page cache has it and a crash of the
	// process loses nothing; memory, the process still has it.
	level string
	note  string
	open  func(dir string, o setting) (store, error)
}

// The levels of an append that nobody waits for.
const (
	levelPage   = "page"
	levelMemory = "memory"
	levelDisk   = "disk"
)

// errNoSync says that a store has no way to sync on demand.
var errNoSync = errors.New("no way to sync")

// places makes the folders of the stores of a scenario and closes the stores with it.
type places struct {
	root   string // of the data; empty means the system's folder for temporary files
	dir    string
	n      int
	closer []func() error
}

func (p *places) open() (err error) {
	p.dir, err = os.MkdirTemp(p.root, "leat-bench-log-")
	return err
}

// folder makes an empty one.
func (p *places) folder() (string, error) {
	p.n++
	dir := filepath.Join(p.dir, fmt.Sprint(p.n))
	return dir, os.MkdirAll(dir, 0o755)
}

// store opens a store of a kind in a folder of its own and closes it with the scenario.
func (p *places) store(k *kind, o setting) (store, error) {
	dir, err := p.folder()
	if err != nil {
		return nil, err
	}
	s, err := k.open(dir, o)
	if err != nil {
		return nil, err
	}
	p.later(s.close)
	return s, nil
}

func (p *places) later(f func() error) { p.closer = append(p.closer, f) }

// close closes the stores, the youngest first, and removes the folders.
func (p *places) close() (err error) {
	for i := len(p.closer) - 1; i >= 0; i-- {
		err = errors.Join(err, p.closer[i]())
	}
	p.closer = nil
	return errors.Join(err, os.RemoveAll(p.dir))
}
