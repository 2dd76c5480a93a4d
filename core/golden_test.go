package core

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// update rewrites golden files; read the diff before it is committed. Files under testdata/*.hex are
// formats: a changed byte there breaks every stored log.
var update = flag.Bool("update", false, "rewrite golden files")

// golden compares got with a file under testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; make it with go test ./core -update", err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// goldenHex compares bytes with a golden file of 16 bytes a line.
func goldenHex(t *testing.T, name string, got []byte) {
	t.Helper()
	golden(t, name, hexLines(got))
}

func hexLines(p []byte) string {
	var b strings.Builder
	for len(p) > 0 {
		n := min(16, len(p))
		b.WriteString(hex.EncodeToString(p[:n]))
		b.WriteByte('\n')
		p = p[n:]
	}
	return b.String()
}

// wantCode fails unless err carries the code; 0 means no error at all.
func wantCode(t *testing.T, call string, err error, want Code) {
	t.Helper()
	switch {
	case want == 0 && err != nil:
		t.Errorf("%s: error %v, want none", call, err)
	case want != 0 && (err == nil || CodeOf(err) != want):
		t.Errorf("%s: error %v, want %v", call, err, want)
	}
}

// wantPanic fails unless f panics with the text.
func wantPanic(t *testing.T, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got != text {
			t.Errorf("panic %v, want %q", got, text)
		}
	}()
	f()
}

// wantNoAllocs fails if f allocates, averaged over a thousand runs.
func wantNoAllocs(t *testing.T, call string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(1_000, f); n != 0 {
		t.Errorf("%s: %v allocations, want 0", call, n)
	}
}
