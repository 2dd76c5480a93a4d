package mmaplog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
)

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, OS(), dir, Options{})
	first, err := s.Secret("reset.key", strings.NewReader(strings.Repeat("a", SecretBytes)))
	if err != nil || string(first[:]) != strings.Repeat("a", SecretBytes) {
		t.Fatalf("Secret = %q, %v", first, err)
	}
	again, err := s.Secret("reset.key", strings.NewReader("not needed"))
	if err != nil || again != first {
		t.Errorf("Secret again = %q, %v; want %q", again, err, first)
	}
	path := filepath.Join(dir, "tls", "reset.key")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %v, want -rw-------", mode)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("b"), SecretBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Secret("reset.key", nil); !errors.Is(err, core.ErrCorrupt) {
		t.Errorf("of another length: %v, want %v", err, core.ErrCorrupt)
	}
	if _, err := s.Secret("token.key", strings.NewReader("short")); err == nil {
		t.Error("too little randomness is no error")
	}
}
