//go:build !linux

package killtest

import (
	"errors"
	"testing"
)

const pointVariable = "LEAT_KILLTEST_POINT"

func runPointChild(string) error { return errors.New("Linux only") }

func TestKill(t *testing.T) {
	t.Skip("kills and watches processes with SIGKILL and inotify: Linux only")
}
