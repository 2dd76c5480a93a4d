//go:build !linux

package benchkit

import "errors"

// meter measures nothing where other processes cannot be read.
type meter struct{}

// netUse is processor time in nanoseconds.
type netUse struct{ client, server int64 }

func startMeter(int) *meter { return &meter{} }

func (m *meter) stop() netUse { return netUse{} }

func residentOf(int) (int64, error) {
	return 0, errors.New("benchkit: this system does not tell the memory of other processes")
}

func pinTogether(int) (unpin func(), pinned bool) { return func() {}, false }
