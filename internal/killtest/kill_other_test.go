//go:build !linux

package killtest

import "testing"

func TestKill(t *testing.T) {
	t.Skip("kills and watches processes with SIGKILL and inotify: Linux only")
}
