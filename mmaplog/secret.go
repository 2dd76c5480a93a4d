package mmaplog

import (
	"errors"
	"io"
	"path/filepath"
	"strconv"

	"github.com/leatbus/leat/core"
)

// SecretBytes is the length of a Secret.
const SecretBytes = 32

// Secret gives the bytes kept in the file tls/<name> of the data folder, mode 0600, which it fills from
// random if there is none. So they are the same at every start and different in every folder. Errors:
// CodeCorrupt if the file has another length, CodeIO, CodePermission, CodeStorageFull. It blocks for as
// long as the disk does.
func (s *Store) Secret(name string, random io.Reader) ([SecretBytes]byte, error) {
	dir := filepath.Join(s.dir, "tls")
	path := filepath.Join(dir, name)
	op := "read " + strconv.Quote(path)
	text, err := readSmall(s.fs, path)
	var secret [SecretBytes]byte
	switch {
	case errors.Is(err, errNotExist):
		if _, err := io.ReadFull(random, secret[:]); err != nil {
			return secret, ioError("make "+strconv.Quote(path), err)
		}
		if err := s.fs.MkdirAll(dir); err != nil {
			return secret, ioError(op, err)
		}
		return secret, ioError("write "+strconv.Quote(path), writeSmall(s.fs, dir, name, string(secret[:])))
	case err != nil:
		return secret, ioError(op, err)
	case len(text) != SecretBytes:
		e := core.Errorf(core.CodeCorrupt, op, "%d bytes, want %d", len(text), SecretBytes)
		e.Hint = "remove the file: another one is made at the next start"
		return secret, e
	}
	copy(secret[:], text)
	return secret, nil
}
