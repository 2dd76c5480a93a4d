package queue

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/node"
)

// stage is what the cases of a scenario share: a folder, and what is to be ended with it.
type stage struct {
	*workshop
	root    string // of the data; empty means the system's folder for temporary files
	dir     string
	closers []func() error
}

// open makes the folder.
func (s *stage) open() (err error) {
	s.dir, err = os.MkdirTemp(s.root, "leat-bench-queue-")
	return err
}

// folder makes an empty one.
func (s *stage) folder(name string) (string, error) { return os.MkdirTemp(s.dir, name+"-") }

// later has close call f, before what it was told earlier.
func (s *stage) later(f func() error) { s.closers = append(s.closers, f) }

func (s *stage) close() (err error) {
	for i := len(s.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(err, os.RemoveAll(s.dir))
}

// bus opens one in this process.
func (s *stage) bus(ctx context.Context) (*leat.Bus, error) {
	dir, err := s.folder("bus")
	if err != nil {
		return nil, err
	}
	bus, err := node.Open(ctx, filepath.Join(dir, "data"))
	if err == nil {
		s.later(bus.Close)
	}
	return bus, err
}

// scenario makes one with a stage of its own.
func (s *suite) scenario(name, about string) (*benchkit.Scenario, *stage) {
	st := &stage{workshop: s.workshop, root: s.root}
	return &benchkit.Scenario{Name: name, About: about, Unit: "msgs/s", Threads: 1 + workers,
		Open: func(context.Context) (func() error, error) { return st.close, st.open() }}, st
}
